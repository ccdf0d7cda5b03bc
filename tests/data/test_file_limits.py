"""Data files that cannot be meant are refused before they are held in memory: in a process of its own, measured."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dash_hpc.data import filesize
from dash_hpc.data.textfile import read_lines
from dash_hpc.errors import DataError

_READ = """
import sys
from dash_hpc.data.genefile import read_gene_names
from dash_hpc.data.trajectories import read_trajectories
from dash_hpc.data.networks import read_network
from dash_hpc.errors import DataError
try:
    kind, path = sys.argv[1:]
    genes = ["A", "B", "C"]
    {"train": read_trajectories, "genes": read_gene_names, "prior": lambda file: read_network(file, genes)}[kind](path)
except DataError as error:
    print(error)
    sys.exit(2)
"""


@pytest.fixture
def refused(measured: Callable[..., tuple[int, float, int, str]]) -> Callable[[str, Path], str]:
    """Read a file in another process, and return its one line of error when it kept within 5 s and 500 MB."""

    def read(kind: str, file: Path) -> str:
        code, seconds, size, said = measured([sys.executable, "-c", _READ, kind, str(file)])
        assert code == 2, said
        assert seconds < 5
        assert size < 500_000_000
        (line,) = said.splitlines()
        return line

    return read


def many(unit: bytes, size: int, before: bytes = b"") -> Callable[[Path], None]:
    def write(file: Path) -> None:
        piece = unit * max(1, 2**20 // len(unit))
        with file.open("wb") as target:
            target.write(before)
            for _ in range(size // len(piece)):
                target.write(piece)

    return write


def bomb(unit: bytes, members: int) -> Callable[[Path], None]:
    """Write a gzip file of members that hold 64 MiB each, packed about a thousand to one."""

    def write(file: Path) -> None:
        file.write_bytes(gzip.compress(unit * ((64 << 20) // len(unit)), 1) * members)

    return write


def _sparse(file: Path) -> None:
    with file.open("wb") as target:
        target.truncate(6 << 30)


HOSTILE = {
    "gigabytes": (_sparse, "more than 1 GiB of data"),
    "line": (many(b",", 100 << 20), "a line of more than 4 MiB"),
    "line-behind-a-header": (many(b"1,", 100 << 20, b"2,1\n"), "a line of more than 4 MiB"),
    "field": (many(b"A", 100 << 20, b"gene\n"), "a line of more than 4 MiB"),
    "cells": (many(b"1,", 3 << 20, b"2,1\n"), ":2: 1,572,865 cells; at most 50,000 are read in a line"),
    "fifo": (lambda file: os.mkfifo(file), "is a pipe, not a file; write "),
    "device": (lambda file: file.symlink_to("/dev/zero"), "is a device, not a file; write "),
    "loop": (lambda file: file.symlink_to(file), "cannot be read (Too many levels of symbolic links)"),
    "folder": (lambda file: file.mkdir(), "is a folder, not a file"),
}
BOMBS = {
    "line": (bomb(b"0", 48), "a line of more than 4 MiB"),
    "lines": (bomb(b"0,0,0\n", 32), "more than 1 GiB of data"),
}
HEADERS = {
    "genes": ("1000000000,1\n0,1\n", ":1: the header promises 1 trajectories of 1000000000 genes"),
    "trajectories": ("2,1000000000\n0,1\n0,1\n0,1\n", ":1: the header promises 1000000000 trajectories of 2 genes"),
    "both": (f"{10**18},{10**18}\n0,1\n", ":1: "),
    "digits": ("9" * 10**6 + ",1\n0,1\n", ":1: "),
}


@pytest.mark.parametrize("kind", ["train", "genes", "prior"])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_cannot_be_meant_is_refused_at_once(
    case: str, kind: str, tmp_path: Path, refused: Callable[[str, Path], str]
) -> None:
    make, expected = HOSTILE[case]
    file = tmp_path / "file.csv"
    make(file)
    line = refused(kind, file)
    assert line.startswith(str(file))
    assert expected in line


@pytest.mark.parametrize("case", BOMBS)
def test_a_packed_file_without_end_is_refused_at_once(
    case: str, tmp_path: Path, refused: Callable[[str, Path], str]
) -> None:
    make, expected = BOMBS[case]
    file = tmp_path / "file.csv.gz"
    make(file)
    assert file.stat().st_size < 20 << 20
    line = refused("train", file)
    assert line.startswith(str(file))
    assert expected in line


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_promises_too_much_is_refused_at_once(
    case: str, tmp_path: Path, refused: Callable[[str, Path], str]
) -> None:
    content, expected = HEADERS[case]
    file = tmp_path / "train.csv"
    file.write_text(content)
    assert refused("train", file).startswith(f"{file}{expected}")


def test_limits_are_met_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With small limits: the largest file that is read, packed and plain, and one byte more."""
    monkeypatch.setattr(filesize, "MAX_FILE_BYTES", 1000)
    monkeypatch.setattr(filesize, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(filesize, "_PIECE", 7)
    monkeypatch.setattr(filesize, "_HELD", 50)
    rng = np.random.default_rng(0)
    for _ in range(50):
        lengths = [int(k) for k in rng.integers(0, 100, size=rng.integers(2, 20))]
        content = "\n".join(["x", *("a" * k for k in lengths), "y"]) + "\n"
        fits = len(content) <= 1000
        for packed in (False, True):
            file = tmp_path / ("f.csv.gz" if packed else "f.csv")
            file.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
            if fits:
                assert read_lines(file).data.decode() == content
            else:
                with pytest.raises(DataError, match="of data"):
                    read_lines(file)
    for packed in (False, True):
        file = tmp_path / ("g.csv.gz" if packed else "g.csv")
        for length, end in ((100, "\n"), (100, "\r\n"), (100, "\r"), (101, "\n")):
            content = f"x{end}{'a' * length}{end}y{end}"
            file.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
            if length > 100:
                with pytest.raises(DataError, match="a line of more than"):
                    read_lines(file)
            else:
                assert len(read_lines(file)) == 3
