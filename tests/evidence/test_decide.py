"""The choice of edges and what is expected of it, counted out by hand or over all choices."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.evidence.decide import EvidenceOptions, Ledger, decide, ledger_of, thresholds
from dash_hpc.evidence.state import Candidates, PriorEdges, State, Target


def ledger(odds: list[float], listed: list[bool], log_bf: list[float] | None = None) -> Ledger:
    n = len(odds)
    zeros, factor = np.zeros(n), np.array(odds if log_bf is None else log_bf)
    return Ledger(
        np.arange(n),
        np.zeros(n, dtype=np.int64),
        np.array(listed),
        np.array(odds) - factor,
        factor,
        np.array(odds),
        zeros,
        zeros,
        zeros,
    )


LISTED = [3.0, -1.0, -2.0, -4.0]
NEW = [2.0, 0.5, -0.5, -3.5]
EXAMPLE = ledger(LISTED + NEW, [True] * 4 + [False] * 4)


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        (EvidenceOptions(), [0, 1, 4, 5]),
        (EvidenceOptions(mode="strict"), [0, 4, 5]),
        (EvidenceOptions(mode="recall"), [0, 1, 2, 4, 5, 6]),
        (EvidenceOptions(keep=-1.0, admit=1.0), [0, 4]),
        (EvidenceOptions(mode="recall", admit=0.5), [0, 1, 2, 4]),
    ],
)
def test_modes(options: EvidenceOptions, taken: list[int]) -> None:
    assert list(np.flatnonzero(decide(EXAMPLE, 10, options).taken)) == taken


@pytest.mark.parametrize("mode", ["network", "strict", "recall", "share", "balanced"])
def test_listed_edges_of_a_prior_that_is_not_trusted_are_as_any_others(mode: str) -> None:
    options = EvidenceOptions(mode=mode)  # type: ignore[arg-type]
    unlisted = ledger(LISTED + NEW, [False] * 8)
    found = decide(EXAMPLE, 10, options, trusted=False)
    np.testing.assert_array_equal(found.taken, decide(unlisted, 10, options).taken)
    assert found.spurious == decide(EXAMPLE, 10, options).spurious


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.1, 0.2, 0.5, 0.9, 1.0])
def test_share_keeps_all_edges_it_can(alpha: float) -> None:
    """The largest set of the best listed edges that holds at most the share of the expected wrong ones."""
    rng = np.random.default_rng(5)
    odds = rng.normal(2, 3, size=60)
    found = decide(ledger(odds.tolist(), [True] * 60), 100, EvidenceOptions(mode="share", alpha=alpha)).taken
    wrong = 1 / (1 + np.exp(odds))
    best = np.argsort(-odds)
    most = max(n for n in range(61) if wrong[best[:n]].sum() <= alpha * wrong.sum() * (1 + 1e-12))
    assert set(np.flatnonzero(found)) == set(best[:most])


def test_balanced_admits_what_raises_the_expected_balanced_accuracy() -> None:
    rng = np.random.default_rng(6)
    genes, listed = 40, 80
    odds = rng.normal(-4, 3, size=400)
    given = ledger(odds.tolist(), [True] * listed + [False] * 320)
    keep, admit = thresholds(given, genes, EvidenceOptions(mode="balanced"))
    assert keep == thresholds(given, genes, EvidenceOptions(mode="share"))[0]
    p = given.probability[listed:]

    def gain(threshold: float) -> float:
        """Expected change of the balanced accuracy if there are ``listed`` true edges, rare among all pairs."""
        some = odds[listed:] > threshold
        return float((p[some] / listed - (1 - p[some]) / genes**2).sum())

    every = np.linspace(-8, 4, 2401)
    best = max(gain(threshold) for threshold in every)
    assert gain(admit) == pytest.approx(best, abs=1e-4)


def test_expectations_are_sums_of_probabilities() -> None:
    found = decide(EXAMPLE, 10, EvidenceOptions())
    p = 1 / (1 + np.exp(-np.array(LISTED + NEW)))
    assert found.spurious == pytest.approx((1 - p[:4]).sum())
    assert found.missing == pytest.approx(p[4:].sum())
    assert found.false_discoveries == pytest.approx(1 - p[[0, 1, 4, 5]].mean())
    assert found.missed == pytest.approx(p[[2, 3, 6, 7]].sum())
    assert np.isnan(decide(EXAMPLE, 10, EvidenceOptions(keep=50.0, admit=50.0)).false_discoveries)


def test_a_verdict_is_what_the_data_say() -> None:
    """An edge that the prior alone keeps or drops is undecided."""
    given = ledger([4.0, 4.0, -4.0, -4.0, 1.0], [True] * 5, [2.0, 0.1, -2.0, -0.1, -3.0])
    assert list(decide(given, 10, EvidenceOptions()).verdict) == [
        "supported",
        "undecided",
        "refused",
        "undecided",
        "undecided",
    ]


def test_ledger_has_all_edges_of_a_state() -> None:
    motif = np.zeros((4, 4))
    motif[0, 2], motif[1, 3], motif[0, 3] = 1, -1, 1
    edges = PriorEdges.from_matrix(motif, signed=True)
    target = Target(2, Candidates.unseen(np.array([0, 1, 3]), *edges.into(2)), 1.0, 1.0)
    target.candidates.prior = np.array([1.0, -2, -2])
    target.candidates.log_bf = np.array([3.0, 0, -1])
    target.candidates.score = np.array([8.0, 0, 2])
    target.candidates.information = np.array([16.0, 0, 4])
    target.candidates.expected = np.array([1.0, 1, 2])
    state = State(edges, 1.0, np.array([True, True, False, True]), {2: target}, np.zeros(4))
    found = ledger_of(state)
    assert list(zip(found.regulator, found.target, found.listed, strict=True)) == [
        (0, 2, True),
        (1, 2, False),
        (3, 2, False),
        (0, 3, True),
        (1, 3, True),
    ]
    assert list(found.log_odds) == [4.0, -2.0, -3.0, -np.inf, -np.inf]
    assert found.effect[0] == pytest.approx(0.5)
    assert found.error[0] == pytest.approx(0.25)
    assert np.isnan(found.effect[1])
    # the slab's size is 1 / k
    assert found.power == pytest.approx([0.5 * np.log(17), 0, 0.5 * np.log(2), np.nan, np.nan], nan_ok=True)
    chosen = decide(found, 4, EvidenceOptions())
    assert list(chosen.verdict) == ["supported", "undecided", "undecided", "refused", "refused"]
    assert list(chosen.taken) == [True, False, False, False, False]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "loose"},
        {"keep": float("nan")},
        {"admit": float("inf")},
        {"alpha": 1.5},
        {"rounds": 0},
        {"candidates": 2.5},
    ],
)
def test_options_out_of_range(wrong: dict) -> None:
    with pytest.raises(UsageError, match=f"evidence: {next(iter(wrong))}"):
        EvidenceOptions(**wrong)
