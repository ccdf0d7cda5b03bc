"""Compressed matrices: what the dense form computes, without what it allocates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.models import family_of
from dash_hpc.ops import PRUNABLE, TENSORS, TrainState, solve_arrays, train_epoch
from dash_hpc.ops import solver as solver_module
from dash_hpc.ops import train as train_module
from dash_hpc.ops.native import native_module
from dash_hpc.ops.phoenix import tensor_shapes
from dash_hpc.ops.state import native_form, values
from dash_hpc.rng import stream

SOLVER = {"method": "dopri5", "rtol": 1e-7, "atol": 1e-9, "step": 0.25, "max_steps": 1000}
SHAPES = [(30, 41, 5), (9, 33, 4), (1, 1, 1), (47, 16, 17)]  # genes, hidden units, pairs

needs_native = pytest.mark.skipif(native_module() is None, reason="the native module was not built")


def problem(
    G: int, m: int, pairs: int, density: float, dtype: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray], Any]:
    """Weights in both forms with the same entries, and an epoch of two batches."""
    rng = stream(3, "compressed", G, m, pairs)
    dense, compressed = {}, {}
    for name, shape in tensor_shapes(G, m).items():
        value = (rng.normal(0, 0.3, shape) if name != "v" else rng.uniform(0.2, 1, shape)).astype(dtype)
        if name in PRUNABLE:
            value[rng.random(shape) >= density] = 0
            compressed[name] = csr_array(value)
        else:
            compressed[name] = value
        dense[name] = value
    y0, y1 = rng.random((pairs, G)).astype(dtype), rng.random((pairs, G)).astype(dtype)
    dt = rng.choice([0.3, 1.0, 2.0], size=pairs)
    half = (pairs + 1) // 2
    pointer = np.unique([0, half, pairs])
    return compressed, dense, (y0, y1, dt, pointer, rng.permutation(pairs))


def train(weights: Any, masks: Any, epoch: Any) -> tuple[TrainState, Any]:
    state = TrainState.fresh(weights, masks)
    result = None
    for _ in range(2):
        result = train_epoch(state, *epoch, lr=dict.fromkeys(TENSORS, 1e-3), solver=SOLVER)
        assert result.reason is None
    return state, result


def spread(tensor: Any) -> np.ndarray:
    return tensor.toarray() if isinstance(tensor, csr_array) else tensor


@needs_native
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("density", [0.05, 0.6])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("names", [PRUNABLE, ["U_sums"], ["W_sums", "U_prods"]])
def test_solve_has_the_bits_of_the_dense_form(
    names: Sequence[str], shape: tuple[int, int, int], density: float, dtype: Any
) -> None:
    """Also where some matrices are compressed and others not."""
    compressed, dense, (y0, _, dt, *_) = problem(*shape, density, dtype)
    compressed = dense | {name: compressed[name] for name in names}
    found, wanted = (solve_arrays(weights, y0, dt, solver=SOLVER) for weights in (compressed, dense))
    assert wanted.ok.all()
    np.testing.assert_array_equal(found.y1, wanted.y1)
    np.testing.assert_array_equal(found.step_sizes, wanted.step_sizes)


@needs_native
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_has_the_bits_of_masked_arrays(shape: tuple[int, int, int], dtype: Any) -> None:
    # below 10 % both are held compressed inside, so that sums over samples have one order
    compressed, dense, epoch = problem(*shape, 0.05, dtype)
    found, result = train(compressed, None, epoch)
    wanted, other = train(dense, {name: dense[name] != 0 for name in PRUNABLE}, epoch)
    np.testing.assert_array_equal(result.loss, other.loss)
    for name in TENSORS:
        np.testing.assert_array_equal(spread(found.weights[name]), wanted.weights[name])
        assert found.moment1[name].shape == values(compressed[name]).shape


@pytest.mark.parametrize("shape", SHAPES)
def test_training_equals_the_twin(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    compressed, _, epoch = problem(*shape, 0.3, np.float64)
    rng = stream(4, "masks", *shape)
    masks = {name: rng.random(compressed[name].nnz) < 0.7 for name in PRUNABLE}
    native, result = train(compressed, masks, epoch)
    for module in (train_module, solver_module):
        monkeypatch.setattr(module, "native_module", lambda: None)
    twin, other = train(compressed, masks, epoch)
    np.testing.assert_allclose(result.loss, other.loss, rtol=1e-9)
    for name in TENSORS:
        np.testing.assert_allclose(values(native.weights[name]), values(twin.weights[name]), rtol=0, atol=1e-9)
        np.testing.assert_allclose(native.moment1[name], twin.moment1[name], rtol=0, atol=1e-9)
        np.testing.assert_allclose(native.moment2[name], twin.moment2[name], rtol=0, atol=1e-9)
    for name in PRUNABLE:
        assert (native.weights[name].data[~masks[name]] == 0).all()
        assert (native.moment1[name][~masks[name]] == 0).all()
    start, end, dt = epoch[:3]
    found = solve_arrays(native.weights, start, dt, solver=SOLVER)
    monkeypatch.undo()
    np.testing.assert_allclose(found.y1, solve_arrays(native.weights, start, dt, solver=SOLVER).y1, rtol=0, atol=1e-9)
    assert end.shape == found.y1.shape


def test_pruning_an_entry_takes_its_moments_along() -> None:
    compressed, _, epoch = problem(12, 20, 4, 0.3, np.float32)
    state, _ = train(compressed, None, epoch)
    mask = state.masks["W_sums"].copy()
    mask[::3] = False
    state.prune("W_sums", mask)
    for array in (state.weights["W_sums"].data, state.moment1["W_sums"], state.moment2["W_sums"]):
        assert (array[::3] == 0).all()
        assert (array[mask] != 0).any()


def test_sparsity_counts_what_is_not_stored() -> None:
    compressed, dense, _ = problem(12, 20, 4, 0.3, np.float32)
    compressed["v"][:3] = -1  # shared by both forms
    family = family_of(dense)
    assert family.zero_share(compressed) == family.zero_share(dense) > 0.7


def test_matrices_out_of_order_are_refused() -> None:
    compressed, _, (y0, _, dt, *_) = problem(5, 4, 3, 1.0, np.float32)
    wrong = compressed["W_sums"].copy()
    wrong.indices[:2] = wrong.indices[1::-1]
    wrong.has_sorted_indices = wrong.has_canonical_format = False
    with pytest.raises(UsageError, match="W_sums must be an array, or a matrix as csr_array with sorted columns"):
        solve_arrays(compressed | {"W_sums": wrong}, y0, dt)
    with pytest.raises(UsageError, match="b_sums"):
        solve_arrays(compressed | {"b_sums": csr_array(compressed["b_sums"][None])}, y0, dt)


@needs_native
@pytest.mark.parametrize("damage", ["pointer", "order", "range", "length"])
def test_the_native_module_checks_structures_itself(damage: str) -> None:
    compressed, _, (y0, _, dt, *_) = problem(5, 4, 3, 1.0, np.float32)
    form = native_form(compressed)
    ptr, index, data = (part.copy() for part in form["U_prods"])
    if damage == "pointer":
        ptr[1] = 10_000
    elif damage == "order":
        index[:2] = index[1::-1]
    elif damage == "range":
        index[-1] = 4
    else:
        data = data[:-1]
    native = native_module()
    assert native is not None
    with pytest.raises(UsageError, match="U_prods"):
        native.solve(form | {"U_prods": (ptr, index, data)}, {}, y0, dt, **SOLVER)
