"""Wrong arguments of the package's operators, with the native module and without: each a UsageError that says what."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from dash_hpc import ops
from dash_hpc.errors import UsageError
from dash_hpc.models import initial_weights
from dash_hpc.ops import TENSORS, PriorLoss, SolverOptions, TrainState
from dash_hpc.ops.solver import MOST_STEPS
from dash_hpc.rng import stream
from tests.ops.arguments import G, M, N, misaligned, read_only

RATES = dict.fromkeys(TENSORS, 1e-3)


@pytest.fixture(params=["native", "twin"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "twin":
        for name in ("solver", "train", "least_squares", "select"):
            monkeypatch.setattr(import_module(f"dash_hpc.ops.{name}"), "native_module", lambda: None)


def damaged_csr(part: str) -> csr_array:
    """A matrix that SciPy would read beyond its arrays."""
    found = csr_array(np.ones((M, G), np.float32))
    if part == "pointer":
        found.indptr[1] = 10**6
    else:
        found.indices[0] = 10**6
    return found


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.weights.update(W_sums=[[1.0]]), "W_sums must be a NumPy array or a csr_array, got list"),
        (lambda s: s.weights.update(v=s.weights["v"].astype(">f4")), "v must be float32"),
        (lambda s: s.weights.update(W_sums=damaged_csr("pointer")), "W_sums: its row pointers"),
        (lambda s: s.weights.update(W_sums=damaged_csr("column")), "W_sums: its row pointers"),
        (lambda s: s.weights.pop("b_sums"), "missing: b_sums"),
        (lambda s: s.moment1.update(v=s.moment1["v"][:-1]), "moment1 of v must be float32"),
        (lambda s: s.moment1.update(v=s.weights["v"]), "v and moment1 of v share memory|moment1 of v and v share"),
        (lambda s: s.moment2.pop("v"), "moment2 must hold"),
        (lambda s: s.masks.update(W_sums=np.ones((M, G))), "mask of W_sums must be bool"),
        (lambda s: s.masks.pop("U_sums"), "missing: U_sums"),
        (lambda s: s.moment1.update(W_sums=np.asfortranarray(s.moment1["W_sums"])), "C-contiguous"),
        (lambda s: s.moment1.update(v=read_only(s.moment1["v"])), "writable"),
        (lambda s: setattr(s, "step", -1), "step must be a whole number"),
    ],
)
def test_wrong_states_are_refused(change: Callable[[TrainState], Any], message: str) -> None:
    state = TrainState.fresh(initial_weights(G, M, stream(0, "state")))
    change(state)
    y = np.zeros((2, G))
    with pytest.raises(UsageError, match=message):
        ops.train_epoch(state, y, y, np.ones(2), np.array([0, 2]), np.arange(2), lr=RATES)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y0": [["a"] * G] * 2}, "y0 must hold numbers, got an array of <U1"),
        ({"y0": [[1.0], [1.0, 2.0]]}, "y0 must be an array of numbers"),
        ({"y1": np.zeros((2, G), object)}, "y1 must hold numbers, got an array of object"),
        ({"dt": np.ones(2, complex)}, "dt must hold numbers"),
        ({"dt": 1.0}, r"dt must be \[2\]"),
        ({"batch_ptr": np.array([0.0, 2.0])}, "batch_ptr must hold whole numbers, got an array of float64"),
        ({"batch_ptr": np.array([0, 2**63 + 1], np.uint64)}, "batch_ptr holds .* too large"),
        ({"batch_ptr": np.array([0, 3, 1, 2])}, "batch_ptr must rise"),
        ({"batch_ptr": np.array([0])}, "batch_ptr must rise"),
        ({"batch_ptr": 5}, "must have one axis"),
        ({"batch_index": np.array([0, 2])}, r"batch_index must lie in 0\.\.1"),
        ({"batch_index": np.array([[0, 1]])}, "must have one axis"),
        ({"lr": {"v": 1.0}}, "lr must name every tensor"),
        ({"lr": RATES | {"v": float("nan")}}, "lr of v must be finite"),
        ({"lr": RATES | {"v": "fast"}}, "lr of v must be finite"),
        ({"lr": 1e-3}, "lr must be a mapping"),
        ({"betas": (0.9,)}, "betas must be two numbers"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\)"),
        ({"eps": 0}, "eps must be finite and above 0"),
        ({"tau": None}, r"tau must lie in \[0, 1\]"),
        ({"prior": "motif"}, "prior must be a PriorLoss, got str"),
        ({"solver": {"method": "rk5"}}, "method must be one of"),
        ({"solver": {"method": ["rk4"]}}, "method must be one of"),
        ({"solver": {"rtol": float("nan")}}, "solver rtol must be finite and above 0"),
        ({"solver": {"step": "small"}}, "solver step must be finite and above 0, got 'small'"),
        ({"solver": {"max_steps": 1e4}}, "solver max_steps must be a whole number"),
        (
            {"solver": {"max_steps": 10**12}},
            "solver max_steps must be a whole number, 1 or more and at most 10,000,000",
        ),
        ({"solver": {"tolerance": 1}}, r"unknown solver option \['tolerance'\]"),
        ({"solver": 7}, "solver must be a mapping"),
    ],
)
def test_wrong_calls_of_train_epoch_are_refused(changes: dict[str, Any], message: str) -> None:
    state = TrainState.fresh(initial_weights(G, M, stream(0, "state")))
    y = np.zeros((2, G))
    call = {"y0": y, "y1": y, "dt": np.ones(2), "batch_ptr": np.array([0, 2]), "batch_index": np.arange(2), "lr": RATES}
    with pytest.raises(UsageError, match=message):
        ops.train_epoch(state, **(call | changes))
    assert state.step == 0


@pytest.mark.usefixtures("either")
def test_a_mask_of_another_dtype_or_name_is_refused() -> None:
    weights = initial_weights(G, M, stream(0, "state"))
    y, dt = np.zeros((2, G)), np.ones(2)
    with pytest.raises(UsageError, match="mask of W_sums must be bool"):
        ops.solve_arrays(weights, y, dt, masks={"W_sums": np.ones((M, G), int)})
    with pytest.raises(UsageError, match="mask of 'v'"):
        ops.solve_arrays(weights, y, dt, masks={"v": np.ones(G, bool)})
    with pytest.raises(UsageError, match="the mask must be bool"):
        ops.select(np.ones((2, 2)), np.ones((2, 2)), 1)
    with pytest.raises(UsageError, match="n must be a whole number"):
        ops.select(np.ones((2, 2)), np.ones((2, 2), bool), 1.5)
    with pytest.raises(UsageError, match="scores must hold numbers"):
        ops.select(np.full((2, 2), "x"), np.ones((2, 2), bool), 1)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"W": np.ones((M, G - 1))}, "W must be"),
        ({"U": np.ones((M, G))}, "U must be"),
        ({"v": np.ones(G, complex)}, "v must hold numbers"),
        ({"omega": np.ones(G)}, r"omega must be \[any, any\]"),
        ({"omega": np.ones((M, 0))}, r"omega must be \[any, any\]"),
        ({"C": np.ones((G, G + 1))}, "C must be"),
        ({"P": csr_array(np.ones((G, G - 1)))}, "P must be"),
        ({"C": "network"}, "C must hold numbers"),
        ({"ridge": float("inf")}, "ridge must be finite"),
        ({"lambda_ppi": "half"}, "lambda_ppi must lie in"),
        ({"branch": ["sums"]}, "branch must be one of"),
    ],
)
def test_wrong_calls_of_dash_scores_are_refused(changes: dict[str, Any], message: str) -> None:
    rng = stream(0, "scores")
    call: dict[str, Any] = {
        "W": rng.random((M, G)), "U": rng.random((G, M)), "v": np.ones(G), "omega": rng.random((M, G)),
        "C": csr_array(np.eye(G)), "P": csr_array(np.eye(G)), "branch": "sums", "lambda_ppi": 0.5, "lambda_motif": 0.5,
    }  # fmt: skip
    assert np.isfinite(ops.dash_scores(**call).psi).all()
    with pytest.raises(UsageError, match=message):
        ops.dash_scores(**(call | changes))


def test_scipy_is_not_given_a_damaged_matrix() -> None:
    """Sorting or multiplying it would read beyond its arrays."""
    motif = csr_array(np.eye(G))
    motif.indices[2] = 10**6
    with pytest.raises(UsageError, match="the prior network: its row pointers"):
        PriorLoss(motif, n_points=2, low=0, high=1, rng=stream(0, "x"), dtype=np.dtype(np.float32))
    with pytest.raises(UsageError, match="C: its row pointers"):
        ops.prior_terms(np.ones((M, G)), motif)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"v": torch.ones(G)}}, "the model must hold"),
        ({"model": 3}, "model must be a mapping"),
        ({"y0": np.full((2, G), "x")}, "y0 must hold numbers"),
        ({"y0": np.zeros((2, G), complex)}, "y0 must hold numbers"),
        ({"y0": torch.zeros((2, G), dtype=torch.complex64)}, "y0 must hold numbers"),
        ({"t1": [1.0, 2.0, 3.0]}, "t0 and t1 must be scalars or"),
        ({"t1": "late"}, "t1 must hold numbers"),
        ({"max_steps": 10**9}, "at most 10,000,000"),
        ({"rtol": -1.0}, "solver rtol must be"),
    ],
)
def test_wrong_calls_of_solve_are_refused(changes: dict[str, Any], message: str) -> None:
    weights = initial_weights(G, M, stream(0, "state"))
    model = {name: torch.from_numpy(weights[name]) for name in TENSORS}
    with pytest.raises(UsageError, match=message):
        ops.solve(**({"model": model, "y0": np.zeros((2, G)), "t0": 0.0, "t1": 1.0} | changes))
    for wrong, text in (
        (model | {"v": torch.ones(G + 1)}, "v must be"),
        (model | {"b_sums": torch.ones(M, dtype=torch.float64)}, "b_sums must be float32 or float64"),
        ({name: tensor.half() for name, tensor in model.items()}, "must be float32 or float64"),
    ):
        with pytest.raises(UsageError, match=text):
            ops.solve(wrong, np.zeros((2, G)), 0.0, 1.0)


def test_arrays_of_any_layout_give_the_same_bits() -> None:
    weights = initial_weights(G, M, stream(0, "state"))
    y0, dt = stream(0, "y0").random((N, G)).astype(np.float32), np.linspace(0.5, 1.5, N)
    wanted = ops.solve_arrays(weights, y0, dt).y1
    wide = np.zeros((N, 2 * G), np.float32)
    wide[:, ::2] = y0
    for same in (np.asfortranarray(y0), y0[::-1].copy()[::-1], wide[:, ::2], y0.astype(">f4"), misaligned_copy(y0),
                 y0.astype(float), y0.tolist(), torch.from_numpy(y0), read_only(y0)):  # fmt: skip
        np.testing.assert_array_equal(ops.solve_arrays(weights, same, dt.tolist()).y1, wanted)
    assert ops.solve_arrays(weights, y0[:0], dt[:0]).y1.shape == (0, G)


def misaligned_copy(array: np.ndarray) -> np.ndarray:
    found = misaligned(array)
    found[...] = array
    return found


def test_rk4_knows_too_many_steps_before_it_starts() -> None:
    weights = initial_weights(G, M, stream(0, "state"))
    options = SolverOptions(method="rk4", step=1e-7, max_steps=MOST_STEPS)
    found = ops.solve_arrays(weights, np.zeros((2, G)), np.array([1e3, 0.0]), solver=options)
    assert found.status.tolist() == [1, 0]
    assert found.evaluations.tolist() == [0, 0]
