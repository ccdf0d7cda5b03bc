"""Build, test, sanitise and measure the CUDA operators on the machine at hand, in under ten minutes, without a network.

From a bare checkout, with the Python that holds torch and an nvcc:

    python benchmarks/gpu_check.py [--out FOLDER] [--only build,tests,sanitizer,benchmark,grid] [--seconds 2]

Says in one line each what is missing, what passed and how long it took; writes summary.json, the logs and the
benchmarks' gpu.json and gpu_grid.json into FOLDER (default: build/gpu-check). Leaves with 1 when something failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NEEDED = {
    "build": ("setuptools", "pybind11", "ninja"),
    "tests": ("numpy", "scipy", "pandas", "h5py", "torch", "pytest", "pytest_timeout", "threadpoolctl"),
    "sanitizer": ("numpy", "scipy"),
    "benchmark": ("numpy", "scipy", "torch", "torchdiffeq", "threadpoolctl"),
    "grid": (
        "click",
        "h5py",
        "jinja2",
        "matplotlib",
        "numpy",
        "pandas",
        "pydantic",
        "rich",
        "scipy",
        "torch",
        "threadpoolctl",
    ),
}
#: Seconds after which a part is stopped; together under ten minutes.
LIMITS = {"build": 120, "tests": 110, "sanitizer": 40, "benchmark": 170, "grid": 110}
SANITIZED = """
import sys
from dataclasses import replace
sys.path.insert(0, {tests!r})
from tests.cuda import problems
from dash_hpc.ops import SolverOptions
from dash_hpc.ops.cuda import open_gpu
gpu = open_gpu()
solver = SolverOptions(rtol=1e-4, atol=1e-6)
works = [problems.task(problems.model(65, 9, d, "f4"), *problems.pairs(65, 6, "f4"), solver=solver) for d in (1.0, 0.1)]
for team in (False, True):
    assert not any(result.status for result in replace(gpu, team=team).train_many(works))
"""


def main() -> None:
    """Run the parts in order; a part that lacks a package is told and skipped, and counts as failed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-check")
    options.add_argument("--only", default=",".join(LIMITS), help="parts, separated by commas")
    options.add_argument("--seconds", default="2", help="about how long each row of the benchmark takes")
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    summary: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "device": device(), "parts": []}
    print(f"gpu-check: {summary['device'] or 'no GPU: nvidia-smi is missing or finds none'}", flush=True)
    for part in chosen.only.split(","):
        missing = [name for name in NEEDED[part] if importlib.util.find_spec(name) is None]
        if missing:
            record(summary, chosen.out, part, 1, 0.0, f"Python packages are missing: {', '.join(missing)}")
            continue
        write(summary, chosen.out)
        for name, command, environment in commands(part, chosen.out, chosen.seconds):
            run(summary, chosen.out, name, command, environment, LIMITS[part])
    if any(one["rc"] for one in summary["parts"]):
        sys.exit("gpu-check: failed: " + ", ".join(one["name"] for one in summary["parts"] if one["rc"]))
    if not summary["device"]:
        sys.exit("gpu-check: failed: there is no GPU, so nothing was checked on one")
    print("gpu-check: all passed")


def device() -> str:
    """Name, capability and driver as nvidia-smi tells them; empty where there is none."""
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()


def commands(part: str, out: Path, seconds: str) -> list[tuple[str, list[str], dict[str, str]]]:
    """(name, command, environment) of a part."""
    python = sys.executable
    if part == "build":
        capability = device().split(",")[1].strip().replace(".", "") if device() else ""
        environment = {
            "DASH_HPC_CUDA": "1",
            "DASH_HPC_WARNINGS": "allow",
            **({"DASH_HPC_CUDA_ARCHS": capability} if capability else {}),
        }
        return [("build", [python, "setup.py", "build_ext", "--inplace"], environment)]
    if part == "tests":
        return [("tests", [python, "-m", "pytest", "tests/cuda", "-q", "-p", "no:cacheprovider", "-m", "gpu"],
                 {"DASH_HPC_REQUIRE_GPU": "1"})]  # fmt: skip
    if part == "sanitizer":
        tool = shutil.which("compute-sanitizer")
        if tool is None:
            print("gpu-check: sanitizer: compute-sanitizer is not installed, left out", flush=True)
            return []
        code = SANITIZED.format(tests=str(ROOT))
        return [
            (check, [tool, "--tool", check, "--error-exitcode", "9", python, "-c", code], {})
            for check in ("memcheck", "racecheck")
        ]
    script, options = ("gpu", ["--seconds", seconds]) if part == "benchmark" else ("gpu_grid", [])
    command = [python, str(ROOT / "benchmarks" / f"{script}.py"), *options, "--out", str(out / f"{script}.json")]
    return [(part, command, {})]


def run(
    summary: dict[str, Any], out: Path, name: str, command: list[str], environment: dict[str, str], limit: int
) -> None:
    """Run one command, its output into a log; print the log's end."""
    began = time.monotonic()
    log = out / f"{name}.log"
    with log.open("w") as stream:
        try:
            rc = subprocess.run(
                command, cwd=ROOT, env={**os.environ, **environment}, stdout=stream, stderr=subprocess.STDOUT,
                timeout=limit, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            rc = 124
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    shown = lines[-45:] if name in ("benchmark", "grid") else lines[-12:] if rc else lines[-2:]
    print("\n".join(line[:200] for line in shown))
    record(summary, out, name, rc, time.monotonic() - began, "stopped at its limit" if rc == 124 else "")


def record(summary: dict[str, Any], out: Path, name: str, rc: int, seconds: float, note: str) -> None:
    """One line on how a part went, and the summary as far as it is."""
    summary["parts"].append({"name": name, "rc": rc, "seconds": round(seconds, 1), "note": note})
    write(summary, out)
    print(f"gpu-check: {name}: {'ok' if rc == 0 else f'FAILED ({rc})'}, {seconds:.0f} s {note}".rstrip(), flush=True)


def write(summary: dict[str, Any], out: Path) -> None:
    """Publish the summary as far as it is."""
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
