"""Gathering evidence where inputs act from outside, or genes were held.

Inputs of unknown targets stand beside the genes as what may drive a target, with odds of their own; those of known ones
are always in. Nothing is centred over the trajectories, for each of them has a design of its own. Values that follow
each other in a trajectory share what no model explains, so that few trajectories with many values look like much more
data than they are: the variances of all targets are multiplied with one factor for that. It is found before any
regulator is, and after each pass again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dash_hpc.data.checks import FloatArray
from dash_hpc.evidence.blocks import Block, IntArray
from dash_hpc.evidence.columns import Features
from dash_hpc.evidence.inputs import HEIGHT, Inputs, pulse_rows
from dash_hpc.evidence.odds import set_prior_odds
from dash_hpc.evidence.rows import Part
from dash_hpc.evidence.state import Smoothed, State, Target
from dash_hpc.ops.bayes import sigmoid
from dash_hpc.ops.regulators import MEMBER_PRECISION, Question, find_regulators

__all__ = ["select_driven", "shared_inflation"]

#: Prior precision of the offset of a drive.
_INTERCEPT_PRECISION = 1e-4
#: No model describes more of the rows' variation than all but this share of it.
_TRUSTED = 0.01
#: Median of χ² of one degree of freedom; how much must be known of a candidate that tells of it.
_CHANCE_MEDIAN, _SEEN = 0.4549, 1e-9
_MOST_CORRUPTION = 0.9
#: ln of the least share of stand-ins that is looked for, and how often the range is halved.
_RAREST, _HALVINGS = -20.0, 40


@dataclass(frozen=True, eq=False)
class _Columns:
    """Rows of a target and what may explain them: along a constant drive (n_A) and others (n_B)."""

    data: tuple[FloatArray, FloatArray]
    offset: tuple[FloatArray, FloatArray]
    genes: tuple[FloatArray, FloatArray]
    inputs: tuple[FloatArray, FloatArray]


def select_driven(
    state: State,
    parts: Mapping[int, Sequence[Part]],
    smoothed: Smoothed,
    inputs: Inputs,
    blocks: Sequence[Block],
    rates: FloatArray,
) -> None:
    """Look for the regulators of every target and for the inputs that act on it; learn from all of them together.

    Parameters
    ----------
    state : State
        Changed in place.
    parts : by gene, the rows of each target at its rate
    smoothed : Smoothed
        Courses of all genes.
    inputs : Inputs
        Changed in place.
    blocks, rates
        What the rows were made from.
    """
    set_prior_odds(state)
    features = Features.of_courses(smoothed.courses)
    state.centre = features.centre

    def columns(target: Target) -> _Columns:
        done = pulse_rows(parts[target.gene], blocks, inputs.names, float(rates[target.gene]))
        return _columns(parts[target.gene], features, target.candidates.genes, done)

    seen = [target for gene, target in state.targets.items() if parts[gene]]
    if not state.passes:
        _inflate(seen, [_null_scores(state, target, columns(target)) for target in seen])
    left = [_answer(state, target, columns(target), inputs) for target in seen]
    _inflate(seen, left)
    if len(state.edges) and state.trusted:
        _weigh(state, seen)
    inputs.learn()
    state.passes += 1


def _inflate(targets: Sequence[Target], scores: Sequence[FloatArray]) -> None:
    """Give all targets the factor that their scores ask for, 1 or more."""
    factor = shared_inflation(scores)
    for target in targets:
        target.inflation = max(1.0, target.inflation * factor)


def shared_inflation(scores: Sequence[FloatArray]) -> float:
    """Return the factor by which all variances are too small; 1 where nothing tells.

    Parameters
    ----------
    scores : sequence of (C,) float64
        Per target: q² / s of each candidate that is not in.

    Notes
    -----
    Most genes have no part in a target, so that the median over its candidates is that of χ² of one degree of freedom
    where rows are independent (genomic control: Devlin and Roeder, Biometrics 55, 1999). Regulators and what goes with
    them raise it for a target; the median over all targets is what values of one trajectory have in common.
    """
    medians = [float(np.median(found)) for found in scores if len(found)]
    return float(np.median(medians)) / _CHANCE_MEDIAN if medians else 1.0


def _columns(parts: Sequence[Part], features: Features, genes: IntArray, inputs: Sequence[FloatArray]) -> _Columns:
    """Put the rows of all parts one below the other."""
    found: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]] = []
    for part, done in zip(parts, inputs, strict=True):
        values = features.blocks[part.block][:, :, genes]  # few of many genes first
        if len(part.members) < values.shape[1]:
            values = values[:, part.members]
        rows = np.asarray(np.tensordot(part.rows.T @ part.weights, values, 1), dtype=np.float64)
        offset = np.repeat(part.constant[:, None, None], len(part.members), axis=1)
        found.append((part.z.T[..., None], offset, rows, done))

    def joined(k: int) -> tuple[FloatArray, FloatArray]:
        pieces = [piece[k] for piece in found]
        width = pieces[0].shape[2]
        drive = np.concatenate([piece[0] for piece in pieces])
        others = np.concatenate([piece[1:].reshape(-1, width) for piece in pieces])
        return drive, others

    data = joined(0)
    return _Columns((data[0][:, 0], data[1][:, 0]), joined(1), joined(2), joined(3))


def _null_scores(state: State, target: Target, columns: _Columns) -> FloatArray:
    """(C,) q² / s of candidates that are not listed, the offset being in; sets the variances that this leaves."""
    score, information = np.zeros(len(target.candidates)), np.zeros(len(target.candidates))
    left = []
    for data, offset, genes in zip(columns.data, columns.offset, columns.genes, strict=True):
        along = offset[:, 0] / max(float(np.linalg.norm(offset)), 1e-300)
        rest, free = data - along * (along @ data), genes - np.outer(along, along @ genes)
        variance = max(float(np.mean(rest**2)) if len(rest) else 0.0, state.noise)
        score += free.T @ rest / variance
        information += (free**2).sum(axis=0) / variance
        left.append(variance)
    target.drive_variance, target.other_variance = left
    told = (information > _SEEN) & ~target.candidates.listed
    return np.asarray(score[told] ** 2 / information[told])


def _answer(state: State, target: Target, columns: _Columns, inputs: Inputs) -> FloatArray:
    """Look for what drives one target; return (C',) q² / s of the genes that are not in, listed ones left out."""
    edges, n = target.candidates, len(target.candidates)
    known, unknown = inputs.known(target.gene), inputs.open
    fixed = [np.concatenate([columns.offset[k], columns.inputs[k][:, known]], axis=1) for k in (0, 1)]
    offered = [np.concatenate([columns.genes[k], columns.inputs[k][:, unknown]], axis=1) for k in (0, 1)]
    drive, others = columns.data
    spread = float(np.var(drive)), float(np.mean(others**2)) if len(others) else 0.0
    floors = [target.inflation * max(state.noise, _TRUSTED * variance) for variance in spread]
    precision = np.r_[_INTERCEPT_PRECISION, np.full(len(known), MEMBER_PRECISION)]
    prior = np.r_[edges.prior, np.full(len(unknown), inputs.prior)]
    sign = np.r_[edges.sign, np.zeros(len(unknown), dtype=np.int64)]
    question = Question(
        drive, others, len(others), fixed[0], fixed[1], precision, offered[0], offered[1], prior, sign, state.slab,
        floors[0], floors[1], target.inflation,
    )  # fmt: skip
    before = inputs.log_odds.get(target.gene)
    taken = np.flatnonzero(before[unknown] > 0) if before is not None else np.empty(0, dtype=np.int64)
    start = np.r_[np.searchsorted(edges.genes, target.members), n + taken]
    found = find_regulators(question, start, target.drive_variance, target.other_variance)
    edges.log_bf, edges.score = found.log_bf[:n].copy(), found.score[:n].copy()
    edges.information, edges.expected = found.information[:n].copy(), found.expected[:n].copy()
    coefficients, gene = found.coefficients[1 + len(known) :], found.members < n
    target.members, target.coefficients = edges.genes[found.members[gene]], coefficients[gene]
    target.offset = float(found.coefficients[0])
    target.drive_variance, target.other_variance = found.drive_variance, found.other_variance
    odds, effect = np.full(len(inputs.names), -np.inf), np.zeros(len(inputs.names))
    odds[known], odds[unknown] = np.inf, found.log_bf[n:] + inputs.prior
    effect[known] = HEIGHT * found.coefficients[1 : 1 + len(known)]
    effect[unknown[found.members[~gene] - n]] = HEIGHT * coefficients[~gene]
    inputs.log_odds[target.gene], inputs.effects[target.gene] = odds, effect
    outside = (edges.information > _SEEN) & ~edges.listed
    outside[found.members[gene]] = False
    return np.asarray(edges.score[outside] ** 2 / edges.information[outside])


def _weigh(state: State, targets: Sequence[Target]) -> None:
    """Learn from a prior how far the evidence for new edges can be trusted, and how many of its own are wrong.

    A gene that goes with a regulator looks like one, and the likelihood knows nothing of that. As many edges as are
    wrong in the prior are missing from it. Where the posterior odds of the edges that are not listed stand for more of
    them, and for more than the odds before the data did, a share e of the genes that are no regulators is taken to look
    like them: B becomes B / (1 - e + e B), with the least e that brings both together.
    """
    listed = [target.candidates.listed for target in targets]
    wrong = sum(
        float((1 - target.candidates.probability[known]).sum()) for target, known in zip(targets, listed, strict=True)
    )
    prior = np.concatenate([target.candidates.prior[~known] for target, known in zip(targets, listed, strict=True)])
    weight = np.concatenate([target.candidates.log_bf[~known] for target, known in zip(targets, listed, strict=True)])
    most = max(wrong, float(sigmoid(prior).sum()))

    def expected(share: float) -> float:
        return float(sigmoid(prior + _with_stand_ins(weight, share)).sum())

    if expected(0.0) > most:
        low, high = _RAREST, 0.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if expected(float(np.exp(middle))) > most else (low, middle)
        for target, known in zip(targets, listed, strict=True):
            target.candidates.log_bf[~known] = _with_stand_ins(target.candidates.log_bf[~known], float(np.exp(high)))
    edges = len(state.edges)
    state.corruption = min(max(wrong / edges, 0.5 / edges), _MOST_CORRUPTION)


def _with_stand_ins(log_bf: FloatArray, share: float) -> FloatArray:
    """Log Bayes factors where a share of those that are no regulators look as if they were."""
    if not share:
        return log_bf
    return np.asarray(-np.logaddexp(np.log(share), np.log1p(-share) - log_bf) if share < 1 else 0 * log_bf)
