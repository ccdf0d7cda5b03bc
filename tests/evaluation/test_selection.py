"""The choice of λ: rules by hand, and nothing but validation error decides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.evaluation import select_lambda


def table(*rows, strategy="dash", status="done"):
    """Rows of (λ₁, λ₂, validation MSE, sparsity)."""
    frame = pd.DataFrame(rows, columns=["lambda_ppi", "lambda_motif", "validation_mse", "sparsity"])
    frame["strategy"], frame["status"] = strategy, status
    frame.index = [f"run{k:02d}" for k in range(len(frame))]
    return frame


RUNS = table(
    (0.1, 0.1, 1.0, 0.90),
    (0.1, 0.1, 1.2, 0.90),  # mean 1.1, standard error 0.1: limit 1.2
    (0.2, 0.1, 1.1, 0.95),
    (0.2, 0.1, 1.2, 0.95),  # mean 1.15: within, and sparser
    (0.3, 0.1, 1.3, 0.99),
    (0.3, 0.1, 1.3, 0.99),  # outside
)


def test_one_standard_error_takes_the_sparsest_within():
    choice = select_lambda(RUNS)
    assert (choice.lambda_ppi, choice.lambda_motif, choice.rule) == (0.2, 0.1, "one_se")
    assert choice.run_id == "run02"
    assert choice.candidates["se"].tolist() == pytest.approx([0.1, 0.05, 0.0])
    assert choice.candidates["eligible"].tolist() == [True, True, False]
    assert choice.candidates["chosen"].tolist() == [False, True, False]
    assert "within one standard error" in choice.reason


def test_best_takes_the_lowest_mean():
    choice = select_lambda(RUNS, "best")
    assert (choice.lambda_ppi, choice.run_id, choice.rule) == (0.1, "run00", "best")


def test_equal_sparsity_is_decided_by_error():
    runs = table((0.1, 0, 1.0, 0.9), (0.1, 0, 1.4, 0.9), (0.2, 0, 1.0, 0.9), (0.2, 0, 1.5, 0.9))
    assert select_lambda(runs).lambda_ppi == 0.1


def test_one_seed_falls_back_and_says_so():
    choice = select_lambda(table((0.1, 0, 1.0, 0.5), (0.2, 0, 1.001, 0.9)))
    assert (choice.lambda_ppi, choice.rule, choice.asked) == (0.1, "best", "one_se")
    assert "standard error is unknown" in choice.reason


@pytest.mark.parametrize("rule", ["one_se", "best"])
def test_truth_cannot_change_the_choice(rule):
    rng = np.random.default_rng(0)
    first = RUNS.copy()
    for name in ("balanced_accuracy", "tpr", "tnr", "auc", "test_mse", "effect_mse", "recovered_missing"):
        first[name] = rng.random(len(first))
    second = first.copy()
    for name in ("balanced_accuracy", "tpr", "tnr", "auc", "test_mse", "effect_mse", "recovered_missing"):
        second[name] = -first[name].to_numpy()[::-1]
    a, b = select_lambda(first, rule), select_lambda(second, rule)
    assert (a.lambda_ppi, a.lambda_motif, a.run_id) == (b.lambda_ppi, b.lambda_motif, b.run_id)
    pd.testing.assert_frame_equal(a.candidates, b.candidates)


def test_failed_runs_and_other_strategies_do_not_count():
    others = table((0.9, 0.9, 0.1, 0.99), strategy="imp")
    failed = table((0.3, 0.1, np.nan, np.nan), (0.2, 0.1, 0.01, 0.99), status="failed")
    others.index, failed.index = ["imp0"], ["bad0", "bad1"]
    choice = select_lambda(pd.concat([RUNS, others, failed]))
    assert choice.lambda_ppi == 0.2
    assert choice.candidates["n_failed"].tolist() == [0, 1, 1]
    assert choice.candidates["n_runs"].tolist() == [2, 2, 2]


def test_nothing_to_choose_from_is_a_clear_error():
    with pytest.raises(UsageError, match="no finished dash run"):
        select_lambda(table((0.1, 0.1, np.nan, 0.9)))
    with pytest.raises(UsageError, match="one_se, best"):
        select_lambda(RUNS, "lowest")
    with pytest.raises(UsageError, match="no column 'validation_mse'"):
        select_lambda(RUNS.drop(columns="validation_mse"))
