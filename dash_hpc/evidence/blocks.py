"""Time courses as arrays: trajectories that share their times, and the grid on which courses are kept between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dash_hpc.data import TimeCourse
from dash_hpc.data.checks import FloatArray
from dash_hpc.data.timeunit import typical_unit

__all__ = ["Block", "IntArray", "Pulse", "blocks_of", "designed", "free_of_holds", "grid_of"]

IntArray = NDArray[np.int64]

#: Until which time the grid has which step, in the unit of time: a course bends most where it begins.
_STEPS = ((1.0, 0.25), (3.0, 0.5), (np.inf, 1.0))
#: Between two times, however far apart.
_MOST_PIECES = 64
#: Times count as the same when they differ by less, in the unit of time.
_SAME = 1e-9


@dataclass(frozen=True)
class Pulse:
    """An input that is on in a trajectory from ``start`` to ``stop``, since its first value, in the unit of time.

    ``name`` and ``targets`` as :class:`dash_hpc.data.Input` has them.
    """

    name: str
    start: float
    stop: float
    targets: tuple[int, ...] | None


@dataclass(frozen=True, eq=False)
class Block:
    """Trajectories that share one vector of times.

    The systems that are fitted do not know the time of day, so each trajectory's clock starts with its first value.

    Attributes
    ----------
    trajectories : (N,) int64
        Their numbers in the time course, from 0.
    times : (K,) float64
        Since the first one, in the unit of time; ``times[0]`` is 0.
    grid : (U,) float64
        Where courses are kept, piecewise linear in between; contains ``times``.
    at : (K,) int64
        Places of the times on the grid.
    values : (N, K, G) float64
        NaN = missing.
    pulses : tuple of tuple of Pulse
        By trajectory: inputs that were on. Empty where no trajectory has any.
    held : (N, G) bool, optional
        Genes that were held at a value; left out where none was.
    """

    trajectories: IntArray
    times: FloatArray
    grid: FloatArray
    at: IntArray
    values: FloatArray
    pulses: tuple[tuple[Pulse, ...], ...] = ()
    held: NDArray[np.bool_] | None = None

    @property
    def observed(self) -> NDArray[np.bool_]:
        """(N, K, G): which values were measured."""
        return ~np.isnan(self.values)


def blocks_of(course: TimeCourse, unit: float = 0.0) -> tuple[Block, ...]:
    """Return the time course in blocks, in the order of their first trajectories.

    Parameters
    ----------
    course : TimeCourse
        Points without a time are left out.
    unit : float, optional
        Size of the unit of time, in the data's; left out: that of the data
        (:func:`dash_hpc.data.timeunit.typical_unit`), 1/9 of the median length of a trajectory.
    """
    size = unit or typical_unit(course)
    found: dict[bytes, tuple[FloatArray, list[int], list[FloatArray]]] = {}
    done: list[tuple[Pulse, ...]] = []
    for number, trajectory in enumerate(course.trajectories):
        known = np.isfinite(trajectory.times)
        times = trajectory.times[known]
        begin = times[0]
        times = (times - begin) / size
        key = np.round(times / _SAME).astype(np.int64).tobytes()
        _, members, values = found.setdefault(key, (times, [], []))
        members.append(number)
        values.append(trajectory.values[known])
        done.append(
            tuple(
                Pulse(one.name, (one.start - begin) / size, (one.stop - begin) / size, one.targets)
                for one in trajectory.treatment.inputs
            )
        )
    blocks = []
    for times, members, values in found.values():
        grid, at = grid_of(times)
        pulses = tuple(done[number] for number in members)
        held = np.zeros((len(members), course.n_genes), dtype=np.bool_)
        for k, number in enumerate(members):
            held[k, list(course.trajectories[number].treatment.held)] = True
        blocks.append(
            Block(
                np.array(members, dtype=np.int64),
                times,
                grid,
                at,
                np.stack(values),
                pulses if any(pulses) else (),
                held if held.any() else None,
            )
        )
    return tuple(blocks)


def designed(blocks: Sequence[Block]) -> bool:
    """Whether anything was done from outside: an input was on, or a gene held."""
    return any(block.pulses or block.held is not None for block in blocks)


def free_of_holds(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Return the blocks without the values of genes that were held: these say nothing of what drives the gene."""
    return tuple(
        block
        if block.held is None
        else replace(block, values=np.where(block.held[:, None], np.nan, block.values), held=None)
        for block in blocks
    )


def grid_of(times: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return a grid that contains the times (K,) from 0 on, and their places on it.

    Its steps are at most 1/4 of the unit of time before 1, 1/2 before 3 and 1 after that; between two fixed points they
    are equal.
    """
    fixed = [float(time) for time in times]
    for end, step in _STEPS[:-1]:
        if fixed[0] < end < fixed[-1] and min(abs(time - end) for time in fixed) > step / 2:
            fixed.append(end)
    fixed.sort()
    grid = [fixed[0]]
    for start, stop in pairwise(fixed):
        step = next(step for end, step in _STEPS if start < end - _SAME)
        pieces = int(np.clip(np.ceil((stop - start) / step - _SAME), 1, _MOST_PIECES))
        grid.extend(start + (stop - start) * k / pieces for k in range(1, pieces))
        grid.append(stop)
    whole = np.array(grid)
    return whole, np.searchsorted(whole, times).astype(np.int64)
