"""The unit that models are trained in: that of SIM350 for SIM350, and it follows the times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dash_hpc.data import DataSet, TimeCourse, build
from dash_hpc.data.timeunit import typical_unit
from dash_hpc.errors import DataError, StudyError
from dash_hpc.study import parse_study


def course(*times: list[float]) -> TimeCourse:
    rng = np.random.default_rng(0)
    return TimeCourse.from_arrays([rng.random((len(t), 3)) for t in times], list(times))


def test_the_times_of_sim350_are_left_as_they_are() -> None:
    assert typical_unit(course([0, 2, 3, 7, 9], [0, 2, 3, 7, 9])) == 1.0


@pytest.mark.parametrize("factor", [1 / 24, 60, 3600, 3.6e6, 3.6e12])
def test_it_scales_with_the_times(factor: float) -> None:
    times = np.array([0.5, 1.0, 4.0, 12.0])
    assert typical_unit(course(list(times * factor))) == pytest.approx(11.5 / 9 * factor, rel=1e-15)


def test_sampling_more_densely_does_not_change_it() -> None:
    assert (
        typical_unit(course(list(np.linspace(3, 21, 7)))) == typical_unit(course(list(np.linspace(3, 21, 181)))) == 2.0
    )


def test_the_median_trajectory_decides_and_points_without_a_time_do_not_count() -> None:
    nan = np.nan
    assert typical_unit(course([0, 1], [5, 14], [0, 900], [0, nan, 9, 9.5], [7])) == pytest.approx((9 + 9.5) / 2 / 9)
    assert typical_unit(course([3])) == 1.0


@pytest.mark.parametrize("factor", [1e-34, 1e34])
def test_times_that_rates_cannot_be_written_for_are_refused(factor: float) -> None:
    with pytest.raises(DataError, match=r"the times are too (short|long).*give them in another unit"):
        typical_unit(course([0, 9 * factor]))


def test_a_split_within_a_trajectory_does_not_change_it(tmp_path: Path) -> None:
    course([float(t) for t in range(0, 91)]).write_csv(tmp_path / "x.csv")
    spec = {"kind": "files", "train": "x.csv", "validation": 0.2}
    assert build(spec, seed=0, base=tmp_path).time_unit == 10.0
    assert build({**spec, "time_unit": 60.0}, seed=0, base=tmp_path).time_unit == 60.0


def test_simulated_data_and_data_of_ones_own_have_it() -> None:
    assert build({**SIMULATED, "times": [0, 2, 18]}, seed=0, base=Path()).time_unit == 2.0
    train, validation = course([0, 4.5]), course([0, 1])
    assert DataSet("own", train, validation).time_unit == 0.5
    assert DataSet("own", train, validation, time_unit=3.0).time_unit == 3.0


SIMULATED = {
    "kind": "simulate", "genes": 6, "regulators": 2, "edges": 8, "trajectories": 4, "test_trajectories": 0,
    "seed": 0, "expression_noise": 0.0, "prior_noise": 0.0, "validation": 0.25, "time_unit": "auto",
}  # fmt: skip
STUDY = '[study]\nname = "x"\n[data]\nkind = "simulate"\ntime_unit = {}\n[[strategy]]\nname = "none"\n'


@pytest.mark.parametrize(("text", "value"), [('"auto"', "auto"), ("1", 1.0), ("0.5", 0.5), ("3600", 3600.0)])
def test_the_study_takes_auto_or_a_number(text: str, value: object) -> None:
    assert parse_study(STUDY.format(text)).data_spec()["time_unit"] == value


@pytest.mark.parametrize("text", ["0", "-1", '"hours"', "true", "1e40", "[true]"])
def test_the_study_refuses_anything_else(text: str) -> None:
    with pytest.raises(StudyError, match='"auto" or a number between'):
        parse_study(STUDY.format(text))
