"""What only the emulation can vary: the number and order of threads, the size of memory."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from dash_hpc.errors import GpuMemoryError
from dash_hpc.ops import SolverOptions
from tests.cuda import problems


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_bits_depend_neither_on_threads_nor_on_their_order(emulation, method):
    """Loops between two barriers run shuffled, and so do their threads: a missing barrier would show."""
    solver = SolverOptions(method=method, rtol=1e-6, atol=1e-8, step=0.05)
    states = []
    for threads, seed in [(0, 0), (0, 1), (32, 2), (96, 3), (512, 4), (1024, 5)]:
        emulation.module.emulate(threads=threads, seed=seed)
        works = [
            problems.task(problems.model(65, 9, density, np.float32), *problems.pairs(65, 6, np.float32), solver=solver)
            for density in (1.0, "mixed", 0.1)
        ]
        emulation.train_many(works)
        states.append([work.state for work in works])
    assert all(problems.same_bits(a, b) for other in states[1:] for a, b in zip(states[0], other, strict=True))


def test_too_little_memory_is_told_and_changes_nothing(emulation):
    work = problems.task(problems.model(33, 5), *problems.pairs(33, 4))
    before = copy.deepcopy(work.state)
    emulation.module.emulate(memory_bytes=1 << 16)
    with pytest.raises(GpuMemoryError, match=r"out of memory on the GPU: .* \(pack fewer runs, or use the CPU\)"):
        emulation.train_many([work])
    assert problems.same_bits(work.state, before)


def test_fewer_blocks_serve_where_memory_is_short(emulation):
    """A launch takes fewer blocks at a time rather than fail; bits stay."""
    works = [problems.task(problems.model(33, 5, seed=k), *problems.pairs(33, 4)) for k in range(8)]
    short = copy.deepcopy(works)
    emulation.module.emulate(blocks=8)
    emulation.train_many(works)
    emulation.module.emulate(blocks=8, memory_bytes=80 << 20)
    emulation.train_many(short)
    assert all(problems.same_bits(a.state, b.state) for a, b in zip(works, short, strict=True))
