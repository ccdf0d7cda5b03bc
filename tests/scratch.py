"""A copy of the package in which a page of docs/extend was followed, for tests of what the page says."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dash_hpc

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(dash_hpc.__file__).parent


def blocks(page: str) -> dict[str, list[str]]:
    """Return the blocks of code of a page of docs/extend, by language."""
    text = (ROOT / "docs" / "extend" / page).read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", text, flags=re.S):
        found.setdefault(language, []).append(block)
    return found


@dataclass(frozen=True)
class Scratch:
    """The folder that holds the copy."""

    top: Path

    def run(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Start Python in ``folder`` with these words and the copy in the place of the package."""
        environment = {**os.environ, "PYTHONPATH": str(self.top)}
        return subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )

    def python(self, folder: Path, program: str) -> Any:
        """Run a program that prints JSON; return what it printed."""
        check = f"import dash_hpc\nassert dash_hpc.__file__.startswith({str(self.top)!r})\n"
        done = self.run(folder, "-c", check + program)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def changes(self) -> tuple[set[str], dict[str, int]]:
        """Return the files that are new in the copy, and by how many lines those that differ are longer."""
        copy = self.top / "dash_hpc"
        names = {str(path.relative_to(copy)) for path in copy.rglob("*.py")}
        old = {name for name in names if (PACKAGE / name).exists()}
        differ = [name for name in old if not filecmp.cmp(PACKAGE / name, copy / name, shallow=False)]
        length = {
            base: {n: len((base / n).read_text("utf-8").splitlines()) for n in differ} for base in (PACKAGE, copy)
        }
        return names - old, {name: length[copy][name] - length[PACKAGE][name] for name in differ}


def follow(page: str, top: Path, file: str, registry: str, *, word: str, after: tuple[str, str]) -> Scratch:
    """Copy the package and do what a page of two Python blocks says.

    The first block is the new ``file``; of the second, its registration, the two lines with ``word`` go into
    ``registry``, the import and the entry, each ``after`` the line that ends so.
    """
    copy = top / "dash_hpc"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for module in PACKAGE.rglob("*.so"):
        (copy / module.relative_to(PACKAGE)).symlink_to(module)
    content, registration = blocks(page)["python"]
    (copy / file).write_text(content, encoding="utf-8")
    changed = (copy / registry).read_text(encoding="utf-8")
    lines = [line for line in registration.splitlines(keepends=True) if word in line]
    for line, place in zip(lines, after, strict=True):
        assert changed.count(place) == 1
        changed = changed.replace(place, place + line)
    (copy / registry).write_text(changed, encoding="utf-8")
    return Scratch(top)
