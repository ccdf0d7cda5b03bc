"""Inputs from outside: what one that is on for a while does to a gene's rows, and what is known of its targets.

An input adds to the drive of its targets while it is on. With x' = v (c + a on(t) - x) its share of the course is
a (exp(-v (t - min(t, stop))) - exp(-v (t - min(t, start)))), exact on any grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dash_hpc.data.checks import FloatArray
from dash_hpc.evidence.blocks import Block, IntArray
from dash_hpc.evidence.rows import Part
from dash_hpc.evidence.walk import LONG

__all__ = ["HEIGHT", "Inputs", "WithoutInputs", "measured_courses", "pulse_course", "pulse_rows"]

#: An input's effect is measured by this: a coefficient of 1 is that of a regulator that goes from half to full.
HEIGHT = 1 / 3
#: Share of the genes that an input of unknown targets acts on, before anything is found; how many genes that is worth.
_SHARE, _COUNTS = 0.2, 5.0


def pulse_course(rate: float, times: FloatArray, start: float, stop: float) -> FloatArray:
    """Return the course (K,) at times from 0 on of a gene at 0 whose drive is 1 from ``start`` to ``stop``, else 0."""
    begin, end = np.minimum(times, max(start, 0.0)), np.minimum(times, max(stop, 0.0))
    return np.asarray(np.exp(-rate * (times - end)) - np.exp(-rate * (times - begin)))


def pulse_rows(parts: Sequence[Part], blocks: Sequence[Block], names: Sequence[str], rate: float) -> list[FloatArray]:
    """Return per part what each input does to the rows of a gene: (K - 1, N, I), for a drive of 1/3 while it is on."""
    place = {name: k for k, name in enumerate(names)}
    found: list[FloatArray] = []
    for part in parts:
        block = blocks[part.block]
        rows = np.zeros((part.rows.shape[1], len(part.members), len(names)))
        for k, member in enumerate(part.members.tolist() if block.pulses else ()):
            for pulse in block.pulses[member]:
                course = pulse_course(rate, block.times[part.points], pulse.start, pulse.stop)
                rows[:, k, place[pulse.name]] += HEIGHT * (part.rows.T @ course)
        found.append(rows)
    return found


@dataclass(eq=False)
class Inputs:
    """The inputs of a data set, and what was found of them.

    Attributes
    ----------
    names : tuple of str
        I of them, in the order in which they occur.
    targets : dict of str to frozenset of int, or None
        Genes that each acts on; None: not known.
    share : float
        Of the genes, how many an input of unknown targets acts on.
    log_odds : dict of int to (I,) float64
        By target: that the input acts on it; infinite where that is known.
    effects : dict of int to (I,) float64
        By target: what the input does to its drive; 0 where it is not taken to act.
    """

    names: tuple[str, ...]
    targets: dict[str, frozenset[int] | None]
    share: float = _SHARE
    log_odds: dict[int, FloatArray] = field(default_factory=dict)
    effects: dict[int, FloatArray] = field(default_factory=dict)

    @classmethod
    def of_blocks(cls, blocks: Sequence[Block]) -> Inputs:
        """Collect the inputs that are on in any trajectory."""
        found: dict[str, frozenset[int] | None] = {}
        for block in blocks:
            for pulses in block.pulses:
                for pulse in pulses:
                    found[pulse.name] = None if pulse.targets is None else frozenset(pulse.targets)
        return cls(tuple(found), found)

    def known(self, gene: int) -> IntArray:
        """(k,) inputs that are known to act on a gene."""
        acts = [(self.targets[name] or ()) for name in self.names]
        return np.array([k for k, genes in enumerate(acts) if gene in genes], dtype=np.int64)

    @property
    def open(self) -> IntArray:
        """(k,) inputs of unknown targets."""
        return np.array([k for k, name in enumerate(self.names) if self.targets[name] is None], dtype=np.int64)

    @property
    def prior(self) -> float:
        """Log-odds that an input of unknown targets acts on a gene."""
        return float(np.log(self.share / (1 - self.share)))

    def learn(self) -> None:
        """Estimate the share from what was found of all targets."""
        if not len(self.open) or not self.log_odds:
            return
        odds = np.concatenate([found[self.open] for found in self.log_odds.values()])
        p = 1 / (1 + np.exp(-np.clip(odds, -60, 60)))
        self.share = float((p.sum() + _SHARE * _COUNTS) / (len(p) + _COUNTS))


class WithoutInputs(Mapping[int, tuple[Part, ...]]):
    """The rows of all targets without what the inputs were found to do to them, made when they are asked for.

    ``parts`` are the rows as measured, made from ``blocks`` at ``rates`` (G,).
    """

    def __init__(
        self, parts: Mapping[int, tuple[Part, ...]], blocks: Sequence[Block], rates: FloatArray, inputs: Inputs
    ) -> None:
        self._parts, self._blocks, self._rates, self._inputs = parts, blocks, rates, inputs

    def __getitem__(self, gene: int) -> tuple[Part, ...]:
        own, effect = self._parts[gene], self._inputs.effects.get(gene)
        if effect is None or not effect.any():
            return own
        rows = pulse_rows(own, self._blocks, self._inputs.names, float(self._rates[gene]))
        done = [inputs @ (effect / HEIGHT) for inputs in rows]
        return tuple(replace(part, z=part.z - taken.T) for part, taken in zip(own, done, strict=True))

    def __iter__(self) -> Iterator[int]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def measured_courses(
    blocks: Sequence[Block], courses: Sequence[FloatArray], constant: np.ndarray
) -> tuple[FloatArray, ...]:
    """Return courses (N, U, G) that follow what was measured where an input may turn them from one time to the next.

    Those are the courses of genes that move, in trajectories with 8 of their values and more, and of genes that are
    held: straight lines from value to value. The others stay as they are.
    """
    found = []
    for block, course in zip(blocks, courses, strict=True):
        follows = (block.observed.sum(axis=1) >= LONG) & ~constant
        if block.held is not None:
            follows |= block.held & block.observed.any(axis=1)
        new = course.copy()
        for trajectory, gene in np.argwhere(follows).tolist():
            values = block.values[trajectory, :, gene]
            known = ~np.isnan(values)
            new[trajectory, :, gene] = np.interp(block.grid, block.times[known], values[known])
        found.append(new)
    return tuple(found)
