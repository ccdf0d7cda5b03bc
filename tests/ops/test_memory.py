"""Memory that cannot be had leaves as MemoryError with its size, and changes nothing."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from dash_hpc.ops.native import native_module

pytestmark = pytest.mark.skipif(native_module() is None, reason="the native module was not built")

_BEFORE = """
import resource, sys
import numpy as np
from dash_hpc import ops
from dash_hpc.models import initial_weights
from dash_hpc.ops import TENSORS, SolverOptions, TrainState, native_info
from dash_hpc.ops.native import native_module
from dash_hpc.rng import stream

native = native_module()
rng = stream(0, "test-memory")

def limit(more):
    pages = int(open("/proc/self/statm").read().split()[0])
    size = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (size, size))

def expect(call):
    try:
        call()
    except MemoryError as error:
        print("MemoryError", error)
    else:
        print("no error")
"""

CALLS = {
    # ten million steps of 8 bytes, in room that doubles
    "solve": """
weights = initial_weights(1, 1, rng)
options = SolverOptions(method="rk4", step=1e-7, max_steps=10_000_000)
limit(40 << 20)
expect(lambda: ops.solve_arrays(weights, np.zeros((1, 1)), np.ones(1), solver=options))
""",
    # the tape of 20,000 steps
    "train_epoch": """
state = TrainState.fresh(initial_weights(200, 40, rng))
y = np.zeros((4, 200))
options = SolverOptions(method="rk4", step=1e-4, max_steps=20_000)
before = [array.copy() for array in state.changed_arrays().values()]
lr = dict.fromkeys(TENSORS, 1e-3)
limit(100 << 20)
expect(lambda: ops.train_epoch(state, y, y, np.ones(4), np.array([0, 4]), np.arange(4), lr=lr, solver=options))
assert state.step == 0
assert all(np.array_equal(*pair) for pair in zip(before, state.changed_arrays().values()))
""",
    "solve_backward": """
weights = initial_weights(200, 40, rng)
y, sizes = np.zeros((4, 200), np.float32), np.full((4, 20_000), 1e-4)
limit(100 << 20)
expect(lambda: native.solve_backward(weights, y, sizes, y, "rk4"))
""",
    # S S' of 6,000 x 6,000
    "prior_terms": """
S = rng.random((6000, 2))
limit(100 << 20)
expect(lambda: native.prior_terms(S, None, None, 1e-10))
""",
    "select": """
score, mask = rng.random(6_000_000), np.ones(6_000_000, bool)
limit(30 << 20)
expect(lambda: native.select(score, mask, 100))
""",
}


#: The piece that did not fit, in bytes: a room of step sizes that has doubled from 16; four steps of six slots for four
#: samples, each (3 * 208 + 4 * 48) float32 to a sample, an odd number of cache lines; a square of doubles, as wide as
#: the instruction set pads it; a double to a score, and one more.
PIECES = {
    "solve": {8 * 16 * 2**k for k in range(18, 24)},
    "train_epoch": {4 * 6 * 205 * 64},
    "solve_backward": {4 * 6 * 205 * 64},
    "prior_terms": {8 * width**2 for width in (6000, 6016)},
    "select": {8 * 6_000_001},
}


def run(program: str) -> str:
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.parametrize("call", CALLS)
def test_too_little_memory_is_told_with_its_size(call: str) -> None:
    said = run(_BEFORE + CALLS[call])
    match = re.match(rf"MemoryError {call}: out of memory: (\d+) more bytes could not be had \(.*\d+ samples", said)
    assert match, said
    assert int(match[1]) in PIECES[call]


def test_a_pack_of_the_cuda_module_without_memory() -> None:
    pytest.importorskip("dash_hpc._cuda_emulation")
    program = (
        _BEFORE
        + """
from dash_hpc import _cuda_emulation
from dash_hpc.ops.cuda import Gpu
gpu = Gpu(_cuda_emulation)
from dash_hpc.ops.phoenix import tensor_shapes
weights = {name: np.ones(shape, np.float32) for name, shape in tensor_shapes(4000, 2000).items()}
task = ops.SolveTask(weights, np.zeros((4, 4000)), np.ones(4))
limit(20 << 20)
expect(lambda: gpu.solve_many([task]))
"""
    )
    said = run(program)
    assert re.match(r"MemoryError solve_many: out of memory.*\(4000 genes, 2000 hidden units, 1 samples", said), said


def test_the_limit_is_one_that_this_system_keeps() -> None:
    """What the other tests lean on."""
    program = _BEFORE + "limit(1 << 20)\nexpect(lambda: np.ones(1 << 24))"
    said = run(program)
    assert said.startswith("MemoryError Unable to allocate 128. MiB"), said
