"""The CUDA module as built: loads without GPU and driver, has the architectures, spills nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dash_hpc.errors import GpuUnavailable, UsageError
from dash_hpc.ops import cuda

module = cuda.cuda_module()
needs_build = pytest.mark.skipif(module is None, reason="nvcc was not found when dash-hpc was built")


@needs_build
def test_no_kernel_spills():
    rows = json.loads(module.resources)
    emulation = pytest.importorskip("dash_hpc._cuda_emulation")
    kernels = set(emulation.kernels())  # made by the same lines
    assert {row["kernel"] for row in rows} == kernels > {"train_epoch_f32", "train_epoch_team_f64", "select_f64"}
    assert {row["architecture"] for row in rows} == set(module.architectures.split(", "))
    for row in rows:
        assert row["spill_stores"] == row["spill_loads"] == row["stack_bytes"] == 0, row
        threads = 384 if row["kernel"].endswith("f32") else 256
        assert row["registers"] * threads <= 65536, row


@needs_build
def test_a_machine_without_a_gpu_gets_one_clear_line():
    code = "from dash_hpc.ops.cuda import open_gpu, gpu_info; print(gpu_info()['problem']); open_gpu()"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"CUDA_VISIBLE_DEVICES": "-1"}, check=False
    )
    assert run.returncode != 0
    assert "GpuUnavailable" in run.stderr
    assert "use the CPU" in run.stderr.strip().splitlines()[-1]


def test_without_the_module_the_remedy_is_named(monkeypatch):
    monkeypatch.setenv("DASH_HPC_NATIVE", "0")
    with pytest.raises(GpuUnavailable, match="DASH_HPC_CUDA=1"):
        cuda.open_gpu()
    assert cuda.gpu_info()["built"] is False


def test_the_cpu_stands_in_only_where_that_was_allowed(monkeypatch):
    monkeypatch.setenv("DASH_HPC_NATIVE", "0")
    assert cuda.choose_device("cpu") == (None, "CPU")
    gpu, line = cuda.choose_device("auto")
    assert gpu is None
    assert line.startswith("CPU, because this installation has no CUDA module")
    for wish in ("cuda", "cuda:1"):
        with pytest.raises(GpuUnavailable):
            cuda.choose_device(wish)
    for wish in ("gpu", "cuda:", "cuda:x", "auto:1", ""):
        with pytest.raises(UsageError, match="device must be"):
            cuda.choose_device(wish)


def test_importing_the_package_does_not_load_the_module():
    code = "import sys, dash_hpc, dash_hpc.ops; print('dash_hpc._native_cuda' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_gpu_check_says_when_there_is_no_gpu(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "gpu_check.py"
    run = subprocess.run(
        [sys.executable, script, "--only", "sanitizer", "--out", tmp_path],
        capture_output=True, text=True, env={"PATH": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert "compute-sanitizer is not installed" in run.stdout
    assert "there is no GPU" in run.stderr
    assert json.loads((tmp_path / "summary.json").read_text())["device"] == ""


def test_the_benchmark_runs_without_a_gpu(tmp_path):
    pytest.importorskip("dash_hpc._cuda_emulation")
    script = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
    command = [sys.executable, script, "--rehearse", "--out", tmp_path / "gpu.json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {row["what"].partition(",")[0] for row in rows} >= {"agreement", "GPU", "CPU", "torchdiffeq"}
    assert not any(row.get("seconds") for row in rows)
