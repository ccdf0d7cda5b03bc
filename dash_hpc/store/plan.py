"""``plan.jsonl``: the runs of a study, longest first; its presence makes a folder a store.

The first line is a header (format, version, study, number of runs, folder that relative data paths start from,
command line, and the SHA-256 of the file as it is with 64 zeros in its place); every further line is
``{"run_id": …, "spec": …}``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dash_hpc.errors import OtherVersion, StoreError
from dash_hpc.ids import spec_id
from dash_hpc.names import json_text
from dash_hpc.store.files import in_bytes
from dash_hpc.store.notes import anything, listing, parse_json, record, text, whole
from dash_hpc.store.publish import canonical_json, publish_text
from dash_hpc.store.reading import open_file
from dash_hpc.store.schema import SPEC, run_path

__all__ = [
    "PLAN_FILE",
    "Plan",
    "PlanHeader",
    "is_store",
    "plan_header",
    "planned_ids",
    "planned_spec",
    "read_plan",
    "write_plan",
]

PLAN_FILE = "plan.jsonl"
_FORMAT = "dash-hpc plan"
_VERSION = 1
_NO_DIGEST = "0" * 64
_MARK = '"sha256": "{}"'
_ROW = re.compile(rb'\{"run_id":"([0-9a-f]{16})","spec":(\{.*\})\}\n')
_LONGEST_ROW = 1 << 23
_MOST_LINES = 3
_MOST_RUNS = 10_000_000
_ANY_HEADER = record({"format": text(pattern=_FORMAT), "version": whole()}, others=anything)
_HEADER = record(
    {
        "study": text(10_000),
        "runs": whole(0, _MOST_RUNS),
        "base": text(name=True),
        "command": listing(text(200_000, name=True)),
    },
    {"sha256": text(pattern="[0-9a-f]{64}")},
    anything,
)


@dataclass(frozen=True)
class PlanHeader:
    """First line of a plan: study name, number of runs, base folder of relative data paths, command line."""

    study: str
    runs: int
    base: Path
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A plan as a whole: header, ids in order, whether its checksum fits, and one line per run whose spec is not the
    one that belongs to its id.
    """

    header: PlanHeader
    ids: tuple[str, ...]
    sealed: bool
    changed: tuple[str, ...]

    def problems(self, path: Path) -> tuple[str, ...]:
        """Return a few lines that say what is wrong with the plan at ``path``; none when nothing is."""
        if self.sealed and not self.changed:
            return ()
        more = len(self.changed) - _MOST_LINES
        lines = [*self.changed[:_MOST_LINES], *([f"{path}: {more} more runs like that"] if more > 0 else [])]
        return tuple(lines) or (f"{path}: its checksum differs; give the run command again to write it anew",)


def is_store(folder: Path | str) -> bool:
    """Return whether ``folder`` holds the plan of a study."""
    return (Path(folder) / PLAN_FILE).is_file()


def write_plan(
    folder: Path | str,
    runs: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    study: str,
    base: Path,
    command: Sequence[str] = (),
) -> None:
    """Publish the plan; ``runs`` are (run id, spec) in the order in which they shall start.

    Raises
    ------
    StoreError
        When a run id is malformed, the folder cannot be written, or another version of dash-hpc wrote its plan.
    """
    for run_id, _ in runs:
        run_path(folder, run_id)
    _refuse_other_version(Path(folder) / PLAN_FILE)
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "study": study,
        "runs": len(runs),
        "base": str(Path(base).absolute()),
        "command": list(command),
        "sha256": _NO_DIGEST,
    }
    lines = [json_text(header)]
    # The id comes first, so that a worker finds its line without parsing the others.
    lines += [f'{{"run_id":"{run_id}","spec":{canonical_json(spec)}}}' for run_id, spec in runs]
    whole_text = "\n".join(lines) + "\n"
    digest = hashlib.sha256(whole_text.encode()).hexdigest()
    publish_text(Path(folder) / PLAN_FILE, whole_text.replace(_MARK.format(_NO_DIGEST), _MARK.format(digest), 1))


