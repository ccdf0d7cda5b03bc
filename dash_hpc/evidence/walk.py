"""Courses of long trajectories, which no curve of three terms follows: relaxation towards a drive that wanders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dash_hpc.data.checks import FloatArray
from dash_hpc.evidence.blocks import Block, IntArray
from dash_hpc.evidence.rows import drive_weights, patterns

__all__ = ["LONG", "walk_courses", "walk_ratios"]

#: Values of a gene in a trajectory from which on its course is told by a walk.
LONG = 8
#: Variance of the walk per unit of time, in noise variances, that are tried; the first: a curve of two terms.
_RATIOS = np.r_[0.0, np.geomspace(1e-3, 1e5, 41)]


@dataclass(frozen=True, eq=False)
class _Shape:
    """How a walk and a curve of two terms look at K times: ``y = curve · b + walk + noise``.

    ``curve`` (K, 2) and ``outside`` (U, 2): the terms at the times and on the grid; ``cover`` (K, K) and ``reach``
    (U, K): covariances of the walk between the times, and with the grid; ``rows`` (K, K - 2) orthonormal, orthogonal to
    the curve, along which the walk has the variances ``spread`` (K - 2,).
    """

    curve: FloatArray
    outside: FloatArray
    cover: FloatArray
    reach: FloatArray
    rows: FloatArray
    spread: FloatArray


def _shape(block: Block, points: IntArray, rate: float) -> _Shape:
    steps = np.sqrt(np.diff(block.grid))
    # the drive at each point of the grid, from independent steps; its level is in the curve
    wandering = np.vstack([np.zeros(len(steps)), np.tril(np.ones((len(steps), len(steps)))) * steps])
    everywhere = drive_weights(rate, block.grid, np.arange(len(block.grid))) @ wandering
    first = block.grid[block.at[points[0]]]
    held = np.maximum(np.arange(len(block.grid)), block.at[points[0]])
    outside = np.stack([np.ones(len(block.grid)), np.exp(-rate * (block.grid[held] - first))], axis=1)
    curve = outside[block.at[points]]
    here = everywhere[block.at[points]]
    whole, _ = np.linalg.qr(curve, mode="complete")
    free = whole[:, 2:]
    spread, turn = np.linalg.eigh((free.T @ here) @ (free.T @ here).T)
    return _Shape(curve, outside, here @ here.T, everywhere[held] @ here.T, free @ turn, np.maximum(spread, 0.0))


def walk_ratios(blocks: Sequence[Block], genes: IntArray, rate: float) -> FloatArray:
    """Return how much the drive of each gene (J,) wanders per unit of time, in variances of its own noise.

    By restricted maximum likelihood over all trajectories with 8 values and more; 0 where there are none.
    """
    found = np.zeros((len(_RATIOS), len(genes)))
    logs, count = np.zeros((len(_RATIOS), len(genes))), np.zeros(len(genes))
    for block in blocks:
        for value, gene, points, _ in _entries(block, genes):
            shape = _shape(block, points, rate)
            square = (value @ shape.rows) ** 2
            count += np.bincount(gene, minlength=len(genes)) * len(shape.spread)
            for number, ratio in enumerate(_RATIOS):
                variance = 1.0 + ratio * shape.spread
                found[number] += np.bincount(gene, square @ (1.0 / variance), len(genes))
                logs[number] += np.bincount(gene, minlength=len(genes)) * np.log(variance).sum()
    known = np.maximum(count, 1)
    likelihood = -0.5 * (known * np.log(np.maximum(found / known, 1e-300)) + logs)
    return np.where(count > 0, _RATIOS[likelihood.argmax(axis=0)], 0.0)


def walk_courses(block: Block, genes: IntArray, ratios: FloatArray, rate: float, courses: FloatArray) -> None:
    """Write the courses of genes (J,) into ``courses`` (N, U, G), in trajectories with 8 values and more of them.

    The posterior mean on the grid, given all values of the trajectory; before its first value a gene stays.
    """
    number = len(genes)
    for value, gene, points, chosen in _entries(block, genes):
        shape = _shape(block, points, rate)
        ratio = ratios[gene][:, None]
        weight = ((value @ shape.rows) / (1.0 + ratio * shape.spread)) @ shape.rows.T
        left = value - ratio * (weight @ shape.cover)
        curve = left @ np.linalg.pinv(shape.curve).T
        courses[chosen // number, :, genes[gene]] = curve @ shape.outside.T + ratio * (weight @ shape.reach.T)


def _entries(block: Block, genes: IntArray) -> list[tuple[FloatArray, IntArray, IntArray, IntArray]]:
    """Return long courses by the times they were measured at.

    (M, K) values, (M,) places in ``genes``, (K,) points, and (M,) numbers of the entries, trajectory by trajectory.
    """
    if len(block.times) < LONG or not len(genes):
        return []
    values = block.values[:, :, genes].transpose(0, 2, 1).reshape(-1, len(block.times))
    return [
        (values[np.ix_(chosen, points)], chosen % len(genes), points, chosen)
        for chosen, points in patterns(~np.isnan(values))
        if len(points) >= LONG
    ]
