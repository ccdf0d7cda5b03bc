"""Wrong arguments of the operators and of the native modules: each a UsageError that names what is wrong."""

from __future__ import annotations

import copy
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
from dash_hpc.ops import PRUNABLE, TENSORS, PriorLoss, SolverOptions, TrainState
from dash_hpc.ops.native import native_module
from dash_hpc.ops.solver import MOST_STEPS
from dash_hpc.ops.state import native_form
from dash_hpc.rng import stream

G, M, N = 6, 3, 5
SOLVER = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-7, "step": 0.1, "max_steps": 100}
RATES = dict.fromkeys(TENSORS, 1e-3)
Change = Callable[[dict[str, Any]], None]


def epoch(compressed: bool = False) -> dict[str, Any]:
    """Arguments of an epoch that is right, by the names that the CUDA module uses."""
    rng = stream(0, "test-arguments")
    weights = initial_weights(G, M, rng)
    if compressed:
        weights |= {name: csr_array(weights[name] * (rng.random(weights[name].shape) < 0.6)) for name in PRUNABLE}
    state = TrainState.fresh(weights)
    prior = PriorLoss(csr_array(np.eye(G)), n_points=4, low=-1, high=1, rng=rng, dtype=np.dtype(np.float32))
    return {
        "weights": native_form(state.weights), "moment1": state.moment1, "moment2": state.moment2,
        "masks": state.masks, "step": 0, "y0": rng.random((N, G)).astype(np.float32),
        "y1": rng.random((N, G)).astype(np.float32), "dt": np.ones(N), "batch_ptr": np.array([0, 2, N]),
        "batch_index": np.arange(N), "loss": np.zeros(2), "lr": [1e-3] * 7, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
        "tau": 0.5, "prior": prior.native_form, "solver": dict(SOLVER),
    }  # fmt: skip


def on_cpu(task: dict[str, Any]) -> Any:
    names = (
        "weights", "moment1", "moment2", "masks", "step", "y0", "y1", "dt", "batch_ptr", "batch_index", "loss", "lr",
        "beta1", "beta2", "eps", "tau", "prior",
    )  # fmt: skip
    return native_module().train_epoch(*(task[name] for name in names), **task["solver"])


def on_emulation(task: dict[str, Any]) -> Any:
    module = pytest.importorskip("dash_hpc._cuda_emulation")
    return module.train_pack([task], {"compress_below": 0.1, "shared_bytes": 0, "state_limit": 0, "team": -1})


def setting(*path: Any, value: Any) -> Change:
    def change(task: dict[str, Any]) -> None:
        target = task
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value(target[path[-1]]) if callable(value) else value

    return change


def structure(part: int, value: Any) -> Change:
    """Another row pointer, column or value array of a compressed matrix."""

    def change(task: dict[str, Any]) -> None:
        parts = [array.copy() for array in task["weights"]["U_sums"]]
        parts[part] = value(parts[part])
        task["weights"]["U_sums"] = tuple(parts)

    return change


def prior(part: int, value: Any) -> Change:
    def change(task: dict[str, Any]) -> None:
        parts = [np.array(array) if k < 4 else array for k, array in enumerate(task["prior"])]
        parts[part] = value(parts[part])
        task["prior"] = tuple(parts)

    return change


