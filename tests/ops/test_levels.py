"""The instruction sets: each passes the suites, all agree, none needs what the processor does not have."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dash_hpc import ops
from dash_hpc.models import initial_weights
from dash_hpc.ops import PRUNABLE, TENSORS, SolverOptions, TrainState
from dash_hpc.ops import train as train_module
from dash_hpc.ops.native import native_module
from dash_hpc.rng import stream

native = native_module()
pytestmark = pytest.mark.skipif(native is None, reason="the native module was not built")
LEVELS = native.build_info()["runnable_isas"] if native is not None else []
ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
SUITES = ["tests/training", *(f"tests/ops/test_{name}.py" for name in ("compressed", "scores", "select"))]


# NumPy's OpenBLAS has a choice of its own, which an emulated processor leads astray; this one runs anywhere.
BLAS = {"OPENBLAS_CORETYPE": "Prescott"}


def child(command, level="", **more):
    """Run a command with a forced level; a failure shows its output."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DASH_HPC_ISA": level, **more}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What level_run.py computes, for each level."""
    folder = tmp_path_factory.mktemp("levels")
    found = {}
    for level in LEVELS:
        child([sys.executable, HERE / "level_run.py", folder / f"{level}.npz"], level, **BLAS)
        found[level] = dict(np.load(folder / f"{level}.npz"))
        assert found[level]["isa"] == level
    return found


def test_levels_agree_to_rounding(results):
    first, *others = results.values()
    for other in others:
        assert first.keys() == other.keys()
        for key, wanted in first.items():
            if key == "isa":
                continue
            if wanted.dtype == bool:
                np.testing.assert_array_equal(other[key], wanted, err_msg=key)
                continue
            if not key.startswith("float32"):
                bound = 1e-10
            elif "-grad-" in key:
                bound = 1e-6
            elif key.endswith("-y1"):
                bound = 2e-6  # rounding, of other steps too where the error estimate is rounding
            else:
                bound = 1e-4  # Adam divides a gradient by its own size: of a small one, rounding is a part of the 1e-3
            scale = max(1.0, float(np.abs(wanted).max()))
            assert np.abs(other[key] - wanted).max() <= bound * scale, key


@pytest.mark.parametrize("level", LEVELS[:-1])
def test_suites_pass_on_lower_levels(level):
    """The best level runs them as they are; test_native.py goes through all levels itself."""
    done = child([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *SUITES], level)
    assert " passed" in done.stdout


# Nehalem has no AVX at all, Haswell AVX2 and FMA but no AVX-512.
@pytest.mark.parametrize(("processor", "level"), [("Nehalem", "baseline"), ("Haswell", "avx2")])
def test_the_binary_runs_on_an_older_processor(processor, level, results, tmp_path):
    """The same module on an emulated processor: right level, no illegal instruction, in float32 the same bits."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("qemu-x86_64 is not installed (Debian: qemu-user)")
    target = tmp_path / "emulated.npz"
    child([emulator, "-cpu", processor, sys.executable, HERE / "level_run.py", target], **BLAS)
    emulated = dict(np.load(target))
    assert emulated["isa"] == level
    assert emulated.keys() == results[level].keys()
    for key, wanted in results[level].items():
        if wanted.dtype == np.float32:
            np.testing.assert_array_equal(emulated[key], wanted, err_msg=key)
        elif wanted.dtype == np.float64:  # exp and log of the C library depend on the processor
            np.testing.assert_allclose(emulated[key], wanted, rtol=0, atol=1e-9, err_msg=key)


# Each number of pairs, genes and hidden units around the edges of tiles and panels, once or twice.
EDGES = [(1, 350, 7), (3, 1, 40), (4, 351, 41), (15, 15, 1), (16, 350, 40), (17, 1, 1), (33, 351, 7), (16, 15, 41)]


@pytest.mark.parametrize("pruned", ["rows", "all"])
@pytest.mark.parametrize(("pairs", "G", "m"), EDGES)
def test_training_at_tile_edges_equals_the_twin(isa, pairs, G, m, pruned, monkeypatch):
    """Two steps with empty rows and columns in the masks, and with all weights pruned."""
    rng = stream(0, "test-levels-edges", pairs, G, m)
    weights = initial_weights(G, m, rng, dtype=np.float64)
    for name in PRUNABLE:
        weights[name] += rng.normal(0, 0.02, weights[name].shape)
    masks = {name: rng.random(weights[name].shape) < (0.3 if pruned == "rows" else 0.0) for name in PRUNABLE}
    for name in PRUNABLE:
        masks[name][rng.integers(masks[name].shape[0])] = False
        masks[name][:, rng.integers(masks[name].shape[1])] = False
    y0, y1 = rng.random((2, pairs, G))
    dt = rng.choice([0.3, 1.0, 2.0], size=pairs)
    first = TrainState.fresh(weights, masks)
    second = copy.deepcopy(first)
    options = {
        "lr": dict.fromkeys(TENSORS, 1e-3),
        "solver": SolverOptions(rtol=1e-6, atol=1e-8),
    }
    order = np.tile(rng.permutation(pairs), 2)
    found = ops.train_epoch(first, y0, y1, dt, [0, pairs, 2 * pairs], order, **options)
    monkeypatch.setattr(train_module, "native_module", lambda: None)
    wanted = ops.train_epoch(second, y0, y1, dt, [0, pairs, 2 * pairs], order, **options)
    assert found.reason is None
    assert found.evaluations == wanted.evaluations
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=0, atol=1e-12)
    for name in TENSORS:
        np.testing.assert_allclose(first.moment1[name], second.moment1[name], rtol=0, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(first.weights[name], second.weights[name], rtol=0, atol=1e-9, err_msg=name)
    for name in PRUNABLE:
        assert not first.weights[name][~masks[name]].any()
