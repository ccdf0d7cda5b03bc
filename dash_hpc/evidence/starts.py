"""Starts that are not noise: what a step sets out from, told from the whole trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary, WeakSet

import numpy as np

from dash_hpc.data import DataSet, TimeCourse
from dash_hpc.data.checks import FloatArray, frozen_array
from dash_hpc.evidence.blocks import Block, blocks_of
from dash_hpc.evidence.noise import Noise, estimate_noise
from dash_hpc.evidence.relaxation import Relaxation, courses_of, relax
from dash_hpc.evidence.walk import LONG

__all__ = ["Smoothing", "smoothing", "with_starts"]


@dataclass(frozen=True, eq=False)
class Smoothing:
    """The training and validation data of a data set with smoothed starts, and what was learnt for them.

    Noise, rates, curves and mean levels come from the training part alone, so that the validation part stays unseen;
    its own trajectories then say where it starts.

    Attributes
    ----------
    train, validation : TimeCourse
        The same values; only what steps start from is other.
    noise : Noise
    rates : (G,) float64
        Per unit of time (``DataSet.time_unit``); 0 for constant genes.
    measured : int
        Genes whose course no curve follows: they start where they were measured.
    """

    train: TimeCourse
    validation: TimeCourse
    noise: Noise
    rates: FloatArray
    measured: int

    def account(self) -> str:
        """What was learnt for the starts, as a clause."""
        told = f"smoothed; noise {self.noise.variance**0.5:.3g}, {int(self.noise.constant.sum()):,} genes do not move"
        return told + (f", {self.measured:,} start as measured" if self.measured else "")


#: Runs of one data set share them; each lives as long as its data set.
_smoothings: WeakKeyDictionary[DataSet, Smoothing] = WeakKeyDictionary()
_ready: WeakKeyDictionary[DataSet, DataSet] = WeakKeyDictionary()
_made: WeakSet[DataSet] = WeakSet()


def smoothing(dataset: DataSet) -> Smoothing:
    """Return the smoothed starts of a data set, whatever it asks its steps to start from."""
    if (found := _smoothings.get(dataset)) is None:
        found = _smoothings[dataset] = _smoothed(dataset)
    return found


def with_starts(dataset: DataSet) -> DataSet:
    """Return the data set with what its steps start from: itself, where that is what was measured.

    Test data stay as they are, so that errors on them compare whatever a model was trained on.
    """
    if dataset.starts == "measured" or dataset in _made:
        return dataset
    if (found := _ready.get(dataset)) is None:
        parts = smoothing(dataset)
        found = _ready[dataset] = replace(dataset, train=parts.train, validation=parts.validation)
        _smoothings[found] = parts
        _made.add(found)
    return found


def _smoothed(dataset: DataSet) -> Smoothing:
    blocks = blocks_of(dataset.train, dataset.time_unit)
    noise = estimate_noise(blocks)
    found = relax(blocks, noise)
    train = _started(dataset.train, blocks, found.courses, found)
    validation = train
    if dataset.validation is not dataset.train:
        held = blocks_of(dataset.validation, dataset.time_unit)
        validation = _started(dataset.validation, held, courses_of(held, noise, found), found)
    return Smoothing(train, validation, noise, found.rates, int((~found.follows).sum()))


def _started(
    course: TimeCourse, blocks: Sequence[Block], courses: Sequence[FloatArray], relaxation: Relaxation
) -> TimeCourse:
    """Return the time course that starts from the courses (N, U, G) of its blocks, where they follow the genes."""
    trajectories = list(course.trajectories)
    for block, smooth in zip(blocks, courses, strict=True):
        for k, number in enumerate(block.trajectories):
            old = trajectories[number]
            starts = np.array(old.values if old.starts is None else old.starts)
            timed = np.flatnonzero(np.isfinite(old.times))
            told = relaxation.follows | (block.observed[k].sum(axis=0) >= LONG)
            starts[np.ix_(timed, told)] = smooth[k][np.ix_(block.at, told)]
            trajectories[number] = replace(old, starts=frozen_array(starts))
    return replace(course, trajectories=tuple(trajectories))