def put(k: int, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[k] = value
        return array

    return change


def misaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    return memory.view(array.dtype).reshape(array.shape)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def share(first: tuple[str, str], second: tuple[str, str]) -> Change:
    def change(task: dict[str, Any]) -> None:
        task[first[0]][first[1]] = task[second[0]][second[1]]

    return change


WRONG: list[tuple[str, Change, str]] = [
    # batches
    ("pointer falls", setting("batch_ptr", value=np.array([0, 4, 2, 5])), "batch_ptr must rise"),
    ("pointer far out", setting("batch_ptr", value=np.array([0, 10**12, 5])), "batch_ptr must rise"),
    ("pointer negative", setting("batch_ptr", value=np.array([0, -3, 5])), "batch_ptr must rise"),
    ("pointer starts late", setting("batch_ptr", value=np.array([1, 2, 5])), "batch_ptr must rise"),
    ("pointer starts below 0", setting("batch_ptr", value=np.array([-1, 2, 5])), "batch_ptr must rise"),
    ("pointer ends early", setting("batch_ptr", value=np.array([0, 2, 4])), "batch_ptr must rise"),
    ("batch without pairs", setting("batch_ptr", value=np.array([0, 2, 2, 5])), "at least one pair"),
    ("no pointer", setting("batch_ptr", value=np.array([], np.int64)), "batch_ptr must rise"),
    ("no batch", setting("batch_ptr", value=np.array([0])), "batch_ptr must rise"),
    ("pointer of int32", setting("batch_ptr", value=np.array([0, 2, 5], np.int32)), "batch_ptr must be int64"),
    ("pointer of floats", setting("batch_ptr", value=np.array([0.0, 2, 5])), "batch_ptr must be int64"),
    ("pointer is a matrix", setting("batch_ptr", value=np.array([[0, 2, 5]])), "batch_ptr must be"),
    ("pointer is a list", setting("batch_ptr", value=[0, 2, 5]), "batch_ptr must be a NumPy array, got list"),
    ("index too large", setting("batch_index", value=np.array([0, 1, 2, 3, 5])), "batch_index must lie in 0..4"),
    ("index negative", setting("batch_index", value=np.array([0, 1, -1, 3, 4])), "batch_index must lie in 0..4"),
    ("index too short", setting("batch_index", value=np.arange(3)), "batch_ptr must rise"),
    ("index unaligned", setting("batch_index", value=misaligned), "batch_index must be aligned"),
    # shapes, dtypes, layouts
    ("y0 of other genes", setting("y0", value=np.zeros((N, G + 1), np.float32)), "y0 must be"),
    ("y0 too short", setting("y0", value=np.zeros((N - 1, G), np.float32)), "y0 must be"),
    ("y1 turned", setting("y1", value=np.zeros((G, N), np.float32)), "y1 must be"),
    ("y1 of float64", setting("y1", value=np.zeros((N, G))), "y1 must be float32"),
    ("y0 backwards", setting("y0", value=lambda y: y[::-1]), "y0 must be C-contiguous"),
    ("y0 by columns", setting("y0", value=np.asfortranarray), "y0 must be C-contiguous"),
    ("y0 of one number", setting("y0", value=np.broadcast_to(np.float32(0), (N, G))), "y0 must be C-contiguous"),
    ("y0 of other byte order", setting("y0", value=lambda y: y.astype(">f4")), "y0 must be float32 in the machine's"),
    ("y0 of objects", setting("y0", value=lambda y: y.astype(object)), "y0 must be float32"),
    ("y0 complex", setting("y0", value=lambda y: y.astype(complex)), "y0 must be float32"),
    ("y0 of half precision", setting("y0", value=lambda y: y.astype(np.float16)), "y0 must be float32"),
    ("y0 is none", setting("y0", value=None), "y0 must be a NumPy array, got NoneType"),
    ("dt of float32", setting("dt", value=np.ones(N, np.float32)), "dt must be float64"),
    ("dt a number", setting("dt", value=1.0), "dt must be a NumPy array, got float"),
    ("dt NaN", setting("dt", value=put(2, np.nan)), "dt must be finite and 0 or more; entry 2"),
    ("dt infinite", setting("dt", value=put(0, np.inf)), "dt must be finite"),
    ("dt negative", setting("dt", value=put(4, -1.0)), "dt must be finite and 0 or more; entry 4"),
    ("losses too short", setting("loss", value=np.zeros(1)), "loss(es)? must be"),
    ("losses read-only", setting("loss", value=read_only), "loss(es)? must be writable"),
    # the model
    ("weights no dict", setting("weights", value=[1, 2]), "weights must be a dict"),
    ("tensor missing", setting("weights", value=lambda w: {k: w[k] for k in w if k != "U_sums"}), "U_sums is missing"),
    ("matrix turned", setting("weights", "W_sums", value=lambda w: w.T.copy()), "W_sums must be"),
    ("matrix flat", setting("weights", "W_sums", value=np.ravel), "W_sums must be"),
    ("bias of float64", setting("weights", "b_sums", value=np.zeros(M)), "b_sums must be float32"),
    ("rates of integers", setting("weights", "v", value=np.ones(G, int)), "must be float32 or float64"),
    ("bias as CSR", setting("weights", "b_sums", value=(np.zeros(1), np.zeros(1), np.zeros(1))), "b_sums must be"),
    ("no gene", setting("weights", "v", value=np.zeros(0, np.float32)), "gene"),
    ("no hidden unit", setting("weights", "b_sums", value=np.zeros(0, np.float32)), "hidden unit"),
    ("weights read-only", setting("weights", "W_sums", value=read_only), "W_sums must be writable"),
    ("mask missing", setting("masks", value={}), "mask of W_sums is missing"),
    ("mask of bytes", setting("masks", "W_sums", value=np.ones((M, G), np.uint8)), "mask of W_sums must be bool"),
    ("mask of floats", setting("masks", "W_sums", value=np.ones((M, G))), "mask of W_sums must be bool"),
    ("mask turned", setting("masks", "W_sums", value=np.ones((G, M), bool)), "mask of W_sums must be"),
    ("moment missing", setting("moment1", value={}), "is missing"),
    ("moment of other shape", setting("moment2", "v", value=np.zeros(G + 1, np.float32)), "moment2 of v must be"),
    ("moment read-only", setting("moment1", "U_prods", value=read_only), "moment1 of U_prods must be writable"),
    # memory that is used twice
    ("one array for two tensors", share(("weights", "W_sums"), ("weights", "W_prods")), "share memory"),
    ("weights as moments", share(("moment1", "v"), ("weights", "v")), "share memory"),
    ("one array for both moments", share(("moment1", "U_sums"), ("moment2", "U_sums")), "share memory"),
    ("losses within the intervals", lambda task: task.update(loss=task["dt"][1:3]), "share memory"),
    ("moment within y0", lambda task: task["moment1"].update(v=task["y0"][0]), "share memory"),
    # numbers
    ("step negative", setting("step", value=-1), "step must be a whole number"),
    ("step a float", setting("step", value=1.5), "step must be a whole number"),
    ("step too large", setting("step", value=2**70), "step must be a whole number"),
    ("rate NaN", setting("lr", value=[1e-3] * 6 + [float("nan")]), "lr must be a finite number"),
    ("rates too few", setting("lr", value=[1e-3] * 6), "lr must be a list of 7"),
    ("rate a text", setting("lr", value=["1e-3"] * 7), "lr must be a finite number"),
    ("beta of 1", setting("beta1", value=1.0), "beta1 must be"),
    ("beta NaN", setting("beta2", value=float("nan")), "beta2 must be"),
    ("eps of 0", setting("eps", value=0.0), "eps must be"),
    ("tau above 1", setting("tau", value=1.5), "tau must be"),
    ("tau without prior", setting("prior", value=None), "tau below 1 needs a prior"),
    ("unknown method", setting("solver", "method", value="euler"), "method must be dopri5 or rk4, got 'euler'"),
    ("method no text", setting("solver", "method", value=3), "method must be text, got 3"),
    ("rtol NaN", setting("solver", "rtol", value=float("nan")), "rtol must be a finite number above"),
    ("rtol negative", setting("solver", "rtol", value=-1e-5), "rtol must be a finite number above"),
    ("atol of 0", setting("solver", "atol", value=0), "atol must be a finite number above"),
    ("step size infinite", setting("solver", "step", value=float("inf")), "step must be a finite number above"),
    ("no steps", setting("solver", "max_steps", value=0), "max_steps must be a whole number from 1 to 10000000"),
    ("too many steps", setting("solver", "max_steps", value=MOST_STEPS + 1), "max_steps must be a whole number"),
    ("steps True", setting("solver", "max_steps", value=True), "max_steps must be a whole number"),
    # the prior
    ("prior no tuple", setting("prior", value=[1]), "prior must be a tuple"),
    ("prior of no states", prior(0, lambda s: s[:0]), "at least one state"),
    ("prior of other genes", prior(0, lambda s: s[:, :-1].copy()), "prior states must be"),
    ("prior pointer falls", prior(1, put(2, 10**9)), "prior network: row pointers fall"),
    ("prior pointer starts late", prior(1, put(0, 1)), "prior network: row pointers must run"),
    ("prior column out of range", prior(2, put(1, G)), "prior network: row 1 has a column out of range"),
    ("prior column negative", prior(2, put(0, -1)), "prior network: row 0 has a column out of range"),
    ("prior values too few", prior(3, lambda v: v[:-1]), "prior network values must be"),
    ("prior flag a number", prior(4, lambda _: 1), "prior multipliers must be True or False"),
]  # fmt: skip

COMPRESSED: list[tuple[str, Change, str]] = [
    ("pointer falls", structure(0, put(2, 0)), "U_sums: row pointers fall after row 1"),
    ("pointer far out", structure(0, put(2, 10**12)), "U_sums: row pointers fall after row 1"),
    ("pointer starts late", structure(0, put(0, 1)), "U_sums: row pointers must run from 0"),
    ("pointer ends late", structure(0, put(-1, 1000)), "U_sums: row pointers must run from 0"),
    ("pointer too short", structure(0, lambda p: p[:-1]), "U_sums row pointers must be"),
    ("pointer of int32", structure(0, lambda p: p.astype(np.int32)), "U_sums row pointers must be int64"),
    ("column too large", structure(1, put(0, M)), "U_sums: row 0 has a column out of range"),
    ("column negative", structure(1, put(0, -1)), "U_sums: row 0 has a column out of range"),
    ("columns of int64", structure(1, lambda c: c.astype(np.int64)), "U_sums columns must be int32"),
    ("columns too few", structure(1, lambda c: c[:-1]), "U_sums: row pointers must run from 0"),
    ("column twice", structure(1, lambda c: np.zeros_like(c)), "U_sums: row . has a column .* out of order"),
    ("values too few", structure(2, lambda v: v[:-1]), "U_sums must be"),
    ("mask dense", setting("masks", "U_sums", value=np.ones((G, M), bool)), "mask of U_sums must be"),
    ("two parts", setting("weights", "U_sums", value=lambda parts: parts[:2]), "U_sums must be a tuple"),
]  # fmt: skip


@pytest.mark.parametrize("train", [on_cpu, on_emulation])
@pytest.mark.parametrize("compressed", [False, True])
def test_an_epoch_with_right_arguments_is_trained(train: Callable, compressed: bool) -> None:
    task = epoch(compressed)
    before = copy.deepcopy(task)
    train(task)
    assert not np.array_equal(task["weights"]["v"], before["weights"]["v"])
    assert np.isfinite(task["loss"]).all()


@pytest.mark.parametrize("train", [on_cpu, on_emulation])
@pytest.mark.parametrize(
    ("compressed", "change", "message"),
    [(False, *case[1:]) for case in WRONG] + [(True, *case[1:]) for case in COMPRESSED],
    ids=[case[0] for case in WRONG] + [f"CSR: {case[0]}" for case in COMPRESSED],
)
def test_a_wrong_epoch_is_refused_and_nothing_changed(
    train: Callable, compressed: bool, change: Change, message: str
) -> None:
    task = epoch(compressed)
    change(task)
    before = copy.deepcopy(task)
    with pytest.raises(UsageError, match=message):
        train(task)
    for was, array in zip(arrays_in(before), arrays_in(task), strict=True):
        np.testing.assert_array_equal(array, was)


def arrays_in(found: Any) -> list[np.ndarray]:
    if isinstance(found, np.ndarray):
        return [found]
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, tuple) else ()
    return [array for part in parts for array in arrays_in(part)]


