"""Loss and gradients of a batch on the device: those of its own epoch, bit for bit, and the CPU's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.ops import PRUNABLE, TENSORS, GradientTask, PriorLoss, gradients
from dash_hpc.ops.state import values
from tests.cuda.problems import DENSITIES, TIGHT, compressed, model, pairs, task


def batch(epoch, index):
    return GradientTask(
        epoch.state.weights,
        epoch.state.masks,
        epoch.y0,
        epoch.y1,
        epoch.dt,
        index,
        epoch.solver,
        epoch.tau,
        epoch.prior,
    )


def with_prior(epoch, G, dtype):
    rng = np.random.default_rng(4)
    prior = PriorLoss(
        rng.choice([0.0, 1.0], (G, G), p=[0.9, 0.1]), n_points=9, low=-0.5, high=0.5, rng=rng, dtype=dtype
    )
    return replace(epoch, tau=0.3, prior=prior)


@pytest.mark.parametrize("team", [None, True], ids=["blocks", "team"])
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_are_those_of_the_epoch_and_of_the_cpu(gpu, dtype, density, team):
    """From moments of 0 the first moments become (1 - beta1) times the gradient."""
    G, m, n = 65, 9, 6
    gpu = replace(gpu, team=team)
    y0, y1, dt = pairs(G, n, dtype)
    y1[0, 3] = np.nan
    epoch = with_prior(task(model(G, m, density, dtype), y0, y1, dt, batch=n), G, np.dtype(dtype))
    if density == 0.08:
        epoch = replace(epoch, state=compressed(epoch.state))
    index = np.asarray(epoch.batch_index)
    found = gpu.gradients_many([batch(epoch, index)])[0]
    wanted = gradients(batch(epoch, index))
    result = gpu.train_many([epoch])[0]
    assert found.status == wanted.status == result.status == 0
    assert (found.loss, found.evaluations) == (result.loss[0], result.evaluations)
    assert found.total == pytest.approx(wanted.total, rel=1e-5 if dtype == np.float32 else 1e-9)
    for name in TENSORS:
        gradient = found.gradients[name]
        assert (dtype(1 - 0.9) * gradient).tobytes() == epoch.state.moment1[name].tobytes()
        scale = float(np.abs(wanted.gradients[name]).max(initial=0.0))
        tolerance = (1e-3 if dtype == np.float32 else 1e-7) * scale
        np.testing.assert_allclose(gradient, wanted.gradients[name], rtol=0, atol=tolerance)


def test_many_runs_in_one_launch_have_the_bits_of_one(gpu):
    tasks = []
    for k, (G, m, density) in enumerate([(33, 9, 1.0), (96, 8, 0.5), (64, 16, 0.08)]):
        y0, y1, dt = pairs(G, 6, np.float32, seed=k)
        epoch = task(model(G, m, density, np.float32, seed=k), y0, y1, dt)
        tasks.append(batch(epoch, np.arange(k + 1)))
    for together, one in zip(gpu.gradients_many(tasks), tasks, strict=True):
        alone = gpu.gradients_many([one])[0]
        assert (together.loss, together.total, together.evaluations) == (alone.loss, alone.total, alone.evaluations)
        for name in TENSORS:
            assert together.gradients[name].tobytes() == alone.gradients[name].tobytes()


def test_nothing_is_changed_and_0_counts_where_no_mask_is(gpu):
    y0, y1, dt = pairs(40, 4)
    state = model(40, 6)
    weights = state.weights | {"U_sums": np.zeros_like(state.weights["U_sums"])}
    before = {name: values(weights[name]).copy() for name in TENSORS}
    one = GradientTask(weights, {}, y0, y1, dt, np.arange(4), TIGHT)
    found, wanted = gpu.gradients_many([one])[0], gradients(one)
    assert np.count_nonzero(found.gradients["U_sums"]) == 40 * 6
    np.testing.assert_allclose(found.gradients["U_sums"], wanted.gradients["U_sums"], rtol=1e-6, atol=1e-10)
    assert all(before[name].tobytes() == values(weights[name]).tobytes() for name in TENSORS)
    masks = {name: np.zeros(values(weights[name]).shape, bool) for name in PRUNABLE}
    none = gpu.gradients_many([replace(one, masks=masks)])[0]
    assert not any(none.gradients[name].any() for name in PRUNABLE)


def test_a_batch_that_fails_has_no_gradients(gpu):
    y0, y1, dt = pairs(40, 4)
    state = model(40, 6)
    one = GradientTask(state.weights, {}, y0, y1, dt, np.arange(4), {"max_steps": 1})
    found = gpu.gradients_many([one])[0]
    assert (found.status, found.reason) == (1, gradients(one).reason)
    assert not any(gradient.any() for gradient in found.gradients.values())
    with pytest.raises(UsageError, match="float32 or float64"):
        gpu.gradients_many([one, batch(task(model(40, 6, dtype=np.float32), *pairs(40, 4, np.float32)), np.arange(2))])
