from __future__ import annotations

import math
from random import Random
from typing import Any

from kind_table import Grid, TableKind, number_of, plain_name

from dash_hpc.data.trajectories import read_trajectories


class Expression(TableKind):
    """Trajectories."""

    name = "expression"

    def make(self, rng: Random) -> Grid:
        grid = [["4", "3", "", "", ""]]
        for trajectory in range(3):
            long = 5 - (trajectory == 1)
            for _ in range(4):
                grid.append([repr(rng.random()) for _ in range(long)] + [""] * (5 - long))
            grid.append([f"{time:g}" for time in (0, 0.5, 2, 7.25, 9)[:long]] + [""] * (5 - long))
        grid[3][2] = "NA"
        return grid

    def read(self) -> tuple[Any, tuple[str, ...]]:
        heard: list[str] = []
        _, series = read_trajectories(self.path, heard=heard)
        return [(times.tolist(), values.tolist()) for times, values in series], tuple(heard)

    def expected(self, grid: Grid) -> Any:
        genes, trajectories = (int(plain_name(cell)) for cell in grid[0][:2])
        rows = [[number_of(cell) for cell in row] for row in grid[1:]]
        if (
            len(rows) != trajectories * (genes + 1)
            or len({len(row) for row in rows}) != 1
            or any(map(plain_name, grid[0][2:]))
        ):
            raise ValueError
        series = []
        for k in range(trajectories):
            block = rows[k * (genes + 1) : (k + 1) * (genes + 1)]
            points = [list(point) for point in zip(*block, strict=True)]
            while points and all(map(math.isnan, points[-1])):
                points.pop()
            series.append(([point[-1] for point in points], [point[:-1] for point in points]))
        return series
