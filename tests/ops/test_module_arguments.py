"""Wrong arguments of the native modules' other operators: each a UsageError that names what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.ops.native import native_module
from tests.ops.arguments import SOLVER, G, M, N, epoch, read_only


def forward(**changes: Any) -> dict[str, Any]:
    task = epoch()
    return {"weights": task["weights"], "masks": {}, "y0": task["y0"], "dt": task["dt"], **SOLVER} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y0": np.zeros((N, G))}, "y0 must be float32"),
        ({"dt": np.array([1.0, np.nan, 1, 1, 1])}, "dt must be finite"),
        ({"dt": np.ones((N, 1))}, "dt must have 1 axis"),
        ({"masks": {"v": np.ones(G, bool)}}, "'v' is no tensor that has a mask"),
        ({"masks": {"W_sums": np.ones((M, G), np.int8)}}, "mask of W_sums must be bool"),
        ({"masks": {3: 4}}, "masks: a tensor's name must be text"),
        ({"masks": None}, "masks must be a dict"),
        ({"max_steps": 10**12}, "max_steps must be a whole number from 1 to 10000000"),
        ({"rtol": "tight"}, "rtol must be a finite number above"),
    ],
)
def test_wrong_solves_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        native_module().solve(**forward(**changes))


@pytest.mark.parametrize(("genes", "hidden"), [(2**40, 2**40), (2**60, 8), (2**31 - 1, 2**31 - 1), (3, 2**60)])
def test_sizes_whose_product_overflows_are_refused(genes: int, hidden: int) -> None:
    """Arrays that claim a size without having the memory."""
    weights = forward()["weights"] | {
        "v": np.broadcast_to(np.float32(1), genes), "b_sums": np.broadcast_to(np.float32(1), hidden),
    }  # fmt: skip
    with pytest.raises(UsageError, match="2147483647"):
        native_module().solve(**forward(weights=weights))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (np.ones(N), "step_sizes must have 2 axes"),
        (np.ones((N, 2), np.float32), "step_sizes must be float64"),
        (np.full((N, 2), np.nan), "step_sizes must be finite"),
        (np.full((N, 2), -1.0), "step_sizes must be finite and 0 or more"),
        (np.tile([1.0, 0.0, 1.0], (N, 1)), "zeros only at the end; row 0"),
        (np.ones((N - 1, 2)), "y0 must be"),
    ],
)
def test_wrong_step_sizes_are_refused(sizes: np.ndarray, message: str) -> None:
    task = epoch()
    with pytest.raises(UsageError, match=message):
        native_module().solve_backward(task["weights"], task["y0"], sizes, task["y0"], "rk4")


def parts(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = csr_array(matrix)
    return found.indptr.astype(np.int64), found.indices.astype(np.int64), found.data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"S": np.zeros((0, G))}, "at least one gene"),
        ({"S": np.ones((M, G), np.float32)}, "S must be float64"),
        ({"S": np.ones(G)}, "S must have 2 axes"),
        ({"C": parts(np.eye(G + 1))}, "C row pointers must be"),
        ({"C": parts(np.ones((G, G + 1)))}, "C: row 0 has a column out of range"),
        ({"P": (np.array([0, 5, 1]), np.zeros(1, np.int64), np.ones(1))}, "P: row pointers fall"),
        ({"P": (np.array([], np.int64), np.zeros(0, np.int64), np.ones(0))}, "P: row pointers must run"),
        ({"P": "motif"}, "P must be a tuple"),
        ({"ridge": float("nan")}, "ridge must be"),
        ({"ridge": -1.0}, "ridge must be"),
    ],
)
def test_wrong_prior_terms_are_refused(changes: dict[str, Any], message: str) -> None:
    """By both modules, in the same words."""
    right = {"S": np.ones((M, G)), "C": parts(np.eye(G)), "P": parts(np.eye(G)), "ridge": 1e-10}
    with pytest.raises(UsageError, match=message):
        native_module().prior_terms(**(right | changes))
    module = pytest.importorskip("dash_hpc._cuda_emulation")
    with pytest.raises(UsageError, match=message):
        module.prior_terms_many([tuple((right | changes).values())], {"shared_bytes": 0})


@pytest.mark.parametrize(
    ("score", "mask", "n", "message"),
    [
        (np.ones(3), np.ones(4, bool), 1, "score must be"),
        (np.ones(3, np.float32), np.ones(3, bool), 1, "score must be float64"),
        (np.ones(3), np.ones(3), 1, "mask must be bool"),
        (np.ones(3), np.ones(3, bool), 4, "n must be a whole number from 0 to 3"),
        (np.ones(3), np.ones(3, bool), -1, "n must be a whole number"),
        (np.ones(3), np.ones(3, bool), 2**80, "n must be a whole number"),
        (np.ones(3), np.ones(3, bool), 1.0, "n must be a whole number"),
        (np.array([1, np.nan, 2]), np.ones(3, bool), 1, "score of active entry 1 is not finite"),
    ],
)
def test_wrong_selections_are_refused(score: np.ndarray, mask: np.ndarray, n: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        native_module().select(score, mask, n)


def test_wrong_pruning_tasks_of_the_cuda_module_are_refused() -> None:
    module = pytest.importorskip("dash_hpc._cuda_emulation")
    for task, message in (
        ((np.zeros((32769, 1)), None, None, 0.0), "at most 32768 rows"),
        ((np.zeros((1, 1)), None), "task must be a tuple"),
    ):
        with pytest.raises(UsageError, match=message):
            module.prior_terms_many([task], {"shared_bytes": 0})
    mask = np.ones(3, bool)
    for task, message in (
        ((np.ones(3), mask, 4), "how many must be a whole number from 1 to 3"),
        ((np.array([1.0, np.inf, 0]), mask, 1), "score of active entry 1"),
        ((mask.view(np.uint8)[:0].astype(float), mask, 1), "scores must be"),
        ((np.ones(3), read_only(mask), 1), "mask must be writable"),
        ((np.ones(3), mask), "task must be a tuple"),
    ):
        with pytest.raises(UsageError, match=message):
            module.select_many([task])
