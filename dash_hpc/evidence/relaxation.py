"""First rates and courses, gene by gene and without a network: relaxation towards a level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dash_hpc.data.checks import FloatArray
from dash_hpc.evidence.blocks import Block, IntArray
from dash_hpc.evidence.noise import Noise
from dash_hpc.evidence.rows import patterns
from dash_hpc.evidence.shrink import shrink
from dash_hpc.evidence.walk import LONG, walk_courses, walk_ratios

__all__ = ["Relaxation", "courses_of", "relax"]

#: Rates that are tried, per unit of time.
_RATES = np.exp(np.linspace(np.log(0.2), np.log(5.0), 48))
_STEP = float(np.log(_RATES[1] / _RATES[0]))
#: Residuals of at most this many noise variances count as a fit.
_FITS = 1.3
#: A curve that leaves more is further from the gene than its noise.
_FOLLOWS = 2.0
_FEW = 10
_SHARE = 0.3
#: Rate where no gene says anything: that of the published starting values.
_UNKNOWN = 0.5
_LEAST_RELIABLE = 0.05
#: Numbers of the falls of all genes at all rates that are held at once.
_AT_ONCE = 2**22
#: From as many trajectories on their levels are shrunk: fewer do not say how much levels vary.
_LEVELS = 4


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Rates and courses of all genes.

    Attributes
    ----------
    rates : (G,) float64
        Per unit of time; 0 for constant genes.
    courses : tuple of (N, U, G) float64
        Per block, on its grid.
    mean, spread : float
        Of ln(rate) over the genes that move; ``spread`` 0: one rate for all.
    terms : (G,) int64
        Of the curve: 1 for constant genes, else 2 or 3.
    follows : (G,) bool
        Whether the curve leaves less than 2 noise variances, or is not needed: there are long trajectories alone.
    walk : (G,) float64
        In trajectories with 8 values and more of a gene: how much its drive wanders per unit of time, in variances of
        its noise (:mod:`dash_hpc.evidence.walk`).
    level, level_variance : (G,) float64
        Mean over trajectories of a gene's mean over time, and how much that truly varies; infinite where fewer than 4
        trajectories tell it.
    """

    rates: FloatArray
    courses: tuple[FloatArray, ...]
    mean: float
    spread: float
    terms: IntArray
    follows: NDArray[np.bool_]
    walk: FloatArray
    level: FloatArray
    level_variance: FloatArray


def relax(blocks: Sequence[Block], noise: Noise) -> Relaxation:
    """Fit a + b exp(-v t) to every gene that moves, with one v per gene and a, b per trajectory.

    v is the minimum over a grid of rates, made finer by a parabola; ln v is shrunk to the mean of the genes which the
    curve fits, and the others have that mean. Courses are those curves, with a term t exp(-v t) more where they leave a
    residual of over 1.3 noise variances; in trajectories with 8 values and more the level wanders instead, as much as
    they say. Before a gene's first value its course stays where it is at it. Constant genes
    have their mean over time, shrunk to the mean over trajectories by its reliability.
    """
    rates, mean, spread = _rates(blocks, noise)
    moving = np.flatnonzero(~noise.constant)
    rss, freedom = _residuals(blocks, moving, rates[None, moving])
    terms = np.ones(len(rates), dtype=np.int64)
    terms[moving] = np.where(rss[0] >= _FITS * noise.variance * np.maximum(freedom, 1), 3, 2)
    level, variance = _levels(blocks, noise)
    walk = np.zeros(len(rates))
    walk[moving] = walk_ratios(blocks, moving, float(np.exp(mean)))
    everywhere = np.ones(len(rates), dtype=np.bool_)
    first = Relaxation(rates, (), mean, spread, terms, everywhere, walk, level, variance)
    courses = courses_of(blocks, noise, first)
    return replace(first, courses=courses, follows=_followed(blocks, noise, first, courses))


