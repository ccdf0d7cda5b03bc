"""The error of start-free rows: the noise for a true model, whatever the starts were."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from dash_hpc.data import DataSet, TimeCourse
from dash_hpc.evidence.criterion import RowError
from dash_hpc.evidence.rows import row_basis
from dash_hpc.evidence.starts import smoothing
from tests.evidence.planted import Planted, irregular, relaxing

RATES = np.r_[np.zeros(8), np.linspace(0.6, 1.6, 16)]
NOISE = 0.03
UNIT = 1.0


def divided(planted: Planted, held: int) -> DataSet:
    n = len(planted.course)
    parts = planted.course.select(range(n - held)), planted.course.select(range(n - held, n))
    return DataSet("planted", *parts, time_unit=UNIT)


def levels(planted: Planted, held: int) -> list[np.ndarray]:
    """Where each gene of the validation trajectories relaxes to: from two exact states."""
    found = []
    for trajectory, exact in zip(planted.course.trajectories[-held:], planted.truth[-held:], strict=True):
        fall = np.exp(-RATES * (trajectory.times[-1] - trajectory.times[0]))
        moving = np.where(RATES > 0, 1 - fall, 1.0)
        found.append(np.where(RATES > 0, (exact[-1] - fall * exact[0]) / moving, exact[0]))
    return found


def predicted(judge: RowError, level: list[np.ndarray], rates: np.ndarray) -> np.ndarray:
    fall = np.exp(-rates * (judge.t1 - judge.t0)[:, None])
    goal = np.stack([level[k] for k in judge.trajectory])
    return goal + (judge.y0 - goal) * fall


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_a_true_model_has_the_variance_of_the_noise(missing: float) -> None:
    planted = relaxing(irregular(160, longest=8, seed=3), rates=RATES, noise=NOISE, missing=missing)
    dataset = divided(planted, 80)
    judge = RowError(dataset)
    error = judge.error(predicted(judge, levels(planted, 80), RATES))
    assert error == pytest.approx(NOISE**2, rel=0.05)
    # pairs from measured starts have the noise of the start as well
    pairs = dataset.validation.pairs()
    goal = np.stack([levels(planted, 80)[k] for k in pairs.trajectory])
    one_step = goal + (pairs.y0 - goal) * np.exp(-RATES * (pairs.t1 - pairs.t0)[:, None])
    assert np.nanmean((one_step - pairs.y1) ** 2) > 1.3 * NOISE**2


@pytest.mark.parametrize("wrong", [0.02, 0.1])
def test_a_wrong_level_adds_its_square_along_the_rows(wrong: float) -> None:
    """Every gene relaxes to a level that is off by ``wrong``: rows of a constant drive, in closed form."""
    planted = relaxing(irregular(120, longest=8, seed=5), rates=RATES, noise=0.01)
    dataset = divided(planted, 60)
    judge = RowError(dataset)
    level = levels(planted, 60)
    right = judge.error(predicted(judge, level, RATES))
    off = judge.error(predicted(judge, [goal + wrong for goal in level], RATES))
    added, rows = 0.0, 0
    for trajectory in dataset.validation.trajectories:
        for rate in RATES:
            _, basis = row_basis(rate, trajectory.times)
            added += float(((basis.T @ (1 - np.exp(-rate * (trajectory.times - trajectory.times[0])))) ** 2).sum())
            rows += basis.shape[1]
    assert off - right == pytest.approx(wrong**2 * added / rows, rel=0.1)


def by_rows(dataset: DataSet, judge: RowError, model: np.ndarray) -> float:
    """The same number by the basis of rows, gene by gene and stretch by stretch."""
    rates = smoothing(dataset).rates
    step = {(int(k), float(t)): n for n, (k, t) in enumerate(zip(judge.trajectory, judge.t0, strict=True))}
    total, count = 0.0, 0
    for number, trajectory in enumerate(dataset.validation.trajectories):
        stretches: list[list[int]] = []
        for i, (a, b) in enumerate(pairwise(trajectory.times)):
            if np.isfinite(a) and np.isfinite(b) and (number, float(a)) in step:
                if stretches and stretches[-1][-1] == i:
                    stretches[-1].append(i + 1)
                else:
                    stretches.append([i, i + 1])
        for points in stretches:
            for gene, rate in enumerate(rates):
                course: list[float] = []
                for i, j in pairwise(points):
                    n = step[number, float(trajectory.times[i])]
                    q = course[-1] if course else judge.y0[n, gene]
                    course = course or [q]
                    fall = np.exp(-rate * (trajectory.times[j] - trajectory.times[i]) / dataset.time_unit)
                    course.append(model[n, gene] + fall * (q - judge.y0[n, gene]))
                y = trajectory.values[points, gene]
                seen = np.isfinite(y)
                if seen.sum() < 2:
                    continue
                times = trajectory.times[points][seen] / dataset.time_unit
                _, basis = row_basis(rate, times)
                total += float(((basis.T @ (y - np.array(course))[seen]) ** 2).sum())
                count += basis.shape[1]
    return total / count


def test_it_is_what_the_rows_say_with_gaps_and_missing_values() -> None:
    planted = relaxing(irregular(40, longest=8, seed=1), rates=RATES, noise=NOISE, missing=0.15)
    dataset = divided(planted, 12)
    held = [(t.values, t.times.copy()) for t in dataset.validation.trajectories]
    held[0][1][2] = np.nan  # divides a trajectory, or shortens it
    held[1][1][0] = np.nan
    course = TimeCourse.from_arrays(*zip(*held, strict=True), dataset.genes)
    dataset = replace(dataset, validation=replace(course, max_missing=0.3), time_unit=0.8)
    judge = RowError(dataset)
    model = judge.y0 + np.random.default_rng(0).normal(0, 0.1, judge.y0.shape)
    assert judge.error(model) == pytest.approx(by_rows(dataset, judge, model), rel=1e-10)


def test_noise_on_a_genes_own_start_does_not_count() -> None:
    """What decays at a gene's rate, added to its measured course, changes nothing: the model's steps are the same."""
    planted = relaxing([np.array([0, 2, 3, 7, 9.0])] * 40, rates=RATES, noise=NOISE)
    dataset = divided(planted, 15)
    judge = RowError(dataset)
    model = predicted(judge, levels(planted, 15), RATES)
    rates, rng = smoothing(dataset).rates, np.random.default_rng(1)
    shift = [rng.normal(size=len(rates)) * np.exp(-rates * t.times[:, None]) for t in dataset.validation.trajectories]
    place = {(k, float(t)): shift[k][i] for k, one in enumerate(dataset.validation.trajectories)
             for i, t in enumerate(one.times)}  # fmt: skip
    moved = RowError(dataset)
    first = np.array([place[int(moved.trajectory[n]), float(moved.t0[n])] for n in moved._first])
    moved._begin = moved._begin + first
    last = np.array([place[int(k), float(t)] for k, t in zip(moved.trajectory, moved.t1, strict=True)])
    moved._end = moved._end + last
    assert moved.error(model) == pytest.approx(judge.error(model), rel=1e-9)
