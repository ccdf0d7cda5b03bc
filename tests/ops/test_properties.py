"""Every operator over drawn shapes, layouts, dtypes and options: what its twin finds, or a named error."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from dash_hpc import ops
from dash_hpc.errors import RunFailed, UsageError
from dash_hpc.models import initial_weights
from dash_hpc.ops import PRUNABLE, TENSORS, SolverOptions, TrainState, reference
from dash_hpc.ops.native import native_module
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.state import values
from dash_hpc.rng import stream

pytestmark = pytest.mark.skipif(native_module() is None, reason="the native module was not built")

checked = settings(
    derandomize=True, deadline=None, database=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow]
)
#: Around the edges of tiles (4 and 16 samples) and panels (16 genes or hidden units).
genes = st.sampled_from([1, 2, 3, 15, 16, 17, 31, 33])
hidden = st.sampled_from([1, 2, 5, 15, 16, 17])
samples = st.sampled_from([0, 1, 3, 4, 5, 9, 16, 17, 21])
dtypes = st.sampled_from([np.float32, np.float64])
densities = st.sampled_from([1.0, 0.5, 0.1, 0.0])
methods = st.sampled_from(["dopri5", "rk4"])
seeds = st.integers(0, 2**16)


def swapped(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder())


def every_other(array: np.ndarray) -> np.ndarray:
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def unaligned(array: np.ndarray) -> np.ndarray:
    found = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def frozen(array: np.ndarray) -> np.ndarray:
    found = array.copy()
    found.flags.writeable = False
    return found


#: Layouts that hold the same numbers.
LAYOUTS: list[Callable[[np.ndarray], Any]] = [
    np.ascontiguousarray, np.asfortranarray, lambda a: a[::-1].copy()[::-1], every_other, swapped, unaligned, frozen,
    lambda a: a.astype(np.float64),
]  # fmt: skip
layouts = st.sampled_from(LAYOUTS)
wrong_terms = st.sampled_from(["right", "C", "P", "S", "ridge"])
wrong_selections = st.sampled_from(["right", "right", "bytes", "shape"])
#: What is no option of a solver; None: nothing is wrong.
faults = st.sampled_from(
    [None] * 6
    + [
        {"method": "euler"}, {"rtol": -1e-3}, {"rtol": float("nan")}, {"atol": 0.0}, {"step": float("inf")},
        {"max_steps": 0}, {"max_steps": 2.5}, {"max_steps": 10**15}, {"steps": 3}, {"atol": None},
    ]
)  # fmt: skip


@contextmanager
def without_native() -> Iterator[None]:
    modules = [import_module(f"dash_hpc.ops.{name}") for name in ("solver", "train", "least_squares", "select")]
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(module, "native_module", lambda: None)
        yield


def a_model(G: int, m: int, dtype: Any, density: float, compressed: int, seed: int) -> TrainState:
    """Weights of which a share is active; the first ``compressed`` matrices are held as CSR."""
    rng = stream(seed, "test-properties")
    weights = initial_weights(G, m, rng, dtype=dtype)
    masks = {}
    for k, name in enumerate(PRUNABLE):
        mask = rng.random(weights[name].shape) < density
        weights[name] = np.where(mask, weights[name] + rng.normal(0, 0.1, mask.shape), 0).astype(dtype)
        if k < compressed:
            weights[name] = csr_array(weights[name])
        else:
            masks[name] = mask
    return TrainState.fresh(weights, masks)


def some_pairs(G: int, B: int, dtype: Any, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = stream(seed, "test-properties-pairs")
    return rng.random((B, G)).astype(dtype), rng.random((B, G)).astype(dtype), rng.choice([0, 0.3, 1.0, 2.0], B)


def dense(state: TrainState) -> dict[str, torch.Tensor]:
    weights = {
        name: tensor.toarray() if isinstance(tensor, csr_array) else tensor for name, tensor in state.weights.items()
    }
    return {name: torch.from_numpy(weights[name].astype(np.float64)) for name in TENSORS}


def close(found: np.ndarray, wanted: np.ndarray, dtype: Any, what: str) -> None:
    """Equal up to rounding, of the largest number: 1e-10 of float64, 1e-4 of float32."""
    assert found.shape == wanted.shape
    scale = max(1.0, float(np.abs(wanted).max())) if wanted.size else 1.0
    np.testing.assert_allclose(
        found, wanted, rtol=0, atol=scale * (1e-10 if dtype == np.float64 else 1e-4), err_msg=what
    )


@checked
@given(genes, hidden, samples, dtypes, densities, st.integers(0, 4), methods, layouts, layouts, faults, seeds)
def test_solve(G, m, B, dtype, density, compressed, method, layout, layout_of_dt, fault, seed) -> None:
    state = a_model(G, m, dtype, density, compressed, seed)
    y0, _, dt = some_pairs(G, B, dtype, seed)
    options = {"method": method, "rtol": 1e-8, "atol": 1e-10, "step": 0.2}
    if dtype == np.float32:
        options |= {"method": "rk4"}  # steps chosen in float32 are not those of float64
    call = {"solver": options | (fault or {}), "masks": state.masks}
    if fault is not None:
        with pytest.raises(UsageError):
            ops.solve_arrays(state.weights, layout(y0), layout_of_dt(dt), **call)
        return
    found = ops.solve_arrays(state.weights, layout(y0), layout_of_dt(dt), **call)
    full = SolverOptions.of(options).as_dict()
    wanted = reference.integrate(dense(state), torch.from_numpy(y0.astype(np.float64)), torch.from_numpy(dt), **full)
    np.testing.assert_array_equal(found.status, wanted.status.numpy())
    if found.ok.all():
        np.testing.assert_array_equal(found.steps, wanted.steps.numpy())
        close(found.y1, wanted.y1.numpy(), dtype, "y1")


@checked
@given(genes, hidden, samples, dtypes, densities, st.integers(0, 4), methods, st.integers(0, 6), seeds)
def test_solve_backward(G, m, B, dtype, density, compressed, method, width, seed) -> None:
    from dash_hpc.ops.state import native_form

    state = a_model(G, m, dtype, density, compressed, seed)
    y0, bar, _ = some_pairs(G, B, dtype, seed)
    sizes = np.sort(stream(seed, "sizes").random((B, width)) * (stream(seed, "gone").random((B, width)) < 0.7))
    sizes = sizes[:, ::-1].copy()  # zeros at the end
    grad_y0, grads, _ = native_module().solve_backward(native_form(state.weights), y0, sizes, bar, method)
    start, up = (torch.from_numpy(array.astype(np.float64)) for array in (y0, bar))
    wanted_y0, wanted, _ = reference.adjoint(dense(state), start, torch.from_numpy(sizes), up, method)
    close(grad_y0, wanted_y0.numpy(), dtype, "y0")
    for name in TENSORS:
        tensor, twin = state.weights[name], wanted[name].numpy()
        if isinstance(tensor, csr_array):
            twin = twin[np.repeat(np.arange(tensor.shape[0]), np.diff(tensor.indptr)), tensor.indices]
        close(grads[name], twin, dtype, name)


BATCHES: list[Any] = [
    None, None, None, None, [0, 2, 1], [0, 10**12], [-1, 1], [1, 2], [0], [], [0.0, 1.0], [[0, 1]], ["a"], [0, 0, 1],
    np.array([0, 1], object), 7, None,
]  # fmt: skip


@checked
@given(
    genes, hidden, st.sampled_from([1, 3, 4, 5, 9, 17]), dtypes, densities, st.integers(0, 4), methods, layouts, faults,
    st.sampled_from(BATCHES), st.sampled_from([1.0, 0.4]), seeds,
)  # fmt: skip
def test_train_epoch(G, m, N, dtype, density, compressed, method, layout, fault, batch_ptr, tau, seed) -> None:
    state = a_model(G, m, dtype, density, compressed, seed)
    y0, y1, dt = some_pairs(G, N, dtype, seed)
    rng = stream(seed, "test-properties-batches")
    y1[rng.random(y1.shape) < (0.3 if seed % 3 else 0)] = np.nan  # not observed
    index = rng.permutation(np.tile(np.arange(N), 2))
    ptr = np.unique([0, *rng.integers(0, 2 * N, 2), 2 * N]) if batch_ptr is None else batch_ptr
    motif = csr_array((rng.random((G, G)) < 0.3) * rng.normal(size=(G, G)))
    prior = PriorLoss(motif, n_points=5, low=-0.5, high=0.5, rng=rng, dtype=np.dtype(dtype), multipliers=seed % 2 == 0)
    solver = {"method": method if dtype == np.float64 else "rk4", "rtol": 1e-8, "atol": 1e-10, "step": 0.2}
    call = (layout(y0), layout(y1), dt, ptr, index)
    lr = dict.fromkeys(TENSORS, 1e-3)
    before = [array.copy() for array in state.changed_arrays().values()]
    if fault is not None or batch_ptr is not None:
        with pytest.raises(UsageError):
            ops.train_epoch(state, *call, lr=lr, solver=solver | (fault or {}), tau=tau, prior=prior)
        for array, was in zip(state.changed_arrays().values(), before, strict=True):
            np.testing.assert_array_equal(array, was)
        return
    twin = copy.deepcopy(state)
    found = ops.train_epoch(state, *call, lr=lr, solver=solver, tau=tau, prior=prior)
    with without_native():
        wanted = ops.train_epoch(twin, *call, lr=lr, solver=solver, tau=tau, prior=prior)
    assert (found.status, state.step) == (wanted.status, twin.step)
    close(found.loss[: state.step], wanted.loss[: state.step], dtype, "loss")
    for name in TENSORS:
        # A weight's first moves are the signs of its gradient, which rounding decides near 0: the moments tell.
        close(state.moment1[name], twin.moment1[name], dtype, f"moment1 of {name}")
        close(state.moment2[name], twin.moment2[name], dtype, f"moment2 of {name}")
        assert np.isfinite(values(state.weights[name])).all()


@checked
@given(
    genes, hidden, dtypes, st.sampled_from(["sums", "prods"]), st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from(["paper", "unit_sum", "rank"]), layouts, layouts,
    st.sampled_from(["right", "right", "right", "short", "wide", "flat", "none", "complex"]), seeds,
)  # fmt: skip
def test_dash_scores(G, m, dtype, branch, lambda_ppi, lambda_motif, norm, layout, other, fault, seed) -> None:
    rng = stream(seed, "test-properties-scores")
    W, U = rng.normal(size=(m, G)).astype(dtype), rng.normal(size=(G, m)).astype(dtype)
    v, omega = rng.normal(size=G).astype(dtype), rng.random((m, G)) + 0.1
    C, P = (csr_array(rng.random((G, G)) * (rng.random((G, G)) < 0.4)) for _ in range(2))
    changes: dict[str, Any] = {
        "right": {}, "short": {"v": v[:-1]}, "wide": {"C": np.ones((G, G + 1)), "U": W}, "flat": {"omega": omega[0]},
        "none": {"W": None}, "complex": {"omega": omega.astype(complex)},
    }[fault]  # fmt: skip
    call = {"W": layout(W), "U": other(U), "v": v, "omega": layout(omega), "C": C, "P": P} | changes
    options: Any = {"branch": branch, "lambda_ppi": lambda_ppi, "lambda_motif": lambda_motif, "score_norm": norm}
    if fault == "wide" and m == G:
        return  # W has U's shape then, and λ may leave C unread
    if fault != "right":
        with pytest.raises(UsageError):
            ops.dash_scores(**call, **options)
        return
    outcomes: list[Any] = []
    for twin in (False, True):
        try:
            with without_native() if twin else pytest.MonkeyPatch.context():
                outcomes.append(ops.dash_scores(**call, **options))
        except RunFailed as error:
            outcomes.append(str(error).partition("(")[0])
    found, wanted = outcomes
    if isinstance(wanted, str) or isinstance(found, str):
        assert found == wanted
        return
    for layer in ("omega", "psi"):
        mine, twin = getattr(found, f"{layer}_diagnostics"), getattr(wanted, f"{layer}_diagnostics")
        assert mine.method == twin.method
        condition = 1.0 if np.isnan(twin.condition) else min(twin.condition, 1e12)
        if norm == "rank" and condition > 1:
            continue  # ranks of numbers that differ by rounding may change places
        a, b = getattr(found, layer), getattr(wanted, layer)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * condition * max(1.0, np.abs(b).max()))
        if layer == "omega" and condition > 1e6:
            return  # the second layer starts from it


@checked
@given(genes, hidden, st.sampled_from([0, 1, 4, 30]), layouts, wrong_terms, seeds)
def test_prior_terms(G, m, targets, layout, fault, seed) -> None:
    rng = stream(seed, "test-properties-terms")
    S = rng.random((m, G)) + np.eye(m, G)
    C, P = csr_array(rng.random((G, G)) < 0.3), csr_array(rng.random((targets, G)) * (rng.random((targets, G)) < 0.3))
    wrong: dict[str, Any] = {
        "right": {}, "C": {"C": csr_array((G, G + 1))}, "P": {"P": np.ones((targets, G + 2))}, "S": {"S": S[None]},
        "ridge": {"ridge": -1.0},
    }[fault]  # fmt: skip
    call = {"S": layout(S), "C": C, "P": P, "ridge": 1e-10} | wrong
    if fault != "right":
        with pytest.raises(UsageError):
            ops.prior_terms(**call)
        return
    found = ops.prior_terms(**call)
    with without_native():
        wanted = ops.prior_terms(**call)
    assert found.method == wanted.method
    condition = min(wanted.condition, 1e12)
    for a, b in ((found.first, wanted.first), (found.second, wanted.second)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * condition * max(1.0, np.abs(b).max(initial=0)))


@checked
@given(st.lists(st.integers(0, 5), max_size=3), st.integers(-2, 40), layouts, dtypes, wrong_selections, seeds)
def test_select(shape, n, layout, dtype, fault, seed) -> None:
    rng = stream(seed, "test-properties-select")
    score, mask = rng.integers(0, 4, shape).astype(dtype), np.asarray(rng.random(shape) < 0.7)
    if fault == "bytes":
        mask = mask.astype(np.uint8)
    if fault == "shape":
        score = score[None]
    given_score = layout(score) if score.ndim else score
    if fault != "right" or not 0 <= n <= np.count_nonzero(mask):
        with pytest.raises(UsageError):
            ops.select(given_score, mask, n)
        return
    new, threshold = ops.select(given_score, mask, n)
    keys = sorted((score.flat[i], i) for i in range(score.size) if mask.flat[i])[:n]
    wanted = mask.copy()
    for _, i in keys:
        wanted.flat[i] = False
    np.testing.assert_array_equal(new, wanted)
    assert threshold == keys[-1][0] if n else np.isnan(threshold)