def test_tasks_of_a_pack_must_not_share_arrays() -> None:
    module = pytest.importorskip("dash_hpc._cuda_emulation")
    first, second = epoch(), epoch()
    second["moment2"]["v"] = first["moment2"]["v"]
    with pytest.raises(UsageError, match="moment2 of v and moment2 of v share memory"):
        module.train_pack([first, second], {"compress_below": 0.1, "shared_bytes": 0, "state_limit": 0, "team": -1})


# ---- the other operators of the modules


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
    right = {"S": np.ones((M, G)), "C": parts(np.eye(G)), "P": parts(np.eye(G)), "ridge": 1e-10}
    with pytest.raises(UsageError, match=message):
        native_module().prior_terms(**(right | changes))


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
    small = (np.array([0, 1, 2]), np.array([0, 1], np.int32), np.ones(2))
    right = {
        "genes": 2, "hidden": 1, "prods": False, "norm": 0, "lambda_ppi": 0.5, "lambda_motif": 0.5, "damping": 0.0,
        "ridge": 0.0, "W": np.ones((1, 2)), "U": np.ones((2, 1)), "v": np.ones(2), "omega": np.ones((1, 2)),
        "C": small, "P": small,
    }  # fmt: skip
    choices = {"shared_bytes": 0}
    assert len(module.score_pack([right], choices)) == 1
    for change, message in (
        ({"genes": 2**62, "hidden": 32768}, "genes must be a whole number"),
        ({"genes": 2**29, "hidden": 8}, r"at most 2\^30 weights"),
        ({"genes": -1}, "genes must be"),
        ({"norm": 3}, "norm must be"),
        ({"lambda_ppi": float("nan")}, "lambda_ppi must be"),
        ({"W": np.ones((2, 1))}, "W must be"),
        ({"omega": None}, "an array that the scores need is missing"),
        ({"C": (np.array([0, 9, 2]), *small[1:])}, "C: row pointers fall"),
        ({"P": (small[0], np.array([0, 2], np.int32), small[2])}, "P: row 1 has a column out of range"),
    ):
        with pytest.raises(UsageError, match=message):
            module.score_pack([right | change], choices)
    mask = np.ones(3, bool)
    for task, message in (
        ((np.ones(3), mask, 4), "how many must be a whole number from 1 to 3"),
        ((np.array([1.0, np.inf, 0]), mask, 1), "score of active entry 1"),
        ((mask.view(np.uint8)[:0].astype(float), mask, 1), "scores must be"),
        ((np.ones(3), read_only(mask), 1), "mask must be writable"),
        ((np.ones(3), mask), "job must be a tuple"),
    ):
        with pytest.raises(UsageError, match=message):
            module.select_pack([task])


# ---- the operators of the package, with the native module and without


@pytest.fixture(params=["native", "twin"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "twin":
        for name in ("solver", "train", "scores", "select"):
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