def courses_of(blocks: Sequence[Block], noise: Noise, relaxation: Relaxation) -> tuple[FloatArray, ...]:
    """Return the courses (N, U, G) of other trajectories with the rates, terms and levels that some have told."""
    terms = relaxation.terms
    found = []
    for block in blocks:
        course = np.repeat(_shrunk_levels(block, noise, relaxation)[:, None], len(block.grid), axis=1)
        for number in (2, 3):
            if len(chosen := np.flatnonzero(terms == number)):
                course[:, :, chosen] = _curves(
                    block, chosen, relaxation.rates[chosen], number, relaxation.level[chosen]
                )
        moving = np.flatnonzero(terms > 1)
        walk_courses(block, moving, relaxation.walk[moving], float(np.exp(relaxation.mean)), course)
        found.append(course)
    return tuple(found)


def _followed(
    blocks: Sequence[Block], noise: Noise, relaxation: Relaxation, courses: Sequence[FloatArray]
) -> NDArray[np.bool_]:
    """Return (G,): whether the residual of short curves per degree of freedom is below 2 noise variances."""
    rss, freedom = np.zeros(len(relaxation.rates)), np.zeros(len(relaxation.rates))
    long = np.ones(len(relaxation.rates), dtype=np.bool_)
    for block, course in zip(blocks, courses, strict=True):
        count = block.observed.sum(axis=1)
        short = count < LONG
        long &= ~short.any(axis=0)
        rss += np.where(short, np.nansum((block.values - course[:, block.at]) ** 2, axis=1), 0.0).sum(axis=0)
        freedom += np.where(short, np.maximum(count - relaxation.terms, 0), 0).sum(axis=0)
    return noise.constant | long | (rss < _FOLLOWS * noise.variance * freedom)


def _rates(blocks: Sequence[Block], noise: Noise) -> tuple[FloatArray, float, float]:
    """Return the rates (G,), 0 for constant genes, and mean and s.d. of their logarithms."""
    moving = np.flatnonzero(~noise.constant)
    table, freedom = _residuals(blocks, moving, np.repeat(_RATES[:, None], len(moving), axis=1))
    known = freedom > 0
    least = table.min(axis=0, initial=np.inf) / np.maximum(freedom, 1)
    fits = known & (least < _FITS * noise.variance)
    if fits.sum() < _FEW and known.any():
        fits = known & (least <= np.quantile(least[known], _SHARE))
    found = np.zeros(len(noise.constant))
    if not fits.any():
        found[moving] = _UNKNOWN
        return found, float(np.log(_UNKNOWN)), 0.0
    column = np.flatnonzero(fits)
    place = np.clip(table[:, column].argmin(axis=0), 1, len(_RATES) - 2)
    before, here, after = (table[place + k, column] / np.maximum(noise.variance, least[column]) for k in (-1, 0, 1))
    curvature = np.maximum((before - 2 * here + after) / (2 * _STEP**2), 1e-3)
    slope = (after - before) / (2 * _STEP)
    logs = np.log(_RATES[place]) + np.clip(-slope / (2 * curvature), -_STEP, _STEP)
    shrunk = shrink(logs, 1.0 / curvature + 1e-4)
    found[moving] = np.exp(shrunk.mean)
    found[moving[column]] = np.exp(shrunk.values)
    return found, shrunk.mean, float(np.sqrt(shrunk.variance))


