"""Relaxation rates, once the genes' drives are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dash_hpc.data.checks import FloatArray
from dash_hpc.evidence.blocks import Block
from dash_hpc.evidence.rows import Part, Parts
from dash_hpc.evidence.shrink import shrink
from dash_hpc.evidence.state import IntArray, State, Target, phi
from dash_hpc.evidence.tangent import through

__all__ = ["update_rates"]

#: ln v is moved by this much to either side for the rows' derivative, and by at most the next in one update.
_ASIDE, _FARTHEST = 0.05, 0.3
#: Prior precision of the level of a drive, and of its other coefficients, while they follow the rate.
_LEVEL, _OTHERS = 1e-4, 0.25
_NONE: IntArray = np.empty(0, dtype=np.int64)
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
    sources = np.unique(np.concatenate([_NONE, *(target.members for target in state.targets.values())]))
    features = [_features(state, course, sources) for course in courses]
    for gene, target in state.targets.items():
        aside = [parts[gene] for parts in rows]
        if not aside[0]:
            continue
        step, information = _step(target, aside, [_columns(target, sources, block) for block in features])
        genes.append(gene)
        logs.append(np.log(rates[gene]) + min(max(step, -_FARTHEST), _FARTHEST))
        errors.append(1 / information + _ALWAYS)
    found = rates.copy()
    if not genes:
        return found, 0.0, 0.0
    shrunk = shrink(np.array(logs), np.array(errors))
    found[genes] = np.exp(shrunk.values)
    return found, shrunk.mean, float(np.sqrt(shrunk.variance))


def _features(state: State, courses: FloatArray, genes: IntArray) -> FloatArray:
    """(S, U, N) centred features of genes on courses (N, U, G)."""
    return phi(np.ascontiguousarray(courses[:, :, genes].T)) - state.centre[genes, None, None]


def _columns(target: Target, sources: IntArray, features: FloatArray) -> FloatArray:
    """(U, q, N) functions that the drive of a target is a sum of: 1, features of its members, and products."""
    k, own = len(target.members), features[np.searchsorted(sources, target.members)]
    columns = np.empty((features.shape[1], 1 + k + len(target.pairs), features.shape[2]))
    columns[:, 0], columns[:, 1 : 1 + k] = 1.0, own.transpose(1, 0, 2)
    place = {gene: at for at, gene in enumerate(target.members.tolist(), 1)}
    for at, (a, c) in enumerate(target.pairs.tolist(), 1 + k):
        np.multiply(columns[:, place[a]], columns[:, place[c]], out=columns[:, at])
    return columns


def _step(target: Target, aside: Sequence[Sequence[Part]], columns: Sequence[FloatArray]) -> tuple[float, float]:
    """Step in ln v to the least residual, and the information on ln v; ``aside`` has the rows at three rates."""
    coefficients = np.concatenate([[target.offset], target.coefficients, target.pair_coefficients])
    q = len(coefficients)
    gram, cross, slope = np.diag([_LEVEL, *[_OTHERS] * (q - 1)]), np.zeros((q, 2)), np.zeros(2)
    for parts in zip(*aside, strict=True):
        here: Part = parts[1]
        scale = np.array([target.drive_variance, *[target.other_variance] * (len(here.points) - 2)]) ** -0.5
        functions = columns[here.block]
        if len(here.members) < functions.shape[2]:
            functions = functions[:, :, here.members]
        drive = coefficients @ functions
        # In the space of the times: the basis of the rows turns with the rate.
        rest = np.stack([part.z.T - part.across @ drive for part in parts])
        rest = np.stack([part.rows for part in parts]) @ (_centred(here, rest) * scale[:, None])
        both = np.stack([(rest[2] - rest[0]) / (2 * _ASIDE), rest[1]])
        moved = through(here.across * scale[:, None], functions)
        moved = _centred(here, moved.transpose(1, 0, 2)).reshape(q, -1)
        gram += moved @ moved.T
        cross += moved @ (here.rows.T @ both).reshape(2, -1).T
        slope += both.reshape(2, -1) @ both[0].ravel()
    follow = np.linalg.solve(gram, cross)
    information = max(float(slope[0] - cross[:, 0] @ follow[:, 0]), _LEAST)
    return float(-(slope[1] - cross[:, 0] @ follow[:, 1])) / information, information


def _centred(part: Part, rows: FloatArray) -> FloatArray:
    """Rows (..., K − 1, N), all but the drive's centred over the trajectories where the part says so."""
    if part.centred:
        rows[..., 1:, :] -= rows[..., 1:, :].mean(axis=-1, keepdims=True)
    return rows
