"""The regulators of one target: greedy search by the log-odds of single edges, given the others.

Columns are: the intercept, always in; C candidates; and, in the second search, products of the strongest members, also
always in. They take up what a sum of saturating features cannot describe, so that no other gene has to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dash_hpc.evidence.bayes import log_bayes_factors, sigmoid
from dash_hpc.evidence.columns import Rows
from dash_hpc.evidence.state import FloatArray, IntArray, Slab

__all__ = ["Found", "Question", "search"]

#: Prior precision of a member's coefficient while others are judged, and of the intercept.
MEMBER_PRECISION, INTERCEPT_PRECISION = 0.25, 1e-4
_MOST_MOVES, _MOST_ADDS, _MOST_MEMBERS = 200, 100, 15
_MOST_VARIANCES, _SAME_VARIANCE = 8, 0.02
_FIXED_POINT, _FIXED_ENOUGH = 3, 0.05
_LEAST_INFORMATION = 1e-9


@dataclass(frozen=True, eq=False)
class Question:
    """What a search is given.

    Attributes
    ----------
    rows : Rows
    drive, others : (n_A, C), (n_B, C) float64
        Columns of the candidates.
    prior : (C,) float64
        Log-odds of each edge.
    sign : (C,) int64
    slab : Slab
    floor : float
        σ²: rows cannot be better known than one measurement.
    """

    rows: Rows
    drive: FloatArray
    others: FloatArray
    prior: FloatArray
    sign: IntArray
    slab: Slab
    floor: float


@dataclass(frozen=True, eq=False)
class Found:
    """What a search finds. ``members`` are places among the candidates, in the order they were admitted.

    ``log_bf``, ``score``, ``information`` and ``expected`` are (C,), as in :class:`dash_hpc.evidence.state.Candidates`.
    """

    members: IntArray
    coefficients: FloatArray
    offset: float
    product_coefficients: FloatArray
    drive_variance: float
    other_variance: float
    log_bf: FloatArray
    score: FloatArray
    information: FloatArray
    expected: FloatArray


class _Gram:
    """Products of all columns with the data, with themselves, and, as they are asked for, with single columns."""

    def __init__(self, columns: FloatArray, data: FloatArray) -> None:
        self.columns, self.data = columns, data
        self.moments = columns.T @ data
        self.norms = np.einsum("np,np->p", columns, columns)
        self._known: dict[int, FloatArray] = {}

    def with_columns(self, chosen: Sequence[int]) -> FloatArray:
        """(P, k)"""
        missing = [place for place in chosen if place not in self._known]
        if missing:
            found = self.columns.T @ self.columns[:, missing]
            self._known.update((place, found[:, k]) for k, place in enumerate(missing))
        return np.stack([self._known[place] for place in chosen], axis=1)


def search(
    question: Question,
    start: Sequence[int],
    drive_variance: float,
    other_variance: float,
    products: tuple[FloatArray, FloatArray] | None = None,
    product_precision: float = 0.0,
) -> Found:
    """Find the regulators, beginning with the members ``start``.

    The largest log-odds above 0 is admitted, or else the smallest below 0 among the members dropped, until neither is
    there. Then the variances of the rows are estimated and the search goes on from there, until they stay within 2 %.

    Parameters
    ----------
    question : Question
    start : places among the candidates
    drive_variance, other_variance : float
        Where the variances begin.
    products : (n_A, q), (n_B, q), optional
        Columns that are always in.
    product_precision : float
        Their prior precision.
    """
    rows, n = question.rows, question.drive.shape[1]
    drive, others = [rows.constant[:, None], question.drive], [np.zeros((len(rows.others), 1)), question.others]
    q = 0
    if products is not None:
        q = products[0].shape[1]
        drive.append(products[0])
        others.append(products[1])
    a, b = _Gram(np.concatenate(drive, axis=1), rows.drive), _Gram(np.concatenate(others, axis=1), rows.others)
    fixed = [0, *range(1 + n, 1 + n + q)]
    precision = np.full(1 + n + q, MEMBER_PRECISION)
    precision[0] = INTERCEPT_PRECISION
    precision[1 + n :] = product_precision
    members = [int(place) for place in start]
    for _ in range(_MOST_VARIANCES):
        step = _settle(question, a, b, drive_variance, other_variance, fixed, precision, members)
        members = step.members
        taken = [*fixed, *(1 + place for place in members)]
        new_drive = _variance(a, taken, step, drive_variance, len(rows), question.floor)
        new_other = _variance(b, taken, step, other_variance, rows.free_others, question.floor)
        if (
            abs(new_drive / drive_variance - 1) < _SAME_VARIANCE
            and abs(new_other / other_variance - 1) < _SAME_VARIANCE
        ):
            break
        drive_variance, other_variance = new_drive, new_other
    return Found(
        np.array(members, dtype=np.int64),
        step.coefficients[1 + q :],
        float(step.coefficients[0]),
        step.coefficients[1 : 1 + q],
        drive_variance,
        other_variance,
        step.log_bf,
        step.score,
        step.information,
        step.expected,
    )


@dataclass(frozen=True, eq=False)
class _Step:
    """The end of one greedy search: of the columns that are in, the coefficients and their covariance."""

    members: list[int]
    coefficients: FloatArray
    covariance: FloatArray
    log_bf: FloatArray
    score: FloatArray
    information: FloatArray
    expected: FloatArray


def _settle(
    question: Question,
    a: _Gram,
    b: _Gram,
    drive_variance: float,
    other_variance: float,
    fixed: list[int],
    precision: FloatArray,
    start: list[int],
) -> _Step:
    """Greedy search under given variances."""
    members = list(start)
    n = len(question.prior)
    moments = a.moments / drive_variance + b.moments / other_variance
    norms = a.norms / drive_variance + b.norms / other_variance
    candidates = slice(1, 1 + n)
    p = sigmoid(question.prior)
    adds = 0
    for move in range(_MOST_MOVES):
        taken = [*fixed, *(1 + place for place in members)]
        gram = a.with_columns(taken) / drive_variance + b.with_columns(taken) / other_variance
        covariance = np.asarray(np.linalg.inv(gram[taken] + np.diag(precision[taken])), dtype=np.float64)
        coefficients = covariance @ moments[taken]
        score = (moments - gram @ coefficients)[candidates]
        information = (norms - ((gram @ covariance) * gram).sum(axis=1))[candidates]
        information = np.maximum(information, _LEAST_INFORMATION)
        if members:
            k = len(fixed)
            own = 1 / np.diag(covariance)[k:]
            score[members] = own * coefficients[k:]
            information[members] = np.maximum(own - MEMBER_PRECISION, _LEAST_INFORMATION)
        for _ in range(_FIXED_POINT):
            expected = np.maximum(1 + p.sum() - p, 1.0)
            log_bf = log_bayes_factors(score, information, expected, question.sign, question.slab)
            before, p = p, sigmoid(question.prior + log_bf)
            if np.abs(p - before).max(initial=0.0) < _FIXED_ENOUGH:
                break
        step = _Step(list(members), coefficients, covariance, log_bf, score, information, expected)
        log_odds = question.prior + log_bf
        if move == _MOST_MOVES - 1:
            break
        outside = log_odds.copy()
        outside[members] = -np.inf
        best = int(outside.argmax()) if n else 0
        if n and adds < _MOST_ADDS and len(members) < _MOST_MEMBERS and outside[best] > 0:
            members.append(best)
            adds += 1
            continue
        if not members:
            break
        worst = int(log_odds[members].argmin())
        if log_odds[members[worst]] >= 0:
            break
        members.pop(worst)
    return step


def _variance(gram: _Gram, taken: list[int], step: _Step, variance: float, free: int, floor: float) -> float:
    """Residual variance of rows, by their effective degrees of freedom."""
    residual = gram.data - gram.columns[:, taken] @ step.coefficients
    used = (step.covariance * gram.with_columns(taken)[taken]).sum() / variance
    return max(float(residual @ residual) / max(free - used, 1.0), floor)
