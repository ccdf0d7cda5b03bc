"""Gathering evidence: one pass over all targets, then what was learnt of all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.evidence.away import explained_away
from dash_hpc.evidence.columns import Features, given_rows
from dash_hpc.evidence.indirect import indirect_effects
from dash_hpc.evidence.odds import set_prior_odds
from dash_hpc.evidence.rows import CENTRED_FROM, Part
from dash_hpc.evidence.slab import refit_slab
from dash_hpc.evidence.state import Candidates, FloatArray, IntArray, Smoothed, State, Target
from dash_hpc.ops.drive_search import DriveFound, DriveQuestion, find_drive
from dash_hpc.ops.threads import map_in_threads

__all__ = ["select"]

#: Log-odds that a candidate keeps at most that is not looked at again.
_LEFT_BEHIND = -3.0
#: Log-odds from which an edge counts as sure, and below which it is out of the question.
_SURE, _OUT = 2.0, -6.0
_MOST_CORRUPTION = 0.9
#: A coefficient of less is none.
_NOTHING = 1e-5


def select(
    state: State,
    parts: Mapping[int, Sequence[Part]],
    smoothed: Smoothed,
    *,
    first: bool,
    products: bool,
    threads: int = 1,
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
    threads : int, default 1
        So many targets are looked at side by side; what is found does not depend on it.
    """
    set_prior_odds(state)
    features = Features.of_courses(smoothed.courses)
    # as the network was before the pass: the order of targets must not count
    looked_at = {
        gene: np.arange(len(target.candidates)) if first else state.in_question(target)
        for gene, target in state.targets.items()
    }
    members = {gene: target.members for gene, target in state.targets.items()}
    indirect = indirect_effects(state)

    def answer(target: Target) -> IntArray | None:
        own, places = parts[target.gene], looked_at[target.gene]
        if not own:
            return None
        loose = _loose(state, indirect, target, places)
        return _answer(state, target, own, features, smoothed, places, loose, members, first=first, products=products)

    found = map_in_threads(answer, state.targets.values(), threads, "select")
    asked = {gene: places for gene, places in zip(state.targets, found, strict=True) if places is not None}
    state.centre = features.centre
    _learn(state, asked)
    state.passes += 1


def _answer(
    state: State,
    target: Target,
    parts: Sequence[Part],
    features: Features,
    smoothed: Smoothed,
    looked_at: IntArray,
    loose: FloatArray,
    members: Mapping[int, IntArray],
    *,
    first: bool,
    products: bool,
) -> IntArray:
    """Look for the regulators of one target, among some candidates; return which those were."""
    edges = target.candidates
    genes = edges.genes[looked_at]
    n = sum(len(part.members) for part in parts)
    others = sum(len(part.members) * (len(part.points) - 2) for part in parts)
    # the values of one trajectory do not stand for so many trajectories
    least = others / n if n < CENTRED_FROM else 1.0
    question = DriveQuestion(
        given_rows(parts, features, smoothed.shift(target.gene, genes)),
        genes,
        edges.prior[looked_at],
        edges.sign[looked_at],
        loose,
        np.searchsorted(genes, target.members),
        target.drive_variance,
        target.other_variance,
        state.noise,
        max(target.inflation, least),
        first,
        products,
        state.slab,
    )
    found = find_drive(question)
    if not first:
        new = found.members[~(edges.listed[looked_at[found.members]] & state.trusted)]
        behind = {place: np.flatnonzero(np.isin(genes, members.get(int(genes[place]), ()))) for place in new.tolist()}
        suspects = np.array([place for place, own in behind.items() if len(own)], dtype=np.int64)
        found = explained_away(question, found, suspects, behind)
    _keep(target, edges, looked_at, found)
    target.excess = _excess(state, target, parts, features.centre, smoothed)
    return looked_at


def _loose(state: State, indirect: csr_array, target: Target, looked_at: IntArray) -> FloatArray:
    """S.d. (C,) of what each candidate may do to the target through its regulators; 0 where the prior lists an edge."""
    place = slice(indirect.indptr[target.gene], indirect.indptr[target.gene + 1])
    genes, sizes = indirect.indices[place], indirect.data[place]
    loose = np.zeros(len(looked_at))
    if not len(genes):
        return loose
    candidates = target.candidates.genes[looked_at]
    found = np.minimum(np.searchsorted(genes, candidates), len(genes) - 1)
    np.copyto(loose, sizes[found], where=genes[found] == candidates)
    loose[(loose < _NOTHING) | (target.candidates.listed[looked_at] & state.trusted)] = 0.0
    return loose


def _keep(target: Target, edges: Candidates, looked_at: IntArray, found: DriveFound) -> None:
    """Write what was found of one target."""
    edges.log_bf = np.minimum(edges.log_odds, _LEFT_BEHIND) - edges.prior
    edges.log_bf[looked_at] = found.log_bf
    edges.score[looked_at] = found.score
    edges.information[looked_at] = found.information
    edges.expected[looked_at] = found.expected
    genes = edges.genes[looked_at]
    target.members, target.pairs = genes[found.members], genes[found.pairs]
    target.offset, target.coefficients = found.offset, found.coefficients
    target.pair_coefficients = found.pair_coefficients
    target.drive_variance, target.other_variance = found.drive_variance, found.other_variance
    target.inflation = found.inflation


def _excess(state: State, target: Target, parts: Sequence[Part], centre: FloatArray, smoothed: Smoothed) -> float:
    """Variance of the drive row beyond noise and what uncertain courses of the regulators do to it."""
    uncertain = smoothed.drive_uncertainty(target.gene)
    if uncertain is None:
        slope = target.coefficients * (1 - np.abs(centre[target.members])) ** 2
        n = np.array([len(part.members) for part in parts])
        points = max(float(n @ [len(part.points) for part in parts]) / n.sum(), 1.0)
        # a constant gene's level is a mean; a course with a start and a level uses up most of what a gene has
        share = np.where(state.constant[target.members], 1 / points, 1 / 3)
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
