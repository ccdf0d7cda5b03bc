"""How near the kernels come to what one core can do: multiply-adds per second, and bytes read per second.

Both peaks are measured here, in the same process, with the vectors of the instruction set in use (peaks.cpp, compiled
now): independent chains of multiply-adds on registers, and the sum over an array that fits the second-level cache and
one that fits none. They alternate with what is measured. The clock is the processor time of this one thread.

Counted are only the products of the model, 2 operations per multiply-add; activations, stage sums, error norms and Adam
take their time and count nothing. With G genes, m hidden units, E evaluations of the right-hand side (those the samples
needed: not the ones that a finished sample sits out in a tile) and A accepted steps, summed over samples:

    forward    8 G m E            two matrices m x G and two G x m
    reverse    16 G m * 6 A       each of six stages: four transposed products, four outer products for the weights

A lane that is idle, because its sample is done before those beside it, so lowers the share. "Even" problems have equal
intervals, "mixed" ones the 2, 1, 4, 2 of SIM350. Losses of a step are compared with torchdiffeq's first.

    python benchmarks/roofline.py [--repeats 5] [--out benchmarks/results/roofline.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, alternate, parser, publish, random_problem
from torchdiffeq import odeint

from dash_hpc.models import Phoenix
from dash_hpc.ops import TENSORS, SolverOptions, TrainState, native_info, solve_arrays, train_epoch

PUBLISHED = {"rtol": 1e-7, "atol": 1e-9}
DEFAULT = {"rtol": SolverOptions().rtol, "atol": SolverOptions().atol}
FLAGS = {
    "baseline": ["-DVECTOR_BYTES=16"],
    "avx2": ["-DVECTOR_BYTES=32", "-mavx2", "-mfma"],
    "avx512": ["-DVECTOR_BYTES=64", "-mavx512f", "-mfma"],
}
SECONDS = 0.1  # about how long one measurement of a peak takes
CACHES = {"L2": 512 << 10, "memory": 256 << 20}  # bytes read
BARS = {"forward, 16 lanes, even": 0.55, "train step, 16 pairs, even": 0.35}


class Peaks:
    """The two loops of peaks.cpp for one instruction set."""

    def __init__(self, level: str, folder: Path) -> None:
        library = folder / "peaks.so"
        command = [os.environ.get("CXX", "c++"), "-O3", "-std=c++17", "-ffp-contract=fast", "-shared", "-fPIC"]
        source = str(ROOT / "benchmarks" / "peaks.cpp")
        subprocess.run([*command, *FLAGS[level], source, "-o", str(library)], check=True)
        self._c = ctypes.CDLL(str(library))
        for name in ("multiply_adds", "read_all"):
            getattr(self._c, name).restype = ctypes.c_double
        self._sink = ctypes.c_float()
        self._rounds: dict[str, int] = {}
        memory = np.ones(CACHES["memory"] // 4 + 16, np.float32)
        self._array = memory[(-memory.ctypes.data % 64) // 4 :]

    def multiply_adds(self) -> float:
        """Operations per second, two for each multiply-add."""

        def call(rounds: int) -> float:
            return float(
                self._c.multiply_adds(
                    ctypes.c_int64(rounds), ctypes.c_float(0.999), ctypes.c_float(0.001), ctypes.byref(self._sink)
                )
            )

        return self._rate("multiply_adds", call)

    def read(self, where: str) -> float:
        """Bytes per second from one level of the memory."""

        def call(rounds: int) -> float:
            address = ctypes.c_void_p(self._array.ctypes.data)
            count = ctypes.c_int64(CACHES[where] // 4)
            return float(self._c.read_all(address, count, ctypes.c_int64(rounds), ctypes.byref(self._sink)))

        return self._rate(where, call)

    def _rate(self, name: str, call: Callable[[int], float]) -> float:
        """Work per second; the first call finds how many rounds take about SECONDS."""
        while name not in self._rounds:
            rounds = 1
            while self._timed(call, rounds)[1] < SECONDS / 4:
                rounds *= 2
            self._rounds[name] = 2 * rounds
        done, seconds = self._timed(call, self._rounds[name])
        return done / seconds

    @staticmethod
    def _timed(call: Callable[[int], float], rounds: int) -> tuple[float, float]:
        began = time.thread_time()
        return call(rounds), time.thread_time() - began


class Problem:
    """Dense weights and some pairs; rates of a forward solve and of a training step, operations per second."""

    def __init__(
        self,
        name: str,
        genes: int,
        hidden: int,
        pairs: int,
        even: bool,
        steps: int,
        tolerance: dict[str, float] = PUBLISHED,
    ) -> None:
        self.name, self.genes, self.hidden, self.steps, self.tolerance = name, genes, hidden, steps, tolerance
        self.weights, self.masks, self.y0, self.y1, self.dt = random_problem(genes, hidden, 1.0, pairs)
        if even:
            self.dt = np.full(pairs, 2.0)
        self.check()
        found = solve_arrays(self.weights, self.y0, self.dt, solver=self.tolerance)
        self.evaluations, self.accepted = int(found.evaluations.sum()), int(found.steps.sum())

    def check(self) -> None:
        """Compare the loss with that of torchdiffeq, at the published tolerance."""
        index = np.arange(len(self.dt))
        loss = self._epoch(1, index, PUBLISHED).loss[0]
        model = Phoenix(self.weights)
        scale = torch.from_numpy(self.dt.astype(np.float32))[:, None]
        with torch.no_grad():
            times = torch.tensor([0.0, 1.0])
            ends = odeint(lambda t, y: scale * model(y), torch.from_numpy(self.y0), times, **PUBLISHED)[-1]
        wanted = float((ends - torch.from_numpy(self.y1)).square().mean())
        if not abs(loss - wanted) < 2e-6 * max(1.0, wanted):
            raise SystemExit(f"{self.name}: losses differ: native {loss}, torchdiffeq {wanted}")

    def forward(self) -> float:
        began = time.thread_time()
        for _ in range(self.steps):
            solve_arrays(self.weights, self.y0, self.dt, solver=self.tolerance)
        seconds = (time.thread_time() - began) / self.steps
        return 8 * self.genes * self.hidden * self.evaluations / seconds

    def train(self) -> float:
        index = np.tile(np.arange(len(self.dt)), self.steps)
        began = time.thread_time()
        result = self._epoch(self.steps, index, self.tolerance)
        seconds = (time.thread_time() - began) / self.steps
        if result.evaluations != self.steps * self.evaluations:
            raise SystemExit(f"{self.name}: {result.evaluations} evaluations counted, {self.evaluations} expected each")
        return 8 * self.genes * self.hidden * (self.evaluations + 2 * 6 * self.accepted) / seconds

    def _epoch(self, steps: int, index: np.ndarray, tolerance: dict[str, float]) -> Any:
        # learning rate 0: every step is the same, so that one count holds for all
        pointer = np.arange(0, len(index) + 1, len(index) // steps)
        state = TrainState.fresh(self.weights, self.masks)
        rates = dict.fromkeys(TENSORS, 0.0)
        return train_epoch(state, self.y0, self.y1, self.dt, pointer, index, lr=rates, solver=tolerance)


def main() -> None:
    options = parser(__doc__, repeats=5).parse_args()
    torch.set_num_threads(1)
    level = native_info()["isa"]
    if level not in FLAGS:
        raise SystemExit(f"no peak is written for the instruction set {level}")
    with tempfile.TemporaryDirectory() as folder:
        peaks = Peaks(level, Path(folder))
    small = [
        Problem("16 lanes, even", 350, 40, 16, True, 10),
        Problem("16 lanes, mixed", 350, 40, 16, False, 10),
        Problem("4 lanes, mixed", 350, 40, 4, False, 40),
        Problem("64 pairs, mixed", 350, 40, 64, False, 5),
    ]
    large = Problem("11,165 genes x 300, 16 lanes", 11_165, 300, 16, False, 1, DEFAULT)
    contenders: dict[str, Callable[[], float]] = {"multiply-add peak": peaks.multiply_adds}
    contenders |= {f"read, {where}": lambda where=where: peaks.read(where) for where in CACHES}  # type: ignore[misc]
    for problem in (*small, large):
        contenders[f"forward, {problem.name}"] = problem.forward
        contenders[f"train step, {problem.name.replace('lanes', 'pairs')}"] = problem.train
    for measure in contenders.values():
        measure()
    rates = alternate(contenders, options.repeats)
    peak = max(rates["multiply-add peak"])
    memory = max(rates["read, memory"])
    # Per evaluation of 16 samples: 8 G m 16 operations on 4 G m floats of 4 bytes.
    roof = min(peak, memory * 8 * 16 / 16)
    rows = []
    for name, values in rates.items():
        is_read = name.startswith("read")
        best, middle = max(values), float(np.median(values))
        row: dict[str, Any] = {
            "what": name,
            "unit": "GB/s" if is_read else "GFLOP/s",
            "best": best / 1e9,
            "median": middle / 1e9,
            "of_peak": None if is_read else middle / peak,
            "of_peak_best": None if is_read else best / peak,
            "bar": BARS.get(name),
        }
        if name == f"forward, {large.name}":
            row["of_roof"] = middle / roof
        rows.append(row)
    columns = {
        "what": "s", "unit": "s", "best": ".1f", "median": ".1f", "of_peak": ".1%", "of_peak_best": ".1%",
        "of_roof": ".1%", "bar": ".0%",
    }  # fmt: skip
    publish("roofline", rows, columns, options.out, options.repeats)


if __name__ == "__main__":
    main()
