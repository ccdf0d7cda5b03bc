"""Wrong arguments of an epoch of the native modules: each a UsageError that names what is wrong; nothing is changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dash_hpc.errors import UsageError
from dash_hpc.ops.native import native_module
from dash_hpc.ops.solver import MOST_STEPS
from tests.ops.arguments import G, M, N, epoch, misaligned, read_only

Change = Callable[[dict[str, Any]], None]


def on_cpu(task: dict[str, Any]) -> Any:
    names = (
        "weights", "moment1", "moment2", "masks", "step", "y0", "y1", "dt", "batch_ptr", "batch_index", "loss", "lr",
        "beta1", "beta2", "eps", "tau", "prior",
    )  # fmt: skip
    return native_module().train_epoch(*(task[name] for name in names), **task["solver"])


def on_emulation(task: dict[str, Any]) -> Any:
    module = pytest.importorskip("dash_hpc._cuda_emulation")
    return module.train_many([task], {"compress_below": 0.1, "shared_bytes": 0, "state_limit": 0, "team": -1})


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
        module.train_many([first, second], {"compress_below": 0.1, "shared_bytes": 0, "state_limit": 0, "team": -1})
