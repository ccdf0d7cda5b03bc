"""A data set ready for a run: training, validation and test data, prior and reference network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.data.catalogue import DERIVED_INTERACTIONS
from dash_hpc.data.genes import check_same_genes
from dash_hpc.data.missing import DEFAULT_MAX_MISSING, nothing_usable
from dash_hpc.data.networks import read_network
from dash_hpc.data.prior import Prior
from dash_hpc.data.record import NetworkRecord
from dash_hpc.data.sources import Sources, resolve
from dash_hpc.data.splits import split_by_index, split_fraction, split_pairs
from dash_hpc.data.textfile import read_raw
from dash_hpc.data.timecourse import TimeCourse
from dash_hpc.data.timeunit import check_unit, typical_unit
from dash_hpc.errors import PriorError, UsageError
from dash_hpc.rng import stream

__all__ = ["DataSet", "build", "digest"]

_LARGEST_LEVEL = 10.0  # beyond what published sets (0..1, log ratios of -2.5..4) hold: counts, intensities


@dataclass(frozen=True, eq=False)
class DataSet:
    """Everything a run learns from and is judged by; all parts share one gene list.

    Attributes
    ----------
    name : str
    train, validation : TimeCourse
        With the noise of the run, where noise was asked for.
    test : TimeCourse or None
    prior : Prior or None
    truth : (G, G) float64 csr_array, regulator × target, signed; or None where no reference network is known
    notes : tuple of str
        Facts that belong beside every result: what is missing, was dropped or was changed.
    truth_record : NetworkRecord or None
        What reading the reference network found.
    remarks : tuple of str
        What was recognised in the files beyond their plain form, a sentence each.
    time_unit : float, optional
        Size of the unit that models are trained in, in the data's unit of time. Left out, and "auto" in a study:
        :func:`dash_hpc.data.timeunit.typical_unit`, so that hours, minutes and seconds give the same model.

    Raises
    ------
    DataError
        Parts with other genes, or training or validation data without a single step that can be used.
    """

    name: str
    train: TimeCourse
    validation: TimeCourse
    test: TimeCourse | None = None
    prior: Prior | None = None
    truth: csr_array | None = None
    notes: tuple[str, ...] = ()
    truth_record: NetworkRecord | None = None
    remarks: tuple[str, ...] = ()
    time_unit: float = 0.0

    def __post_init__(self) -> None:
        check_same_genes(self.train.genes, self.validation.genes, "the validation data")
        if self.test is not None:
            check_same_genes(self.train.genes, self.test.genes, "the test data")
        if self.prior is not None:
            check_same_genes(self.train.genes, self.prior.genes, "the prior", PriorError)
        n = self.train.n_genes
        if self.truth is not None and self.truth.shape != (n, n):
            raise PriorError(f"the reference network must be [{n}, {n}], got {list(self.truth.shape)}")
        for part, data in (("training", self.train), ("validation", self.validation)):
            if not len(data.pairs()):
                raise nothing_usable(f"{part} data", data.max_missing)
        object.__setattr__(self, "time_unit", check_unit(self.time_unit or typical_unit(self.train)))

    @property
    def genes(self) -> tuple[str, ...]:
        return self.train.genes

    @property
    def n_genes(self) -> int:
        return self.train.n_genes


def build(spec: Mapping[str, Any], *, seed: int, base: Path) -> DataSet:
    """Make the data set that a data spec describes.

    Parameters
    ----------
    spec : mapping
        ``kind`` "simulate", "catalogue" or "files" with its keys, as in the ``[data]`` table of a study.
    seed : int
        The run's seed. Only the expression noise depends on it: splits and prior corruption are the same for all
        runs of a study, so that runs can be compared.
    base : path
        The folder that relative paths start at.

    Raises
    ------
    DataError, PriorError
        Naming file, line and gene, or the environment variable that is not set.
    """
    if spec.get("kind") == "simulate":
        return _simulated(spec, seed)
    return _from_sources(resolve(spec, Path(base)), spec, seed)


def digest(spec: Mapping[str, Any], *, base: Path) -> str:
    """SHA-256 over the roles and bytes of all files that :func:`build` would read; ``""`` for simulated data.

    The place of the files does not enter, so a moved study keeps its run ids; one changed byte changes it.
    """
    if spec.get("kind") == "simulate":
        return ""
    total = hashlib.sha256()
    for role, path in resolve(spec, Path(base)).files().items():
        total.update(f"{role}:{hashlib.sha256(read_raw(path)).hexdigest()}\n".encode())
    return total.hexdigest()


def _simulated(spec: Mapping[str, Any], seed: int) -> DataSet:
    from dash_hpc.data.simulator import simulate  # loads the ODE integrators: only where they are needed

    system = simulate(spec)
    _, unit = _reading(spec)
    data_seed = int(spec["seed"])
    noise = float(spec.get("expression_noise") or 0.0)
    noisy = system.train_val.with_noise(noise, stream(seed, "expression-noise"))
    train, validation, held = split_fraction(noisy, float(spec["validation"]), stream(data_seed, "validation-split"))
    prior, notes = _corrupted(
        system.prior_clean, float(spec.get("prior_noise") or 0.0), stream(data_seed, "prior-noise")
    )
    return DataSet(
        name=f"simulated_{system.train_val.n_genes}_seed{data_seed}",
        train=train,
        validation=validation,
        test=system.test,
        prior=prior,
        truth=system.truth,
        notes=(
            "simulated data: the reference network is exact, the test set is free of noise",
            DERIVED_INTERACTIONS,
            *_noise_note(noise),
            *notes,
            held,
        ),
        time_unit=unit or typical_unit(system.train_val),
    )


def _reading(spec: Mapping[str, Any]) -> tuple[float, float]:
    """Largest share of missing genes, and the unit to train in; 0 for one of the data's own."""
    unit = spec.get("time_unit") or "auto"
    return float(spec.get("max_missing", DEFAULT_MAX_MISSING)), 0.0 if unit == "auto" else check_unit(float(unit))


