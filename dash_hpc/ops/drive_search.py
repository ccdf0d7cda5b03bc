"""The regulators of one gene from the courses of all: their columns, the search, products, and the drive that follows.

Rows along a constant drive (A) and the others (B) are kept apart, for they have variances of their own. While
regulators are searched for, B rows are centred over the trajectories of a part that has enough of them: a time course
that all trajectories share says nothing of who drives whom. Once the regulators are known the shared course is data
like any other: a drive that ignored it would follow the shared rise or fall badly, and every course that is smoothed
through it would be off by the same amount in all trajectories. So the drive is fitted to the rows as measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.bayes import FloatArray, IntArray, Slab
from dash_hpc.ops.checks import as_array, as_number
from dash_hpc.ops.native import native_module
from dash_hpc.ops.regulators import MEMBER_PRECISION, Found, Question, inflated, joint_evidence, search
from dash_hpc.ops.threads import stop_token

__all__ = ["DriveFound", "DriveQuestion", "RowsPart", "find_drive"]

# The same numbers stand in csrc/cpu/ops/drive_search.cpp and csrc/core/drive_search.hpp.
#: Prior precision of the offset of a drive.
_INTERCEPT_PRECISION = 1e-4
#: Products are made of so many of the strongest members.
_MOST_MULTIPLIED = 6
#: No model describes more of the rows' variation than all but this share of it.
_TRUSTED = 0.01
#: The inflation of variances is looked for again while it grows by this factor: with larger variances fewer are in.
_GROWN, _MOST_INFLATIONS = 1.2, 6
#: Median of χ² of one degree of freedom; by how much that of a few hundred related candidates may exceed it, as a share
#: of it; how many candidates it takes, and how much must be known of each.
_CHANCE_MEDIAN, _BY_CHANCE, _ENOUGH, _SEEN = 0.4549, 0.75, 20, 1e-6


@dataclass(frozen=True, eq=False)
class RowsPart:
    """The gene's rows in trajectories of one block in which it was measured at the same times.

    Attributes
    ----------
    features : (U, M, G) float64
        Centred features of all genes, by time of the grid and trajectory of the block.
    members : (N,) int64
        The trajectories: their places in the block.
    weights : (K - 1, U) float64
        Values of the drive on the grid -> rows; the first is that of the drive.
    data : (N, K - 1) float64
        The rows as measured, not centred.
    constant : float
        The first row of a constant drive of 1; it is 0 in the others.
    centred : bool
        Whether rows other than the first are centred over the trajectories while regulators are searched for.
    shift : (M, U, C) float64, optional
        What is added to the features of the candidates, but not in products.
    """

    features: FloatArray
    members: IntArray
    weights: FloatArray
    data: FloatArray
    constant: float
    centred: bool
    shift: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class DriveQuestion:
    """What a search is given.

    Attributes
    ----------
    parts : sequence of RowsPart
        One row at least together.
    candidates : (C,) int64
        Genes.
    prior : (C,) float64
        Log-odds of each edge.
    sign : (C,) int64
        +1 or -1 where the sign of the edge is known, else 0.
    loose : (C,) float64
        S.d. of a candidate's coefficient without an edge: what it may do through a regulator whose course is not quite
        right. 0: nothing.
    start : (k,) int64
        Members to begin with: places among the candidates.
    drive_variance, other_variance : float
        Of the rows, to begin with.
    noise : float
        Variance of one measurement, above 0: the least of rows, before the inflation.
    inflation : float
        What variances are multiplied with, 1 or more; where ``inflate``, to begin with.
    inflate : bool
        Whether the inflation is looked for.
    products : bool
        Whether a second search with products of members follows.
    slab : Slab
    """

    parts: Sequence[RowsPart]
    candidates: IntArray
    prior: FloatArray
    sign: IntArray
    loose: FloatArray
    start: IntArray
    drive_variance: float
    other_variance: float
    noise: float
    inflation: float
    inflate: bool
    products: bool
    slab: Slab


@dataclass(frozen=True, eq=False)
class DriveFound:
    """What a search finds.

    Attributes
    ----------
    members : (k,) int64
        Places among the candidates, in the order they were admitted.
    offset : float
        Of the drive.
    coefficients : (k,) float64
        Of the members.
    pairs : (q, 2) int64, pair_coefficients : (q,) float64
        Products of members, places among the candidates.
    drive_variance, other_variance, inflation : float
    log_bf, score, information, expected : (C,) float64
        As :class:`dash_hpc.ops.regulators.Found` has them.
    evidence : float
        ln of how likely the rows are with all members together, times the prior odds of those, but for what all answers
        to the same rows share. Coefficients of k members are N(0, τ(k)²); variances are those found, and an inflated
        one stands for so many fewer rows.
    """

    members: IntArray
    offset: float
    coefficients: FloatArray
    pairs: IntArray
    pair_coefficients: FloatArray
    drive_variance: float
    other_variance: float
    inflation: float
    log_bf: FloatArray
    score: FloatArray
    information: FloatArray
    expected: FloatArray
    evidence: float


def find_drive(question: DriveQuestion) -> DriveFound:
    """Find the regulators of a gene (:func:`dash_hpc.ops.regulators.find_regulators`), and fit its drive to them.

    Most candidates have no part in a gene. If what the members leave were noise, q² / s of the others would be drawn
    from χ² of one degree of freedom. Where it is larger, the rest is no noise: a misfit of the model that all genes of
    one course share, or of few trajectories. Variances are then multiplied with the factor by which the median is too
    large (as in Devlin and Roeder, Biometrics 55, 1999), less what the median may be off by chance, and the search goes
    on, as long as that factor grows by a fifth.

    Products of all pairs of the six strongest members, squares too, are then columns that are always in. At the end
    offset, coefficients and those of the products have their posterior means on all rows, not centred.

    Raises
    ------
    UsageError
        Shapes that do not fit, numbers out of range, places or genes that are none.
    """
    given = _checked(question)
    native = native_module()
    if native is None:
        _check(given)
        return find(given)
    slab = given.slab
    return DriveFound(
        *native.drive_search(
            [(p.features, p.members, p.weights, p.data, p.constant, p.centred, p.shift) for p in given.parts],
            given.candidates, given.prior, given.sign, given.loose, given.start, given.drive_variance,
            given.other_variance, given.noise, given.inflation, given.inflate, given.products,
            slab.level, slab.slope, slab.log_weights, stop_token(),
        )
    )  # fmt: skip


def _checked(question: DriveQuestion) -> DriveQuestion:
    """The question with all arrays and numbers as the native module takes them."""

    def part(given: RowsPart) -> RowsPart:
        shift = None if given.shift is None else as_array(given.shift, np.float64, "shift")
        return RowsPart(
            as_array(given.features, np.float64, "features"),
            as_array(given.members, np.int64, "members"),
            as_array(given.weights, np.float64, "weights"),
            as_array(given.data, np.float64, "data"),
            as_number(given.constant, "constant"),
            bool(given.centred),
            shift,
        )

    slab = question.slab
    return replace(
        question,
        parts=[part(given) for given in question.parts],
        candidates=as_array(question.candidates, np.int64, "candidates"),
        prior=as_array(question.prior, np.float64, "prior"),
        sign=as_array(question.sign, np.int64, "sign"),
        loose=as_array(question.loose, np.float64, "loose"),
        start=as_array(question.start, np.int64, "start"),
        drive_variance=as_number(question.drive_variance, "drive_variance", least=0, open_at=(0,)),
        other_variance=as_number(question.other_variance, "other_variance", least=0, open_at=(0,)),
        noise=as_number(question.noise, "noise", least=0, open_at=(0,)),
        inflation=as_number(question.inflation, "inflation", least=1),
        slab=Slab(slab.level, slab.slope, as_array(slab.log_weights, np.float64, "log_weights")),
    )


def _check(given: DriveQuestion) -> None:
    """Raise UsageError where shapes, places or numbers do not fit; the native module looks itself."""
    genes = given.parts[0].features.shape[-1] if given.parts else 0
    n = len(given.candidates)
    for part in given.parts:
        if part.features.ndim != 3 or part.features.shape[2] != genes:
            raise UsageError("features must have 3 axes, the last of equally many genes in all parts")
        points, block = part.features.shape[:2]
        if part.weights.ndim != 2 or part.weights.shape[1] != points or not len(part.weights):
            raise UsageError(f"weights must be one row or more of {points}, got {list(part.weights.shape)}")
        wanted = (len(part.members), len(part.weights))
        if part.members.ndim != 1 or part.data.shape != wanted:
            raise UsageError(f"data must be {list(wanted)}, got {list(part.data.shape)}")
        if part.members.size and not 0 <= part.members.min() <= part.members.max() < block:
            raise UsageError("members must be trajectories of their block")
        if part.shift is not None and part.shift.shape != (block, points, n):
            raise UsageError(f"shift must be {[block, points, n]}, got {list(part.shift.shape)}")
    if not sum(len(part.members) for part in given.parts):
        raise UsageError("parts must hold at least one row")
    if given.candidates.ndim != 1 or (n and not 0 <= given.candidates.min() <= given.candidates.max() < genes):
        raise UsageError("candidates must be genes of the features")
    if given.prior.shape != (n,) or not np.isfinite(given.prior).all():
        raise UsageError(f"prior must be {n} finite numbers")
    if given.sign.shape != (n,) or np.abs(given.sign).max(initial=0) > 1:
        raise UsageError(f"sign must be {n} numbers of -1, 0 or 1")
    if given.loose.shape != (n,) or not np.isfinite(given.loose).all() or given.loose.min(initial=0) < 0:
        raise UsageError(f"loose must be {n} numbers of 0 or more")
    start = given.start
    if start.ndim != 1 or len(set(start.tolist())) != len(start) or not all(0 <= place < n for place in start.tolist()):
        raise UsageError("start must hold different places among the candidates")
    if given.slab.log_weights.shape != (4, 4) or not np.isfinite(given.slab.log_weights).all():
        raise UsageError("log_weights must be 4 times 4 finite numbers")


def find(given: DriveQuestion) -> DriveFound:
    """The meaning of the native operator."""
    data, columns = data_of(given.parts), columns_of(given.parts, given.candidates)
    rows = len(data[0])
    constant = np.concatenate([np.full(len(part.members), part.constant) for part in given.parts])
    loose = np.flatnonzero(given.loose)
    asked = Question(
        data[0],
        data[1],
        sum((len(part.members) - part.centred) * (len(part.weights) - 1) for part in given.parts),
        np.concatenate([constant[:, None], columns[0][:, loose]], axis=1),
        np.concatenate([np.zeros((len(data[1]), 1)), columns[1][:, loose]], axis=1),
        np.r_[_INTERCEPT_PRECISION, given.loose[loose] ** -2.0],
        *columns,
        given.prior,
        given.sign,
        given.slab,
        max(given.noise, _TRUSTED * float(np.var(data[0]))) if rows else given.noise,
        max(given.noise, _TRUSTED * float(np.mean(data[1] ** 2))) if len(data[1]) else given.noise,
    )
    inflation = given.inflation
    question = inflated(asked, inflation)
    found = search(question, given.start.tolist(), given.drive_variance, given.other_variance)
    for _ in range(_MOST_INFLATIONS if given.inflate else 0):
        growth = _inflation(inflation, found) / inflation
        if growth < _GROWN:
            break
        inflation *= growth
        question = inflated(asked, inflation)
        found = search(question, found.members.tolist(), found.drive_variance, found.other_variance)
    pairs: IntArray = np.empty((0, 2), dtype=np.int64)
    precision = MEMBER_PRECISION
    if given.products and len(found.members):
        pairs = _pairs(found, given.prior)
        precision = float((2 * given.slab.size(float(len(found.members)))) ** -2.0)
        drive, others = products_of(given.parts, given.candidates[pairs])
        question = replace(
            question,
            fixed_drive=np.concatenate([question.fixed_drive, drive], axis=1),
            fixed_others=np.concatenate([question.fixed_others, others], axis=1),
            fixed_precision=np.append(question.fixed_precision, np.full(len(pairs), precision)),
        )
        found = search(question, found.members.tolist(), found.drive_variance, found.other_variance)
    kept = pairs[np.isin(pairs, found.members).all(axis=1)]
    drive_of = _drive(given, found, kept, precision)
    k = len(found.members)
    return DriveFound(
        found.members,
        float(drive_of[0]),
        drive_of[1 : 1 + k],
        kept,
        drive_of[1 + k :],
        found.drive_variance,
        found.other_variance,
        _inflation(inflation, found) if given.inflate else inflation,
        found.log_bf,
        found.score,
        found.information,
        found.expected,
        joint_evidence(question, found),
    )


def columns_of(
    parts: Sequence[RowsPart], genes: IntArray, *, measured: bool = False, places: IntArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the columns of genes: (n_A, C) and (n_B, C); ``measured``: none of them centred.

    ``places`` : where the genes stand among those that shifts are for; left out, they are all of them.
    """
    values = []
    for part in parts:
        value = part.features[:, part.members][:, :, genes]
        if part.shift is not None:
            moved = part.shift if places is None else part.shift[:, :, places]
            value = value + moved[part.members].transpose(1, 0, 2)
        values.append(value)
    return _rows(parts, values, measured)


