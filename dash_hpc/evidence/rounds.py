"""From time courses and a prior to evidence for every edge: gather it, smooth the courses in the network, and again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dash_hpc.evidence.blocks import Block, designed, free_of_holds
from dash_hpc.evidence.decide import EvidenceOptions
from dash_hpc.evidence.driven import select_driven
from dash_hpc.evidence.inputs import Inputs, WithoutInputs, measured_courses
from dash_hpc.evidence.noise import Noise, estimate_noise, moving_where_listed
from dash_hpc.evidence.rates import update_rates
from dash_hpc.evidence.relaxation import relax
from dash_hpc.evidence.rows import Part, Parts
from dash_hpc.evidence.screen import candidates_of
from dash_hpc.evidence.select import select
from dash_hpc.evidence.smooth import smooth
from dash_hpc.evidence.state import Candidates, FloatArray, Plain, PriorEdges, Smoothed, State, Target
from dash_hpc.evidence.trust import worthless
from dash_hpc.ops.blas import one_blas_thread

__all__ = ["Reading", "Round", "read_network"]

#: Variance of the drive's rows before anything explains them, in variances of the noise.
_UNEXPLAINED = 4.0


@dataclass(frozen=True)
class Round:
    """How far the search was after a round.

    Attributes
    ----------
    members : int
        Regulators of all targets together.
    changed : int
        Targets whose regulators are others than after the round before.
    corruption : float
        Estimated share of listed edges that are wrong.
    rate_mean, rate_spread : float
        Of ln(rate) over the targets.
    """

    members: int
    changed: int
    corruption: float
    rate_mean: float
    rate_spread: float


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read out of the data.

    Attributes
    ----------
    blocks : tuple of Block
    noise : Noise
    rates : (G,) float64
        Per unit of the blocks' time; 0 for constant genes.
    parts : mapping of int to tuple of Part
        The rows of each target at its rate.
    smoothed : Smoothed
        The courses that the evidence rests on.
    state : State
    rounds : tuple of Round
    inputs : Inputs or None
        What acted from outside; ``parts`` are without it. None where nothing was done, no gene was held.
    """

    blocks: tuple[Block, ...]
    noise: Noise
    rates: FloatArray
    parts: Mapping[int, tuple[Part, ...]]
    smoothed: Smoothed
    state: State
    rounds: tuple[Round, ...]
    inputs: Inputs | None = None


def read_network(
    blocks: Sequence[Block], edges: PriorEdges, options: EvidenceOptions | None = None, threads: int = 1
) -> Reading:
    """Gather evidence for all edges.

    Nothing here is random. Genes in another order give the same evidence in that order.

    Parameters
    ----------
    blocks : sequence of Block
        The data, of training alone.
    edges : PriorEdges
        :meth:`PriorEdges.none` where there is no prior.
    options : EvidenceOptions, optional
        Of these ``rounds`` and ``candidates`` count here.
    threads : int, default 1
        So many targets are looked at side by side; what is found does not depend on it.
    """
    with one_blas_thread():
        return _read(blocks, edges, options or EvidenceOptions(), threads)


def _read(blocks: Sequence[Block], edges: PriorEdges, options: EvidenceOptions, threads: int) -> Reading:
    if designed(blocks):
        return _read_driven(blocks, edges, options)
    noise = moving_where_listed(estimate_noise(blocks), edges.in_degrees())
    first = relax(blocks, noise)
    rates, mean, spread = first.rates, first.mean, first.spread
    parts = _parts(blocks, noise, rates)
    smoothed: Smoothed = Plain(first.courses)
    del first  # its courses go when they are smoothed
    found = candidates_of(edges, blocks, parts, rates, smoothed.courses, options.candidates)
    state = _beginning(noise, edges, found)
    _first(state, parts, smoothed, threads)
    if worthless(state):
        state = _untrusting(state)
        _first(state, parts, smoothed, threads)
    rounds = [_told(state, {}, mean, spread)]
    for _ in range(1, options.rounds):
        before = {gene: frozenset(target.members.tolist()) for gene, target in state.targets.items()}
        rates, mean, spread = update_rates(blocks, state, smoothed.courses, rates)
        parts = _parts(blocks, noise, rates)
        asked = {gene: target.candidates.genes[state.in_question(target)] for gene, target in state.targets.items()}
        smoothed = smooth(blocks, parts, state, rates, smoothed.courses, asked=asked)
        select(state, parts, smoothed, first=False, products=True, threads=threads)
        rounds.append(_told(state, before, mean, spread))
        if not rounds[-1].changed:
            break
    return Reading(tuple(blocks), noise, rates, parts, smoothed, state, tuple(rounds))


