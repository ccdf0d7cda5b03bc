"""Which run files lie in a store's folder, on their own and in bundles, and which of two copies counts."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dash_hpc.errors import StoreError
from dash_hpc.store.bundle import Member, bundles_folder, read_contents, read_member
from dash_hpc.store.envelope import read_whole
from dash_hpc.store.publish import is_temporary
from dash_hpc.store.runfile import RunRecord, read_run
from dash_hpc.store.schema import run_path, runs_folder

__all__ = ["RunFile", "choose", "find_record", "read_data", "scan", "scan_bundles"]


@dataclass(frozen=True)
class RunFile:
    """A run as the folder listing shows it: a file of its own, or a ``member`` of the bundle at ``path``."""

    run_id: str
    path: Path
    mtime_ns: int
    size: int
    inode: int
    member: Member | None = None


def scan(folder: Path | str) -> tuple[list[RunFile], list[str]]:
    """List the run files of a store, sorted by id, and one line for everything else that lies among them."""
    found: list[RunFile] = []
    problems: list[str] = []
    root = runs_folder(folder)
    for path in _files(root, problems):
        name = path.name
        if is_temporary(path) or name.startswith(".") or ".damaged-" in name or name.endswith(".ckpt.h5"):
            continue
        try:
            expected = run_path(folder, path.stem) if path.suffix == ".h5" else None
        except StoreError:
            expected = None
        if expected != path:
            problems.append(f"{path}: not a run file of this store, left out; move it elsewhere")
            continue
        file = _look(path, path.stem, problems)
        if file is not None:
            found.append(file)
    return sorted(found, key=lambda file: file.run_id), problems


def scan_bundles(
    folder: Path | str, known: dict[tuple[Path, int, int, int], list[Member]] | None = None
) -> tuple[dict[str, RunFile], list[str]]:
    """Return the runs in bundles by id, and one line per bundle that cannot be used; ``known`` spares reading twice.

    Of a run in two bundles (compaction was interrupted) the one that is done counts.
    """
    found: dict[str, RunFile] = {}
    problems: list[str] = []
    root = bundles_folder(folder)
    try:
        with os.scandir(root) as entries:
            paths = sorted(Path(entry.path) for entry in entries)
    except FileNotFoundError:
        return {}, []
    except NotADirectoryError:
        return {}, [f"{root}: not a folder of bundles, left out; move it elsewhere"]
    except OSError as error:
        raise StoreError(f"{root}: cannot be read ({error.strerror}); check its permissions") from error
    for path in paths:
        if is_temporary(path) or ".damaged-" in path.name:
            continue
        file = _look(path, path.stem, problems)
        if file is None:
            continue
        stamp = (path, file.mtime_ns, file.size, file.inode)
        try:
            members = known[stamp] if known is not None and stamp in known else read_contents(path)
        except StoreError as error:
            problems.append(str(error))
            continue
        if known is not None:
            known[stamp] = members
        for member in members:
            other = found.get(member.run_id)
            if other is None or other.member is None or other.member.status != "done":
                found[member.run_id] = RunFile(member.run_id, path, file.mtime_ns, file.size, file.inode, member)
    return found, problems


def choose(
    files: Sequence[RunFile], bundled: Mapping[str, RunFile], look_up: Callable[[RunFile], dict[str, Any] | str]
) -> tuple[dict[str, tuple[RunFile, dict[str, Any] | str]], list[str]]:
    """Choose for each run its own file or its copy in a bundle, and return also what is wrong with copies.

    ``look_up`` gives a run's row or, as text, why it cannot be used. The own file counts, unless it is damaged or
    only the copy is done. A damaged copy alone is as if the run had not been started.
    """
    chosen: dict[str, tuple[RunFile, dict[str, Any] | str]] = {file.run_id: (file, look_up(file)) for file in files}
    problems = []
    for run_id, copy in bundled.items():
        own = chosen.get(run_id)
        done = copy.member is not None and copy.member.status == "done"
        if own is not None and isinstance(own[1], dict) and (own[1]["status"] == "done" or not done):
            continue
        row = look_up(copy)
        if isinstance(row, str):
            problems.append(row)
            continue
        if own is not None and isinstance(own[1], str):
            problems.append(own[1])
        chosen[run_id] = (copy, row)
    return dict(sorted(chosen.items())), problems


def read_data(file: RunFile) -> bytes:
    """Return the bytes of a run file, wherever they stand; raises :class:`StoreError`."""
    return read_whole(file.path) if file.member is None else read_member(file.path, file.member)


def find_record(folder: Path | str, run_id: str, *, network: bool = False) -> RunRecord | None:
    """Return the record of one run from its own file or from a bundle; None when neither has a usable one."""
    path = run_path(folder, run_id)
    own: RunRecord | None = None
    with suppress(StoreError):
        own = read_run(path, network=network) if path.exists() else None
    if own is None or own.status != "done":
        copy = scan_bundles(folder)[0].get(run_id)
        if copy is not None and copy.member is not None and (own is None or copy.member.status == "done"):
            with suppress(StoreError):
                return read_run(copy.path, network=network, data=read_data(copy))
    return own


def _look(path: Path, run_id: str, problems: list[str]) -> RunFile | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None  # Replaced or compacted since the folder was listed.
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); check its permissions")
        return None
    if stat.S_ISLNK(status.st_mode):
        problems.append(f"{path}: a symbolic link, left out; put the file itself here")
        return None
    return RunFile(run_id, path, status.st_mtime_ns, status.st_size, status.st_ino)


def _files(root: Path, problems: list[str]) -> list[Path]:
    paths = []
    try:
        with os.scandir(root) as groups:
            for group in groups:
                if not group.is_dir(follow_symlinks=False):
                    problems.append(f"{group.path}: not a folder of run files, left out; move it elsewhere")
                    continue
                with suppress(FileNotFoundError), os.scandir(group.path) as entries:
                    paths += [root / group.name / entry.name for entry in entries]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{root}: cannot be read ({error.strerror}); check its permissions") from error
    return paths
