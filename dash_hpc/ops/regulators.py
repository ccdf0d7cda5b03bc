"""The regulators of one gene: greedy search by the log-odds of single edges, given the others.

The rows of a gene are explained by columns: fixed ones, which are always in (an intercept; products of strong
regulators, which take up what a sum cannot describe, so that no other gene has to), and those of candidates, which are
in when the evidence is for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.bayes import FloatArray, IntArray, Slab, log_bayes_factors, sigmoid
from dash_hpc.ops.checks import as_array, as_count, as_floats, as_number
from dash_hpc.ops.native import native_module
from dash_hpc.ops.threads import stop_token

__all__ = ["MEMBER_PRECISION", "Found", "Question", "find_regulators", "inflated", "joint_evidence", "search"]

#: Prior precision of a member's coefficient while others are judged.
MEMBER_PRECISION = 0.25
# The same numbers stand in csrc/cpu/search.hpp and csrc/core/regulators.hpp.
_MOST_MOVES, _MOST_ADDS, _MOST_MEMBERS = 200, 100, 15
_MOST_VARIANCES, _SAME_VARIANCE = 8, 0.02
_FIXED_POINT, _FIXED_ENOUGH = 3, 0.05
_LEAST_INFORMATION = 1e-9


@dataclass(frozen=True, eq=False)
class Question:
    """What a search is given. Arrays are float64 where nothing else is said.

    Rows come in two kinds with variances of their own: those along a constant drive (A) and the others (B).

    Attributes
    ----------
    drive_data, other_data : (n_A,), (n_B,)
        What the rows hold.
    free_others : int
        Degrees of freedom of the B rows: n_B less what was taken off them before.
    fixed_drive, fixed_others : (n_A, f), (n_B, f)
        Columns that are always in.
    fixed_precision : (f,)
        Prior precisions of their coefficients, above 0.
    drive, others : (n_A, C), (n_B, C)
        Columns of the candidates.
    prior : (C,)
        Log-odds of each edge.
    sign : (C,) int64
        +1 or -1 where the sign of the edge is known, else 0.
    slab : Slab
    drive_floor, other_floor : float
        Least variances of rows, above 0.
    inflation : float
        What estimated variances are multiplied with, 1 or more.
    """

    drive_data: FloatArray
    other_data: FloatArray
    free_others: int
    fixed_drive: FloatArray
    fixed_others: FloatArray
    fixed_precision: FloatArray
    drive: FloatArray
    others: FloatArray
    prior: FloatArray
    sign: IntArray
    slab: Slab
    drive_floor: float
    other_floor: float
    inflation: float = 1.0


@dataclass(frozen=True, eq=False)
class Found:
    """What a search finds.

    Attributes
    ----------
    members : (k,) int64
        Places among the candidates, in the order they were admitted.
    coefficients : (f + k,) float64
        Of the fixed columns and of the members.
    drive_variance, other_variance : float
        Of the rows.
    log_bf : (C,) float64
        Log Bayes factor of each edge given the other members, in nats.
    score, information : (C,) float64
        Gradient and curvature of the log likelihood in the edge's coefficient at 0, the other members fitted.
    expected : (C,) float64
        Expected number of regulators if this is one of them.
    """

    members: IntArray
    coefficients: FloatArray
    drive_variance: float
    other_variance: float
    log_bf: FloatArray
    score: FloatArray
    information: FloatArray
    expected: FloatArray


def find_regulators(
    question: Question, start: Sequence[int] | IntArray, drive_variance: float, other_variance: float
) -> Found:
    """Find the regulators, beginning with the members ``start`` (places among the candidates).

    The largest log-odds above 0 is admitted, or else the smallest below 0 among the members dropped, until neither is
    there; at most 15 are admitted. Then the variances of the rows are estimated anew and the search goes on from there,
    until both stay within 2 %, at most 8 times.

    Raises
    ------
    UsageError
        Shapes that do not fit, numbers out of range, a place that is none or occurs twice.
    """
    given, members = _checked(question), as_array(start, np.int64, "start")
    if members.ndim != 1 or len(set(members.tolist())) != len(members):
        raise UsageError("start must be a list of different places among the candidates")
    if len(members) and not 0 <= members.min() <= members.max() < len(given.prior):
        raise UsageError(f"start must lie in 0..{len(given.prior) - 1}, got {members.min()} to {members.max()}")
    a = as_number(drive_variance, "drive_variance", least=0, open_at=(0,))
    b = as_number(other_variance, "other_variance", least=0, open_at=(0,))
    native = native_module()
    if native is None:
        return search(given, members.tolist(), a, b)
    slab = given.slab
    return Found(
        *native.find_regulators(
            given.drive_data, given.other_data, given.fixed_drive, given.fixed_others, given.fixed_precision,
            given.drive, given.others, given.prior, given.sign, members, a, b, given.free_others,
            given.drive_floor, given.other_floor, given.inflation, slab.level, slab.slope, slab.log_weights,
            stop_token(),
        )
    )  # fmt: skip


def _checked(question: Question) -> Question:
    """The question with all arrays as the native module takes them."""
    drive_data = as_floats(question.drive_data, (len(question.drive_data),), "drive_data")
    other_data = as_floats(question.other_data, (len(question.other_data),), "other_data")
    n_a, n_b, f, n = len(drive_data), len(other_data), len(question.fixed_precision), len(question.prior)

    def matrix(values: FloatArray, rows: int, columns: int, name: str) -> FloatArray:
        return as_array(as_floats(values, (rows, columns), name), np.float64, name)

    precision = as_array(as_floats(question.fixed_precision, (f,), "fixed_precision"), np.float64, "fixed_precision")
    if not (np.isfinite(precision).all() and (precision > 0).all()):
        raise UsageError("fixed_precision must be finite and above 0")
    prior = as_array(as_floats(question.prior, (n,), "prior"), np.float64, "prior")
    if not np.isfinite(prior).all():
        raise UsageError("prior must be finite")
    sign = as_array(question.sign, np.int64, "sign")
    if sign.shape != (n,) or np.abs(sign).max(initial=0) > 1:
        raise UsageError(f"sign must be {n} numbers of -1, 0 or 1")
    weights = as_floats(question.slab.log_weights, (4, 4), "log_weights")
    return Question(
        as_array(drive_data, np.float64, "drive_data"),
        as_array(other_data, np.float64, "other_data"),
        as_count(question.free_others, "free_others", least=0),
        matrix(question.fixed_drive, n_a, f, "fixed_drive"),
        matrix(question.fixed_others, n_b, f, "fixed_others"),
        precision,
        matrix(question.drive, n_a, n, "drive"),
        matrix(question.others, n_b, n, "others"),
        prior,
        sign,
        Slab(
            as_number(question.slab.level, "level"),
            as_number(question.slab.slope, "slope"),
            as_array(weights, np.float64, "log_weights"),
        ),
        as_number(question.drive_floor, "drive_floor", least=0, open_at=(0,)),
        as_number(question.other_floor, "other_floor", least=0, open_at=(0,)),
        as_number(question.inflation, "inflation", least=1),
    )


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
        return np.stack([self._known[place] for place in chosen], axis=1) if len(chosen) else self.columns[:0].T


def search(question: Question, start: list[int], drive_variance: float, other_variance: float) -> Found:
    """The meaning of the native operator."""
    fixed = len(question.fixed_precision)
    a = _Gram(np.concatenate([question.fixed_drive, question.drive], axis=1), question.drive_data)
    b = _Gram(np.concatenate([question.fixed_others, question.others], axis=1), question.other_data)
    members = start
    for _ in range(_MOST_VARIANCES):
        step = _settle(question, a, b, drive_variance, other_variance, members)
        members = step.members
        taken = [*range(fixed), *(fixed + place for place in members)]
        new_drive = question.inflation * _variance(a, taken, step, drive_variance, len(question.drive_data))
        new_other = question.inflation * _variance(b, taken, step, other_variance, question.free_others)
        new_drive, new_other = max(new_drive, question.drive_floor), max(new_other, question.other_floor)
        if (
            abs(new_drive / drive_variance - 1) < _SAME_VARIANCE
            and abs(new_other / other_variance - 1) < _SAME_VARIANCE
        ):
            break
        drive_variance, other_variance = new_drive, new_other
    return Found(
        np.array(members, dtype=np.int64),
        step.coefficients,
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
    question: Question, a: _Gram, b: _Gram, drive_variance: float, other_variance: float, start: list[int]
) -> _Step:
    """Greedy search under given variances."""
    members = list(start)
    n, fixed = len(question.prior), len(question.fixed_precision)
    moments = a.moments / drive_variance + b.moments / other_variance
    norms = a.norms / drive_variance + b.norms / other_variance
    p = sigmoid(question.prior)
    adds = 0
    for move in range(_MOST_MOVES):
        taken = [*range(fixed), *(fixed + place for place in members)]
        precision = np.concatenate([question.fixed_precision, np.full(len(members), MEMBER_PRECISION)])
        gram = a.with_columns(taken) / drive_variance + b.with_columns(taken) / other_variance
        covariance = np.asarray(np.linalg.inv(gram[taken] + np.diag(precision)), dtype=np.float64)
        coefficients = covariance @ moments[taken]
        score = (moments - gram @ coefficients)[fixed:]
        information = (norms - ((gram @ covariance) * gram).sum(axis=1))[fixed:]
        if members:
            own = 1 / np.diag(covariance)[fixed:]
            score[members] = own * coefficients[fixed:]
            information[members] = own - MEMBER_PRECISION
        information = np.maximum(information, _LEAST_INFORMATION)
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


def _variance(gram: _Gram, taken: list[int], step: _Step, variance: float, free: int) -> float:
    """Residual variance of rows, by their effective degrees of freedom."""
    residual = gram.data - gram.columns[:, taken] @ step.coefficients
    used = (step.covariance * gram.with_columns(taken)[taken]).sum() / variance
    return float(residual @ residual) / max(free - used, 1.0)


def inflated(question: Question, inflation: float) -> Question:
    """The question with variances that are larger by a factor."""
    return replace(
        question,
        drive_floor=inflation * question.drive_floor,
        other_floor=inflation * question.other_floor,
        inflation=inflation,
    )


def joint_evidence(question: Question, found: Found) -> float:
    """ln of the evidence of all members together, and of their prior odds."""
    k = len(found.members)
    precision = np.r_[question.fixed_precision, np.full(k, question.slab.size(float(k)) ** -2.0)]
    gram, moments, fit = np.diag(precision), np.zeros(len(precision)), 0.0
    for data, fixed, columns, variance, free in (
        (question.drive_data, question.fixed_drive, question.drive, found.drive_variance, len(question.drive_data)),
        (question.other_data, question.fixed_others, question.others, found.other_variance, question.free_others),
    ):
        own = np.concatenate([fixed, columns[:, found.members]], axis=1)
        gram += own.T @ own / variance
        moments += own.T @ data / variance
        fit -= 0.5 * float(data @ data) / variance + 0.5 * free / question.inflation * float(np.log(variance))
    fit += 0.5 * float(moments @ np.linalg.solve(gram, moments))
    occam = 0.5 * float(np.log(precision).sum() - np.linalg.slogdet(gram)[1])
    return fit + occam + float(question.prior[found.members].sum())
