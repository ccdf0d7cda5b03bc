"""Bundles: many ended runs in one file, each with exactly the bytes of its run file.

A bundle is HDF5 behind a block of text. The text has format, version, size and checksum like every file of a store,
then one line per run: id, status, offset and length within the file, SHA-256. A run is found and checked with these
alone, so that no unchecked byte reaches the HDF5 library. For other programs the same bytes are datasets ``/runs/<run
id>`` of the HDF5 file: written to a file of its own, such a dataset is the run file again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.store.envelope import HEADER_BYTES, read_header, seal, to_bytes
from dash_hpc.store.reading import read_bytes
from dash_hpc.store.schema import STATES

__all__ = [
    "BUNDLE_FORMAT",
    "BUNDLE_VERSION",
    "Member",
    "bundles_folder",
    "check_bundle",
    "pack_bundle",
    "read_contents",
    "read_member",
]

BUNDLE_FORMAT = "dash-hpc bundle"
BUNDLE_VERSION = 1
_HEAD = re.compile(
    rb"dash-hpc bundle\nversion 1\nbytes (\d{1,15})\nsha256 ([0-9a-f]{64})\n"
    rb"block (\d{1,10})\nruns (\d{1,9})\ncontents-sha256 ([0-9a-f]{64})\n"
)
_LINE = re.compile(rb"([0-9a-f]{16}) ([a-z]+) (\d{1,15}) (\d{1,15}) ([0-9a-f]{64})")
_NO_DIGEST = "0" * 64


@dataclass(frozen=True)
class Member:
    """A run inside a bundle: where its run file's bytes stand and what they must be."""

    run_id: str
    status: str
    offset: int
    size: int
    sha256: str


def bundles_folder(folder: Path | str) -> Path:
    """Return the folder of bundles of the store ``folder``."""
    return Path(folder) / "bundles"


def pack_bundle(runs: Sequence[tuple[str, str, bytes]]) -> bytes:
    """Return the bytes of a bundle of (run id, status, bytes of the run file); equal runs give equal bytes."""
    places: list[int] = []

    def fill(file: h5py.File) -> None:
        file.attrs["format"] = np.bytes_(BUNDLE_FORMAT)
        file.attrs["version"] = np.int64(BUNDLE_VERSION)
        group = file.create_group("runs")
        for run_id, status, data in runs:
            dataset = group.create_dataset(run_id, data=np.frombuffer(data, dtype=np.uint8), track_times=False)
            dataset.attrs["status"] = np.bytes_(status)
        file.flush()
        places.extend(group[run_id].id.get_offset() for run_id, _, _ in runs)

    body = memoryview(to_bytes(BUNDLE_FORMAT, BUNDLE_VERSION, fill))[HEADER_BYTES:]
    digests = [hashlib.sha256(data).hexdigest() for _, _, data in runs]
    # HDF5 looks for its beginning at powers of two.
    block = 1 << max(9, (300 + 130 * len(runs)).bit_length())
    lines = "".join(
        f"{run_id} {status} {block + place} {len(data)} {digest}\n"
        for (run_id, status, data), place, digest in zip(runs, places, digests, strict=True)
    )
    text = _text(len(body), block, len(runs), _NO_DIGEST, lines)
    contents = hashlib.sha256(text.encode("ascii")).hexdigest()
    more = text.split("\n", 3)[3].replace(_NO_DIGEST, contents, 1)
    return seal(BUNDLE_FORMAT, BUNDLE_VERSION, body, more, block) + body


def _text(size: int, block: int, runs: int, contents: str, lines: str) -> str:
    """Everything before the padding but the checksum of the whole, which does not exist yet."""
    return (
        f"{BUNDLE_FORMAT}\nversion {BUNDLE_VERSION}\nbytes {size}\n"
        f"block {block}\nruns {runs}\ncontents-sha256 {contents}\n{lines}"
    )


def read_contents(path: Path | str) -> list[Member]:
    """List the runs of a bundle, without reading them.

    Raises
    ------
    StoreError
        Missing, foreign, of another version, or with a damaged list; with path and remedy.
    """
    path = Path(path)
    _, members = _read_block(path)
    return members


def read_member(path: Path | str, member: Member) -> bytes:
    """Return the bytes of one run file, checked.

    Raises
    ------
    StoreError
        When the bundle is missing, cut short, or damaged where this run stands.
    """
    data = read_bytes(path, member.offset, member.size)
    if len(data) != member.size or hashlib.sha256(data).hexdigest() != member.sha256:
        raise StoreError(f"{path}: damaged where run {member.run_id} stands; run the study again to redo this run")
    return data


def check_bundle(path: Path | str) -> list[Member]:
    """Check every byte of a bundle against its checksums and return its runs; raises StoreError like the others."""
    path = Path(path)
    block, members = _read_block(path)
    data = read_bytes(path)
    header, body = data[:block], memoryview(data)[block:]
    declared = int(_head(path, header)[1])
    if len(body) < declared:
        raise StoreError(f"{path}: truncated, {len(body)} of {declared} bytes are left; its other runs can be read")
    lines = header.split(b"\n", 4)[4].rstrip(b" \n").decode("latin-1") + "\n"
    if header != seal(BUNDLE_FORMAT, BUNDLE_VERSION, body, lines, block):
        raise StoreError(f"{path}: damaged, its checksum differs; runs whose own checksum fits can be read")
    for member in members:
        if hashlib.sha256(data[member.offset : member.offset + member.size]).hexdigest() != member.sha256:
            raise StoreError(f"{path}: its list of runs does not fit run {member.run_id}; move it away")
    return members


def _head(path: Path, start: bytes) -> re.Match[bytes]:
    head = _HEAD.match(start)
    if head is None:
        name, number = read_header(path)
        if name != BUNDLE_FORMAT:
            raise StoreError(f"{path}: this is a {name!r} file where a {BUNDLE_FORMAT!r} file belongs; move it away")
        if number != BUNDLE_VERSION:
            raise StoreError(
                f"{path}: format version {number}, but this dash-hpc reads version {BUNDLE_VERSION}; "
                f"use the dash-hpc that wrote it"
            )
        raise StoreError(f"{path}: damaged, its header cannot be read; move it away and run the study again")
    return head


def _read_block(path: Path) -> tuple[int, list[Member]]:
    head = _head(path, read_bytes(path, 0, HEADER_BYTES))
    size, _, block, count, digest = (bytes(part) for part in head.groups())
    damaged = StoreError(f"{path}: damaged, its list of runs cannot be read; move it away and run the study again")
    # Nothing of this size is allocated before it is known to be there.
    if int(count) * 100 > int(block) or int(block) > path.stat().st_size:
        raise damaged
    rows = read_bytes(path, 0, int(block))[head.end() :].split(b"\n", int(count))
    if len(rows) <= int(count):
        raise damaged
    lines = b"".join(row + b"\n" for row in rows[: int(count)])
    text = _text(int(size), int(block), int(count), _NO_DIGEST, lines.decode("ascii", "replace"))
    if hashlib.sha256(text.encode()).hexdigest().encode() != digest:
        raise damaged
    members = []
    for row in rows[: int(count)]:
        match = _LINE.fullmatch(row)
        if match is None or match[2].decode() not in STATES:
            raise damaged
        members.append(Member(match[1].decode(), match[2].decode(), int(match[3]), int(match[4]), match[5].decode()))
    return int(block), members