def read_plan(folder: Path | str, *, thorough: bool = False) -> Plan:
    """Read the whole plan and check it; of the specs nothing is kept.

    ``thorough`` takes every spec apart; else a text that has its id for a hash is not looked into.

    Raises
    ------
    StoreError
        When the folder has no plan, or a row of it cannot be read.
    """
    path = Path(folder) / PLAN_FILE
    with closing(_lines(path)) as lines:
        first = next(lines, b"")
        header, digest = _header(path, first)
        digested = hashlib.sha256(_undigested(first, digest))
        ids: dict[str, None] = {}
        changed: list[str] = []
        for number, line in enumerate(lines, start=2):
            digested.update(line)
            match = _ROW.fullmatch(line)
            run_id = match[1].decode() if match else ""
            if match is None or run_id in ids or len(ids) >= header.runs:
                what = "cannot be read" if match is None else "repeats a run" if run_id in ids else "one row too many"
                raise StoreError(f"{path}, line {number}: {what}; give the run command again")
            ids[run_id] = None
            if (thorough or not _is_id(match[2], run_id)) and (problem := _row_problem(match[2], run_id)):
                changed.append(f"{path}: run {run_id}: {problem}; give the run command again")
    if len(ids) != header.runs:
        raise StoreError(f"{path}: {len(ids)} of {header.runs} runs are there; give the run command again")
    return Plan(header, tuple(ids), digested.hexdigest() == digest, tuple(changed))


def _undigested(line: bytes, digest: str) -> bytes:
    return line.replace(_MARK.format(digest).encode(), _MARK.format(_NO_DIGEST).encode(), 1)


def _is_id(text: bytes, run_id: str) -> bool:
    """Return whether a spec's text, as it was written, has this id; that of a spec with other than ASCII has not."""
    return hashlib.blake2b(text).hexdigest()[:16] == run_id


def _row_problem(text: bytes, run_id: str) -> str:
    try:
        found = spec_id(parse_json(text, SPEC))
    except StoreError as error:
        return f"its spec cannot be read ({error})"
    return "" if found == run_id else f"its spec belongs to id {found}"


def _refuse_other_version(path: Path) -> None:
    """Raise OtherVersion for a whole plan of another version; a damaged one may be replaced."""
    digested = hashlib.sha256()
    try:
        lines = _lines(path)
        first = next(lines, b"")
        header = parse_json(first, _ANY_HEADER)
        version, digest = header["version"], str(header.get("sha256"))
        if version == _VERSION:
            return
        digested.update(_undigested(first, digest))
        for line in lines:
            digested.update(line)
    except StoreError:
        return
    if digested.hexdigest() == digest:
        raise OtherVersion(
            f"{path}: plan version {version}, but this dash-hpc writes version {_VERSION}; "
            f"use the dash-hpc that wrote it, or another output folder"
        )


def plan_header(folder: Path | str) -> PlanHeader:
    """Read the header.

    Raises
    ------
    StoreError
        When the folder has no plan, or its plan is foreign, damaged or of another version.
    """
    path = Path(folder) / PLAN_FILE
    return _header(path, next(_lines(path), b""))[0]


def planned_ids(folder: Path | str) -> tuple[str, ...]:
    """Return the run ids in the order of the plan; raises :class:`StoreError` like :func:`read_plan`."""
    return read_plan(folder).ids


def planned_spec(folder: Path | str, run_id: str) -> dict[str, Any]:
    """Return the spec of one run.

    Raises
    ------
    StoreError
        When the plan is unusable or has no such run, or the spec is not the one that belongs to its id.
    """
    path = Path(folder) / PLAN_FILE
    start = f'{{"run_id":"{run_id}",'.encode()
    for line in _lines(path):
        if line.startswith(start):
            match = _ROW.fullmatch(line)
            problem = _row_problem(match[2], run_id) if match else "its row cannot be read"
            if match is None or problem:
                raise StoreError(f"{path}: run {run_id}: {problem}; give the run command again")
            spec: dict[str, Any] = parse_json(match[2])
            return spec
    raise StoreError(f"{path}: no run {run_id!r}; see the table of runs for the ids")


def _header(path: Path, line: bytes) -> tuple[PlanHeader, str]:
    """Return what the first line says, and the checksum in it."""
    try:
        found = parse_json(line, _ANY_HEADER)
        if found["version"] == _VERSION:
            parse_json(line, _HEADER)
    except StoreError as error:
        raise StoreError(
            f"{path}: not a plan of dash-hpc (foreign or damaged: {error}); choose another folder"
        ) from error
    if found["version"] != _VERSION:
        raise StoreError(f"{path}: plan version {found['version']}, but this dash-hpc reads version {_VERSION}")
    header = PlanHeader(found["study"], found["runs"], Path(found["base"]), tuple(found["command"]))
    return header, found.get("sha256", "")


def _lines(path: Path) -> Generator[bytes, None, None]:
    try:
        with open_file(path) as file:
            while line := file.readline(_LONGEST_ROW + 1):
                if len(line) > _LONGEST_ROW:
                    raise StoreError(
                        f"{path}: damaged, a row has more than {in_bytes(_LONGEST_ROW)}; choose another folder"
                    )
                yield line
    except FileNotFoundError as error:
        raise StoreError(f"{path.parent}: not the output folder of a study, it has no {PLAN_FILE}") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
