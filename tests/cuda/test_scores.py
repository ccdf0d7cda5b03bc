"""Prune scores on the device against the CPU's, which define them."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from scipy.sparse import csr_array

from dash_hpc.errors import GpuMemoryError, RunFailed, UsageError
from dash_hpc.ops import ScorePrior, ScoreTask, least_squares, prior_terms, score_many
from dash_hpc.rng import stream
from tests.cuda import problems

BRANCHES = ("sums", "prods")
SIZES = [(m, G) for m in (1, 7, 40, 41) for G in (1, 15, 350, 351)]


@cache
def prior(G, density=0.05, seed=0):
    """C and P with empty rows and columns, of a size beyond 1 each; C is not symmetric."""
    rng = stream(seed, "test-cuda-prior", G)

    def some():
        found = rng.random((G, G)) * (rng.random((G, G)) < density)
        found[rng.random(G) < 0.2] = 0
        found[:, rng.random(G) < 0.2] = 0
        return csr_array(found)

    return ScorePrior(some(), some())


def task(m, G, lam=(0.05, 0.05), dtype=np.float32, seed=0, **changes):
    """A run some way through training: half of its weights gone, some genes dead."""
    state = problems.model(G, m, 0.5, dtype, seed)
    weights = state.weights
    rng = stream(seed, "test-cuda-scores", G, m)
    for name, mask in state.masks.items():
        weights[name] += mask * rng.normal(0, 0.3, mask.shape).astype(dtype)
    weights["v"] = rng.uniform(-0.3, 1.0, G).astype(dtype)
    omega = {branch: rng.random((m, G)) for branch in BRANCHES}
    return ScoreTask(weights, omega, changes.pop("prior", prior(G)), *lam, **changes)


def assert_close(found, wanted):
    """Equal up to the rounding that the condition numbers of both events allow."""
    for branch in BRANCHES:
        a, b = found[branch], wanted[branch]
        rounding = 4e-14  # of sums over 351 genes
        for layer in ("omega", "psi"):
            mine, cpu = (getattr(side, f"{layer}_diagnostics") for side in (a, b))
            assert mine.method == cpu.method
            if cpu.method == "cholesky":
                assert mine.condition == pytest.approx(cpu.condition, rel=max(1e-9, 1e-14 * cpu.condition))
                assert mine.ridge == pytest.approx(cpu.ridge, rel=1e-9)
                rounding += 1e-15 * cpu.condition
            masses = mine.prior_mass, mine.data_mass
            assert masses == pytest.approx((cpu.prior_mass, cpu.data_mass), rel=max(1e-12, 10 * rounding))
            x, y = getattr(a, layer), getattr(b, layer)
            assert x.shape == y.shape
            np.testing.assert_allclose(x, y, rtol=0, atol=rounding * max(y.max(), 1e-300))


def same_bits(a, b):
    return all(
        x.omega.tobytes() == y.omega.tobytes()
        and x.psi.tobytes() == y.psi.tobytes()
        and str((x.omega_diagnostics, x.psi_diagnostics)) == str((y.omega_diagnostics, y.psi_diagnostics))
        for x, y in ((a[branch], b[branch]) for branch in BRANCHES)
    )


@pytest.fixture
def handed_back(monkeypatch):
    """Score matrices that the device left to the CPU."""
    left = []
    monkeypatch.setattr(least_squares, "prior_terms", lambda S, *others: left.append(S) or prior_terms(S, *others))
    return left


@pytest.fixture
def no_cpu(handed_back):
    """The CPU must not stand in."""
    yield
    assert handed_back == []


@pytest.mark.parametrize("lam", [(0.0, 0.0), (0.05, 0.05), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("size", SIZES)
def test_scores_equal_the_cpu(gpu, handed_back, size, lam):
    work = task(*size, lam)
    [wanted] = score_many([work])
    [found] = gpu.score_many([work])
    assert_close(found, wanted)
    assert bool(handed_back) == ("svd" in str(wanted))  # more hidden units than genes, or scores of 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("damping", [0.0, 0.5])
@pytest.mark.parametrize("norm", ["paper", "unit_sum", "rank"])
@pytest.mark.parametrize("size", [(1, 15), (7, 33), (40, 351)])
def test_norms_and_damping_equal_the_cpu(gpu, no_cpu, size, norm, damping, dtype):
    work = task(*size, (0.3, 0.6), dtype, score_norm=norm, omega_damping=damping, prior=prior(size[1], 0.3))
    [wanted] = score_many([work])
    [found] = gpu.score_many([work])
    assert_close(found, wanted)


def test_nothing_is_read_that_the_shares_leave_out(gpu, no_cpu):
    work = task(7, 33, (1.0, 1.0), prior=prior(33, 0.3))
    [wanted] = gpu.score_many([work])
    ruined = {name: np.full_like(tensor, np.nan) for name, tensor in work.weights.items()}
    [found] = gpu.score_many([dataclasses.replace(work, weights=ruined)])
    assert same_bits(found, wanted)
    work = task(7, 33, (0.0, 0.0), prior=ScorePrior())
    singular = {branch: np.full((7, 33), np.nan) for branch in BRANCHES}
    [found] = gpu.score_many([dataclasses.replace(work, omega=singular)])
    assert_close(found, score_many([work])[0])


def test_without_a_ridge_and_with_an_empty_prior(gpu, no_cpu):
    nothing = ScorePrior(csr_array((33, 33)), csr_array((33, 33)))
    for work in (task(7, 33, ridge=0.0), task(7, 33, prior=nothing)):
        [wanted] = score_many([work])
        [found] = gpu.score_many([work])
        assert_close(found, wanted)


@pytest.mark.parametrize("broken", ["equal rows", "zero row", "zero", "too large", "more units"])
def test_where_cholesky_does_not_serve_the_cpu_does(gpu, broken):
    work = task(9, 5, (0.3, 0.3)) if broken == "more units" else task(6, 20, (0.3, 0.3))
    S = work.omega["prods"]
    if broken == "equal rows":
        S[3] = S[1]
    elif broken == "too large":
        S *= 1e200
    elif broken != "more units":
        S[slice(2, 3) if broken == "zero row" else slice(None)] = 0
    good = task(6, 20)
    [wanted] = score_many([work])
    found, other = gpu.score_many([work, good])
    assert found["prods"].omega_diagnostics.method == "svd"
    assert found["prods"].omega.tobytes() == wanted["prods"].omega.tobytes()
    assert found["prods"].omega_diagnostics == wanted["prods"].omega_diagnostics
    assert_close(found, wanted)
    assert same_bits(other, gpu.score_many([good])[0])


def test_runs_fail_alone_and_with_the_cpus_words(gpu):
    good = task(6, 20, (0.3, 0.3))
    bad = [task(6, 20, (0.3, 0.3)) for _ in range(5)]
    bad[0].omega["sums"][2, 3] = np.nan
    bad[1].omega["prods"][2, 3] = np.inf
    bad[2].weights["U_sums"][1, 1] = np.nan
    bad[3].weights["W_prods"][0, 0] = 800.0  # exp overflows
    hole = csr_array(np.full((20, 20), np.nan))
    bad[4] = dataclasses.replace(bad[4], prior=ScorePrior(hole, hole), score_norm="rank")
    with np.errstate(all="ignore"):
        wanted = score_many([*bad, good])
        found = gpu.score_many([*bad, good])
    for mine, cpu in zip(found[:-1], wanted[:-1], strict=True):
        assert isinstance(mine, RunFailed)
        assert isinstance(cpu, RunFailed)
        assert str(mine) == str(cpu)
    assert_close(found[-1], wanted[-1])


def test_wrong_tasks_are_refused_before_anything_runs(gpu):
    good = task(6, 20)
    for wrong, match in [
        ({"lambda_ppi": 1.5}, "lambda_ppi must lie"),
        ({"score_norm": "max"}, "score_norm must be"),
        ({"omega_damping": 1.0}, "omega_damping must lie"),
        ({"prior": ScorePrior()}, "needs the interactions"),
        ({"prior": prior(19)}, r"C must be \[20, 20\], got \[19, 19\]"),
        ({"omega": {branch: np.ones((6, 19)) for branch in BRANCHES}}, "omega of sums must be"),
        ({"weights": {**good.weights, "v": np.ones(3)}}, r"multipliers of U_sums must be \[20\], got \[3\]"),
    ]:
        for pack in (gpu.score_many, score_many):
            with pytest.raises(UsageError, match=match):
                pack([good, dataclasses.replace(good, **wrong)])
    assert gpu.score_many([]) == []


def grid():
    """Runs that differ in size, options and prior; some share one."""
    return [
        task(40, 65, (0.05, 0.5)),
        task(40, 65, (0.5, 0.0), seed=1, omega_damping=0.5),
        task(9, 33, (0.3, 0.3), np.float64, seed=2, score_norm="rank", prior=prior(33, 0.3)),
        task(9, 33, (1.0, 1.0), seed=3, score_norm="unit_sum", prior=prior(33, 0.3)),
    ]


def test_a_run_has_the_bits_it_has_alone(gpu, no_cpu):
    together = gpu.score_many(grid() * 2)
    alone = [gpu.score_many([work])[0] for work in grid()]
    assert all(map(same_bits, together, alone * 2))


def test_bits_depend_on_neither_threads_nor_memory(emulation, no_cpu):
    """Loops between two barriers run shuffled, and so do their threads: a missing barrier would show."""
    wanted = emulation.score_many(grid())
    for threads, seed in [(0, 1), (32, 2), (96, 3), (256, 4), (1024, 5)]:
        emulation.module.emulate(threads=threads, seed=seed)
        assert all(map(same_bits, emulation.score_many(grid()), wanted))
    emulation.module.emulate()
    for shared in (10_000, 40_000, 60_000):
        assert all(map(same_bits, dataclasses.replace(emulation, shared_bytes=shared).score_many(grid()), wanted))


def test_too_little_memory_is_told(emulation):
    emulation.module.emulate(memory_bytes=1 << 16)
    with pytest.raises(GpuMemoryError, match="out of memory on the GPU"):
        emulation.score_many(grid())