def products_of(parts: Sequence[RowsPart], pairs: IntArray, *, measured: bool = False) -> tuple[FloatArray, FloatArray]:
    """Return the columns of the products of pairs (q, 2) of genes: (n_A, q) and (n_B, q)."""
    values = [part.features[:, part.members] for part in parts]
    return _rows(parts, [value[:, :, pairs[:, 0]] * value[:, :, pairs[:, 1]] for value in values], measured)


def _rows(parts: Sequence[RowsPart], values: Sequence[FloatArray], measured: bool) -> tuple[FloatArray, FloatArray]:
    """A and B rows of functions (U, N, C) on the grid."""
    drive, others = [], []
    for part, value in zip(parts, values, strict=True):
        rows = np.tensordot(part.weights, value, 1)
        drive.append(rows[0])
        rest = rows[1:]
        if part.centred and not measured:
            rest = rest - rest.mean(axis=1, keepdims=True)
        others.append(rest.reshape(rest.shape[0] * rest.shape[1], rest.shape[2]))
    return np.concatenate(drive), np.concatenate(others)


def data_of(parts: Sequence[RowsPart], *, measured: bool = False) -> tuple[FloatArray, FloatArray]:
    """Return the rows of the data: (n_A,) and (n_B,); ``measured``: none of them centred."""
    others = []
    for part in parts:
        rest = part.data[:, 1:].T
        others.append((rest - rest.mean(axis=1, keepdims=True) if part.centred and not measured else rest).ravel())
    return np.concatenate([part.data[:, 0] for part in parts]), np.concatenate(others)


