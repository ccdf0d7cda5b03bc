"""What several runs agree on: of every edge how often it is selected, its sign and the spread of its effect.

Runs that differ in their seed alone saw the same prior and the same courses with other noise and other first weights.
Where their outputs agree and their edges do not, the data do not say which edge it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dash_hpc.errors import UsageError
from dash_hpc.network.edges import EdgeTable, among_edges, edges_of

if TYPE_CHECKING:
    import pandas as pd

    from dash_hpc.data import DataSet
    from dash_hpc.store import Store

__all__ = ["Consensus", "Likeness", "consensus", "consensus_of", "likeness"]

_MOST_PAIRS = 200  # of runs whose effects are compared


@dataclass(frozen=True)
class Likeness:
    """How alike the networks of two or more runs are, mean over pairs of runs (``pairs`` of them).

    ``correlation`` of effects over the edges that at least one of the two has (0 where the other has none), and
    ``jaccard``, the share of these edges that both have. NaN for a single run.
    """

    pairs: int
    correlation: float
    jaccard: float


@dataclass(frozen=True, eq=False)
class Consensus:
    """All E edges that at least one of ``n_runs`` runs has, by target and then regulator.

    Attributes
    ----------
    genes : tuple of G str
    n_runs : int
    regulator, target : (E,) int64
        Places in ``genes``.
    frequency : (E,) float
        Share of the runs that have the edge.
    sign_agreement : (E,) float
        Of the runs in which the edge has an effect other than 0, the share that has the more frequent sign: 0.5 to 1.
        NaN where none has.
    effect, spread : (E,) float
        Mean and s.d. (n − 1; NaN for one) of the effect over the runs that have the edge.
    likeness : Likeness
    in_prior, in_truth : (E,) bool or None
    """

    genes: tuple[str, ...]
    n_runs: int
    regulator: NDArray[np.int64]
    target: NDArray[np.int64]
    frequency: NDArray[np.float64]
    sign_agreement: NDArray[np.float64]
    effect: NDArray[np.float64]
    spread: NDArray[np.float64]
    likeness: Likeness
    in_prior: NDArray[np.bool_] | None = None
    in_truth: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.regulator)

    @property
    def flat(self) -> NDArray[np.int64]:
        """(E,) target · G + regulator, increasing."""
        return self.target * len(self.genes) + self.regulator

    def frame(self) -> pd.DataFrame:
        """Return the edges as a table, most frequent first and, of these, the steadiest effects."""
        import pandas as pd

        steady = np.abs(self.effect) / np.where(self.spread > 0, self.spread, np.inf)
        order = np.lexsort((-np.abs(self.effect), -steady, -self.frequency))
        names = np.array(self.genes, dtype=object)
        columns: dict[str, Any] = {
            "regulator": names[self.regulator],
            "target": names[self.target],
            "frequency": self.frequency,
            "sign_agreement": self.sign_agreement,
            "effect": self.effect,
            "spread": self.spread,
        }
        known = {"in_prior": self.in_prior, "in_truth": self.in_truth}
        columns |= {name: column for name, column in known.items() if column is not None}
        return pd.DataFrame(columns).iloc[order].reset_index(drop=True)


def consensus_of(store: Store, run_ids: Sequence[str], dataset: DataSet | None = None) -> Consensus:
    """Return what the kept networks of these runs agree on.

    Parameters
    ----------
    store : Store
        As opened by :func:`dash_hpc.open_store`.
    run_ids : sequence of str
        Finished runs on the same genes: those of one setting and several seeds, or of many settings, such as
        ``store.runs.query("status == 'done' and strategy == 'dash'").index``.
    dataset : DataSet, optional
        Gives prior and reference network.

    Raises
    ------
    StoreError
        When a run has no network.
    UsageError
        For no run, or runs on other genes.
    """
    return consensus(
        [edges_of(store, str(run_id)) for run_id in run_ids],
        prior=dataset.prior.motif if dataset is not None and dataset.prior is not None else None,
        truth=None if dataset is None else dataset.truth,
    )


def consensus(tables: Sequence[EdgeTable], *, prior: Any = None, truth: Any = None) -> Consensus:
    """Return what the networks of several runs agree on; ``prior`` and ``truth`` are (G, G), regulator × target.

    Raises
    ------
    UsageError
        For no table, or tables of other genes.
    """
    if not tables:
        raise UsageError("a consensus needs at least one finished run")
    genes = tables[0].genes
    if any(table.genes != genes for table in tables):
        raise UsageError("a consensus needs runs on the same genes")
    n = len(genes)
    flats = [table.target.astype(np.int64) * n + table.regulator for table in tables]
    union = np.unique(np.concatenate(flats))
    count, total = np.zeros(len(union)), np.zeros(len(union))
    up, down = np.zeros(len(union)), np.zeros(len(union))
    places = [np.searchsorted(union, flat) for flat in flats]
    for table, place in zip(tables, places, strict=True):
        effect = table.effect.astype(np.float64)
        count[place] += 1
        total[place] += effect
        up[place] += effect > 0
        down[place] += effect < 0
    mean = total / count
    square = np.zeros(len(union))
    for table, place in zip(tables, places, strict=True):
        square[place] += (table.effect.astype(np.float64) - mean[place]) ** 2
    signed = up + down
    target, regulator = union // n, union % n
    return Consensus(
        genes,
        len(tables),
        regulator,
        target,
        count / len(tables),
        np.divide(np.maximum(up, down), signed, out=np.full(len(union), np.nan), where=signed > 0),
        mean,
        np.sqrt(np.divide(square, count - 1, out=np.full(len(union), np.nan), where=count > 1)),
        likeness(tables),
        None if prior is None else among_edges(prior, target, regulator),
        None if truth is None else among_edges(truth, target, regulator),
    )


def likeness(tables: Sequence[EdgeTable]) -> Likeness:
    """Return how alike the networks are, over all pairs of them, or the first 200."""
    n = len(tables[0].genes) if tables else 0
    flats = [table.target.astype(np.int64) * n + table.regulator for table in tables]
    pairs = list(combinations(range(len(tables)), 2))[:_MOST_PAIRS]
    correlations, shares = [], []
    for a, b in pairs:
        both, in_a, in_b = np.intersect1d(flats[a], flats[b], assume_unique=True, return_indices=True)
        size = len(flats[a]) + len(flats[b]) - len(both)
        shares.append(len(both) / size if size else np.nan)
        x, y = tables[a].effect.astype(np.float64), tables[b].effect.astype(np.float64)
        correlations.append(_correlation(x, y, float(x[in_a] @ y[in_b]), size))
    return Likeness(len(pairs), _mean(correlations), _mean(shares))


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64], product: float, size: int) -> float:
    """Pearson's r over ``size`` pairs, of which ``x`` and ``y`` have the values other than 0."""
    if size < 2:
        return float("nan")
    covariance = product - x.sum() * y.sum() / size
    variance = (x @ x - x.sum() ** 2 / size) * (y @ y - y.sum() ** 2 / size)
    return float(covariance / np.sqrt(variance)) if variance > 0 else float("nan")


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
