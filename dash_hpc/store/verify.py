"""Check everything in the output folder of a study against its checksums, its plan and its index."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.ids import spec_id
from dash_hpc.store.bundle import check_bundle
from dash_hpc.store.checkpoint import read_checkpoint
from dash_hpc.store.index import INDEX_FILE, read_index, summary
from dash_hpc.store.makers import mixtures
from dash_hpc.store.plan import PLAN_FILE, is_store, read_plan
from dash_hpc.store.publish import is_temporary, seal_of_text
from dash_hpc.store.reading import read_bytes
from dash_hpc.store.runfile import RunRecord, read_run
from dash_hpc.store.scan import RunFile, choose, read_data, scan, scan_bundles
from dash_hpc.store.schema import run_path, runs_folder

__all__ = ["Finding", "Verification", "verify"]

STUDY_FILE = "study.toml"
_LARGEST_STUDY = 1 << 24


@dataclass(frozen=True)
class Finding:
    """One thing to know about a file.

    ``kind`` is "damage" (do something), "incomplete" (run the study again), "mixture" (all is whole, but means over the
    runs mix unlike things) or "note" (nothing is wrong).
    """

    kind: str
    text: str


@dataclass
class Verification:
    """What :func:`verify` found.

    Attributes
    ----------
    planned, done, failed, running, missing : int
        Runs of the plan by state; damaged ones count as missing.
    extra : int
        Whole runs that belong to an earlier plan.
    bundles : int
    bytes_read : int
    findings : list of Finding
    """

    planned: int = 0
    done: int = 0
    failed: int = 0
    running: int = 0
    missing: int = 0
    extra: int = 0
    bundles: int = 0
    bytes_read: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def damaged(self) -> bool:
        """Whether a file is damaged, foreign content passes for ours, or plan, spec and id contradict each other."""
        return any(finding.kind == "damage" for finding in self.findings)

    @property
    def complete(self) -> bool:
        """Whether every run of the plan is recorded as done or failed."""
        return self.missing == self.running == 0


def verify(folder: Path | str) -> Verification:
    """Read every byte of a study's folder and check it.

    Checked are the checksums of files, datasets and bundles; that each record is complete and lies under its own id;
    that each spec has its id; that the plan is whole and its runs are there; that the index says what the run files
    say. Nothing is changed.

    Raises
    ------
    StoreError
        When the folder is missing or is not the output of a study.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StoreError(f"{folder}: no such folder; give the output folder of a study")
    if not is_store(folder) and not runs_folder(folder).is_dir():
        raise StoreError(f"{folder}: not the output folder of a study, it has no {PLAN_FILE}")
    result = Verification()
    planned = _check_plan(folder, result)
    _check_study(folder, result)
    chosen = _check_runs(folder, planned, result)
    _check_index(folder, chosen, result)
    _check_rest(folder, chosen, result)
    return result


def _damage(result: Verification, text: object) -> None:
    result.findings.append(Finding("damage", str(text)))


def _note(result: Verification, text: object) -> None:
    result.findings.append(Finding("note", str(text)))


def _check_plan(folder: Path, result: Verification) -> tuple[str, ...]:
    path = folder / PLAN_FILE
    try:
        plan = read_plan(folder, thorough=True)
    except StoreError as error:
        _damage(result, error)
        return ()
    result.planned = plan.header.runs
    for problem in plan.problems(path):
        _damage(result, problem)
    return plan.ids


def _check_study(folder: Path, result: Verification) -> None:
    path = folder / STUDY_FILE
    try:
        data = read_bytes(path, limit=_LARGEST_STUDY)
    except StoreError as error:
        _damage(result, error)
        return
    result.bytes_read += len(data)
    if not seal_of_text(data):
        _damage(result, f"{path}: its checksum differs or is missing; give the run command again to write it anew")


