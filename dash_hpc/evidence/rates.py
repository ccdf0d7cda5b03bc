"""Relaxation rates, once the genes' drives are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dash_hpc.data.checks import FloatArray
from dash_hpc.evidence.blocks import Block
from dash_hpc.evidence.rows import Part, Parts
from dash_hpc.evidence.shrink import shrink
from dash_hpc.evidence.state import State, Target, phi

__all__ = ["update_rates"]

#: ln v is moved by this much to either side for the rows' derivative, and by at most the next in one update.
_ASIDE, _FARTHEST = 0.05, 0.3
#: Prior precision of the level of a drive, and of its other coefficients, while they follow the rate.
_LEVEL, _OTHERS = 1e-4, 0.25
#: Least information on ln v, and a variance that every estimate has on top.
_LEAST, _ALWAYS = 1e-3, 1e-5


def update_rates(
    blocks: Sequence[Block], state: State, courses: Sequence[FloatArray], rates: FloatArray
) -> tuple[FloatArray, float, float]:
    """Move every gene's rate towards the least residual of its rows, and shrink it to the others' rates.

    One Gauss-Newton step in ln v. The coefficients of the drive follow, so that information and standard error are
    those of the profile likelihood: with the drive held where it is both are too good, and rates that are equal come
    out as spread. Rows are weighed and centred as they are when regulators are chosen.

    Parameters
    ----------
    blocks : sequence of Block
    state : State
    courses : sequence of (N, U, G) float64
        Per block.
    rates : (G,) float64
        Per unit of time.

    Returns
    -------
    rates : (G,) float64
        A gene that is no target, or has no rows, keeps its own.
    mean, spread : float
        Of ln(rate) over the targets; ``spread`` 0: one rate for all.
    """
    genes, logs, errors = [], [], []
    rows = [Parts(blocks, state.targets, rates * np.exp(step), room=0) for step in (-_ASIDE, 0.0, _ASIDE)]
    for gene, target in state.targets.items():
        aside = [parts[gene] for parts in rows]
        if not aside[0]:
            continue
        step, information = _step(target, aside, [_columns(target, state, course) for course in courses])
        genes.append(gene)
        logs.append(np.log(rates[gene]) + np.clip(step, -_FARTHEST, _FARTHEST))
        errors.append(1 / information + _ALWAYS)
    found = rates.copy()
    if not genes:
        return found, 0.0, 0.0
    shrunk = shrink(np.array(logs), np.array(errors))
    found[genes] = np.exp(shrunk.values)
    return found, shrunk.mean, float(np.sqrt(shrunk.variance))


def _columns(target: Target, state: State, courses: FloatArray) -> FloatArray:
    """(q, N, U) functions that the drive of a target is a sum of, on courses (N, U, G): 1, features, products."""
    features = {i: phi(courses[:, :, i]) - state.centre[i] for i in target.members.tolist()}
    products = [features[a] * features[c] for a, c in target.pairs.tolist()]
    return np.stack([np.ones(courses.shape[:2]), *features.values(), *products])


def _step(target: Target, aside: Sequence[Sequence[Part]], columns: Sequence[FloatArray]) -> tuple[float, float]:
    """Step in ln v to the least residual, and the information on ln v; ``aside`` has the rows at three rates."""
    coefficients = np.r_[target.offset, target.coefficients, target.pair_coefficients]
    q = len(coefficients)
    gram, cross, slope = np.diag(np.r_[_LEVEL, np.full(q - 1, _OTHERS)]), np.zeros((q, 2)), np.zeros(2)
    for before, here, after in zip(*aside, strict=True):
        scale = 1 / np.sqrt(np.r_[target.drive_variance, np.full(len(here.points) - 2, target.other_variance)])
        functions = columns[here.block][:, here.members]
        drive = np.tensordot(coefficients, functions, 1)
        # In the space of the times: the basis of the rows turns with the rate.
        low, rest, high = (_rest(part, drive, scale) for part in (before, here, after))
        both = np.stack([(high - low) / (2 * _ASIDE), rest])
        moved = _centred(here, functions @ here.across.T).reshape(q, -1) * np.tile(scale, len(here.members))
        gram += moved @ moved.T
        cross += moved @ (both @ here.rows).reshape(2, -1).T
        slope += (both[0] * both).sum(axis=(1, 2))
    follow = np.linalg.solve(gram, cross)
    information = max(float(slope[0] - cross[:, 0] @ follow[:, 0]), _LEAST)
    return float(-(slope[1] - cross[:, 0] @ follow[:, 1])) / information, information


def _rest(part: Part, drive: FloatArray, scale: FloatArray) -> FloatArray:
    """(N, K) what a drive (N, U) leaves of the rows, in units of their standard deviations, in the space of times."""
    return (_centred(part, part.z - drive @ part.across.T) * scale) @ part.rows.T


def _centred(part: Part, rows: FloatArray) -> FloatArray:
    """Rows (..., N, K − 1), all but the drive's centred over the trajectories where the part says so."""
    if part.centred:
        rows[..., 1:] -= rows[..., 1:].mean(axis=-2, keepdims=True)
    return rows
