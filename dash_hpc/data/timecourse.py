"""Expression over time: trajectories, and the one-step pairs a neural ODE is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dash_hpc.data.checks import FloatArray, checked_series, frozen_array
from dash_hpc.data.design import UNTREATED, Treatment
from dash_hpc.data.genes import gene_tuple
from dash_hpc.data.missing import DEFAULT_MAX_MISSING, Losses, counted_ends, filled_starts, usable_starts
from dash_hpc.data.trajectories import read_trajectories, write_trajectories
from dash_hpc.errors import DataError, UsageError

__all__ = ["Pairs", "TimeCourse", "Trajectory"]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One sample followed over time.

    Attributes
    ----------
    times : (T,) float64
        Strictly increasing, in the unit of the data (h, min, pseudotime); NaN = the time is not known.
    values : (T, G) float64
        Expression; NaN = missing.
    starts : (T, G) float64, optional
        The values with the missing ones filled in, for a step to start from; left out, a :class:`TimeCourse` makes it.
    treatment : Treatment
        What was done to the sample: inputs that were on, genes that were held. Nothing, where it is left out.
    """

    times: FloatArray
    values: FloatArray
    starts: FloatArray | None = None
    treatment: Treatment = UNTREATED

    def __len__(self) -> int:
        return len(self.times)

    def part(self, first: int, last: int) -> Trajectory:
        """Return the time points ``first`` to ``last``, both included; what was filled in stays as it is."""
        rows = slice(first, last + 1)
        times, values = frozen_array(self.times[rows].copy()), frozen_array(self.values[rows].copy())
        whole = self.starts is None or self.starts is self.values
        starts = values if whole else frozen_array(self.starts[rows].copy())  # type: ignore[index]
        return Trajectory(times, values, starts, self.treatment)


@dataclass(frozen=True, eq=False)
class Pairs:
    """N transitions from one time point to the next (PHOENIX, Genome Biology 2024: one-step prediction).

    Attributes
    ----------
    y0 : (N, G) float64, C-contiguous
        State at the start; missing values are filled in.
    y1 : (N, G) float64, C-contiguous
        State at the end; NaN = does not count in an error, because the gene was not measured at both ends.
    t0, t1 : (N,) float64
        The two times, ``t1 > t0``, in the unit of the data.
    trajectory : (N,) int64
        Index of the trajectory each pair comes from, counted from 0.
    """

    y0: FloatArray
    y1: FloatArray
    t0: FloatArray
    t1: FloatArray
    trajectory: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.t0)

    def in_unit(self, size: float) -> Pairs:
        """Return the pairs with times in a unit that is ``size`` of theirs long."""
        return replace(self, t0=self.t0 / size, t1=self.t1 / size)

    def take(self, indices: ArrayLike) -> Pairs:
        """Return the pairs at ``indices`` (integers or a boolean mask), in that order."""
        chosen = np.asarray(indices)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        return Pairs(
            *(np.ascontiguousarray(column[chosen]) for column in (self.y0, self.y1, self.t0, self.t1, self.trajectory))
        )


