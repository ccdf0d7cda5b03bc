"""The edges of a model: who acts on whom, how strongly, and whether prior and reference know it.

Nothing of size G·G is allocated: a model with dense matrices is gone through in blocks of targets, one with compressed
matrices by its products. What an edge is and what its effect is, :mod:`dash_hpc.evaluation.influence` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dash_hpc.errors import UsageError
from dash_hpc.evaluation import edge_parts, reference_coordinates

if TYPE_CHECKING:
    import pandas as pd

    from dash_hpc.data import DataSet
    from dash_hpc.store import Store

__all__ = ["EdgeTable", "among_edges", "edge_blocks", "edge_table", "edges_of", "joined"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class EdgeTable:
    """E edges of a model, by target and then regulator.

    Attributes
    ----------
    genes : tuple of str
        Names of all G genes.
    regulator, target : (E,) int32
        Places in ``genes``.
    effect : (E,) float
        D of the pair: time derivative of the target per unit of the regulator's activation. 0 where the products of
        weights underflow or cancel: the pair is an edge all the same.
    share : (E,) float
        The effect as a share of the sum of |D| over all edges of the target; 0 where that sum is 0.
    in_prior, in_truth : (E,) bool or None
        Whether the prior and the reference network have the edge; None where there is none.
    """

    genes: tuple[str, ...]
    regulator: NDArray[np.int32]
    target: NDArray[np.int32]
    effect: NDArray[Any]
    share: NDArray[Any]
    in_prior: Bools | None = None
    in_truth: Bools | None = None

    def __len__(self) -> int:
        return len(self.regulator)

    @property
    def sign(self) -> NDArray[np.int8]:
        """(E,) 1 activates, -1 represses, 0 where the effect is 0."""
        return np.sign(self.effect).astype(np.int8)

    @property
    def out_degree(self) -> NDArray[np.int64]:
        """(G,) number of targets of each gene."""
        return np.bincount(self.regulator, minlength=len(self.genes))

    @property
    def strength(self) -> NDArray[np.float64]:
        """(G,) sum over its targets of the absolute share that each gene has as a regulator."""
        shares = np.abs(self.share).astype(np.float64)
        return np.asarray(np.bincount(self.regulator, shares, len(self.genes)), dtype=np.float64)

    def take(self, rows: NDArray[Any]) -> EdgeTable:
        """Return the edges at ``rows`` (indices or a mask), in that order."""
        columns: dict[str, Any] = {name: getattr(self, name) for name in _COLUMNS}
        return replace(self, **{name: column[rows] for name, column in columns.items() if column is not None})

    def strongest(self, n: int | None = None) -> EdgeTable:
        """Return the ``n`` edges (default: all) of largest effect, by size, largest first; equal ones as they stand."""
        size = np.abs(self.effect)
        if n is None or n >= len(size):
            return self.take(np.argsort(-size, kind="stable"))
        near = np.flatnonzero(size >= np.partition(size, len(size) - n)[len(size) - n]) if n else np.zeros(0, dtype=int)
        return self.take(near[np.argsort(-size[near], kind="stable")[:n]])

    def frame(self) -> pd.DataFrame:
        """Return the edges as a table, strongest first.

        Columns ``regulator``, ``target`` (names), ``effect``, ``share``, ``sign`` and, where they are known,
        ``in_prior`` and ``in_truth``.
        """
        import pandas as pd

        best, names = self.strongest(), np.array(self.genes, dtype=object)
        columns: dict[str, Any] = {
            "regulator": names[best.regulator],
            "target": names[best.target],
            "effect": best.effect,
            "share": best.share,
            "sign": best.sign,
        }
        known = {"in_prior": best.in_prior, "in_truth": best.in_truth}
        return pd.DataFrame(columns | {name: column for name, column in known.items() if column is not None})


_COLUMNS = tuple(field.name for field in fields(EdgeTable) if field.name != "genes")


def edges_of(store: Store, run_id: str, dataset: DataSet | None = None) -> EdgeTable:
    """Return the edges of a run's kept network.

    Parameters
    ----------
    store : Store
        As opened by :func:`dash_hpc.open_store`.
    run_id : str
    dataset : DataSet, optional
        Gives prior and reference network (and names, where the run has stored none).

    Raises
    ------
    StoreError
        When the run has no network.
    """
    network = store.network(run_id)
    motif = dataset.prior.motif if dataset is not None and dataset.prior is not None else None
    return edge_table(
        network.weights,
        network.masks,
        genes=network.genes or (dataset.genes if dataset is not None else ()),
        prior=motif,
        truth=None if dataset is None else dataset.truth,
    )


def edge_table(
    weights: Mapping[str, Any],
    masks: Mapping[str, np.ndarray] | None = None,
    *,
    genes: Sequence[str] = (),
    prior: Any = None,
    truth: Any = None,
    dtype: Any = None,
) -> EdgeTable:
    """Return the edges of a model; parameters as for :func:`edge_blocks`."""
    return joined(list(edge_blocks(weights, masks, genes=genes, prior=prior, truth=truth, dtype=dtype)))


def joined(parts: Sequence[EdgeTable]) -> EdgeTable:
    """Return tables of one network, one or more, as one."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {name: [getattr(part, name) for part in parts] for name in _COLUMNS}
    whole = {name: np.concatenate(column) for name, column in columns.items() if column[0] is not None}
    return replace(parts[0], **whole)


