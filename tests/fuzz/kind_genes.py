from __future__ import annotations

from random import Random
from typing import Any

from kind_table import Grid, TableKind, plain_name

from dash_hpc.data.genefile import read_gene_names


class GeneNames(TableKind):
    """A gene-name file with row numbers and a second name."""

    name = "gene names"

    def make(self, rng: Random) -> Grid:
        rows = [[str(k), f"G{k}", f"alias {rng.randrange(100, 999)} of {k}"] for k in range(1, 9)]
        return [["", "gene", "alias"], *rows]

    def read(self) -> tuple[Any, tuple[str, ...]]:
        heard: list[str] = []
        return [name.strip() for name in read_gene_names(self.path, heard=heard)], tuple(heard)

    def expected(self, grid: Grid) -> Any:
        header, *rows = grid
        if len({len(row) for row in grid}) != 1:
            raise ValueError
        column = next(k for k, cell in enumerate([*map(plain_name, header), "x"]) if cell)
        names = [plain_name(row[column]) for row in rows]
        if len(set(names)) != len(names) or not all(names):
            raise ValueError
        return names
