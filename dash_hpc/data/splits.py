"""Dividing a time course into training and validation parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dash_hpc.data.missing import nothing_usable
from dash_hpc.data.timecourse import TimeCourse, Trajectory, valid_starts
from dash_hpc.errors import DataError, UsageError

__all__ = ["split_by_index", "split_folds", "split_fraction", "split_pairs"]


def split_by_index(timecourse: TimeCourse, validation: Sequence[int]) -> tuple[TimeCourse, TimeCourse]:
    """Training and validation part, where the validation trajectories are listed (counted from 0).

    Raises
    ------
    DataError
        An index is out of range or repeated, or the list is empty or takes all trajectories.
    """
    try:
        held = timecourse.select(validation)
    except UsageError as reason:
        raise DataError(f"the list of validation trajectories is wrong: {reason}") from None
    if len(set(validation)) != len(validation):
        raise DataError(f"the validation trajectories {list(validation)} repeat an index; name each once")
    if not 0 < len(held) < len(timecourse):
        raise DataError(
            f"validation takes {len(held)} of {len(timecourse)} trajectories; at least one must be left on either side"
        )
    chosen = set(validation)
    return timecourse.select([k for k in range(len(timecourse)) if k not in chosen]), held


def split_fraction(
    timecourse: TimeCourse, fraction: float, rng: np.random.Generator
) -> tuple[TimeCourse, TimeCourse, str]:
    """Hold out a share of the trajectories, or of the pairs where there is one trajectory only.

    At least one is held out and one kept. Returns training and validation part, and a sentence that names what
    was held out.

    Raises
    ------
    DataError
        The fraction is not between 0 and 1, or there is nothing to divide.
    """
    if not 0 < fraction < 1:
        raise DataError(f"the validation fraction must be between 0 and 1, got {fraction!r}")
    if len(timecourse) == 1:
        n_pairs = len(timecourse.pairs())
        return split_pairs(timecourse, min(max(1, round(fraction * n_pairs)), n_pairs - 1), rng)
    n = min(max(1, round(fraction * len(timecourse))), len(timecourse) - 1)
    chosen = sorted(int(k) for k in rng.permutation(len(timecourse))[:n])
    train, validation = split_by_index(timecourse, chosen)
    return train, validation, f"validation trajectories (from 0): {', '.join(map(str, chosen))}"


def split_folds(
    timecourse: TimeCourse, folds: int, fold: int | str, rng: np.random.Generator
) -> tuple[TimeCourse, TimeCourse, str]:
    """Divide whole trajectories into ``folds`` parts of nearly equal size and hold out number ``fold``, from 0.

    Each trajectory is held out in one fold. ``"all"`` holds out none: all trajectories train, and are the validation
    part as well. Returns training and validation part, and a sentence that names what was held out.

    Raises
    ------
    DataError
        There are fewer trajectories than folds.
    """
    count = len(timecourse)
    if count < folds:
        have = f"{count} trajector{'y' if count == 1 else 'ies'}"
        raise DataError(f"validation in {folds} folds needs as many whole trajectories, and the data have {have}")
    if fold == "all":
        return timecourse, timecourse, "all trajectories train: the validation error is that of the training data"
    held = sorted(int(k) for k in rng.permutation(count)[int(fold) :: folds])
    train, validation = split_by_index(timecourse, held)
    return train, validation, f"fold {fold} of {folds} (from 0), validation trajectories: {', '.join(map(str, held))}"


def split_pairs(
    timecourse: TimeCourse, n_validation: int, rng: np.random.Generator
) -> tuple[TimeCourse, TimeCourse, str]:
    """Hold out ``n_validation`` one-step transitions of long trajectories.

    A held-out transition becomes a validation trajectory of two time points; the training trajectories are the
    stretches in between, so that no training pair crosses a held-out one. The two states of a held-out transition
    are still seen in training, as the end and the start of its neighbours: validation measures the step, not
    unseen states.

    Raises
    ------
    DataError
        There are not enough transitions that can be used.
    """
    limit = timecourse.max_missing
    starts = [(k, int(i)) for k, t in enumerate(timecourse.trajectories) for i in valid_starts(t, limit)]
    if not starts:
        raise nothing_usable("training file", limit)
    if not 0 < n_validation < len(starts):
        raise DataError(
            f"cannot hold out {n_validation} of {len(starts)} pairs of time points that can be used; "
            "at least one must be left on either side"
        )
    chosen = sorted(starts[i] for i in rng.permutation(len(starts))[:n_validation])
    train: list[Trajectory] = []
    for k, trajectory in enumerate(timecourse.trajectories):
        cuts = [i for owner, i in chosen if owner == k]
        for first, last in zip([0, *(i + 1 for i in cuts)], [*cuts, len(trajectory) - 1], strict=True):
            if last > first:
                train.append(trajectory.part(first, last))
    validation = [timecourse.trajectories[k].part(i, i + 1) for k, i in chosen]
    single = len(timecourse) == 1
    names = ", ".join(str(i) if single else f"{k}:{i}" for k, i in chosen)
    note = f"validation pairs (start point, from 0): {names}"
    return replace(timecourse, trajectories=tuple(train)), replace(timecourse, trajectories=tuple(validation)), note
