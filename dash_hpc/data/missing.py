"""Missing values: which steps can be used all the same, and where a step starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dash_hpc.data.checks import FloatArray, frozen_array
from dash_hpc.errors import DataError

__all__ = ["DEFAULT_MAX_MISSING", "Losses", "counted_ends", "filled_starts", "nothing_usable", "usable_starts"]

#: Share of the genes that may be missing where a step starts.
DEFAULT_MAX_MISSING = 0.25


@dataclass(frozen=True)
class Losses:
    """What missing times and values cost a time course.

    Attributes
    ----------
    possible : int
        Steps between neighbouring time points.
    used : int
    no_time : int
        Left out: the time of one end is missing.
    too_few : int
        Left out: too large a share of the genes is missing where it starts, or no gene is measured at both ends.
    values : int
        Values that are missing, of ``all_values``.
    all_values : int
    filled : int
        Start values of the used steps that were filled in.
    not_counted : int
        Values of the used steps that do not count in an error, of ``entries``: the gene is missing at one of the ends.
    entries : int
    never : tuple of int
        Genes of which no value counts.
    """

    possible: int
    used: int
    no_time: int
    too_few: int
    values: int
    all_values: int
    filled: int
    not_counted: int
    entries: int
    never: tuple[int, ...] = ()

    def account(self) -> str:
        """What missing values cost, as a clause; "" when there are none."""
        if not self.values:
            return ""
        return (
            f"{self.values:,} of {self.all_values:,} values missing ({100 * self.values / self.all_values:.2g} %): "
            f"{self.filled:,} start values filled in from neighbouring times, {self.not_counted:,} of {self.entries:,} "
            "end values do not count"
        )

    def warnings(self, max_missing: float) -> tuple[str, ...]:
        """What was lost and may be wanted, a clause each."""
        told = []
        if self.too_few:
            told.append(
                f"{self.too_few:,} of {self.possible:,} pairs dropped, over {max_missing:.3g} of the genes are missing "
                "at the start, or all at one of the ends (data.max_missing)"
            )
        if self.never:
            told.append(
                f"genes without two neighbouring values: {len(self.never):,}; nothing is learnt of their course"
            )
        return tuple(told)

    def notes(self, max_missing: float) -> tuple[str, ...]:
        """All of it, a clause each; empty when nothing is missing."""
        told = [self.account()] if self.values else []
        if self.no_time:
            told.append(f"{self.no_time:,} of {self.possible:,} pairs dropped, a time is missing at one end")
        return (*told, *self.warnings(max_missing))


def filled_starts(series: Sequence[tuple[FloatArray, FloatArray]], genes: Sequence[str]) -> list[FloatArray]:
    """Fill in the missing values of times (T,) and values (T, G) per trajectory, for steps to start from.

    A gene is interpolated linearly in time between its neighbouring values in the same trajectory; before the first
    and after the last one it has that value. Where a trajectory has no value of a gene, its mean over all trajectories
    is taken. Rows without a time stay as they are. Without missing values the array itself is returned.

    Raises
    ------
    DataError
        When no trajectory has a value of a gene.
    """
    means: FloatArray | None = None
    found = []
    for times, values in series:
        missing = np.isnan(values)
        if not missing.any():
            found.append(values)
            continue
        starts = values.copy()
        timed = np.isfinite(times)
        for gene in np.flatnonzero(missing.any(axis=0)):
            here = timed & ~missing[:, gene]
            gaps = timed & missing[:, gene]
            if here.any():
                starts[gaps, gene] = np.interp(times[gaps], times[here], values[here, gene])
                continue
            if means is None:
                means = _means(series)
            if np.isnan(means[gene]):
                raise DataError(f"gene {genes[gene]} has no value in any trajectory; remove the gene")
            starts[gaps, gene] = means[gene]
        found.append(frozen_array(starts))
    return found


def _means(series: Sequence[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Mean of each gene over all its values; NaN where there are none."""
    total = sum(np.nansum(values, axis=0) for _, values in series)
    count = sum(np.count_nonzero(~np.isnan(values), axis=0) for _, values in series)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count, dtype=np.float64)


def counted_ends(values: FloatArray, start: NDArray[np.int64]) -> FloatArray:
    """End states (N, G) of the steps from rows ``start``: NaN where the gene was not measured at both ends.

    A start that was filled in holds something of the end it lies before, so it must not be judged by that end.
    """
    ends = values[start + 1]
    ends[np.isnan(values[start])] = np.nan
    return ends


def nothing_usable(part: str, max_missing: float) -> DataError:
    """The error for data of which no step can be used."""
    return DataError(
        f"the {part} has no two neighbouring time points that can be used: everywhere a time is missing, or more than "
        f"{max_missing:.3g} of the genes at the start (data.max_missing)"
    )


def usable_starts(times: FloatArray, values: FloatArray, max_missing: float) -> tuple[NDArray[np.int64], int, int]:
    """Indices i of the steps from time point i to i + 1 that can be used, and how many cannot.

    Returns
    -------
    (starts, no_time, too_few)
        The latter as in :class:`Losses`.
    """
    timed = np.isfinite(times)
    timed = timed[:-1] & timed[1:]
    missing = np.isnan(values)
    enough = (missing[:-1].mean(axis=1) <= max_missing) & (~missing[:-1] & ~missing[1:]).any(axis=1)
    return np.flatnonzero(timed & enough), int((~timed).sum()), int((timed & ~enough).sum())
