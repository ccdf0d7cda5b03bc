"""Compaction: ended runs move from their own files into few bundles, for file systems that count files.

At every moment each run is in its own file, in a bundle, or in both with equal bytes: bundles are published like every
file, read back and compared, and only then do the originals go.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dash_hpc.errors import StoreError
from dash_hpc.store.bundle import Member, bundles_folder, check_bundle, pack_bundle, read_contents
from dash_hpc.store.index import rebuild_index, row_or_problem
from dash_hpc.store.plan import is_store
from dash_hpc.store.publish import publish_bytes, remove_file, remove_folder, sweep_temporaries
from dash_hpc.store.scan import RunFile, choose, read_data, scan, scan_bundles
from dash_hpc.store.schema import runs_folder

__all__ = ["Compaction", "compact"]

# A bundle is put together in memory, at about three times its size.
BUNDLE_BYTES = 1 << 27
_LARGEST_BUNDLE = 1 << 29
_AIMED_BUNDLES = 32


@dataclass(frozen=True)
class Compaction:
    """What :func:`compact` did: runs moved, bundles there now, files removed, one line per file left alone."""

    runs: int
    bundles: int
    files_removed: int
    problems: tuple[str, ...] = ()


def compact(folder: Path | str, *, bundle_bytes: int = BUNDLE_BYTES) -> Compaction:
    """Put all ended runs of a store (done and failed) into bundles; small earlier bundles are written again.

    Runs under way, damaged and foreign files stay as they are. Interrupted at any point, the same call goes on.
    Only one at a time: the command holds a lease meanwhile.

    Parameters
    ----------
    folder : path
    bundle_bytes : int
        Bundles grow to about this size, larger when there would be more than 32 of them.

    Raises
    ------
    StoreError
        When the folder is not a store, cannot be written, or a bundle differs from what was written.
    """
    folder = Path(folder)
    if not is_store(folder) and not runs_folder(folder).is_dir():
        raise StoreError(f"{folder}: not the output folder of a study, it has no plan.jsonl")
    for place in (folder, bundles_folder(folder)):
        sweep_temporaries(place)
    files, problems = scan(folder)
    bundled, more = scan_bundles(folder)
    chosen, further = choose(files, bundled, row_or_problem)
    problems += [*more, *further, *(row for _, row in chosen.values() if isinstance(row, str))]

    ended = {
        run_id: (file, row["status"])
        for run_id, (file, row) in chosen.items()
        if isinstance(row, dict) and row["status"] != "running"
    }
    limit = min(max(bundle_bytes, sum(_size(file) for file, _ in ended.values()) // _AIMED_BUNDLES), _LARGEST_BUNDLE)
    settled = _settled(ended, bundled, limit)
    todo = [entry for entry in ended.values() if entry[0].path not in settled]
    removed = 0
    for group in _groups(todo, limit):
        removed += _move(folder, group)
    # What the new bundles hold by now: earlier bundles written again, own files left by an interrupted compaction.
    removed += _remove_superseded(folder)
    for place in _subfolders(runs_folder(folder)):
        sweep_temporaries(place)
        remove_folder(place)
    rebuild_index(folder)
    bundles = {file.path for file in scan_bundles(folder)[0].values()}
    return Compaction(len(todo), len(bundles), removed, tuple(problems))


def _size(file: RunFile) -> int:
    return file.size if file.member is None else file.member.size


def _settled(ended: dict[str, tuple[RunFile, str]], bundled: dict[str, RunFile], limit: int) -> set[Path]:
    """Return the bundles that stay: at least half full, with all their runs in use; the last small one alone, too."""
    used = [file for file, _ in ended.values() if file.member is not None]
    sizes: dict[Path, int] = {}
    for file in used:
        sizes[file.path] = sizes.get(file.path, 0) + _size(file)
    counted = {path: sum(file.path == path for file in bundled.values()) for path in sizes}
    whole = {path for path in sizes if counted[path] == sum(file.path == path for file in used)}
    full = {path for path in whole if 2 * sizes[path] >= limit}
    small = whole - full
    own_files = any(file.member is None for file, _ in ended.values())
    alone = len(small) == 1 and not own_files and len(sizes) == len(full) + 1
    return full | (small if alone else set())


def _groups(entries: list[tuple[RunFile, str]], limit: int) -> Iterator[list[tuple[RunFile, str]]]:
    group: list[tuple[RunFile, str]] = []
    total = 0
    for entry in entries:
        if group and total + _size(entry[0]) > limit:
            yield group
            group, total = [], 0
        group.append(entry)
        total += _size(entry[0])
    if group:
        yield group


def _move(folder: Path, group: list[tuple[RunFile, str]]) -> int:
    """Publish one bundle, read it back, compare it with the originals read anew, remove these; return how many."""
    runs = [(file.run_id, status, read_data(file)) for file, status in group]
    data = pack_bundle(runs)
    path = bundles_folder(folder) / f"{hashlib.sha256(data).hexdigest()[:16]}.h5"
    expected = {run_id: hashlib.sha256(content).hexdigest() for run_id, _, content in runs}
    del runs
    publish_bytes(path, data)
    del data
    written = {member.run_id: member.sha256 for member in check_bundle(path)}
    if written != expected:
        raise StoreError(f"{path}: differs from the run files it was made from; these stay, move the bundle away")
    removed = 0
    for file, _ in group:
        if file.member is None and _unchanged(file):
            with suppress(StoreError):
                if hashlib.sha256(read_data(file)).hexdigest() == expected[file.run_id]:
                    remove_file(file.path)
                    removed += 1
    return removed


def _unchanged(file: RunFile) -> bool:
    try:
        status = file.path.lstat()
    except OSError:
        return False
    return (status.st_mtime_ns, status.st_size, status.st_ino) == (file.mtime_ns, file.size, file.inode)


def _remove_superseded(folder: Path) -> int:
    """Remove own files with the bytes of a bundle's run, and bundles whose every run another bundle holds better."""
    bundled, _ = scan_bundles(folder)
    removed = 0
    for file in scan(folder)[0]:
        copy = bundled.get(file.run_id)
        if copy is None or copy.member is None or file.size != copy.member.size:
            continue
        with suppress(StoreError):
            if hashlib.sha256(read_data(file)).hexdigest() == hashlib.sha256(read_data(copy)).hexdigest():
                remove_file(file.path)
                removed += 1
    contents: dict[Path, dict[str, Member]] = {}
    for path in sorted({file.path for file in bundled.values()} | set(bundles_folder(folder).glob("*.h5"))):
        with suppress(StoreError):
            contents[path] = {member.run_id: member for member in read_contents(path)}
    for path, members in list(contents.items()):
        others = {key: other for key, other in contents.items() if key != path and other.keys() & members.keys()}
        if all(any(_covers(other.get(key), member) for other in others.values()) for key, member in members.items()):
            with suppress(StoreError):
                for other in others:
                    check_bundle(other)
                remove_file(path)
                removed += 1
                del contents[path]
    return removed


def _covers(other: Member | None, member: Member) -> bool:
    return other is not None and (other.sha256 == member.sha256 or (other.status, member.status) == ("done", "failed"))


def _subfolders(root: Path) -> list[Path]:
    with suppress(OSError), os.scandir(root) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []
