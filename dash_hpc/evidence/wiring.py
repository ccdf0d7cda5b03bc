"""Which unknowns of a trajectory the course of each gene depends on, in a network as it stands.

The unknowns (latents) are the level of every constant regulator and the start value of every dynamic one. A gene's
course depends on its own start value and on the latents of all its ancestors: its reach. Where a network feeds itself
widely these would be nearly all there are; what many steps have damped is then left out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from dash_hpc.evidence.state import Bools, IntArray, State

__all__ = ["MOST_LATENTS", "Wiring"]

#: A reach goes back as many steps of the network as it can with so many latents.
MOST_LATENTS = 32


@dataclass(frozen=True, eq=False)
class Wiring:
    """Latents and reaches.

    Attributes
    ----------
    levels : (C,) int64
        Constant genes that regulate something, ascending; latents 0 to C − 1 are their levels.
    starts : (D,) int64
        Dynamic genes that have rows and regulate something, ascending; latents from C on are their start values.
    place : (G,) int64
        Latent of a gene; −1 for one that has none.
    order : tuple of (tuple of int, bool)
        Genes of ``starts`` in groups, ancestors first. True: the group feeds itself, so that its courses have to be
        iterated; its genes, ascending, are several or one that regulates itself.
    reach : dict of int to (r,) int64
        Latents, ascending, that the drive of a target with rows depends on, with its own start where that is one: its
        regulators', theirs, and so on, for as many whole steps back as there are at most 32 latents.
    """

    levels: IntArray
    starts: IntArray
    place: IntArray
    order: tuple[tuple[tuple[int, ...], bool], ...]
    reach: dict[int, IntArray]

    @classmethod
    def of(cls, state: State, seen: Collection[int]) -> Wiring:
        """Trace the network of the members.

        Targets that are not in ``seen`` have no rows: nothing says what they start from, and their courses stay as
        they are.
        """
        used = np.zeros(state.n_genes, dtype=bool)
        modelled = np.zeros(state.n_genes, dtype=bool)
        for gene, target in state.targets.items():
            used[target.members] = True
            modelled[gene] = gene in seen
        levels = np.flatnonzero(used & state.constant)
        starts = np.flatnonzero(used & modelled & ~state.constant)
        place = np.full(state.n_genes, -1, dtype=np.int64)
        place[levels] = np.arange(len(levels))
        place[starts] = len(levels) + np.arange(len(starts))
        order = _ordered(state, starts)
        reach = {gene: _reached(gene, state, modelled, place) for gene in state.targets if modelled[gene]}
        return cls(levels, starts, place, order, reach)

    def __len__(self) -> int:
        return len(self.levels) + len(self.starts)


def _reached(gene: int, state: State, modelled: Bools, place: IntArray) -> IntArray:
    """Latents of a target, step by step back along the network."""
    found = {int(place[gene])} if place[gene] >= 0 else set()
    seen, here = {gene}, set(state.targets[gene].members.tolist())
    while here:
        found |= {latent for member in here if (latent := int(place[member])) >= 0}
        seen |= here
        feeding = (state.targets[member].members.tolist() for member in here if modelled[member])
        here = {member for members in feeding for member in members} - seen
        if len(found | {int(place[member]) for member in here} - {-1}) > MOST_LATENTS:
            break
    return np.array(sorted(found), dtype=np.int64)


def _ordered(state: State, starts: IntArray) -> tuple[tuple[tuple[int, ...], bool], ...]:
    """Strongly connected groups, every group behind those that feed it; ties by the lowest gene."""
    n, at = len(starts), {int(gene): k for k, gene in enumerate(starts)}
    links = [(at[i], k) for k, gene in enumerate(starts) for i in state.targets[int(gene)].members.tolist() if i in at]
    if n == 0:
        return ()
    row, col = np.array(links, dtype=np.int64).reshape(-1, 2).T
    count, label = connected_components(
        csr_array((np.ones(len(row)), (row, col)), shape=(n, n)), directed=True, connection="strong"
    )
    groups: list[list[int]] = [[] for _ in range(count)]
    for k, group in enumerate(label):
        groups[group].append(k)
    feeds: list[set[int]] = [set() for _ in range(count)]
    waits = np.zeros(count, dtype=np.int64)
    loops = np.array([len(group) > 1 for group in groups])
    for a, b in links:
        one, other = label[a], label[b]
        if one == other:
            loops[one] |= a == b
        elif other not in feeds[one]:
            feeds[one].add(other)
            waits[other] += 1
    ready = sorted((groups[g][0], g) for g in range(count) if waits[g] == 0)
    order = []
    while ready:
        _, g = ready.pop(0)
        order.append((tuple(int(starts[k]) for k in groups[g]), bool(loops[g])))
        for other in feeds[g]:
            waits[other] -= 1
            if waits[other] == 0:
                ready.append((groups[other][0], other))
        ready.sort()
    return tuple(order)
