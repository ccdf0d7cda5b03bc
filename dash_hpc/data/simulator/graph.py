"""Regulatory networks, and the published edge tables they are read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from dash_hpc.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Network", "read_edge_table"]

DEFAULT_EC50 = 0.5
DEFAULT_EXPONENT = 1.39
INPUT_SUFFIX = "_input"

_COLUMNS = ("from", "to", "weight", "activation", "EC50", "n")


@dataclass(frozen=True)
class Network:
    """A signed, directed regulatory network with the parameters of its edges.

    Attributes
    ----------
    genes : tuple of str
        G names; the order of all arrays.
    source, target : ndarray, int64, (E,)
        Regulator and target of each edge, as gene indices. At most one edge per ordered pair.
    activation : ndarray, bool, (E,)
        True = activating, False = repressing.
    weight : ndarray, float64, (E,)
        In [0, 1]; 1 when left out.
    ec50, exponent : ndarray, float64, (E,)
        Half-activation level in (0, 1) and Hill exponent above 0 (0.5 and 1.39 when left out).

    Raises
    ------
    DataError
        Repeated gene, repeated edge, index out of range, or a parameter outside its range; the message names the
        edge.
    """

    genes: tuple[str, ...]
    source: np.ndarray
    target: np.ndarray
    activation: np.ndarray
    weight: np.ndarray
    ec50: np.ndarray
    exponent: np.ndarray

    def __post_init__(self) -> None:
        if len(set(self.genes)) != len(self.genes):
            twice = next(gene for k, gene in enumerate(self.genes) if gene in self.genes[:k])
            raise DataError(f"gene {twice!r} appears twice in the network; rename one")
        n_edges = len(self.source)
        for field in ("target", "activation", "weight", "ec50", "exponent"):
            if getattr(self, field).shape != (n_edges,):
                raise DataError(f"network: {field} has shape {getattr(self, field).shape}, expected ({n_edges},)")
        ends = np.concatenate([self.source, self.target])
        if ends.size and (ends.min() < 0 or ends.max() >= len(self.genes)):
            raise DataError(f"network: an edge names gene index outside 0..{len(self.genes) - 1}")
        _, firsts = np.unique(self.source * np.int64(len(self.genes)) + self.target, return_index=True)
        is_first = np.zeros(n_edges, dtype=bool)
        is_first[firsts] = True
        self._require(is_first, "appears twice; keep one")
        self._require((self.weight >= 0) & (self.weight <= 1), "has a weight outside [0, 1]")
        self._require(self.exponent > 0, "has a Hill exponent n that is not above 0")
        self._require((self.ec50 > 0) & (self.ec50 < 1), "has an EC50 outside (0, 1)")
        # Published tables hold edges beyond ½, where the activation is convex but still rises from 0 to 1.
        self._require(
            self.ec50**self.exponent != 0.5, "has EC50^n = 1/2, where Hill activation is not defined; change n"
        )

    def _require(self, good: np.ndarray, complaint: str) -> None:
        if not good.all():
            edge = int(np.flatnonzero(~good)[0])
            raise DataError(f"edge {self.edge_name(edge)} {complaint}")

    @classmethod
    def from_edges(
        cls,
        genes: Sequence[str],
        source: Any,
        target: Any,
        activation: Any,
        weight: Any = 1.0,
        ec50: Any = DEFAULT_EC50,
        exponent: Any = DEFAULT_EXPONENT,
    ) -> Network:
        """Build a network from index arrays; scalars are repeated for every edge."""
        source = np.ascontiguousarray(source, dtype=np.int64)
        every = source.shape
        return cls(
            tuple(str(gene) for gene in genes),
            source,
            np.ascontiguousarray(target, dtype=np.int64),
            np.array(np.broadcast_to(activation, every), dtype=bool),
            np.array(np.broadcast_to(weight, every), dtype=np.float64),
            np.array(np.broadcast_to(ec50, every), dtype=np.float64),
            np.array(np.broadcast_to(exponent, every), dtype=np.float64),
        )

    @property
    def n_genes(self) -> int:
        """Number of genes G."""
        return len(self.genes)

    @property
    def n_edges(self) -> int:
        """Number of edges E."""
        return len(self.source)

    @property
    def out_degree(self) -> np.ndarray:
        """Edges leaving each gene, int64, (G,)."""
        return np.bincount(self.source, minlength=self.n_genes)

    @property
    def in_degree(self) -> np.ndarray:
        """Edges entering each gene, int64, (G,)."""
        return np.bincount(self.target, minlength=self.n_genes)

    @property
    def is_input(self) -> np.ndarray:
        """Genes without a regulator other than themselves, bool, (G,); they are constant in time."""
        others = self.source != self.target
        return np.bincount(self.target[others], minlength=self.n_genes) == 0

    def edge_name(self, edge: int) -> str:
        """Readable name of an edge, ``A -> B``."""
        return f"{self.genes[self.source[edge]]} -> {self.genes[self.target[edge]]}"

    def with_kinetics(self, ec50: np.ndarray, exponent: np.ndarray) -> Network:
        """The same edges with other half-activation levels and Hill exponents, each (E,)."""
        return replace(self, ec50=np.asarray(ec50, np.float64), exponent=np.asarray(exponent, np.float64))

    def signed_matrix(self) -> sparse.csr_array:
        """Regulator × target matrix, float64: +1 activating, -1 repressing."""
        signs = np.where(self.activation, 1.0, -1.0)
        matrix = sparse.coo_array((signs, (self.source, self.target)), shape=(self.n_genes, self.n_genes))
        return sparse.csr_array(matrix)

    def table(self) -> pd.DataFrame:
        """Edges with the published columns ``from, to, weight, activation, EC50, n``."""
        import pandas as pd

        names = np.array(self.genes, dtype=object)
        columns = (
            names[self.source],
            names[self.target],
            self.weight,
            self.activation,
            self.ec50,
            self.exponent,
        )
        return pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)))

    def subnetwork(self, keep: np.ndarray) -> Network:
        """The network induced on the genes ``keep`` (indices), without genes that have no edge left.

        Input genes come first; within both groups the order of this network is kept.
        """
        chosen = np.zeros(self.n_genes, dtype=bool)
        chosen[keep] = True
        edges = np.flatnonzero(chosen[self.source] & chosen[self.target])
        connected = np.zeros(self.n_genes, dtype=bool)
        connected[self.source[edges]] = True
        connected[self.target[edges]] = True
        regulated = np.zeros(self.n_genes, dtype=bool)
        regulated[self.target[edges[self.source[edges] != self.target[edges]]]] = True
        order = np.concatenate([np.flatnonzero(connected & ~regulated), np.flatnonzero(connected & regulated)])
        position = np.full(self.n_genes, -1, dtype=np.int64)
        position[order] = np.arange(len(order))
        return Network.from_edges(
            [self.genes[gene] for gene in order],
            position[self.source[edges]],
            position[self.target[edges]],
            self.activation[edges],
            self.weight[edges],
            self.ec50[edges],
            self.exponent[edges],
        )


def read_edge_table(path: str | Path, genes: Sequence[str] | None = None) -> Network:
    """Read a published edge table: CSV with the columns ``from, to, weight, activation, EC50, n``.

    Parameters
    ----------
    path : path
        Plain or gzip-compressed. The order of the rows matters: it breaks ties between regulators.
    genes : sequence of str, optional
        Order of the genes; the suffix ``_input`` of the published name lists is ignored. Left out: input genes
        sorted by name, then the others sorted by name.

    Raises
    ------
    DataError
        File missing or malformed, value out of range, repeated edge, gene that ``genes`` does not list.
    """
    import pandas as pd

    path = Path(path)
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the edge table") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path}: not a readable edge table ({str(error).splitlines()[0]})") from error
    missing = [column for column in _COLUMNS if column not in table.columns]
    if missing:
        raise DataError(f"{path}, line 1: column {missing[0]!r} is missing; expected {', '.join(_COLUMNS)}")
    numbers = {}
    for column in ("weight", "EC50", "n"):
        values = np.array([_number(cell) for cell in table[column]], dtype=np.float64)
        _refuse_row(path, table, ~np.isfinite(values), column, "is not a number")
        numbers[column] = values
    sign = table["activation"].str.upper()
    _refuse_row(path, table, ~sign.isin(["TRUE", "FALSE"]).to_numpy(), "activation", "is not TRUE or FALSE")
    if genes is None:
        regulated = set(table["to"][table["from"] != table["to"]])
        names = sorted(set(table["from"]) | set(table["to"]), key=lambda name: (name in regulated, name))
    else:
        names = [str(name).removesuffix(INPUT_SUFFIX) for name in genes]
    position = {name: index for index, name in enumerate(names)}
    ends = {}
    for column in ("from", "to"):
        _refuse_row(path, table, ~table[column].isin(names).to_numpy(), column, "is not in the list of genes")
        ends[column] = table[column].map(position).to_numpy(np.int64)
    try:
        return Network.from_edges(
            names,
            ends["from"],
            ends["to"],
            (sign == "TRUE").to_numpy(),
            numbers["weight"],
            numbers["EC50"],
            numbers["n"],
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _number(cell: str) -> float:
    """The exact value of a cell (pandas' parser rounds the last digit); NaN when it is not a number."""
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _refuse_row(path: Path, table: pd.DataFrame, bad: np.ndarray, column: str, complaint: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{path}, line {row + 2}, column {column!r}: {table[column].iloc[row]!r} {complaint}")
