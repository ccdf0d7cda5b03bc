"""A data set from files: which they are, that they are there, and how they become one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from scipy.sparse import csr_array

from dash_hpc.data.dataset import DataSet
from dash_hpc.data.design import read_design, with_design
from dash_hpc.data.kinds.base import Spec
from dash_hpc.data.kinds.parts import (
    altered,
    corrupted,
    design_notes,
    expression_noise,
    folds_asked,
    max_missing,
    missing_notes,
    noise_note,
    scale_note,
    shared_seed,
    starts_asked,
    starts_note,
    unit_asked,
)
from dash_hpc.data.networks import read_network
from dash_hpc.data.prior import Prior
from dash_hpc.data.readers import Expression, Genes, ReaderKeys, Source, reader_of
from dash_hpc.data.record import NetworkRecord
from dash_hpc.data.splits import split_by_index, split_folds, split_fraction, split_pairs
from dash_hpc.data.timecourse import TimeCourse
from dash_hpc.data.timeunit import typical_unit
from dash_hpc.errors import DataError, PriorError, UsageError
from dash_hpc.rng import stream

__all__ = ["Sources", "assemble", "checked_files"]

DEFAULT_FRACTION = 0.1


@dataclass(frozen=True)
class Sources:
    """The files of a data set, and how it is divided.

    ``hold_out`` is what becomes the validation part where ``validation`` is not a file: trajectory indices, a
    fraction, ``("pairs", n)``, or None for what the training file says, else a tenth. The ``columns`` say which column
    of a list is what, ``prior_signed`` whether the prior's signs mean anything; None = as the file shows.
    """

    name: str
    train: Source
    genes: Path | None = None
    design: Path | None = None
    validation: Source | None = None
    test: Source | None = None
    prior: Path | None = None
    ppi: Path | None = None
    ppi_genes: Path | None = None
    truth: Path | None = None
    hold_out: tuple[int, ...] | float | tuple[str, int] | None = None
    prior_to_corrupt: float = 0.0
    prior_columns: Mapping[str, str | int] | None = None
    truth_columns: Mapping[str, str | int] | None = None
    prior_signed: bool | None = None
    notes: tuple[str, ...] = ()

    def given(self) -> dict[str, Path]:
        """Role -> file, for the roles that have one."""
        roles = {field.name: getattr(self, field.name) for field in fields(self)}
        paths = {role: given.path if isinstance(given, Source) else given for role, given in roles.items()}
        return {role: path for role, path in sorted(paths.items()) if isinstance(path, Path)}

    def further(self) -> dict[str, Path]:
        """``role.name`` -> file, for what readers open beside the files that are given."""
        found: dict[str, Path] = {}
        for role in ("train", "validation", "test"):
            source = getattr(self, role)
            if source is not None:
                more = reader_of(source.path).files(source.path, _keys(source, role))
                found |= {f"{role}.{name}": path for name, path in more.items()}
        return found


def checked_files(sources: Sources, remedy: Callable[[str], str]) -> dict[str, Path]:
    """Return role -> file for all that is read, sorted by role; ``remedy`` says what to do about a role.

    Raises
    ------
    DataError
        A file is missing, or is none.
    """
    files = sources.given()
    for role, path in files.items():
        _check(path, remedy(role))
    for role, path in sources.further().items():  # a reader may look into the files that are given
        _check(path, remedy(role.partition(".")[0]))
        files[role] = path
    return dict(sorted(files.items()))


def _check(path: Path, remedy: str) -> None:
    if not path.exists():
        raise DataError(f"{path}: file not found; {remedy}")
    if not path.is_file():
        what = "a folder, not a file" if path.is_dir() else "no plain file"
        raise DataError(f"{path}: is {what}; {remedy}")


def _keys(source: Source, role: str) -> ReaderKeys:
    reader = reader_of(source.path)
    try:
        return reader.Keys(**source.keys)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, ("data", role, *first["loc"])))
        legal = ", ".join(reader.Keys.model_fields) or "none"
        raise DataError(f"{source.path}: {key}: {first['msg']}; the keys of {reader.name} files: {legal}") from None


def assemble(sources: Sources, spec: Spec, seed: int) -> DataSet:
    """Read the files and put the data set of the run with this seed together."""
    noise, limit = expression_noise(spec), max_missing(spec)
    heard: list[str] = []
    said: list[str] = []

    def read(role: str, source: Source, names: Genes) -> Expression:
        found = reader_of(source.path).read(source.path, _keys(source, role), names)
        heard.extend(found.remarks)
        said.extend(found.notes)
        return found.within(limit)

    whole = read("train", sources.train, sources.genes)
    if sources.design is not None:
        treated = read_design(sources.design, whole.course.genes, len(whole.course))
        whole = replace(whole, course=with_design(whole.course, treated))
    train = whole.course.with_noise(noise, stream(seed, "expression-noise"))
    unit = unit_asked(spec) or typical_unit(train)  # of whole trajectories: a split may cut them
    names: Genes = train.genes if sources.genes is None else sources.genes
    notes = [*sources.notes]
    validation, test = _own(whole, "validation", sources), _own(whole, "test", sources)
    if sources.validation is not None:
        validation = read("validation", sources.validation, names).course
    if validation is not None:
        validation = validation.with_noise(noise, stream(seed, "expression-noise", "validation"))
    if (folds := folds_asked(spec)) is not None:
        notes.extend(noise_note(noise))
        if validation is not None:
            train = replace(train, trajectories=(*train.trajectories, *validation.trajectories))
        train, validation, held = split_folds(train, *folds, stream(shared_seed(spec), "validation-folds"))
        notes.append(held)
    elif validation is not None:
        notes.extend(noise_note(noise))
    else:
        hold_out = sources.hold_out
        if hold_out is None:
            hold_out = DEFAULT_FRACTION
            notes.append(
                f"no validation data was named: a fraction of {DEFAULT_FRACTION:g} is held out of the training file"
            )
        notes.extend(noise_note(noise))
        train, validation, held = _split(train, hold_out, stream(shared_seed(spec), "validation-split"))
        notes.append(held)
    if sources.test is not None:
        test = read("test", sources.test, names).course
    remarks = tuple(dict.fromkeys(heard))
    notes.extend(remarks)
    notes.extend(dict.fromkeys(said))
    notes.extend(starts_note(starts_asked(spec)))
    for part, data in (("training", train), ("validation", validation), ("test", test)):
        notes.extend(missing_notes(part, data))
    notes.extend(scale_note(train, validation, test))
    notes.extend(design_notes(train))
    prior, prior_notes = _read_prior(sources, train.genes, spec)
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
    return DataSet(
        sources.name, train, validation, test, prior, truth, tuple(notes), truth_record, remarks, unit,
        starts_asked(spec),
    )  # fmt: skip


def _own(whole: Expression, part: str, sources: Sources) -> TimeCourse | None:
    """Return the part that the training file itself names; the study must not name another."""
    own: TimeCourse | None = getattr(whole, part)
    asked = getattr(sources, part) is not None or (part == "validation" and sources.hold_out is not None)
    if own is not None and asked:
        raise DataError(f"{sources.train.path}: says itself which trajectories are {part} data; leave out data.{part}")
    return own


def _split(data: TimeCourse, hold_out: object, rng: np.random.Generator) -> tuple[TimeCourse, TimeCourse, str]:
    if isinstance(hold_out, float):
        return split_fraction(data, hold_out, rng)
    if isinstance(hold_out, tuple) and hold_out[:1] == ("pairs",):
        return split_pairs(data, hold_out[1], rng)
    if isinstance(hold_out, tuple):
        train, validation = split_by_index(data, hold_out)
        return train, validation, f"validation trajectories (from 0): {', '.join(map(str, hold_out))}"
    raise UsageError(f"validation must be a file, trajectory indices or a fraction, got {hold_out!r}")


def _read_prior(sources: Sources, genes: tuple[str, ...], spec: Spec) -> tuple[Prior | None, tuple[str, ...]]:
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
    moved, notes = corrupted(prior, sources.prior_to_corrupt, stream(shared_seed(spec), "prior-noise"))
    changed, more = altered(moved, spec)
    return changed, (*prior.notes, *notes, *more)


def _refuse_empty(path: Path, what: str, network: csr_array, record: NetworkRecord) -> None:
    if network.nnz:
        return
    zeros = f": all {record.entries:,} entries have weight 0" if record.entries else ": every cell is 0"
    raise PriorError(f"{path}: the {what} has no edges{zeros}; give one with edges, or leave the key out")
