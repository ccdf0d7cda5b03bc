"""Missing values: what a step starts from, which ends count, what is left out, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dash_hpc.data import TimeCourse, build, summarise
from dash_hpc.data.splits import split_pairs
from dash_hpc.errors import DataError
from dash_hpc.rng import stream

NAN = np.nan


def test_starts_are_interpolated_in_time_and_ends_count_where_both_ends_were_measured() -> None:
    # at t = 1 gene A lies a quarter of the way from 0.2 (t = 0) to 0.6 (t = 4)
    values = [[0.2, 1, 1, 1], [NAN, 2, 2, 2], [0.6, 3, NAN, 3], [0.7, NAN, NAN, 4]]
    pairs = TimeCourse.from_arrays([values], [[0, 1, 4, 5]]).pairs()
    np.testing.assert_allclose(pairs.y0, [[0.2, 1, 1, 1], [0.3, 2, 2, 2], [0.6, 3, 2, 3]], rtol=1e-15)
    np.testing.assert_array_equal(pairs.y1, [[NAN, 2, 2, 2], [NAN, 3, NAN, 3], [0.7, NAN, NAN, 4]])


def test_before_the_first_and_after_the_last_value_the_nearest_is_taken() -> None:
    values = [[NAN, 1, 1, 1], [2, 1, 1, 1], [5, 1, 1, 1], [NAN, 1, 1, 1], [NAN, 2, 2, 2]]
    pairs = TimeCourse.from_arrays([values], [[0, 1, 2, 3, 9]]).pairs()
    np.testing.assert_array_equal(pairs.y0[:, 0], [2, 2, 5, 5])


def test_a_gene_that_a_trajectory_lacks_starts_at_its_mean_over_the_others_and_never_counts() -> None:
    whole = np.full((3, 4), 0.5)
    other, lacking = whole.copy(), whole.copy()
    other[:, 0], lacking[:, 0] = [0.1, 0.2, 0.6], NAN
    pairs = TimeCourse.from_arrays([other, lacking], [[0, 1, 2]] * 2).pairs()
    np.testing.assert_allclose(pairs.y0[2:, 0], 0.3, rtol=1e-15)
    assert np.isnan(pairs.y1[2:, 0]).all()
    assert np.isfinite(pairs.y1[2:, 1:]).all()


@pytest.mark.parametrize(("limit", "kept"), [(0.0, [0]), (0.25, [0, 1]), (0.5, [0, 1, 2])])
def test_a_step_is_left_out_where_too_large_a_share_is_missing_at_its_start(limit: float, kept: list[int]) -> None:
    values = [[1, 1, 1, 1], [NAN, 1, 1, 1], [NAN, NAN, 1, 1], [1, 1, 1, 1]]
    course = replace(TimeCourse.from_arrays([values], [[0, 1, 2, 3]]), max_missing=limit)
    np.testing.assert_array_equal(course.pairs().t0, kept)
    assert (course.losses().used, course.losses().too_few) == (len(kept), 3 - len(kept))


def test_losses_are_counted_as_numpy_counts_them() -> None:
    rng = np.random.default_rng(3)
    values = rng.random((6, 18, 60))
    values[rng.random(values.shape) < 0.02] = NAN
    times = [np.arange(18.0)] * 6
    losses = TimeCourse.from_arrays(list(values), times).losses()
    gone = np.isnan(values)
    both = ~gone[:, :-1] & ~gone[:, 1:]
    assert (losses.possible, losses.used, losses.no_time, losses.too_few) == (102, 102, 0, 0)
    assert (losses.values, losses.all_values) == (gone.sum(), 6480)
    assert losses.filled == gone[:, :-1].sum()
    assert (losses.not_counted, losses.entries) == ((~both).sum(), 6120)
    complete = (both.all(axis=2)).sum()
    assert complete < 20  # what was left before: almost nothing
    assert losses.never == ()


def test_a_gene_of_which_nothing_counts_is_told() -> None:
    values = np.full((5, 4), 0.5)
    values[::2, 1] = NAN  # never two neighbouring values
    losses = TimeCourse.from_arrays([values], [range(5)]).losses()
    assert losses.never == (1,)
    assert any("genes without two neighbouring values: 1;" in note for note in losses.notes(0.25))


def test_a_split_keeps_what_was_filled_in_from_the_whole_trajectory() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((40, 5))
    values[10, 2] = values[20, 3] = NAN
    course = TimeCourse.from_arrays([values], [np.arange(40.0)])
    whole = course.pairs()
    starts = {float(t): y0 for t, y0 in zip(whole.t0, whole.y0, strict=True)}
    train, validation, _ = split_pairs(course, 12, stream(0, "s"))
    seen = 0
    for part in (train, validation):
        pairs = part.pairs()
        for t, y0 in zip(pairs.t0, pairs.y0, strict=True):
            np.testing.assert_array_equal(y0, starts[float(t)])
            seen += 1
    assert seen == 39


def test_noise_is_added_before_starts_are_filled_and_not_to_what_was_filled() -> None:
    values = np.array([[0.2, 1, 1, 1], [NAN, 2, 2, 2], [0.6, 3, 3, 3]])
    noisy = TimeCourse.from_arrays([values], [[0, 1, 2]]).with_noise(0.1, stream(0, "n"))
    seen = noisy.trajectories[0].values
    np.testing.assert_allclose(noisy.pairs().y0[1, 0], (seen[0, 0] + seen[2, 0]) / 2, rtol=1e-15)
    assert seen[0, 0] != 0.2


def test_complete_data_are_handed_on_as_they_are() -> None:
    course = TimeCourse.from_arrays([np.random.default_rng(0).random((4, 3))], [range(4)])
    (trajectory,) = course.trajectories
    assert trajectory.starts is trajectory.values
    assert course.losses().notes(0.25) == ()


def test_data_without_a_usable_step_are_refused_with_the_key(tmp_path: Path) -> None:
    values = np.full((4, 3, 4), 0.5)
    values[:, :, :2] = np.where(np.arange(3)[:, None] % 2, 0.5, NAN)
    values[:, 1, 2:] = NAN  # half of the genes are missing at every start
    TimeCourse.from_arrays(list(values), [[0, 1, 2]] * 4).write_csv(tmp_path / "x.csv")
    spec = {"kind": "files", "train": "x.csv", "validation": 0.25}
    with pytest.raises(
        DataError, match=r"the training data has no two .* more than 0.25 of the genes at the start \(data.max_missing"
    ):
        build(spec, seed=0, base=tmp_path)


def test_a_single_trajectory_without_a_usable_step_is_refused_with_the_key(tmp_path: Path) -> None:
    values = np.full((6, 4), 0.5)
    values[:, :2] = np.where(np.arange(6)[:, None] % 2, 0.5, NAN)
    values[1::2, 2:] = NAN
    TimeCourse.from_arrays([values], [range(6)]).write_csv(tmp_path / "x.csv")
    with pytest.raises(DataError, match=r"the training file has no two neighbouring .* \(data.max_missing"):
        build({"kind": "files", "train": "x.csv", "validation": 0.25}, seed=0, base=tmp_path)


def test_max_missing_of_the_study_is_used(tmp_path: Path) -> None:
    values = np.full((4, 3, 4), 0.5)
    values[:, 1, :2] = NAN
    TimeCourse.from_arrays(list(values), [[0, 1, 2]] * 4).write_csv(tmp_path / "x.csv")
    spec = {"kind": "files", "train": "x.csv", "validation": [3]}
    assert len(build(spec, seed=0, base=tmp_path).train.pairs()) == 3
    data = build({**spec, "max_missing": 0.5}, seed=0, base=tmp_path)
    assert len(data.train.pairs()) == 6
    # 2 genes at the middle point of 3 trajectories; as many start values, and twice as many ends that do not count
    assert (
        "training data: 6 of 36 values missing (17 %): 6 start values filled in from neighbouring times, 12 of 24 end "
        "values do not count" in data.notes
    )


def test_a_file_without_any_value_of_a_gene_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("2,1,\n0.1,0.2\n,\n0,1\n")
    with pytest.raises(DataError, match=r"x\.csv: gene gene2 has no value in any trajectory; remove the gene"):
        TimeCourse.read_csv(tmp_path / "x.csv")


def test_the_summary_counts_what_is_missing_and_warns_of_what_is_lost(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    values = rng.random((5, 4, 8))
    values[0, 1, 0] = NAN  # one start, two ends
    values[1, 2, :3] = NAN  # 3 of 8 genes: the step that starts there is left out, the one that ends there is not
    values[:4, ::2, 7] = NAN  # the last gene: in the training data never at two neighbouring points
    TimeCourse.from_arrays(list(values), [[0, 600, 1800, 3600]] * 5).write_csv(tmp_path / "x.csv")
    told = summarise(build({"kind": "files", "train": "x.csv", "validation": [4]}, seed=0, base=tmp_path))
    missing = 1 + 3 + 8
    assert told.counts["training_values_missing"] == missing
    assert (told.counts["training_pairs"], told.counts["training_pairs_dropped"]) == (11, 1)
    assert (
        told.counts["training_starts_filled"] == 1 + 7
    )  # of gene 7 at t = 0 and 1800 of each, one of which is left out
    # the first gene of trajectory 0: 2; three genes of trajectory 1: 1 each; the last gene: all of 11 pairs
    assert told.counts["training_ends_not_counted"] == 2 + 3 + 11
    assert told.facts["missing values"] == (
        "training: 12 of 128 values missing (9.4 %): 8 start values filled in from neighbouring times, 16 of 88 end "
        "values do not count"
    )
    assert told.warnings == [
        "training data: 1 of 12 pairs dropped, over 0.25 of the genes are missing at the start, or all at one of the "
        "ends (data.max_missing)",
        "training data: genes without two neighbouring values: 1; nothing is learnt of their course",
    ]
    assert told.counts["time_unit"] == 400.0
    assert "units of 400 " in told.facts["unit of time"]
