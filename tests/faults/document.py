"""Puts the table of a campaign into a document, between the lines ``<!-- NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from dash_hpc.store import publish_text

__all__ = ["origin", "renew"]


def origin(*words: str) -> str:
    """Return date, commit and load, and further words, as one line."""
    root = Path(__file__).resolve().parents[2]
    answer = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty=+changes", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    commit = answer.stdout.strip() or "not known"
    load = f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"
    return ", ".join([date.today().isoformat(), f"commit {commit}", load, *words]) + "."


def renew(path: Path, name: str, line: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Replace the table ``name`` of a document; ``line`` says when and where it was measured.

    Raises
    ------
    ValueError
        When the document has no place for it.
    """
    text = path.read_text(encoding="utf-8")
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |" for row in lines)
    pattern = re.compile(rf"(?<=<!-- {re.escape(name)} -->\n).*?(?=<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{path} has no lines <!-- {name} --> and <!-- end -->")
    publish_text(path, pattern.sub(lambda _: f"\n{line}\n\n{table}\n\n", text))
