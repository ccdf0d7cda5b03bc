"""The choice of a setting: rules by hand, and nothing but validation error decides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.evaluation import FOLD, kept_epochs, levels, select_setting


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
    choice = select_setting(RUNS)
    assert (*choice.setting.values(), choice.rule) == (0.2, 0.1, "one_se")
    assert choice.run_id == "run02"
    assert choice.candidates["se"].tolist() == pytest.approx([0.1, 0.05, 0.0])
    assert choice.candidates["eligible"].tolist() == [True, True, False]
    assert choice.candidates["chosen"].tolist() == [False, True, False]
    assert "within one standard error" in choice.reason


def test_best_takes_the_lowest_mean():
    choice = select_setting(RUNS, "best")
    assert (choice.setting["lambda_ppi"], choice.run_id, choice.rule) == (0.1, "run00", "best")


def test_equal_sparsity_is_decided_by_error():
    runs = table((0.1, 0, 1.0, 0.9), (0.1, 0, 1.4, 0.9), (0.2, 0, 1.0, 0.9), (0.2, 0, 1.5, 0.9))
    assert select_setting(runs).setting["lambda_ppi"] == 0.1


@pytest.mark.parametrize("rule", ["one_se", "best"])
def test_networks_of_which_nothing_is_left(rule):
    """With 0 active weights no event lies between any two, and the lower error decides."""
    runs = table(
        *((0.1, 0, 1.0, 1.0), (0.1, 0, 1.4, 1.0)),
        *((0.2, 0, 1.0, 1.0), (0.2, 0, 1.5, 1.0)),
        *((0.3, 0, 1.0, 0.99), (0.3, 0, 1.3, 0.99)),  # mean 1.15, standard error 0.15: limit 1.3
    )
    assert select_setting(runs, rule).setting["lambda_ppi"] == (0.1 if rule == "one_se" else 0.3)
    assert select_setting(table((0.1, 0, 1.0, 1.0)), rule).run_id == "run00"


def test_one_seed_falls_back_and_says_so():
    choice = select_setting(table((0.1, 0, 1.0, 0.5), (0.2, 0, 1.001, 0.9)))
    assert (choice.setting["lambda_ppi"], choice.rule, choice.asked) == (0.1, "best", "one_se")
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
    a, b = select_setting(first, rule), select_setting(second, rule)
    assert (a.setting, a.run_id) == (b.setting, b.run_id)
    pd.testing.assert_frame_equal(a.candidates, b.candidates)


def test_failed_runs_and_other_strategies_do_not_count():
    others = table((0.9, 0.9, 0.1, 0.99), strategy="imp")
    failed = table((0.3, 0.1, np.nan, np.nan), (0.2, 0.1, 0.01, 0.99), status="failed")
    others.index, failed.index = ["imp0"], ["bad0", "bad1"]
    choice = select_setting(pd.concat([RUNS, others, failed]))
    assert choice.setting["lambda_ppi"] == 0.2
    assert choice.candidates["n_failed"].tolist() == [0, 1, 1]
    assert choice.candidates["n_runs"].tolist() == [2, 2, 2]


def test_nothing_to_choose_from_is_a_clear_error():
    with pytest.raises(UsageError, match="no finished dash run"):
        select_setting(table((0.1, 0.1, np.nan, 0.9)))
    with pytest.raises(UsageError, match="one_se, best"):
        select_setting(RUNS, "lowest")
    with pytest.raises(UsageError, match="no column 'validation_mse'"):
        select_setting(RUNS.drop(columns="validation_mse"))


def pooled(*rows, **options):
    """As `table`, with a column for each option: a value per row."""
    frame = table(*rows)
    for name, values in options.items():
        frame[name] = values
    return frame


# Kept sparsities of five λ on breast 500: two seeds each, and one event there removes 10 % of what is active.
ROUNDING = [(0.1, 94.8928, 3.30), (0.2, 94.8895, 3.10), (0.3, 94.8910, 3.20), (0.4, 94.3216, 3.05), (0.5, 90.0, 3.00)]


def of(candidates, spread=0.4):
    """Two seeds per candidate (λ₁, sparsity in %, validation MSE), ± spread / 2: the standard error is spread / 2."""
    rows = []
    for ppi, sparsity, error in candidates:
        rows += [(ppi, 0.0, error - spread / 2, sparsity / 100), (ppi, 0.0, error + spread / 2, sparsity / 100)]
    return table(*rows)


def test_less_than_one_event_is_no_difference_and_the_lower_error_decides():
    """94.8928 % against 94.8895 % is rounding: the sparser one has the higher error. 94.3216 is one event away."""
    choice = select_setting(of(ROUNDING, 0.8))
    assert choice.candidates["eligible"].all()
    assert choice.setting["lambda_ppi"] == 0.2
    near = choice.candidates.set_index("lambda_ppi")["sparsest"]
    assert near.to_dict() == {0.1: True, 0.2: True, 0.3: True, 0.4: False, 0.5: False}
    assert (
        "3 are as sparse as the sparsest to less than one pruning event (10 % of the active weights)" in choice.reason
    )


def test_a_candidate_outside_one_standard_error_is_not_eligible_however_sparse():
    choice = select_setting(of([*ROUNDING, (0.6, 99.0, 3.50)], 0.8))
    assert choice.setting["lambda_ppi"] == 0.2
    assert choice.candidates["eligible"].tolist() == [True] * 5 + [False]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_order_of_the_runs_plays_no_part(order):
    runs = of(ROUNDING, 0.8).sample(frac=1, random_state=order)
    assert select_setting(runs).setting["lambda_ppi"] == 0.2
    pd.testing.assert_frame_equal(select_setting(runs).candidates, select_setting(of(ROUNDING, 0.8)).candidates)


@pytest.mark.parametrize(
    ("fraction", "every", "sparser", "equal"),
    [
        # 80 % sparse, one event of 10 %: 20 % · 0.9 = 18 % are left, 82 % sparse.
        (0.1, 10, 0.8199999, False),
        (0.1, 10, 0.8200001, False),
        (0.1, 10, 0.8150, True),
        # One event of 50 %: 90 % sparse.
        (0.5, 10, 0.8800, True),
        (0.5, 10, 0.9000, False),
        # No later event: the first one, of 70 %, is the event; 94 % sparse.
        (0.1, 0, 0.9000, True),
        (0.0, 10, 0.9000, True),
        (0.1, 0, 0.9400, False),
    ],
)
def test_an_event_is_the_share_that_the_schedule_removes(fraction, every, sparser, equal):
    rows = [(0.1, 0, 1.0, 0.8), (0.1, 0, 1.2, 0.8), (0.2, 0, 1.05, sparser), (0.2, 0, 1.25, sparser)]
    schedule = {"fraction": fraction, "every": every, "first_fraction": 0.7}
    runs = pooled(*rows, **{f"schedule.{key}": value for key, value in schedule.items()})
    assert select_setting(runs).setting["lambda_ppi"] == (0.1 if equal else 0.2)


def test_equal_errors_take_the_sparser_then_the_smaller_options():
    assert select_setting(of([(0.1, 80.0, 1.0), (0.2, 80.5, 1.0)])).setting["lambda_ppi"] == 0.2
    assert select_setting(of([(0.2, 80.0, 1.0), (0.1, 80.0, 1.0)])).setting["lambda_ppi"] == 0.1
    # 0.1 + 0.2 is not 0.3 in binary: errors that differ by rounding are equal.
    runs = table((0.1, 0, 0.3, 0.5), (0.1, 0, 0.5, 0.5), (0.2, 0, 0.1 + 0.2, 0.51), (0.2, 0, 0.5, 0.51))
    assert select_setting(runs).setting["lambda_ppi"] == 0.2


def test_settings_that_differ_in_another_option_are_not_pooled():
    """Two seeds of each: with the options pooled, (0.1, 0) would have 4 runs and a mean of 3."""
    rows = [
        (0.1, 0, 1.0, 0.9), (0.1, 0, 1.1, 0.9), (0.1, 0, 5.0, 0.9), (0.1, 0, 4.9, 0.9),
        (0.2, 0, 2.0, 0.9), (0.2, 0, 2.1, 0.9), (0.2, 0, 2.2, 0.9), (0.2, 0, 2.3, 0.9),
    ]  # fmt: skip
    runs = pooled(*rows, score_norm=["paper", "paper", "rank", "rank"] * 2, ridge=[1e-10] * 8)
    for rule in ("best", "one_se"):
        choice = select_setting(runs, rule)
        assert (choice.setting, choice.run_id) == (
            {"score_norm": "paper", "lambda_ppi": 0.1, "lambda_motif": 0},
            "run00",
        )
        assert choice.candidates["n_runs"].tolist() == [2, 2, 2, 2]
        assert choice.candidates["validation_mse"].tolist() == pytest.approx([1.05, 2.05, 2.25, 4.95])
        assert "λ = (0.1, 0), score_norm = paper" in choice.reason


def test_a_strategy_without_lambda_is_chosen_by_its_own_option():
    runs = pooled((np.nan, np.nan, 2.0, 0.9), (np.nan, np.nan, 1.0, 0.9), rewind=["init", 3])
    runs["strategy"] = "imp"
    choice = select_setting(runs, "best", strategy="imp")
    assert (choice.setting, choice.run_id) == ({"rewind": 3}, "run01")
    assert choice.reason.startswith("rewind = 3: the lowest mean validation MSE")
    one = select_setting(runs.iloc[:1], strategy="imp")
    assert (one.setting, one.run_id) == ({}, "run00")
    assert "nothing to choose between" in one.reason


def test_keys_of_the_sections_are_part_of_a_setting():
    """Means by hand: m = 4: (1.0 + 1.2) / 2 = 1.1; m = 8: (0.9 + 1.0) / 2 = 0.95; seeds are pooled, sizes are not."""
    rows = [(0.1, 0, 1.0, 0.9), (0.1, 0, 1.2, 0.9), (0.1, 0, 0.9, 0.9), (0.1, 0, 1.0, 0.9)]
    runs = pooled(*rows, **{"model.hidden": [4, 4, 8, 8], "training.lr": 1e-3, "data.genes": 12})
    choice = select_setting(runs, "best")
    assert choice.setting == {"lambda_ppi": 0.1, "lambda_motif": 0, "model.hidden": 8}
    assert choice.candidates["validation_mse"].tolist() == pytest.approx([0.95, 1.1])
    assert choice.candidates["n_runs"].tolist() == [2, 2]
    assert "λ = (0.1, 0), model.hidden = 8" in choice.reason


def test_data_levels_are_never_mixed():
    """The clean data have the lower errors: over both levels 0.2 would win, which is best on neither."""
    rows = [
        (0.1, 0, 1.0, 0.9), (0.2, 0, 1.1, 0.9), (0.3, 0, 3.0, 0.9),
        (0.1, 0, 9.0, 0.9), (0.2, 0, 7.1, 0.9), (0.3, 0, 7.0, 0.9),
    ]  # fmt: skip
    noise = [0.0] * 3 + [0.05] * 3
    runs = pooled(*rows, **{"data.prior_noise": noise, "data.kind": "simulate", "data.validation.fold": np.nan})
    assert runs.groupby("lambda_ppi")["validation_mse"].mean().idxmin() == 0.2
    with pytest.raises(UsageError, match=r"2 data levels, such as data\.prior_noise = 0, and errors of two levels"):
        select_setting(runs, "best")
    found = levels(runs)
    assert [(level.name, len(level.runs)) for level in found] == [
        ("data.prior_noise = 0", 3),
        ("data.prior_noise = 0.05", 3),
    ]
    assert [select_setting(level.runs, "best").setting["lambda_ppi"] for level in found] == [0.1, 0.3]


def test_levels_are_every_combination_of_what_the_data_vary_in():
    rows = [(0.1, 0, 1.0 + k, 0.9) for k in range(6)]
    columns = {"data.prior_noise": [0, 0.05, 0.2] * 2, "data.expression_noise": [0.0] * 3 + [0.025] * 3}
    found = levels(pooled(*rows, **columns, **{"data.kind": "files", "data.validation.fold": [0, 1, 2] * 2}))
    assert [tuple(level.values.values()) for level in found] == [
        (0, 0), (0.05, 0), (0.2, 0), (0, 0.025), (0.05, 0.025), (0.2, 0.025),
    ]  # fmt: skip
    assert [level.runs["validation_mse"].tolist() for level in found] == [[1.0 + k] for k in range(6)]


def test_what_specs_leave_out_has_its_default():
    """A level at a key's default has no such key; the default family is not named; a family lacks others' keys."""
    rows = [(0.1, 0, 1.0 + k, 0.9) for k in range(4)]
    runs = pooled(*rows, **{
        "data.prior_noise": [np.nan, np.nan, 0.05, 0.05], "model.family": ["", "toy", "", "toy"],
        "model.init_U": ["sparse", "", "sparse", ""], "model.depth": [np.nan, 2, np.nan, 2],
    })  # fmt: skip
    found = levels(runs)
    assert [level.name for level in found] == ["data.prior_noise = 0", "data.prior_noise = 0.05"]
    choice = select_setting(found[0].runs, "best")
    assert choice.setting == {"lambda_ppi": 0.1, "lambda_motif": 0, "model.family": "phoenix"}
    assert choice.candidates["model.family"].tolist() == ["phoenix", "toy"]


def test_an_event_is_the_smallest_where_schedules_differ():
    """80 % against 81.5 %: apart by less than an event of 10 %, by more than one of 5 % (0.2 · 0.95 = 0.19 > 0.185)."""
    rows = [(0.1, 0, 1.0, 0.8), (0.1, 0, 1.2, 0.8), (0.2, 0, 1.05, 0.815), (0.2, 0, 1.25, 0.815)]
    for fractions, chosen in (([0.1] * 4, 0.1), ([0.1, 0.1, 0.05, 0.05], 0.2)):
        runs = pooled(*rows, **{"schedule.fraction": fractions, "schedule.every": 10})
        assert select_setting(runs).setting["lambda_ppi"] == chosen


def crossed(*rows, **more):
    """Rows of (λ₁, fold, seed, validation MSE, sparsity)."""
    frame = table(*((ppi, 0, mse, sparsity) for ppi, _, _, mse, sparsity in rows))
    frame[FOLD], frame["seed"] = [row[1] for row in rows], [row[2] for row in rows]
    for name, values in more.items():
        frame[name] = values
    return frame


FOLDED = crossed(
    (0.1, 0, 0, 1.0, 0.9), (0.1, 0, 1, 1.2, 0.9), (0.1, 1, 0, 2.0, 0.9), (0.1, 1, 1, 2.2, 0.9),
    (0.2, 0, 0, 1.3, 0.95), (0.2, 0, 1, 1.3, 0.95), (0.2, 1, 0, 2.2, 0.95), (0.2, 1, 1, 2.2, 0.95),
    (0.3, 0, 0, 2.4, 0.99), (0.3, 0, 1, 2.4, 0.99), (0.3, 1, 0, 2.4, 0.99), (0.3, 1, 1, 2.4, 0.99),
)  # fmt: skip


def test_folds_are_averaged_first_over_seeds():
    """λ₁ = 0.1: folds 1.1 and 2.1, mean 1.6, s.d. √0.5, standard error 0.5; 0.2: 1.3 and 2.2, mean 1.75, s.e. 0.45."""
    choice = select_setting(FOLDED)
    assert choice.candidates["validation_mse"].tolist() == pytest.approx([1.6, 1.75, 2.4])
    assert choice.candidates["se"].tolist() == pytest.approx([0.5, 0.45, 0.0])
    assert choice.candidates["n_folds"].tolist() == [2, 2, 2]
    assert choice.candidates["n_runs"].tolist() == [4, 4, 4]
    # Within 1.6 + 0.5: the first two, of which 0.2 is sparser; 0.3 is not.
    assert choice.setting["lambda_ppi"] == 0.2
    assert select_setting(FOLDED, "best").setting["lambda_ppi"] == 0.1
    assert "mean validation MSE over 2 folds" in choice.reason


def test_a_fold_with_fewer_seeds_counts_as_much_as_another():
    """Without one run of the hard fold: folds 1.1 and 2.2, not (1.0 + 1.2 + 2.2) / 3."""
    choice = select_setting(FOLDED.drop(index="run02"), "best")
    found = choice.candidates.set_index("lambda_ppi")
    assert found.loc[0.1, "validation_mse"] == pytest.approx(1.65)


def test_a_setting_that_lacks_a_fold_is_not_compared():
    """0.1 without the hard fold would have a mean of 1.1."""
    choice = select_setting(FOLDED[~((FOLDED["lambda_ppi"] == 0.1) & (FOLDED[FOLD] == 1))])
    assert choice.candidates["lambda_ppi"].tolist() == [0.2, 0.3, 0.1]
    assert choice.candidates["n_folds"].tolist() == [2, 2, 1]
    assert choice.candidates["eligible"].tolist() == [True, False, False]
    assert choice.setting["lambda_ppi"] == 0.2


def test_one_fold_has_no_standard_error():
    choice = select_setting(FOLDED[FOLDED[FOLD] == 0])
    assert (choice.rule, choice.setting["lambda_ppi"]) == ("best", 0.1)
    assert "one finished fold, so its standard error is unknown" in choice.reason


def test_final_fits_choose_nothing():
    with pytest.raises(UsageError, match="trained on all trajectories"):
        select_setting(FOLDED.assign(**{FOLD: "all"}))


def test_the_final_fit_trains_for_the_mean_kept_epoch():
    """Folds (10 + 20) / 2 = 15 and 40 alone: 27.5, rounded to even."""
    runs = crossed((0.1, 0, 0, 1.0, 0.9), (0.1, 0, 1, 1.0, 0.9), (0.1, 1, 0, 1.0, 0.9), epoch=[10, 20, 40])
    assert kept_epochs(runs) == 28
    assert kept_epochs(runs.drop(columns=FOLD)) == 23


def test_runs_that_go_by_rows_are_chosen_by_rows():
    """By the pairs it would be 0.1, by the rows it is 0.3; a run without rows makes them incomparable."""
    runs = RUNS.assign(validation_rows=[3.0, 3.1, 2.0, 2.3, 1.0, 1.1], **{"training.criterion": "rows"})
    choice = select_setting(runs, "best")
    assert (choice.setting["lambda_ppi"], choice.run_id, choice.error) == (0.3, "run04", "validation_rows")
    assert choice.candidates["validation_mse"].tolist() == pytest.approx([1.05, 2.15, 3.05])
    assert "the lowest mean validation error of rows (1.05)" in choice.reason
    for other in (
        runs.assign(**{"training.criterion": "pairs"}),
        runs.assign(validation_rows=[3.0, 3.1, 2.0, 2.3, 1.0, np.nan]),
        runs.drop(columns="training.criterion"),
    ):
        choice = select_setting(other, "best")
        assert (choice.setting["lambda_ppi"], choice.error) == (0.1, "validation_mse")


def test_settings_of_both_criteria_are_compared_by_rows_where_all_have_them():
    runs = RUNS.assign(validation_rows=[3.0, 3.1, 2.0, 2.3, 1.0, 1.1])
    runs["training.criterion"] = ["", "", "rows", "rows", "rows", "rows"]  # left out at its default
    choice = select_setting(runs, "best")
    assert (dict(choice.setting), choice.error) == (
        {"lambda_ppi": 0.3, "lambda_motif": 0.1, "training.criterion": "rows"},
        "validation_rows",
    )
