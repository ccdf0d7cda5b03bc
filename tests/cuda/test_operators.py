"""The CUDA operators against the CPU's: in the emulation everywhere, on a GPU where there is one."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.ops import PRUNABLE, TENSORS, SolverOptions, solve_arrays
from dash_hpc.ops.native import native_module
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.solver import SolveTask
from dash_hpc.rng import stream
from tests.cuda import problems
from tests.cuda.problems import DENSITIES, SIZES, TIGHT


def close(found, wanted, bound):
    scale = max(float(np.abs(wanted).max(initial=0.0)), 1e-300)
    assert float(np.abs(found - wanted).max(initial=0.0)) <= bound * scale


def assert_same_solution(found, wanted, bound):
    for name in ("status", "steps", "rejected", "evaluations"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    np.testing.assert_allclose(found.y1, wanted.y1, rtol=0, atol=bound)
    assert found.step_sizes.shape == wanted.step_sizes.shape
    # a step size is a fifth root of rounding errors where the error estimate is near 0
    np.testing.assert_allclose(found.step_sizes, wanted.step_sizes, rtol=1e-3, atol=0)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("size", SIZES)
def test_solve_and_gradients_equal_the_cpu(gpu, size, density, method):
    G, m, n = size
    weights = problems.model(G, m, density).weights
    y0, _, dt = problems.pairs(G, n)
    solver = dataclasses.replace(TIGHT, method=method)
    wanted = solve_arrays(weights, y0, dt, solver=solver)
    [found] = gpu.solve_many([SolveTask(weights, y0, dt, solver)])
    assert_same_solution(found, wanted, 1e-12)
    bar = y0[::-1] - 0.3
    grad_y0, grads, _ = gpu.solve_backward(weights, y0, wanted.step_sizes, bar, method)
    native = native_module()
    cpu_y0, cpu, _ = native.solve_backward(weights, y0, wanted.step_sizes, np.ascontiguousarray(bar), method)
    close(grad_y0, cpu_y0, 1e-12)
    for name in TENSORS:
        close(grads[name], cpu[name], 1e-12)


@pytest.mark.parametrize("form", ["array", "csr"])
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("size", SIZES)
def test_train_epoch_equals_the_cpu(gpu, size, density, form):
    G, m, n = size
    state = problems.model(G, m, density)
    if form == "csr":
        state = problems.compressed(state)
    work = problems.task(state, *problems.pairs(G, n), batch=5)  # tiles of four and of one
    wanted_state, wanted = problems.on_cpu(work)
    [found] = gpu.train_many([work])
    assert (found.status, found.evaluations) == (wanted.status, wanted.evaluations)
    assert wanted.status == 0
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert work.state.step == wanted_state.step
    # Adam divides by the root of its second moment: where a gradient is nearly 0 its rounding error shows
    assert problems.difference(work.state, wanted_state) < 1e-7
    for name in PRUNABLE if form == "array" else ():
        assert not work.state.weights[name][~work.state.masks[name]].any()


@pytest.mark.parametrize("size", [(1, 1, 3), (33, 9, 6), (130, 20, 9)])
def test_ends_that_were_not_observed_are_left_out_as_on_the_cpu(gpu, size):
    G, m, n = size
    y0, y1, dt = problems.pairs(G, n)
    y1[stream(0, "holes").random(y1.shape) < 0.2] = np.nan
    y1[-1] = np.nan  # of one pair nothing was observed, and it is a batch of its own
    work = problems.task(problems.model(G, m, 0.5), y0, y1, dt)
    order = np.append(work.batch_index[work.batch_index != n - 1], n - 1)
    work = dataclasses.replace(work, batch_ptr=np.array([0, n - 1, n]), batch_index=order)
    wanted_state, wanted = problems.on_cpu(work)
    [found] = gpu.train_many([work])
    assert (found.status, wanted.status) == (0, 0)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert found.loss[-1] == 0
    assert problems.difference(work.state, wanted_state) < 1e-7


@pytest.mark.parametrize("multipliers", [False, True])
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("size", [(1, 1, 3, 5), (33, 9, 4, 130), (64, 16, 5, 801)])
def test_train_epoch_with_the_prior_loss_equals_the_cpu(gpu, size, density, multipliers):
    G, m, n, points = size
    rng = stream(0, "test-cuda-prior", G)
    motif = csr_array(np.where(rng.random((G, G)) < 0.1, rng.choice([-1.0, 1.0], size=(G, G)), 0.0))
    prior = PriorLoss(
        motif, n_points=points, low=-0.5, high=0.5, rng=rng, dtype=np.dtype("f8"), multipliers=multipliers
    )
    work = problems.task(problems.model(G, m, density), *problems.pairs(G, n), batch=2)
    work = dataclasses.replace(work, tau=0.7, prior=prior)
    wanted_state, wanted = problems.on_cpu(work)
    [found] = gpu.train_many([work])
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert problems.difference(work.state, wanted_state) < 1e-7


def test_float32_follows_the_cpu_over_ten_epochs(gpu):
    state = problems.model(70, 12, 0.3, np.float32)
    data = problems.pairs(70, 12, np.float32)
    solver = SolverOptions(rtol=1e-5, atol=1e-7)
    mine = cpu = state
    for epoch in range(10):
        work = problems.task(mine, *data, solver=solver, seed=epoch)
        cpu, wanted = problems.on_cpu(dataclasses.replace(work, state=cpu))
        [found] = gpu.train_many([work])
        mine = work.state
        np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-4)


@pytest.mark.parametrize("density", [1.0, 0.14, 0.05])
def test_a_model_of_published_size_follows_the_cpu(gpu, density):
    """350 x 40: dense, its weights do not all fit shared memory."""
    data = problems.pairs(350, 8, np.float32)
    work = problems.task(problems.model(350, 40, density, np.float32), *data, solver=SolverOptions())
    _, wanted = problems.on_cpu(work)
    [found] = gpu.train_many([work])
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-5)


def test_a_run_has_the_bits_it_has_alone(gpu):
    works = [
        problems.task(problems.model(G, m, density, np.float32, seed), *problems.pairs(G, n, np.float32), lr=lr)
        for seed, (G, m, n, density, lr) in enumerate(
            [(64, 8, 9, 1.0, 1e-3), (64, 8, 9, 0.05, 1e-3), (33, 5, 4, 0.5, 1e-2), (64, 8, 3, "mixed", 1e-3)] * 2
        )
    ]
    alone = [copy.deepcopy(work) for work in works]
    together = gpu.train_many(works)
    for work, single, result in zip(works, alone, together, strict=True):
        [expected] = gpu.train_many([single])
        assert problems.same_bits(work.state, single.state)
        np.testing.assert_array_equal(result.loss, expected.loss)


def test_bits_repeat(gpu):
    """Races between the threads of a block would show as a moving result."""
    start = problems.model(130, 20, "mixed", np.float32)
    data = problems.pairs(130, 10, np.float32)
    first = None
    for _ in range(2 if gpu.module.__name__.endswith("emulation") else 25):
        works = [problems.task(start, *data) for _ in range(5)]
        gpu.train_many(works)
        first = first or works[0].state
        assert all(problems.same_bits(work.state, first) for work in works)


@pytest.mark.parametrize("density", [1.0, 0.08])
def test_bits_do_not_depend_on_where_things_lie(gpu, density):
    """Weights and states in shared memory, partly, or not at all."""
    start, data = problems.model(65, 17, density), problems.pairs(65, 6)
    states = []
    for shared in (0, 60_000, 20_000, 2_048):
        work = problems.task(start, *data)
        dataclasses.replace(gpu, shared_bytes=shared).train_many([work])
        states.append(work.state)
    assert all(problems.same_bits(state, states[0]) for state in states[1:])


@pytest.mark.parametrize("density", [1.0, 0.08])
def test_long_solves_outgrow_the_tape(gpu, density):
    """Slots of 256 iterations are kept, then states; a tape that is full is made larger and the batch done again."""
    work = problems.task(
        problems.model(33, 5, density), *problems.pairs(33, 6), batch=2, solver=SolverOptions(method="rk4", step=0.01)
    )
    again = copy.deepcopy(work)
    wanted_state, wanted = problems.on_cpu(work)
    [found] = gpu.train_many([work])
    assert found.evaluations == wanted.evaluations > 4 * 256
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert problems.difference(work.state, wanted_state) < 1e-7
    [other] = dataclasses.replace(gpu, state_limit=1).train_many([again])
    assert problems.same_bits(work.state, again.state)
    assert other.evaluations == found.evaluations


def test_failed_samples_have_the_cpus_status(gpu):
    G, m = 40, 6
    weights = problems.model(G, m).weights
    y0, y1, dt = problems.pairs(G, 7)
    y0[1, 3] = np.nan
    y0[5] = 1e3  # exp of a large number
    dt[2] = 0.0
    wild = {name: array * 30 if name.startswith("U") else array for name, array in weights.items()}
    for tensors, solver in [
        (weights, TIGHT),
        (weights, dataclasses.replace(TIGHT, max_steps=3)),
        (wild, dataclasses.replace(TIGHT, max_steps=200)),
        (wild, SolverOptions(method="rk4", step=0.5)),
        (weights, SolverOptions(method="rk4", step=0.01, max_steps=50)),
    ]:
        wanted = solve_arrays(tensors, y0, dt, solver=solver)
        [found] = gpu.solve_many([SolveTask(tensors, y0, dt, solver)])
        np.testing.assert_array_equal(found.status, wanted.status)
        np.testing.assert_allclose(found.y1[found.ok], wanted.y1[wanted.ok], rtol=1e-9, atol=1e-12)
    assert wanted.status.any()

    work = problems.task(problems.model(G, m), y0, y1, dt, batch=1)
    work = dataclasses.replace(work, batch_index=np.array([0, 3, 1, 4, 6, 2, 5]))
    wanted_state, wanted = problems.on_cpu(work)
    [found] = gpu.train_many([work])
    assert (found.status, found.reason, work.state.step) == (3, wanted.reason, 2)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)
    assert problems.difference(work.state, wanted_state) < 1e-7


def test_wrong_packs_are_refused_before_anything_runs(gpu):
    double, single = (
        problems.task(problems.model(8, 2, dtype=dtype), *problems.pairs(8, 4, dtype)) for dtype in (np.float64, "f4")
    )
    with pytest.raises(UsageError, match="float32 or float64"):
        gpu.train_many([double, single])
    with pytest.raises(UsageError, match="share one training state"):
        gpu.train_many([double, double])
    assert gpu.train_many([]) == [] == gpu.solve_many([])