@dataclass(frozen=True, eq=False, repr=False)
class TimeCourse:
    """Expression of G genes in one or more trajectories, which may differ in length and have missing values.

    Build one with :meth:`from_arrays` or :meth:`read_csv`; both check the values. Arrays are not writeable.

    Attributes
    ----------
    genes : tuple of str
        Distinct names, in the order of the columns of every ``values``.
    trajectories : tuple of Trajectory
    max_missing : float
        Largest share of the genes that may be missing where a step starts.
    """

    genes: tuple[str, ...]
    trajectories: tuple[Trajectory, ...]
    max_missing: float = DEFAULT_MAX_MISSING

    def __post_init__(self) -> None:
        if any(trajectory.starts is None for trajectory in self.trajectories):
            starts = filled_starts([(t.times, t.values) for t in self.trajectories], self.genes)
            filled = tuple(replace(t, starts=s) for t, s in zip(self.trajectories, starts, strict=True))
            object.__setattr__(self, "trajectories", filled)

    @property
    def n_genes(self) -> int:
        return len(self.genes)

    def __len__(self) -> int:
        return len(self.trajectories)

    def __repr__(self) -> str:
        points = sum(len(t) for t in self.trajectories)
        return f"TimeCourse({self.n_genes} genes, {len(self)} trajectories, {points} time points)"

    @classmethod
    def from_arrays(
        cls,
        values: Iterable[ArrayLike],
        times: Iterable[ArrayLike],
        genes: Sequence[str] | None = None,
    ) -> TimeCourse:
        """Make a time course from arrays, which are copied.

        Parameters
        ----------
        values : list of (T, G) arrays
            One array per trajectory; NaN = missing. T may differ between trajectories.
        times : list of (T,) arrays
            Strictly increasing within a trajectory; NaN = not known.
        genes : sequence of G str, optional
            Left out: gene1, gene2, ...

        Raises
        ------
        DataError
            Shapes that do not fit, infinite values, repeated or unsorted times, a gene without any value, duplicate
            names.
        """
        value_list = [np.array(v, dtype=np.float64, order="C") for v in values]
        time_list = [np.array(t, dtype=np.float64) for t in times]
        if not value_list or len(value_list) != len(time_list):
            raise DataError(
                f"values and times must be lists with one array per trajectory, got {len(value_list)} and "
                f"{len(time_list)}"
            )
        for k, (v, t) in enumerate(zip(value_list, time_list, strict=True)):
            if v.ndim != 2 or t.shape != v.shape[:1] or v.shape[1] == 0 or v.shape[0] == 0:
                raise DataError(
                    f"trajectory {k}: values must be [T, G] and times [T] with T and G of 1 or more, "
                    f"got {list(v.shape)} and {list(t.shape)}"
                )
            if v.shape[1] != value_list[0].shape[1]:
                raise DataError(f"trajectory {k} has {v.shape[1]} genes, but trajectory 0 has {value_list[0].shape[1]}")
        names = gene_tuple(genes, value_list[0].shape[1], "genes")
        trajectories = tuple(
            Trajectory(*checked_series(t, v, names, lambda row, k=k: f"trajectory {k}"))  # type: ignore[misc]
            for k, (v, t) in enumerate(zip(value_list, time_list, strict=True))
        )
        return cls(names, trajectories)

    @classmethod
    def read_csv(
        cls, path: str | Path, genes: str | Path | Sequence[str] | None = None, *, heard: list[str] | None = None
    ) -> TimeCourse:
        """Read the layout of the published PHOENIX and DASH files, also gzipped (``.csv.gz``).

        Line 1 holds the number of genes and of trajectories. Then each trajectory takes one line per gene (one
        cell per time point) and one line of times. Empty cells on the right pad a trajectory that is shorter than
        the widest one; other empty cells (or NA, NaN) are missing values.

        Parameters
        ----------
        path : path
        genes : path or sequence of str, optional
            A gene-name file (a header, then one name per row) or the names. Left out: gene1, gene2, ...
        heard : list of str, optional
            Takes what was recognised beyond the plain form, a sentence each.

        Raises
        ------
        DataError
            Naming file, line and, where there is one, gene and trajectory (counted from 0).
        """
        names, series = read_trajectories(path, genes, heard=heard)
        try:
            return cls(names, tuple(Trajectory(times, values) for times, values in series))
        except DataError as reason:
            raise DataError(f"{path}: {reason}") from None

    def write_csv(self, path: str | Path) -> None:
        """Write the layout that :meth:`read_csv` reads, every number in full; ``.gz`` in the name compresses.

        The names of the genes are not part of the file. The same data gives the same bytes. The file appears whole or
        not at all; its folder must be there.

        Raises
        ------
        DataError
            The disk refuses it; names the file.
        """
        write_trajectories(path, [(t.times, t.values) for t in self.trajectories])

    def pairs(self) -> Pairs:
        """All transitions between neighbouring time points that can be used, in the order of trajectories and times.

        Missing start values are filled in (:func:`dash_hpc.data.missing.filled_starts`); an end value counts where its
        gene was measured at both ends. A transition is left out where a time is missing, where more than
        ``max_missing`` of the genes are missing at its start, or where none counts; a gap is not bridged.
        """
        parts = [(k, t, valid_starts(t, self.max_missing)) for k, t in enumerate(self.trajectories)]
        n = sum(len(start) for _, _, start in parts)
        y0, y1 = np.empty((n, self.n_genes)), np.empty((n, self.n_genes))
        t0, t1, index = np.empty(n), np.empty(n), np.empty(n, dtype=np.int64)
        at = 0
        for k, trajectory, start in parts:
            rows = slice(at, at + len(start))
            starts = trajectory.values if trajectory.starts is None else trajectory.starts
            y0[rows], y1[rows] = starts[start], counted_ends(trajectory.values, start)
            t0[rows], t1[rows] = trajectory.times[start], trajectory.times[start + 1]
            index[rows] = k
            at += len(start)
        return Pairs(y0, y1, t0, t1, index)

    def losses(self) -> Losses:
        """Count what missing times and values cost."""
        counts = np.zeros(3, dtype=np.int64)
        filled = not_counted = missing = 0
        counted = np.zeros(self.n_genes, dtype=np.int64)
        for trajectory in self.trajectories:
            start, no_time, too_few = usable_starts(trajectory.times, trajectory.values, self.max_missing)
            counts += (len(start), no_time, too_few)
            gone = np.isnan(trajectory.values)
            missing += int(gone.sum())
            filled += int(gone[start].sum())
            counts_here = ~(gone[start] | gone[start + 1])
            counted += counts_here.sum(axis=0)
            not_counted += int((~counts_here).sum())
        used, no_time, too_few = (int(count) for count in counts)
        return Losses(
            possible=used + no_time + too_few,
            used=used,
            no_time=no_time,
            too_few=too_few,
            values=missing,
            all_values=sum(trajectory.values.size for trajectory in self.trajectories),
            filled=filled,
            not_counted=not_counted,
            entries=used * self.n_genes,
            never=tuple(int(gene) for gene in np.flatnonzero(counted == 0)),
        )

    def select(self, indices: Iterable[int]) -> TimeCourse:
        """Return the trajectories at ``indices`` (counted from 0), in that order.

        Raises
        ------
        UsageError
            When an index is not an integer in 0..n-1.
        """
        chosen = []
        for index in indices:
            if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
                raise UsageError(f"trajectory index must be an integer, got {index!r}")
            if not 0 <= index < len(self):
                raise UsageError(f"trajectory index {index} is not in 0..{len(self) - 1}")
            chosen.append(self.trajectories[index])
        return replace(self, trajectories=tuple(chosen))

    def with_noise(self, sd: float, rng: np.random.Generator) -> TimeCourse:
        """Add independent N(0, sd²) noise to every value, the first time point and input genes included.

        Values are not clipped and missing values stay missing; what steps start from is filled in anew, from noisy
        values. ``sd = 0`` returns the same data and draws nothing.

        Raises
        ------
        UsageError
            When ``sd`` is negative or not finite.
        """
        if not np.isfinite(sd) or sd < 0:
            raise UsageError(f"expression noise must be a number of 0 or more, got {sd!r}")
        if sd == 0:
            return self
        noisy = (frozen_array(t.values + sd * rng.standard_normal(t.values.shape)) for t in self.trajectories)
        return replace(
            self,
            trajectories=tuple(
                Trajectory(t.times, values, treatment=t.treatment)
                for t, values in zip(self.trajectories, noisy, strict=True)
            ),
        )


def valid_starts(trajectory: Trajectory, max_missing: float = DEFAULT_MAX_MISSING) -> NDArray[np.int64]:
    """Indices i for which the transition from time point i to i + 1 can be used."""
    return usable_starts(trajectory.times, trajectory.values, max_missing)[0]
