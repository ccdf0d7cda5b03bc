"""docs/environment.md lists every variable of the program's own, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"DASH_HPC_[A-Z0-9_]*[A-Z0-9]")
FOLDERS = ("dash_hpc", "csrc", "tests", "benchmarks", "containers", "slurm", ".ci")
FILES = ("Makefile", "setup.py", "pyproject.toml")


def names_in(texts: list[str]) -> set[str]:
    return {name for text in texts for name in NAME.findall(text)}


def sources() -> list[str]:
    """The text of every file of the source tree that may read or set one, compiled modules and this file apart."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    paths += [ROOT / name for name in FILES]
    plain = [path for path in paths if path.suffix not in {".so", ".pyc", ".h5", ".png", ".gz"}]
    return [path.read_text(errors="replace") for path in plain if path != Path(__file__)]


def test_page_has_a_row_for_every_variable() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "environment.md").read_text(), re.MULTILINE)
    assert len(set(rows)) == len(rows)
    assert set(rows) == names_in(sources())


def test_a_new_variable_would_be_seen() -> None:
    assert names_in(['os.environ.get("DASH_HPC_NEW_ONE") or "DASH_HPC_"', "$DASH_HPC_DATA"]) == {
        "DASH_HPC_NEW_ONE",
        "DASH_HPC_DATA",
    }
