"""Which unknowns of a trajectory the course of each gene depends on, in a network as it stands.

The unknowns (latents) are the level of every constant regulator and the start value of every dynamic one. A gene's
course depends on its own start value and on the latents of all its ancestors: its reach.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from dash_hpc.evidence.state import IntArray, State

__all__ = ["Wiring"]


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
        Latents, ascending, that the drive of a target with rows depends on, with its own start where that is one.
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
        reach: dict[int, IntArray] = {}
        for group, _ in order:
            own = [place[gene] for gene in group]
            found = _joined(own, (member for gene in group for member in state.targets[gene].members), place, reach)
            reach.update(dict.fromkeys(group, found))
        for gene, target in state.targets.items():
            if gene not in reach and modelled[gene]:
                reach[gene] = _joined((), target.members, place, reach)
        return cls(levels, starts, place, order, reach)

    def __len__(self) -> int:
        return len(self.levels) + len(self.starts)


def _joined(own: Iterable[int], members: Iterable[int], place: IntArray, reach: dict[int, IntArray]) -> IntArray:
    found = set(own)
    for member in members:
        if member in reach:
            found.update(reach[member].tolist())
        elif place[member] >= 0:
            found.add(int(place[member]))
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
