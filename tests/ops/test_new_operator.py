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


def test_an_operator_is_four_files(tmp_path: Path) -> None:
    """Built by the compiler alone, beside `null`, for one instruction set, without the other operators."""
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None or not (PYBIND / "pybind11").is_dir():
        pytest.skip("no compiler, or no headers of pybind11")
    tree = tmp_path / "tree"
    for folder in ("csrc/core", "csrc/cpu", "csrc/python", "dash_hpc"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for source in [*tree.glob("csrc/cpu/ops/*.cpp"), *tree.glob("csrc/python/*.cpp")]:
        if source.stem not in ("null", "module"):
            source.unlink()
    for name in FILES:
        text = (tree / name).read_text().replace("null", "twice").replace("Null", "Twice")
        if name == "csrc/cpu/ops/null.cpp":
            copied = "if (args.size) std::memcpy(args.to, args.from, args.size * sizeof(T));"
            assert copied in text
            text = text.replace(copied, "for (int64_t k = 0; k < args.size; ++k) args.to[k] = 2 * args.from[k];")
        (tree / name.replace("null", "twice")).write_text(text)
    sources = [path for place in ("cpu/ops", "cpu", "python") for path in tree.glob(f"csrc/{place}/*.cpp")]
    module = tree / "dash_hpc" / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    built = subprocess.run(
        [
            compiler, "-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-shared", f"-I{PYBIND}",
            f"-I{sysconfig.get_path('include')}", *map(str, sources), "-o", str(module),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-2000:]
    environment = {**os.environ, "PYTHONPATH": str(tree), "DASH_HPC_NATIVE": "1", "DASH_HPC_ISA": ""}
    called = subprocess.run(
        [sys.executable, "-c", CALL], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert called.returncode == 0, called.stderr