def _check_runs(
    folder: Path, planned: Sequence[str], result: Verification
) -> dict[str, tuple[RunFile, dict[str, Any]]]:
    files, problems = scan(folder)
    bundled, more = scan_bundles(folder)
    for problem in problems:
        _note(result, problem)
    for problem in more:
        _damage(result, problem)
    for path in sorted({file.path for file in bundled.values()}):
        result.bundles += 1
        try:
            check_bundle(path)
        except StoreError as error:
            _damage(result, error)

    def look_up(file: RunFile) -> dict[str, Any] | str:
        try:
            data = read_data(file)
            result.bytes_read += len(data)
            record = read_run(file.path, data=data)
            _check_record(file, record)
        except StoreError as error:
            return str(error)
        return summary(record)

    chosen, further = choose(files, bundled, look_up)
    for problem in further:
        _damage(result, problem)
    usable: dict[str, tuple[RunFile, dict[str, Any]]] = {}
    for run_id, (file, row) in chosen.items():
        if isinstance(row, str):
            _damage(result, row)
        else:
            usable[run_id] = (file, row)
    states = [usable[run_id][1]["status"] for run_id in planned if run_id in usable]
    result.done, result.failed, result.running = (states.count(state) for state in ("done", "failed", "running"))
    result.missing = len(planned) - len(states)
    result.extra = len(usable) - len(states)
    if not result.complete:
        absent = [run_id for run_id in planned if run_id not in usable]
        which = f" (first: {absent[0]})" if absent else ""
        text = f"{result.missing} runs of the plan are not there{which}, {result.running} not ended"
        result.findings.append(Finding("incomplete", f"{folder}: {text}; the run command goes on with them"))
    rows = [usable[run_id][1] for run_id in planned if run_id in usable]
    result.findings += [Finding("mixture", f"{folder}: {mixture}") for mixture in mixtures(rows)]
    if result.extra and planned:
        _note(result, f"{folder}: {result.extra} runs of an earlier plan, whole")
    return usable


def _check_record(file: RunFile, record: RunRecord) -> None:
    """Refuse a record that is whole but cannot be what its place says."""
    where = f"{file.path}" if file.member is None else f"{file.path}: run {file.run_id}"
    if record.run_id != file.run_id:
        raise StoreError(f"{file.path}: holds run {record.run_id} in place of {file.run_id}; move it elsewhere")
    if file.member is not None and record.status != file.member.status:
        raise StoreError(f"{where}: is {record.status}, but the bundle says {file.member.status}; move it elsewhere")
    if spec_id(record.spec) != record.run_id:
        raise StoreError(
            f"{where}: its spec belongs to id {spec_id(record.spec)}; move it away and run the study again"
        )
    if record.complete != (record.status != "running"):
        raise StoreError(f"{where}: {record.status}, but its mark of completeness contradicts; move it away")
    if record.status == "done" and (record.network is None or not record.metrics):
        raise StoreError(f"{where}: done, but without network or metrics; move it away and run the study again")
    epochs = record.history.get("epoch")
    if epochs is not None and (np.diff(epochs) <= 0).any():
        raise StoreError(f"{where}: the epochs of its history are not in order; move it away and run the study again")


def _check_index(folder: Path, chosen: Mapping[str, tuple[RunFile, dict[str, Any]]], result: Verification) -> None:
    path = folder / INDEX_FILE
    try:
        index = read_index(folder, len(chosen))
    except StoreError as error:
        _damage(result, f"{error}; dash-hpc reindex writes it anew")
        return
    ended = {run_id: entry for run_id, entry in chosen.items() if entry[1]["status"] != "running"}
    indexed = set(index or ())
    stale = len(indexed ^ ended.keys())
    for run_id in indexed & ended.keys():
        file, row = ended[run_id]
        if index is None or index.stamp(run_id) != (file.mtime_ns, file.size):
            stale += 1
        elif not _same_row(index.row(run_id), row):
            _damage(
                result, f"{path}: its row of run {run_id} contradicts the run file; dash-hpc reindex writes it anew"
            )
    if stale:
        _note(result, f"{path}: old for {stale} runs, which are read from their own files; dash-hpc reindex renews it")


def _same_row(indexed: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    for key, value in own.items():
        found = indexed.get(key)
        if value is None:
            # The index has one type per column, so that nothing is NaN or "" there.
            same = found is None or found == "" or found != found
        elif isinstance(value, float) and isinstance(found, (int, float)):
            same = found == value or (found != found and value != value)
        else:
            same = found == value
        if not same:
            return False
    return True


def _check_rest(folder: Path, chosen: Mapping[str, tuple[RunFile, dict[str, Any]]], result: Verification) -> None:
    for path in sorted(_walk(folder)):
        name = path.name
        if ".damaged-" in name:
            _note(result, f"{path}: a damaged file that was set aside; look at it or remove it")
        elif is_temporary(path):
            _note(result, f"{path}: a publication under way, or what a killed writer left; the next start removes it")
        elif name.endswith(".ckpt.h5"):
            run_id = name.split(".")[0]
            try:
                found = read_checkpoint(path, arrays=False).run_id
                if found != run_id or run_path(folder, run_id).parent != path.parent:
                    raise StoreError(f"{path}: a checkpoint of run {found} in a strange place; move it elsewhere")
            except StoreError as error:
                _damage(result, error)
                continue
            if run_id in chosen and chosen[run_id][1]["status"] == "done":
                _note(result, f"{path}: a checkpoint of a run that is done; it may be removed")


def _walk(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / "bundles", folder / "report", runs_folder(folder), *_groups(folder)):
        with suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)


def _groups(folder: Path) -> list[Path]:
    with suppress(OSError), os.scandir(runs_folder(folder)) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []
