"""docs/extend/operator.md followed in a scratch copy: an operator that doubles, begun as a copy of `null`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
#: The headers that come with PyTorch: those of the build are not there when tests run.
PYBIND = Path(torch.__file__).parent / "include"
FILES = ("csrc/core/null.hpp", "csrc/cpu/ops/null.cpp", "csrc/python/null.cpp", "dash_hpc/ops/null.py")
CUDA_FILES = ("csrc/cuda/ops/null.cu", "csrc/cuda/ops/null.cpp")
#: What of `null` copies, and what doubles in its place.
CHANGES = {
    "csrc/cpu/ops/null.cpp": (
        "if (args.size) std::memcpy(args.to, args.from, args.size * sizeof(T));",
        "for (int64_t k = 0; k < args.size; ++k) args.to[k] = 2 * args.from[k];",
    ),
    "csrc/cuda/ops/null.cu": ("task->to[i] = task->from[i];", "task->to[i] = 2 * task->from[i];"),
}
CALL = """
import numpy as np
from dash_hpc.ops.twice import twice
from dash_hpc.ops.null import null
from dash_hpc.ops.native import native_module
assert native_module() is not None
for dtype in (np.float32, np.float64):
    assert (twice(np.arange(5, dtype=dtype)) == [0, 2, 4, 6, 8]).all()
    assert (null(np.arange(5, dtype=dtype)) == [0, 1, 2, 3, 4]).all()
"""
CALL_GPU = """
import numpy as np
from dash_hpc.ops.null import null_many
from dash_hpc.ops.twice import twice_many
from dash_hpc.ops.cuda import open_gpu
gpu = open_gpu()
assert sorted(gpu.kernels()) == ["null_f32", "null_f64", "twice_f32", "twice_f64"]
for dtype in (np.float32, np.float64):
    some = [np.arange(5, dtype=dtype), np.ones((2, 3), dtype)]
    assert all((a == 2 * b).all() for a, b in zip(twice_many(some, gpu), some, strict=True))
    assert all((a == b).all() for a, b in zip(null_many(some, gpu), some, strict=True))
"""


def scratch(tmp_path: Path, files: tuple[str, ...]) -> Path:
    """A tree with no other operator than `null`, and `twice` in ``files``; nothing else of it is changed."""
    tree = tmp_path / "tree"
    for folder in ("csrc", "dash_hpc"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for pattern in ("csrc/cpu/ops/*.cpp", "csrc/python/*.cpp", "csrc/cuda/ops/*.c*"):
        for source in tree.glob(pattern):
            if source.stem not in ("null", "module"):
                source.unlink()
    for name in files:
        text = (tree / name).read_text()
        old, new = CHANGES.get(name, ("null", "null"))
        assert old in text
        text = text.replace(old, new).replace("null", "twice").replace("Null", "Twice")
        (tree / name.replace("null", "twice")).write_text(text)
    added = {str(path.relative_to(tree)) for path in tree.rglob("*") if not (ROOT / path.relative_to(tree)).exists()}
    assert added == {name.replace("null", "twice") for name in files}
    return tree


def build(tree: Path, module: str, flags: list[str], *patterns: str) -> None:
    """By the compiler alone, from the files of the folders that the real build looks in."""
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None or not (PYBIND / "pybind11").is_dir():
        pytest.skip("no compiler, or no headers of pybind11")
    sources = [str(path) for pattern in patterns for path in tree.glob(f"csrc/{pattern}")]
    built = subprocess.run(
        [
            compiler, "-std=c++17", "-O0", "-fPIC", "-fvisibility=hidden", "-shared", f"-I{PYBIND}",
            f"-I{sysconfig.get_path('include')}", *flags, "-x", "c++", *sources,
            "-o", str(tree / "dash_hpc" / f"{module}{sysconfig.get_config_var('EXT_SUFFIX')}"),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-2000:]


def call(tree: Path, code: str) -> None:
    switches = {"DASH_HPC_NATIVE": "1", "DASH_HPC_ISA": "", "DASH_HPC_CUDA_EMULATION": "1"}
    environment = {**os.environ, **switches, "PYTHONPATH": str(tree)}
    called = subprocess.run(
        [sys.executable, "-c", code], cwd=tree.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert called.returncode == 0, called.stderr


def test_an_operator_is_four_files(tmp_path: Path) -> None:
    """Built beside `null`, for one instruction set."""
    tree = scratch(tmp_path, FILES)
    build(tree, "_native", [], "cpu/ops/*.cpp", "cpu/*.cpp", "python/*.cpp")
    call(tree, CALL)


def test_on_a_gpu_it_is_two_more(tmp_path: Path) -> None:
    """Its kernel in the emulation, which is compiled from the same files."""
    tree = scratch(tmp_path, FILES + CUDA_FILES)
    build(tree, "_cuda_emulation", ["-DDASH_CUDA_EMULATION"], "cuda/ops/*.cpp", "cuda/ops/*.cu", "cuda/*.cpp")
    call(tree, CALL_GPU)
