"""Selection on the device: the CPU's masks to the last entry."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.errors import RunFailed, UsageError
from dash_hpc.ops import SelectTask, select, select_many
from dash_hpc.rng import stream

TINY = np.nextafter(0.0, 1.0)  # the smallest number above 0


def values(kind, size, rng):
    """Scores of one tensor."""
    return {
        "spread": lambda: rng.random(size),
        "scores": lambda: np.exp(rng.normal(-12, 4, size)),  # as DASH makes them
        "ties": lambda: rng.integers(0, 4, size).astype(float),
        "mostly zero": lambda: rng.random(size) * (rng.random(size) < 0.1),
        "equal": lambda: np.full(size, 2.5),
        "signs": lambda: rng.normal(size=size).round(1),
        "zeros": lambda: rng.choice([0.0, -0.0], size),
        "denormal": lambda: rng.integers(-3, 4, size) * TINY,
        "last bits": lambda: np.float64(1.0) + rng.integers(0, 9, size) * np.finfo(np.float64).eps,
        "extreme": lambda: rng.choice([-1.7e308, -1e-300, -TINY, 0.0, TINY, 1e-300, 1.7e308], size),
    }[kind]()


KINDS = ["spread", "scores", "ties", "mostly zero", "equal", "signs", "zeros", "denormal", "last bits", "extreme"]
SIZES = [1, 2, 31, 33, 255, 257, 1025, 7 * 350]


def tasks(kind, size, seed=0):
    """A task for each share of the active entries; inactive ones hold NaN."""
    rng = stream(seed, "test-cuda-select", kind, size)
    found = []
    for share in (0.0, 0.3, 0.7, 0.999, 1.0):
        score, mask = values(kind, size, rng), rng.random(size) < 0.8
        score[~mask] = np.nan
        found.append(SelectTask({"W_sums": score}, {"W_sums": mask}, {"W_sums": int(share * mask.sum())}))
    return found


def assert_equal(found, wanted):
    assert list(found) == list(wanted)
    for name in wanted:
        np.testing.assert_array_equal(found[name][0], wanted[name][0])
        assert found[name][0].dtype == bool
        np.testing.assert_array_equal(found[name][1], wanted[name][1])  # -0.0 is 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_the_cpus(gpu, kind):
    works = [work for size in SIZES for work in tasks(kind, size)]
    for found, wanted in zip(gpu.select_many(works), select_many(works), strict=True):
        assert_equal(found, wanted)


def test_tensors_of_many_runs_in_one_launch(gpu):
    rng = stream(0, "test-cuda-select-runs")
    names = ("W_prods", "W_sums", "U_sums", "U_prods")
    works = []
    for run in range(5):
        shapes = {name: (7, 33) if name.startswith("W") else (33, 7) for name in names}
        scores = {name: rng.random(shape).round(run % 3 + 1) for name, shape in shapes.items()}
        masks = {name: rng.random(shape) < 0.9 for name, shape in shapes.items()}
        counts = {name: int(masks[name].sum() * rng.choice([0, 0.1, 0.7])) for name in names}
        works.append(SelectTask(scores, masks, counts))
    before = [{name: mask.copy() for name, mask in work.masks.items()} for work in works]
    for work, found, was in zip(works, gpu.select_many(works), before, strict=True):
        assert_equal(found, {name: select(work.scores[name], was[name], work.counts[name]) for name in names})
        for name in names:
            np.testing.assert_array_equal(work.masks[name], was[name])


def test_bits_depend_on_neither_threads_nor_their_order(emulation):
    works = [work for kind in KINDS for work in tasks(kind, 700)]
    wanted = select_many(works)
    for threads, seed in [(32, 1), (96, 2), (512, 3), (1024, 4)]:
        emulation.module.emulate(threads=threads, seed=seed)
        for found, expected in zip(emulation.select_many(works), wanted, strict=True):
            assert_equal(found, expected)


def test_runs_fail_alone_and_with_the_cpus_words(gpu):
    [*_, good] = tasks("scores", 257)
    score, mask = np.array([1.0, np.nan, np.inf, 2.0]), np.ones(4, bool)
    bad = SelectTask({"W_sums": score}, {"W_sums": mask}, {"W_sums": 1})
    (failed, found), (wanted, expected) = gpu.select_many([bad, good]), select_many([bad, good])
    assert isinstance(failed, RunFailed)
    assert str(failed) == str(wanted) == "prune scores: 2 active entries are not finite"
    assert_equal(found, expected)


def test_wrong_tasks_are_refused(gpu):
    for pack in (gpu.select_many, select_many):
        with pytest.raises(UsageError, match="cannot remove 5 of 4"):
            pack([SelectTask({"v": np.zeros(4)}, {"v": np.ones(4, bool)}, {"v": 5})])
        with pytest.raises(UsageError, match="mask is"):
            pack([SelectTask({"v": np.zeros(4)}, {"v": np.ones(3, bool)}, {"v": 1})])
    assert gpu.select_many([]) == []
