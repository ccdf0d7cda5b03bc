"""Gathering evidence: one pass over all targets, then what was learnt of all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dash_hpc.evidence.columns import Features, Rows, columns_of, products_of, rows_of
from dash_hpc.evidence.odds import set_prior_odds
from dash_hpc.evidence.refit import refit_drive
from dash_hpc.evidence.rows import CENTRED_FROM, Part
from dash_hpc.evidence.slab import refit_slab
from dash_hpc.evidence.state import Candidates, FloatArray, IntArray, Smoothed, State, Target
from dash_hpc.ops.regulators import MEMBER_PRECISION, Found, Question, find_regulators

__all__ = ["select"]

#: Prior precision of the offset of a drive.
_INTERCEPT_PRECISION = 1e-4
#: Products are made of so many of the strongest members.
_MOST_MULTIPLIED = 6
#: Log-odds that a candidate keeps at most that is not looked at again.
_LEFT_BEHIND = -3.0
#: Log-odds from which an edge counts as sure, and below which it is out of the question.
_SURE, _OUT = 2.0, -6.0
_MOST_CORRUPTION = 0.9
#: No model describes more of the rows' variation than all but this share of it.
_TRUSTED = 0.01
#: The inflation of variances is looked for again while it grows by this factor: with larger variances fewer are in.
_GROWN, _MOST_INFLATIONS = 1.2, 6
#: Median of χ² of one degree of freedom; by how much that of a few hundred related candidates may exceed it, as a share
#: of it; how many candidates it takes, and how much must be known of each.
_CHANCE_MEDIAN, _BY_CHANCE, _ENOUGH, _SEEN = 0.4549, 0.75, 20, 1e-6


def select(
    state: State,
    parts: Mapping[int, Sequence[Part]],
    smoothed: Smoothed,
    *,
    first: bool,
    products: bool,
) -> None:
    """Set prior odds, look for the regulators of every target, and learn slab and corruption from what was found.

    Parameters
    ----------
    state : State
        Changed in place.
    parts : by gene, the rows of each target
    smoothed : Smoothed
        Courses of all genes.
    first : bool
        Whether all candidates are looked at: the courses come from each gene alone. Later only those that are listed,
        members, or worth it.
    products : bool
        Whether a second search with products of members follows.
    """
    set_prior_odds(state)
    features = Features.of_courses(smoothed.courses)
    asked = {
        gene: _answer(state, target, parts[gene], features, smoothed, first=first, products=products)
        for gene, target in state.targets.items()
        if parts[gene]
    }
    state.centre = features.centre
    _learn(state, asked)
    state.passes += 1


def _answer(
    state: State,
    target: Target,
    parts: Sequence[Part],
    features: Features,
    smoothed: Smoothed,
    *,
    first: bool,
    products: bool,
) -> IntArray:
    """Look for the regulators of one target; return which candidates were looked at."""
    edges = target.candidates
    looked_at = np.arange(len(edges)) if first else state.in_question(target)
    genes = edges.genes[looked_at]
    rows = rows_of(parts)
    drive, others = columns_of(parts, features, genes, smoothed.shift(target.gene, genes))
    question = Question(
        rows.drive,
        rows.others,
        rows.free_others,
        rows.constant[:, None],
        np.zeros((len(rows.others), 1)),
        np.array([_INTERCEPT_PRECISION]),
        drive,
        others,
        edges.prior[looked_at],
        edges.sign[looked_at],
        state.slab,
        max(state.noise, _TRUSTED * float(np.var(rows.drive))),
        max(state.noise, _TRUSTED * float(np.mean(rows.others**2)) if len(rows.others) else 0.0),
    )
    if 0 < len(rows) < CENTRED_FROM:  # the values of one trajectory do not stand for so many trajectories
        target.inflation = max(target.inflation, len(rows.others) / len(rows))
    question = _inflated(question, target.inflation)
    start = np.searchsorted(genes, target.members)
    found = find_regulators(question, start, target.drive_variance, target.other_variance)
    for _ in range(_MOST_INFLATIONS if first else 0):
        growth = _inflation(target, found) / target.inflation
        if growth < _GROWN:
            break
        target.inflation *= growth
        question = _inflated(question, growth)
        found = find_regulators(question, found.members, found.drive_variance, found.other_variance)
    pairs: IntArray = np.empty((0, 2), dtype=np.int64)
    precision = MEMBER_PRECISION
    if products and len(found.members):
        pairs = _pairs(genes, found, question.prior)
        precision = float((2 * state.slab.size(float(len(found.members)))) ** -2.0)
        more_drive, more_others = products_of(parts, features, pairs)
        question = replace(
            question,
            fixed_drive=np.concatenate([question.fixed_drive, more_drive], axis=1),
            fixed_others=np.concatenate([question.fixed_others, more_others], axis=1),
            fixed_precision=np.append(question.fixed_precision, np.full(len(pairs), precision)),
        )
        found = find_regulators(question, found.members, found.drive_variance, found.other_variance)
    _keep(target, edges, looked_at, found, pairs)
    refit_drive(
        target, parts, features, smoothed, intercept=_INTERCEPT_PRECISION, member=MEMBER_PRECISION, product=precision
    )
    target.excess = _excess(state, target, rows, parts, features.centre, smoothed)
    if first:
        target.inflation = _inflation(target, found)
    return looked_at


def _pairs(genes: IntArray, found: Found, prior: FloatArray) -> IntArray:
    """All pairs, squares too, of the strongest members."""
    log_odds = (prior + found.log_bf)[found.members]
    strongest = genes[found.members[np.argsort(-log_odds, kind="stable")]][:_MOST_MULTIPLIED]
    return np.array([(a, c) for k, a in enumerate(strongest) for c in strongest[k:]], dtype=np.int64)


def _keep(target: Target, edges: Candidates, looked_at: IntArray, found: Found, pairs: IntArray) -> None:
    """Write what was found of one target."""
    edges.log_bf = np.minimum(edges.log_odds, _LEFT_BEHIND) - edges.prior
    edges.log_bf[looked_at] = found.log_bf
    edges.score[looked_at] = found.score
    edges.information[looked_at] = found.information
    edges.expected[looked_at] = found.expected
    target.members = edges.genes[looked_at[found.members]]
    q = len(pairs)
    target.offset, target.coefficients = float(found.coefficients[0]), found.coefficients[1 + q :]
    kept = np.isin(pairs, target.members).all(axis=1)
    target.pairs, target.pair_coefficients = pairs[kept], found.coefficients[1 : 1 + q][kept]
    target.drive_variance, target.other_variance = found.drive_variance, found.other_variance


def _inflated(question: Question, growth: float) -> Question:
    """The question with variances that are larger by a factor."""
    return replace(
        question,
        drive_floor=growth * question.drive_floor,
        other_floor=growth * question.other_floor,
        inflation=growth * question.inflation,
    )


def _inflation(target: Target, found: Found) -> float:
    """How much larger the squared scores of candidates that are not in are than chance makes them.

    Most candidates have no part in a target. If what the members leave were noise, q² / s of the others would be drawn
    from χ² of one degree of freedom. Where it is larger, the rest is no noise: a misfit of the model that all genes of
    one course share, or of few trajectories. Variances are then multiplied with the factor by which the median is too
    large (as in Devlin and Roeder, Biometrics 55, 1999), less what the median may be off by chance.
    """
    outside = np.ones(len(found.score), dtype=np.bool_)
    outside[found.members] = False
    outside &= found.information > _SEEN
    if outside.sum() < _ENOUGH:
        return target.inflation
    median = float(np.median(found.score[outside] ** 2 / found.information[outside]))
    return max(1.0, target.inflation * median / _CHANCE_MEDIAN - _BY_CHANCE)


def _excess(
    state: State, target: Target, rows: Rows, parts: Sequence[Part], centre: FloatArray, smoothed: Smoothed
) -> float:
    """Variance of the drive row beyond noise and what uncertain courses of the regulators do to it."""
    uncertain = smoothed.drive_uncertainty(target.gene)
    if uncertain is None:
        slope = target.coefficients * (1 - np.abs(centre[target.members])) ** 2
        # a constant gene's level is a mean; a course with a start and a level uses up most of what a gene has
        share = np.where(state.constant[target.members], 1 / max(rows.points, 1.0), 1 / 3)
        n = np.array([len(part.members) for part in parts])
        gain = sum(n * [part.constant @ part.constant for part in parts]) / n.sum()
        uncertain = float(gain * state.noise * (slope**2 * share).sum())
    return max(target.drive_variance - state.noise - uncertain, 0.0)


def _learn(state: State, asked: Mapping[int, IntArray]) -> None:
    """Learn the slab, from the candidates ``asked`` for of each target, and the share of wrong listed edges."""
    targets = list(state.targets.values())
    gathered = [target.candidates for target in targets]
    wrong = float(state.constant[state.edges.targets].sum())
    sizes, expected = [], []
    for target, edges in zip(targets, gathered, strict=True):
        wrong += float((1 - edges.probability[edges.listed]).sum())
        place = np.searchsorted(edges.genes, target.members)
        sure = edges.log_odds[place] > _SURE
        sizes.append(np.abs(target.coefficients[sure]))
        expected.append(edges.expected[place[sure]])
    chosen = []
    for gene, places in asked.items():
        edges = state.targets[gene].candidates
        chosen.append((edges, places[edges.log_odds[places] > _OUT]))

    def joined(name: str) -> FloatArray:
        return np.concatenate([getattr(edges, name)[places] for edges, places in chosen])

    if chosen:
        state.slab = refit_slab(
            state.slab,
            member_sizes=np.concatenate(sizes),
            member_expected=np.concatenate(expected),
            score=joined("score"),
            information=joined("information"),
            expected=joined("expected"),
            sign=joined("sign").astype(np.int64),
            prior=joined("prior"),
        )
    if len(state.edges):
        most = _MOST_CORRUPTION if state.trusted else 1.0
        state.corruption = min(max(wrong / len(state.edges), 0.5 / len(state.edges)), most)