def _residuals(blocks: Sequence[Block], genes: IntArray, rates: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the sums of squares (V, J) that a + b exp(-v t) leaves with rates (V, J), and degrees of freedom (J,)."""
    points = max((len(block.times) for block in blocks), default=1)
    width = max(1, _AT_ONCE // (max(len(rates), 1) * max(points, 1)))
    pieces = [slice(first, first + width) for first in range(0, max(len(genes), 1), width)]
    found = [_residuals_of(blocks, genes[piece], rates[:, piece]) for piece in pieces]
    return np.concatenate([rss for rss, _ in found], axis=1), np.concatenate([freedom for _, freedom in found])


def _residuals_of(blocks: Sequence[Block], genes: IntArray, rates: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The residuals of so few genes that their falls, (V, J, K), are small."""
    rss, freedom = np.zeros(rates.shape), np.zeros(len(genes))
    for block in blocks:
        for value, gene, points in _entries(block, genes):
            if len(points) < 3:
                continue
            freedom += np.bincount(gene, minlength=len(genes)) * (len(points) - 2)
            centred = value - value.mean(axis=1, keepdims=True)
            square = np.einsum("mk,mk->m", centred, centred)
            fall = np.exp(-rates[:, :, None] * (block.times[points] - block.times[points[0]]))
            fall -= fall.mean(axis=2, keepdims=True)
            fall /= np.linalg.norm(fall, axis=2, keepdims=True)
            n = len(block.trajectories)
            if len(value) == n * len(genes) and n > len(points):  # the trajectories of a gene at once
                each = centred.reshape(n, len(genes), len(points))
                moments = np.einsum("njk,njl->jkl", each, each)
                along = np.einsum("vjk,jkl,vjl->vj", fall, moments, fall, optimize=True)
                rss += np.maximum(square.reshape(n, -1).sum(axis=0) - along, 0.0)
                continue
            for number, direction in enumerate(fall):
                left = square - np.einsum("mk,mk->m", centred, direction[gene]) ** 2
                rss[number] += np.bincount(gene, np.maximum(left, 0.0), len(genes))
    return rss, freedom


def _entries(block: Block, genes: IntArray) -> list[tuple[FloatArray, IntArray, IntArray]]:
    """Return genes by the times they were measured at: (M, K) values, (M,) places in ``genes``, (K,) points."""
    values = block.values[:, :, genes].transpose(0, 2, 1).reshape(-1, len(block.times))
    return [
        (values[np.ix_(chosen, points)], chosen % max(len(genes), 1), points)
        for chosen, points in patterns(~np.isnan(values))
    ]


def _curves(block: Block, genes: IntArray, rates: FloatArray, terms: int, means: FloatArray) -> FloatArray:
    """Return the fitted courses (N, U, J) of genes, with at most as many terms as a trajectory has values."""
    n, width = len(block.trajectories), len(block.grid)
    flat = np.empty((n * len(genes), width))
    values = block.values[:, :, genes].transpose(0, 2, 1).reshape(-1, len(block.times))
    for chosen, points in patterns(~np.isnan(values)):
        gene = chosen % len(genes)
        used = min(terms, len(points))
        if not used:
            flat[chosen] = means[gene][:, None]
            continue
        first = block.times[points[0]]
        basis = _basis(rates, block.times[points] - first, used)
        coefficients = np.einsum("mtk,mk->mt", np.linalg.pinv(basis)[gene], values[np.ix_(chosen, points)])
        outside = _basis(rates, np.maximum(block.grid - first, 0.0), used)
        flat[chosen] = sum(coefficients[:, k, None] * outside[gene, :, k] for k in range(used))
    return flat.reshape(n, len(genes), width).transpose(0, 2, 1)


def _basis(rates: FloatArray, times: FloatArray, terms: int) -> FloatArray:
    """Return (J, K, terms): 1, exp(-v t), t exp(-v t)."""
    fall = np.exp(-rates[:, None] * times)
    return np.stack([np.ones_like(fall), fall, times * fall][:terms], axis=-1)


def _levels(blocks: Sequence[Block], noise: Noise) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance (G,) of the genes' true levels over trajectories, as :class:`Relaxation` has them."""
    n = np.concatenate([block.observed.sum(axis=1) for block in blocks])
    total = np.concatenate([np.nansum(block.values, axis=1) for block in blocks])
    seen = n > 0
    level, error = total / np.maximum(n, 1), noise.variance / np.maximum(n, 1)
    known = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, level, 0.0).sum(axis=0) / known
    variance = np.where(seen, (level - mean) ** 2, 0.0).sum(axis=0) / np.maximum(known - 1, 1)
    between = np.maximum(variance - np.where(seen, error, 0.0).sum(axis=0) / known, 0.0)
    return mean, np.where(known >= _LEVELS, between, np.inf)


def _shrunk_levels(block: Block, noise: Noise, relaxation: Relaxation) -> FloatArray:
    """Return the level (N, G) of every gene in the trajectories of a block, shrunk by reliability."""
    n = block.observed.sum(axis=1)
    level, error = np.nansum(block.values, axis=1) / np.maximum(n, 1), noise.variance / np.maximum(n, 1)
    # of equally many values in all trajectories: 1 - (noise / values) / variance of the means
    with np.errstate(divide="ignore"):
        reliability = np.maximum(1.0 / (1.0 + error / relaxation.level_variance), _LEAST_RELIABLE)
    return np.where(n > 0, relaxation.level + reliability * (level - relaxation.level), relaxation.level)
