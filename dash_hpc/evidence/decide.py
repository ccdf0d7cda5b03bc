"""Which edges are taken, and what is to be expected of that choice.

All thresholds are log-odds in nats: 0 takes what is more likely than not, −ln 4 gives up an edge at 4 : 1 against.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.evidence.state import Bools, FloatArray, IntArray, State
from dash_hpc.ops.bayes import sigmoid

__all__ = ["MODES", "Decision", "EvidenceOptions", "Ledger", "Mode", "decide", "ledger_of", "thresholds"]

Mode = Literal["network", "strict", "recall", "share", "balanced"]
MODES: tuple[Mode, ...] = ("network", "strict", "recall", "share", "balanced")

#: Odds at which a listed edge is given up in the mode "network", and at which evidence counts as clear.
_CLEAR = float(np.log(4))
_FIXED: dict[Mode, tuple[float, float]] = {"network": (-_CLEAR, 0.0), "strict": (0.0, 0.0), "recall": (-3.0, -3.0)}


@dataclass(frozen=True)
class EvidenceOptions:
    """What the user may say about the search for a network.

    Attributes
    ----------
    mode : str
        ``network``: new edges from even odds on, listed ones until 4 : 1 against. ``strict``: even odds for both.
        ``recall``: −3 for both. ``share``: the best listed edges, as many as hold at most ``alpha`` of the expected
        wrong ones, and new edges from even odds on. ``balanced``: the same, but new edges wherever they raise the
        expected balanced accuracy; many of them are false.
    keep, admit : float, optional
        Thresholds for listed and for new edges, in nats; left out: those of the mode.
    alpha : float
        For ``share`` and ``balanced``.
    rounds : int
        At most so many, 1 or more: the first without smoothing in the network.
    candidates : int
        How many genes are looked at per target beside the listed ones, where there are over 1,000 genes.
    """

    mode: Mode = "network"
    keep: float | None = None
    admit: float | None = None
    alpha: float = 0.2
    rounds: int = 3
    candidates: int = 200

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"evidence: mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        for name in ("keep", "admit"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value):
                raise UsageError(f"evidence: {name} must be a number of nats, got {value!r}")
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"evidence: alpha must be in [0, 1], got {self.alpha!r}")
        for name in ("rounds", "candidates"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"evidence: {name} must be a whole number of 1 or more, got {value!r}")


@dataclass(frozen=True, eq=False)
class Ledger:
    """All edges that evidence was gathered for, and all listed ones; by target, then regulator. Arrays are (E,).

    Attributes
    ----------
    regulator, target : int64
    listed : bool
    prior, log_bf, log_odds : float64
        Before the data, of the data, and after them, in nats. −inf for edges into constant genes.
    effect, error : float64
        Estimate of the coefficient in the drive and its standard error; NaN where the data say nothing.
    power : float64
        ½ ln(1 + s τ²): what the data could say at least against an edge of typical size. NaN for constant targets.
    """

    regulator: IntArray
    target: IntArray
    listed: Bools
    prior: FloatArray
    log_bf: FloatArray
    log_odds: FloatArray
    effect: FloatArray
    error: FloatArray
    power: FloatArray

    def __len__(self) -> int:
        return len(self.regulator)

    @property
    def probability(self) -> FloatArray:
        """Of each edge, after the data."""
        return sigmoid(self.log_odds)


@dataclass(frozen=True, eq=False)
class Decision:
    """Which edges of a ledger are taken.

    Attributes
    ----------
    keep, admit : float
        The thresholds for listed and for new edges.
    taken : (E,) bool
    verdict : (E,) str
        ``supported`` (taken, and the data speak for it at 4 : 1 or more), ``refused`` (not taken, and the data speak
        against it at 4 : 1 or more), ``undecided``: the prior decided.
    false_discoveries : float
        Expected share of the taken edges that are false; NaN without any.
    spurious : float
        Expected number of listed edges that are false.
    missing : float
        Expected number of true edges that are not listed.
    missed : float
        Expected number of true edges that are not taken.
    """

    keep: float
    admit: float
    taken: Bools
    verdict: np.ndarray
    false_discoveries: float
    spurious: float
    missing: float
    missed: float


def ledger_of(state: State) -> Ledger:
    """Return all edges of a state."""
    pages = [_page(state, gene) for gene in range(state.n_genes)]
    return Ledger(*(np.concatenate([getattr(page, column.name) for page in pages]) for column in fields(Ledger)))


def _page(state: State, gene: int) -> Ledger:
    """The edges into one gene."""
    target = state.targets.get(gene)
    if target is None:
        regulators, _ = state.edges.into(gene)
        n = len(regulators)
        never, nothing = np.full(n, -np.inf), np.full(n, np.nan)
        listed = np.ones(n, dtype=np.bool_)
        return Ledger(regulators, np.full(n, gene), listed, never, never, never, nothing, nothing, nothing)
    edge = target.candidates
    information = np.where(edge.information > 0, edge.information, np.nan)
    power = 0.5 * np.log1p(edge.information * state.slab.size(edge.expected) ** 2)
    effect, error = edge.score / information, information**-0.5
    into = np.full(len(edge), gene)
    return Ledger(edge.genes, into, edge.listed, edge.prior, edge.log_bf, edge.log_odds, effect, error, power)


def thresholds(ledger: Ledger, genes: int, options: EvidenceOptions, trusted: bool = True) -> tuple[float, float]:
    """Return the thresholds for listed and for new edges; they are the same where the prior is not trusted."""
    if options.mode in _FIXED:
        keep, admit = _FIXED[options.mode]
    else:
        keep, admit = _share(ledger, options.alpha) if trusted else 0.0, 0.0
        if options.mode == "balanced":
            # a missed edge costs 1 / E of the sensitivity, a false one 1 / (G² − E) of the specificity
            edges = (float(ledger.listed.sum()) if trusted else 0.0) or float(ledger.probability.sum())
            admit = float(np.log(max(edges, 1.0) / genes**2))
    keep = keep if options.keep is None else float(options.keep)
    admit = admit if options.admit is None else float(options.admit)
    return keep if trusted else admit, admit


def _share(ledger: Ledger, alpha: float) -> float:
    """The lowest threshold at which the listed edges that stay hold at most ``alpha`` of the expected wrong ones."""
    odds = np.sort(ledger.log_odds[ledger.listed])[::-1]
    wrong = 1 - sigmoid(odds)
    held = np.cumsum(wrong) <= alpha * wrong.sum()
    n = int(held.argmin()) if not held.all() else len(odds)
    # edges of the threshold itself are not kept: the first one that would be too many is it
    return float(odds[n]) if n < len(odds) else -np.inf


def decide(ledger: Ledger, genes: int, options: EvidenceOptions, *, trusted: bool = True) -> Decision:
    """Take the listed edges above one threshold and the others above another.

    Parameters
    ----------
    ledger : Ledger
    genes : int
        G.
    options : EvidenceOptions
    trusted : bool, default True
        Whether listed edges have a threshold of their own.
    """
    keep, admit = thresholds(ledger, genes, options, trusted)
    taken = ledger.log_odds > np.where(ledger.listed, keep, admit)
    p = ledger.probability
    verdict = np.full(len(ledger), "undecided", dtype="U9")
    verdict[taken & (ledger.log_bf >= _CLEAR)] = "supported"
    verdict[~taken & (ledger.log_bf <= -_CLEAR)] = "refused"
    return Decision(
        keep,
        admit,
        taken,
        verdict,
        float((1 - p[taken]).mean()) if taken.any() else float("nan"),
        float((1 - p[ledger.listed]).sum()),
        float(p[~ledger.listed].sum()),
        float(p[~taken].sum()),
    )
