"""Loss and gradients of one batch, and Adam's step: together the epoch, and apart what PyTorch finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.models import initial_weights
from dash_hpc.ops import (
    PRUNABLE,
    TENSORS,
    AdamTensor,
    GradientTask,
    PriorLoss,
    TrainState,
    adam_step,
    gradients,
    gradients_many,
    train_epoch,
)
from dash_hpc.ops.autograd import batch_loss
from dash_hpc.ops.native import _cache as native_cache
from dash_hpc.ops.state import values

G, M, PAIRS = 70, 12, 18
BATCHES = np.array([0, 4, 7, 18])
LR = dict.fromkeys(TENSORS, 2e-3) | {"v": 1e-2}
BETAS, EPS = (0.9, 0.99), 1e-8
SOLVER = {"method": "dopri5", "rtol": 1e-6, "atol": 1e-8}


def problem(dtype: Any, share: float, compressed: bool = False) -> tuple[TrainState, dict[str, Any]]:
    rng = np.random.default_rng(5)
    weights = dict(initial_weights(G, M, rng, dtype=np.dtype(dtype)))
    for name in PRUNABLE:
        weights[name] = rng.normal(0, 0.1, weights[name].shape).astype(dtype)
    state = TrainState.fresh(weights, {name: rng.random(weights[name].shape) < share for name in PRUNABLE})
    if compressed:
        state = TrainState.fresh({n: csr_array(w) if n in PRUNABLE else w for n, w in state.weights.items()})
        state.prune("W_sums", rng.random(state.masks["W_sums"].shape) < 0.7)
    y0 = rng.random((PAIRS, G)).astype(dtype)
    y1 = (y0 + rng.normal(0, 0.1, y0.shape)).astype(dtype)
    y1[rng.random(y1.shape) < 0.1] = np.nan
    prior = PriorLoss(
        csr_array((rng.random((G, G)) < 0.05).astype(float)), n_points=20, low=-0.5, high=0.5, rng=rng,
        dtype=np.dtype(dtype),
    )  # fmt: skip
    return state, {"y0": y0, "y1": y1, "dt": rng.random(PAIRS), "tau": 0.4, "prior": prior, "solver": SOLVER}


def step(state: TrainState, found: dict[str, np.ndarray]) -> bool:
    state.step += 1
    return adam_step(
        [
            AdamTensor(
                values(state.weights[name]), state.moment1[name], state.moment2[name], found[name], LR[name],
                state.step, state.masks.get(name),
            )
            for name in TENSORS
        ],
        betas=BETAS,
        eps=EPS,
    )  # fmt: skip


@pytest.mark.parametrize("compressed", [False, True], ids=["dense", "compressed"])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.08])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_by_batch_is_the_epoch(isa: str, dtype: Any, share: float, compressed: bool) -> None:
    (ours, objective), (theirs, _) = problem(dtype, share, compressed), problem(dtype, share, compressed)
    index = np.random.default_rng(0).permutation(PAIRS)
    for _ in range(2):  # the second starts from moments that are not 0
        whole = train_epoch(theirs, batch_ptr=BATCHES, batch_index=index, lr=LR, betas=BETAS, eps=EPS, **objective)
        assert whole.reason is None
        evaluations = 0
        for k, loss in enumerate(whole.loss):
            part = gradients(
                GradientTask(ours.weights, ours.masks, index=index[BATCHES[k] : BATCHES[k + 1]], widest=11, **objective)
            )
            assert (part.reason, part.loss) == (None, loss)
            evaluations += part.evaluations
            assert step(ours, part.gradients)
        assert evaluations == whole.evaluations
    for name in TENSORS:
        assert values(ours.weights[name]).tobytes() == values(theirs.weights[name]).tobytes()
        assert ours.moment1[name].tobytes() == theirs.moment1[name].tobytes()
        assert ours.moment2[name].tobytes() == theirs.moment2[name].tobytes()


def test_equal_to_autograd_through_the_solve_and_the_prior() -> None:
    state, objective = problem(np.float64, 0.6)
    found = gradients(GradientTask(state.weights, state.masks, index=np.arange(5), **objective))
    params = {name: torch.from_numpy(state.weights[name]).requires_grad_() for name in TENSORS}
    y0, y1, dt = (torch.from_numpy(objective[key][:5]) for key in ("y0", "y1", "dt"))
    data = batch_loss(params, y0, y1, dt, SOLVER)
    total = 0.4 * data + 0.6 * objective["prior"](params)
    total.backward()
    assert found.loss == pytest.approx(data.item(), rel=1e-9)
    assert found.total == pytest.approx(total.item(), rel=1e-9)
    for name in TENSORS:
        wanted = params[name].grad.numpy()
        if name in PRUNABLE:
            assert (found.gradients[name][~state.masks[name]] == 0).all()
            wanted = np.where(state.masks[name], wanted, 0)
        np.testing.assert_allclose(found.gradients[name], wanted, rtol=1e-6, atol=1e-9 * np.abs(wanted).max())


def test_weights_of_0_have_gradients_where_the_mask_says_so() -> None:
    state, objective = problem(np.float64, 1.0)
    weights = state.weights | {"W_sums": np.zeros_like(state.weights["W_sums"])}
    for masks in ({}, state.masks):
        found = gradients(GradientTask(weights, masks, index=np.arange(5), **objective))
        assert np.count_nonzero(found.gradients["W_sums"]) == M * G
    masks = {"W_sums": np.zeros((M, G), dtype=bool)}
    found = gradients(GradientTask(state.weights, masks, index=np.arange(5), **objective))
    assert not found.gradients["W_sums"].any()
    other = gradients(GradientTask(weights, {}, index=np.arange(5), **objective))
    assert found.loss == pytest.approx(other.loss, rel=1e-9)  # a weight outside its mask counts as 0


def test_a_batch_that_fails_has_no_gradients() -> None:
    state, objective = problem(np.float32, 1.0)
    failed = gradients(GradientTask(state.weights, {}, index=np.arange(5), **objective | {"solver": {"max_steps": 1}}))
    assert failed.status == 1
    assert "number of steps" in str(failed.reason)
    assert not any(gradient.any() for gradient in failed.gradients.values())
    wild = state.weights | {"b_sums": np.full(M, np.nan, np.float32)}
    assert gradients(GradientTask(wild, {}, index=np.arange(5), **objective)).status == 3


def test_many_have_the_bits_of_one() -> None:
    tasks = []
    for dtype, share in ((np.float32, 1.0), (np.float64, 0.5), (np.float32, 0.08)):
        state, objective = problem(dtype, share)
        tasks.append(GradientTask(state.weights, state.masks, index=np.arange(5), **objective))
    for alone, together in zip(map(gradients, tasks), gradients_many(tasks, threads=2), strict=True):
        assert alone.loss == together.loss
        for name in TENSORS:
            assert alone.gradients[name].tobytes() == together.gradients[name].tobytes()


@pytest.mark.parametrize("compressed", [False, True], ids=["dense", "compressed"])
def test_equal_to_the_twins(compressed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    (ours, objective), (theirs, _) = (problem(np.float64, 0.5, compressed) for _ in range(2))
    task = GradientTask(ours.weights, ours.masks, index=np.arange(5), **objective)
    native = gradients(task)
    assert step(ours, {name: gradient.copy() for name, gradient in native.gradients.items()})
    monkeypatch.setitem(native_cache, "module", None)
    twin = gradients(GradientTask(theirs.weights, theirs.masks, index=np.arange(5), **objective))
    assert (twin.status, twin.evaluations) == (0, native.evaluations)
    assert twin.loss == pytest.approx(native.loss, rel=1e-9)
    assert twin.total == pytest.approx(native.total, rel=1e-9)
    for name in TENSORS:
        scale = np.abs(twin.gradients[name]).max()
        np.testing.assert_allclose(native.gradients[name], twin.gradients[name], rtol=1e-6, atol=1e-9 * scale)
    assert step(theirs, twin.gradients)
    for name in TENSORS:  # Adam's first step has the size of the rate, whatever the gradient
        np.testing.assert_allclose(values(ours.weights[name]), values(theirs.weights[name]), rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours.moment1[name], theirs.moment1[name], rtol=1e-6, atol=1e-9 * scale)
    bad = AdamTensor(np.ones(1), np.ones(1), np.ones(1), np.full(1, np.nan), 0.1, 1)
    assert not adam_step([bad])


def test_adam_is_that_of_pytorch() -> None:
    rng = np.random.default_rng(2)
    value, own = rng.normal(size=(2, 3)), torch.tensor(3.0)
    tensors = [torch.tensor(value, requires_grad=True), own.clone().requires_grad_()]
    arrays = [value.copy(), own.numpy().copy()]
    moments = [[np.zeros_like(array) for array in arrays] for _ in range(2)]
    adam = torch.optim.Adam([{"params": [tensor], "lr": 0.1 * (k + 1)} for k, tensor in enumerate(tensors)])
    for number in (1, 2, 3):
        found = [rng.normal(size=array.shape).astype(array.dtype) for array in arrays]
        for tensor, gradient in zip(tensors, found, strict=True):
            tensor.grad = torch.from_numpy(gradient.copy())
        adam.step()
        parts = zip(arrays, *moments, found, strict=True)
        assert adam_step([AdamTensor(*part, 0.1 * (k + 1), number) for k, part in enumerate(parts)])
    for array, tensor in zip(arrays, tensors, strict=True):
        np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=1e-6)


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    good, bad = np.ones(3), np.array([1.0, np.inf, 1.0])
    arrays = [np.ones(3) for _ in range(6)]
    mask = np.array([True, False, True])
    assert not adam_step([AdamTensor(*arrays[:3], good, 0.1, 1), AdamTensor(*arrays[3:], bad, 0.1, 1, mask)])
    assert all((array == 1).all() for array in arrays)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index": np.arange(0)}, "at least one pair"),
        ({"index": np.array([0, PAIRS])}, rf"index must lie in 0\.\.{PAIRS - 1}"),
        ({"widest": 2}, "widest must be 0 or at least the batch's 5"),
        ({"prior": None}, "below 1 a prior loss must be given"),
        ({"masks": {"v": np.ones(G, bool)}}, "only W_sums"),
    ],
)
def test_what_is_wrong_with_a_batch_is_named(changes: dict[str, Any], message: str) -> None:
    state, objective = problem(np.float32, 1.0)
    given = {"weights": state.weights, "masks": state.masks, "index": np.arange(5), **objective}
    with pytest.raises(UsageError, match=message):
        gradients(GradientTask(**given | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"moment2": np.zeros(2)}, "moment2 of tensor 0 must be"),
        ({"gradient": np.zeros(3, np.float32)}, "gradient of tensor 0 must be"),
        ({"mask": np.ones(3)}, "mask of tensor 0 must be bool"),
        ({"step": 0}, "step of tensor 0"),
        ({"lr": -1.0}, "lr of tensor 0"),
    ],
)
@pytest.mark.parametrize("twin", [False, True], ids=["native", "twin"])
def test_what_is_wrong_with_a_step_is_named(
    changes: dict[str, Any], message: str, twin: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if twin:
        monkeypatch.setitem(native_cache, "module", None)
    given = {name: np.zeros(3) for name in ("value", "moment1", "moment2", "gradient")} | {"lr": 0.1, "step": 1}
    with pytest.raises(UsageError, match=message):
        adam_step([AdamTensor(**given | changes)])
    with pytest.raises(UsageError, match="share memory"):
        adam_step([AdamTensor(**given | {"moment2": given["moment1"]})])
