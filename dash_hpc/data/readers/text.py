"""Trajectories as text: the layout of the published CSV files, with commas, tabs, semicolons or blanks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dash_hpc.data.readers.base import Expression, Genes, Reader
from dash_hpc.data.timecourse import TimeCourse

__all__ = ["Text"]


class Text(Reader):
    """For each trajectory one line per gene, then one of times, with commas, tabs, semicolons or blanks between.

    See :meth:`dash_hpc.data.TimeCourse.read_csv`.
    """

    name = "text"
    suffixes = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")

    def read(self, path: Path, keys: Any, genes: Genes) -> Expression:
        heard: list[str] = []
        return Expression(TimeCourse.read_csv(path, genes, heard=heard), remarks=tuple(heard))