def edge_blocks(
    weights: Mapping[str, Any],
    masks: Mapping[str, np.ndarray] | None = None,
    *,
    genes: Sequence[str] = (),
    prior: Any = None,
    truth: Any = None,
    dtype: Any = None,
) -> Iterator[EdgeTable]:
    """Yield the edges of a model in tables of neighbouring targets, one or more, so that a dense one need not be whole.

    Parameters
    ----------
    weights, masks : mappings of arrays
        The tensors of a model of any family; masks optional (masked entries count as zero).
    genes : sequence of G str, optional
        Left out: "gene 0", "gene 1", …
    prior, truth : (G, G) sparse or dense, optional
        Regulator × target; entries other than 0 are edges.
    dtype : optional
        Of effects and shares, which are formed in float64. Left out: float64 up to 4,096 genes, float32 above.

    Raises
    ------
    UsageError
        When names, prior or truth do not fit the number of genes.
    """
    keys: dict[str, NDArray[np.int64]] = {}
    names: tuple[str, ...] = ()
    for part in edge_parts(weights, masks, dtype=dtype):
        if not names:
            names = _names(genes, part.n_genes)
            known = {"in_prior": prior, "in_truth": truth}
            keys = {column: _keys(column, of, part.n_genes) for column, of in known.items() if of is not None}
        flat = part.targets.astype(np.int64) * part.n_genes + part.regulators
        known_here = {column: _marked(flat, key) for column, key in keys.items()}
        yield EdgeTable(
            names,
            part.regulators.astype(np.int32),
            part.targets.astype(np.int32),
            part.effects,
            part.shares,
            **known_here,
        )


def among_edges(network: Any, target: NDArray[Any], regulator: NDArray[Any]) -> Bools:
    """Return which pairs are edges of a prior or reference (G, G), regulator × target: (E,) bool."""
    n_genes = network.shape[0]
    return np.isin(target.astype(np.int64) * n_genes + regulator, _keys("network", network, n_genes))


def _names(genes: Sequence[str], n_genes: int) -> tuple[str, ...]:
    if not genes:
        return tuple(f"gene {k}" for k in range(n_genes))
    if len(genes) != n_genes:
        raise UsageError(f"{len(genes)} gene names for a model of {n_genes} genes")
    return tuple(genes)


def _keys(column: str, network: Any, n_genes: int) -> NDArray[np.int64]:
    """The edges of a network, regulator × target, as sorted numbers target · G + regulator."""
    if network.shape != (n_genes, n_genes):
        what = column.removeprefix("in_")
        raise UsageError(f"{what} must be [{n_genes}, {n_genes}], got {list(network.shape)}")
    targets, regulators = reference_coordinates(network)
    return np.unique(targets * n_genes + regulators)


def _marked(flat: NDArray[np.int64], keys: NDArray[np.int64]) -> Bools:
    """Which of ``flat`` are among ``keys``; both are sorted, and the keys are few."""
    found = np.zeros(len(flat), dtype=bool)
    place = np.searchsorted(flat, keys)
    keys, place = keys[place < len(flat)], place[place < len(flat)]
    found[place[flat[place] == keys]] = True
    return found
