"""Puts the table of a campaign into a document, between the lines ``<!-- NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from dash_hpc.store import publish_text

__all__ = ["commit", "origin", "renew"]


def commit() -> str:
    """Return the commit of this tree, with "+changes" where files differ from it."""
    root = Path(__file__).resolve().parents[2]
    answer = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty=+changes", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "not known"


def origin(*words: str) -> str:
    """Return date, commit and load, and further words, as one line."""
    load = f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"
    return ", ".join([date.today().isoformat(), f"commit {commit()}", load, *words]) + "."


def renew(
    path: Path, name: str, line: str, head: Sequence[str], rows: Sequence[Sequence[object]], *, whole: bool = True
) -> None:
    """Replace the table ``name`` of a document; ``line`` says when and where it was measured.

    Where ``whole`` is False, rows of the document that begin with another cell than these stay, each with the commit in
    its last cell.

    Raises
    ------
    ValueError
        When the document has no place for it.
    """
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(?<=<!-- {re.escape(name)} -->\n).*?(?=<!-- end -->)", re.DOTALL)
    place = pattern.search(text)
    if place is None:
        raise ValueError(f"{path} has no lines <!-- {name} --> and <!-- end -->")
    if not whole:
        found = [[cell.strip() for cell in row.strip("|").split("|")] for row in place[0].split("\n") if row[:1] == "|"]
        own = {str(row[0]): row for row in rows}
        rows = [own.pop(row[0], row) for row in found[2:]] + list(own.values())
        line = f"{line} Rows of another commit were measured earlier."
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |" for row in lines)
    publish_text(path, pattern.sub(lambda _: f"\n{line}\n\n{table}\n\n", text))
