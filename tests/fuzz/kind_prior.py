from __future__ import annotations

import math
from random import Random
from typing import Any

from kind_table import Grid, TableKind, number_of, plain_name

from dash_hpc.data.networks import read_network

_SIGNS = {"+": 1.0, "-": -1.0}
# A header's words of the documentation that the mutators write. Other words for a role are read without a remark too:
# knowing "target" alone, this judged a header's plain "TF" or "gene" to be no layout at all.
_ROLES = {"regulator": "regulator", "tf": "regulator", "target": "target", "gene": "target", "weight": "weight"}
GENES = [f"G{k}" for k in range(1, 9)]


class PriorList(TableKind):
    """A list of edges with a header and weights."""

    name = "prior list"

    def make(self, rng: Random) -> Grid:
        pairs = rng.sample([(a, b) for a in GENES[:3] for b in GENES], 14)
        return [["regulator", "target", "weight"], *([a, b, f"{rng.uniform(-1, 1):.4f}"] for a, b in pairs)]

    def read(self) -> tuple[Any, tuple[str, ...]]:
        network, record = read_network(self.path, GENES)
        edges = network.tocoo()
        found = sorted((int(i), int(j), float(w)) for i, j, w in zip(*edges.coords, edges.data, strict=True))
        counts = (record.dropped, record.merged, record.contradictory, record.zero)
        return (found, counts), (*record.remarks, *record.doubts)

    def expected(self, grid: Grid) -> Any:
        cells = [[plain_name(cell) for cell in row] for row in grid]
        cells = [row for row in cells if any(row)]
        header, *rows = cells
        if any(len(row) != len(header) for row in rows):
            raise ValueError
        used = [k for k in range(len(header)) if any(row[k] for row in cells)]  # a column without any cell is none
        header, *rows = [[row[k] for k in used] for row in cells]
        # Case, blanks, separators and signs do not matter in them; letters and digits of any alphabet do.
        roles = [_ROLES[word] for word in ("".join(filter(str.isalnum, cell.casefold())) for cell in header)]
        a, b = roles.index("regulator"), roles.index("target")
        w = roles.index("weight") if "weight" in roles else None
        if len(set(roles)) != len(roles):
            raise ValueError
        signs = w is not None and all(row[w] in _SIGNS for row in rows)
        given: dict[tuple[int, int], list[float]] = {}
        dropped = 0
        for row in rows:
            weight = 1.0 if w is None else _SIGNS[row[w]] if signs else number_of(row[w])
            if math.isnan(weight) or not row[a] or not row[b]:
                raise ValueError
            if row[a] in GENES and row[b] in GENES:
                given.setdefault((GENES.index(row[a]), GENES.index(row[b])), []).append(weight)
            else:
                dropped += 1
        edges = []
        contradictory = 0
        for (i, j), weights in sorted(given.items()):
            size = max(map(abs, weights))
            both = min(weights) < 0 < max(weights)
            contradictory += both
            if size:
                edges.append((i, j, -size if min(weights) < 0 and not both else size))
        merged = sum(len(weights) - 1 for weights in given.values())
        zero = sum(weight == 0 for weights in given.values() for weight in weights)
        return edges, (dropped, merged, contradictory, zero)


class PriorMatrix(TableKind):
    """A bare square matrix."""

    name = "prior matrix"

    def make(self, rng: Random) -> Grid:
        return [[rng.choice(("0", "0", "0", "1", "-1", "0.5")) for _ in GENES] for _ in GENES]

    def read(self) -> tuple[Any, tuple[str, ...]]:
        network, record = read_network(self.path, GENES)
        return network.toarray().tolist(), (*record.remarks, *record.doubts)

    def expected(self, grid: Grid) -> Any:
        values = [[number_of(cell) for cell in row] for row in grid]
        if len(values) != len(GENES) or any(len(row) != len(GENES) or any(map(math.isnan, row)) for row in values):
            raise ValueError
        return [[value + 0.0 for value in row] for row in values]
