"""``plan.jsonl``: the runs of a study, longest first; its presence makes a folder a store.

The first line is a header (format, version, study, number of runs, folder that relative data paths start from,
command line, and the SHA-256 of the file as it is with 64 zeros in its place); every further line is
``{"run_id": …, "spec": …}``.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dash_hpc.errors import OtherVersion, StoreError
from dash_hpc.names import json_text
from dash_hpc.store.envelope import open_regular
from dash_hpc.store.publish import canonical_json, publish_text
from dash_hpc.store.schema import run_path

__all__ = [
    "PLAN_FILE",
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


@dataclass(frozen=True)
class PlanHeader:
    """First line of a plan: study name, number of runs, base folder of relative data paths, command line."""

    study: str
    runs: int
    base: Path
    command: tuple[str, ...] = ()


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
    text = "\n".join(lines) + "\n"
    mark = f'"sha256": "{_NO_DIGEST}"'
    publish_text(Path(folder) / PLAN_FILE, text.replace(mark, f'"sha256": "{_digest(text)}"', 1))


def read_plan(folder: Path | str) -> tuple[PlanHeader, dict[str, dict[str, Any]], bool]:
    """Read the whole plan: header, specs by run id in order, and whether its checksum fits.

    Raises
    ------
    StoreError
        When the folder has no plan, or it cannot be read to its end.
    """
    header = plan_header(folder)
    path = Path(folder) / PLAN_FILE
    text = "".join(_lines(path))
    first, *rest = text.split("\n")
    specs: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(filter(None, rest), start=2):
        try:
            row = json.loads(line)
            specs[str(row["run_id"])] = dict(row["spec"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}, line {number}: cannot be read; give the run command again") from error
    if len(specs) != header.runs:
        raise StoreError(f"{path}: {len(specs)} of {header.runs} runs are there; give the run command again")
    digest = json.loads(first).get("sha256")
    return header, specs, _fits(text, digest)


def _refuse_other_version(path: Path) -> None:
    """Raise OtherVersion for a whole plan of another version; a damaged one may be replaced."""
    try:
        text = "".join(_lines(path))
        header = json.loads(text.partition("\n")[0])
        version, digest = header.get("version", _VERSION), header.get("sha256")
    except (StoreError, ValueError, AttributeError):
        return
    if version != _VERSION and _fits(text, digest):
        raise OtherVersion(
            f"{path}: plan version {version}, but this dash-hpc writes version {_VERSION}; "
            f"use the dash-hpc that wrote it, or another output folder"
        )


def _fits(text: str, digest: object) -> bool:
    return _digest(text.replace(f'"sha256": "{digest}"', f'"sha256": "{_NO_DIGEST}"', 1)) == digest


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def plan_header(folder: Path | str) -> PlanHeader:
    """Read the header.

    Raises
    ------
    StoreError
        When the folder has no plan, or its plan is foreign, damaged or of another version.
    """
    path = Path(folder) / PLAN_FILE
    try:
        header = json.loads(next(_lines(path), ""))
        if header["format"] != _FORMAT:
            raise ValueError("not a plan")
        version = header["version"]
        result = PlanHeader(header["study"], int(header["runs"]), Path(header["base"]), tuple(header["command"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a plan of dash-hpc (foreign or damaged); choose another folder") from error
    if version != _VERSION:
        raise StoreError(f"{path}: plan version {version}, but this dash-hpc reads version {_VERSION}")
    return result


def planned_ids(folder: Path | str) -> tuple[str, ...]:
    """Return the run ids in the order of the plan; raises :class:`StoreError` like :func:`plan_header`."""
    header = plan_header(folder)
    path = Path(folder) / PLAN_FILE
    lines = _lines(path)
    next(lines)
    ids = tuple(line[len('{"run_id":"') :][:16] for line in lines if line.strip())
    if len(ids) != header.runs:
        raise StoreError(f"{path}: {len(ids)} of {header.runs} runs are there; give the run command again")
    return ids


def planned_spec(folder: Path | str, run_id: str) -> dict[str, Any]:
    """Return the spec of one run.

    Raises
    ------
    StoreError
        When the plan is unusable or has no such run.
    """
    path = Path(folder) / PLAN_FILE
    start = f'{{"run_id":"{run_id}",'
    for line in _lines(path):
        if line.startswith(start):
            try:
                spec: dict[str, Any] = json.loads(line)["spec"]
            except (ValueError, KeyError) as error:
                raise StoreError(f"{path}: the line of run {run_id} is damaged; give the run command again") from error
            return spec
    raise StoreError(f"{path}: no run {run_id!r}; see the table of runs for the ids")


def _lines(path: Path) -> Iterator[str]:
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8", newline="\n") as file:
            yield from file
    except FileNotFoundError as error:
        raise StoreError(f"{path.parent}: not the output folder of a study, it has no {PLAN_FILE}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise StoreError(f"{path}: cannot be read ({reason})") from error