def _inflation(inflation: float, found: Found) -> float:
    """How much larger the squared scores of candidates that are not in are than chance makes them."""
    outside = found.information > _SEEN
    outside[found.members] = False
    if outside.sum() < _ENOUGH:
        return inflation
    median = float(np.median(found.score[outside] ** 2 / found.information[outside]))
    return max(1.0, inflation * median / _CHANCE_MEDIAN - _BY_CHANCE)


def _pairs(found: Found, prior: FloatArray) -> IntArray:
    """All pairs, squares too, of the strongest members: places among the candidates."""
    log_odds = (prior + found.log_bf)[found.members]
    strongest = found.members[np.argsort(-log_odds, kind="stable")][:_MOST_MULTIPLIED]
    return np.array([(a, c) for k, a in enumerate(strongest) for c in strongest[k:]], dtype=np.int64)


def _drive(given: DriveQuestion, found: Found, pairs: IntArray, product_precision: float) -> FloatArray:
    """Offset, coefficients and those of pairs: posterior means on all rows as measured."""
    members, parts = found.members, given.parts
    data = data_of(parts, measured=True)
    own = columns_of(parts, given.candidates[members], measured=True, places=members)
    products = products_of(parts, given.candidates[pairs], measured=True)
    constant = np.concatenate([np.full(len(part.members), part.constant) for part in parts])
    drive = np.concatenate([constant[:, None], own[0], products[0]], axis=1)
    others = np.concatenate([np.zeros((len(data[1]), 1)), own[1], products[1]], axis=1)
    precision = np.r_[
        _INTERCEPT_PRECISION, np.full(len(members), MEMBER_PRECISION), np.full(len(pairs), product_precision)
    ]
    gram = drive.T @ drive / found.drive_variance + others.T @ others / found.other_variance + np.diag(precision)
    moments = drive.T @ data[0] / found.drive_variance + others.T @ data[1] / found.other_variance
    return np.asarray(np.linalg.solve(gram, moments))