def _from_sources(sources: Sources, spec: Mapping[str, Any], seed: int) -> DataSet:
    noise = float(spec.get("expression_noise") or 0.0)
    max_missing, unit = _reading(spec)
    notes = [*sources.notes, *_noise_note(noise)]
    heard: list[str] = []

    def read(path: Path, names: Path | tuple[str, ...] | None) -> TimeCourse:
        return replace(TimeCourse.read_csv(path, names, heard=heard), max_missing=max_missing)

    train = read(sources.train, sources.genes)
    train = train.with_noise(noise, stream(seed, "expression-noise"))
    unit = unit or typical_unit(train)  # of whole trajectories: a split may cut them
    names = train.genes if sources.genes is None else sources.genes
    if sources.validation is not None:
        validation = read(sources.validation, names)
        validation = validation.with_noise(noise, stream(seed, "expression-noise", "validation"))
    else:
        train, validation, held = _split(train, sources.hold_out)
        notes.append(held)
    test = None if sources.test is None else read(sources.test, names)
    remarks = tuple(dict.fromkeys(heard))
    notes.extend(remarks)
    for part, data in (("training", train), ("validation", validation), ("test", test)):
        notes.extend(_missing_notes(part, data))
    notes.extend(_scale_note(train, validation, test))
    prior, prior_notes = _read_prior(sources, train.genes)
    notes.extend(prior_notes)
    truth = truth_record = None
    if sources.truth is not None:
        truth, truth_record = read_network(
            sources.truth, train.genes, columns=sources.truth_columns, key="data.truth_columns"
        )
        _refuse_empty(sources.truth, "reference network", truth, truth_record)
        notes.extend(f"reference network: {note}" for note in truth_record.notes())
    elif not any("reference network" in note for note in notes):
        notes.append("no reference network: balanced accuracy cannot be computed")
    return DataSet(sources.name, train, validation, test, prior, truth, tuple(notes), truth_record, remarks, unit)


def _split(data: TimeCourse, hold_out: object) -> tuple[TimeCourse, TimeCourse, str]:
    rng = stream(0, "validation-split")  # the same for all runs
    if isinstance(hold_out, float):
        return split_fraction(data, hold_out, rng)
    if isinstance(hold_out, tuple) and hold_out[:1] == ("pairs",):
        return split_pairs(data, hold_out[1], rng)
    if isinstance(hold_out, tuple):
        train, validation = split_by_index(data, hold_out)
        return train, validation, f"validation trajectories (from 0): {', '.join(map(str, hold_out))}"
    raise UsageError(f"validation must be a file, trajectory indices or a fraction, got {hold_out!r}")


def _read_prior(sources: Sources, genes: tuple[str, ...]) -> tuple[Prior | None, tuple[str, ...]]:
    if sources.prior is None:
        if sources.ppi is not None:
            raise PriorError(f"{sources.ppi}: interactions need a motif prior beside them; name it as data.prior")
        return None, ()
    prior = Prior.read_csv(
        sources.prior,
        genes,
        sources.ppi,
        sources.ppi_genes,
        columns=sources.prior_columns,
        signed=sources.prior_signed,
    )
    _refuse_empty(sources.prior, "prior", prior.motif, prior.records[0])
    corrupted, notes = _corrupted(prior, sources.prior_to_corrupt, stream(0, "prior-noise"))
    return corrupted, (*prior.notes, *notes)


def _refuse_empty(path: Path, what: str, network: csr_array, record: NetworkRecord) -> None:
    if network.nnz:
        return
    zeros = f": all {record.entries:,} entries have weight 0" if record.entries else ": every cell is 0"
    raise PriorError(f"{path}: the {what} has no edges{zeros}; give one with edges, or leave the key out")


def _corrupted(prior: Prior, fraction: float, rng: Any) -> tuple[Prior, tuple[str, ...]]:
    if not fraction:
        return prior, ()
    moved = round(fraction * prior.n_edges)
    return prior.corrupt(fraction, rng), (f"prior: {moved} of {prior.n_edges} edges relocated ({fraction:.3g})",)


def _noise_note(noise: float) -> tuple[str, ...]:
    if not noise:
        return ()
    return (f"noise N(0, {noise:g}²) added to all training and validation values, drawn from the run's seed",)


def _scale_note(*parts: TimeCourse | None) -> tuple[str, ...]:
    """A warning when expression is far outside the range that the model's activations are made for."""
    largest = max(
        float(np.nanmax(np.abs(trajectory.values))) for part in parts if part for trajectory in part.trajectories
    )
    if largest <= _LARGEST_LEVEL:
        return ()
    return (f"expression reaches {largest:,.4g}; the model is made for values of about 0 to 1, so scale the data",)


def _missing_notes(part: str, data: TimeCourse | None) -> tuple[str, ...]:
    return () if data is None else tuple(f"{part} data: {note}" for note in data.losses().notes(data.max_missing))