def _read_driven(blocks: Sequence[Block], edges: PriorEdges, options: EvidenceOptions) -> Reading:
    """Where inputs act or genes are held, courses do not follow from the network alone: they stay as measured.

    Every gene has rows: one that stays where it is says that nothing which moves acts on it.
    """
    free = free_of_holds(blocks)
    noise = estimate_noise(free)
    first = relax(free, noise)
    smoothed = Plain(measured_courses(blocks, first.courses, noise.constant))
    rates = np.where(noise.constant, np.exp(first.mean), first.rates)
    noise = replace(noise, constant=np.zeros_like(noise.constant))
    parts, inputs = _parts(free, noise, rates), Inputs.of_blocks(free)
    found = candidates_of(edges, free, parts, rates, smoothed.courses, options.candidates)
    state = _beginning(noise, edges, found)
    rounds: list[Round] = []
    before: dict[int, frozenset[int]] = {}
    for _ in range(options.rounds + 1):
        select_driven(state, parts, smoothed, inputs, free, rates)
        if state.trusted and not rounds and worthless(state):
            state, inputs = _untrusting(state), Inputs.of_blocks(free)
            select_driven(state, parts, smoothed, inputs, free, rates)
        rounds.append(_told(state, before, first.mean, first.spread))
        before = {gene: frozenset(target.members.tolist()) for gene, target in state.targets.items()}
        if not rounds[-1].changed:
            break
    return Reading(
        free, noise, rates, WithoutInputs(parts, free, rates, inputs), smoothed, state, tuple(rounds), inputs
    )


def _parts(blocks: Sequence[Block], noise: Noise, rates: FloatArray) -> Parts:
    return Parts(blocks, np.flatnonzero(~noise.constant).tolist(), rates)


def _beginning(noise: Noise, edges: PriorEdges, found: Iterable[tuple[int, Candidates]]) -> State:
    """The state before any evidence."""
    targets = {
        gene: Target(gene, candidates, _UNEXPLAINED * noise.variance, noise.variance) for gene, candidates in found
    }
    return State(edges, noise.variance, noise.constant, targets, np.zeros(len(noise.constant)))


def _untrusting(state: State) -> State:
    """The beginning again, with candidates as they were and without the prior's odds and signs."""
    found = []
    for gene, target in state.targets.items():
        listed = target.candidates.genes[target.candidates.listed]
        found.append((gene, Candidates.unseen(target.candidates.genes, listed, np.zeros_like(listed))))
    targets = {gene: Target(gene, own, _UNEXPLAINED * state.noise, state.noise) for gene, own in found}
    return State(state.edges, state.noise, state.constant, targets, np.zeros(state.n_genes), trusted=False)


def _first(state: State, parts: Mapping[int, Sequence[Part]], smoothed: Smoothed, threads: int) -> None:
    """The first round: without products of regulators, then with them."""
    select(state, parts, smoothed, first=True, products=False, threads=threads)
    select(state, parts, smoothed, first=True, products=True, threads=threads)


def _told(state: State, before: dict[int, frozenset[int]], mean: float, spread: float) -> Round:
    members = {gene: frozenset(target.members.tolist()) for gene, target in state.targets.items()}
    changed = sum(before.get(gene, frozenset()) != found for gene, found in members.items())
    return Round(sum(map(len, members.values())), changed, state.corruption, mean, spread)
