"""Fixtures for the whole suite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

# Torch's threads wait for each other by spinning: with tensors as small as these, and more so on a busy machine, one
# is faster. Workers train on one thread as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")


_SMALL = """\
[study]
name = "{name}"
[data]
kind = "simulate"
genes = 12
regulators = 4
edges = 16
trajectories = 8
test_trajectories = 2
[model]
hidden = 4
[training]
epochs = {epochs}
early_stop = 0
[schedule]
first_epoch = 2
every = {every}
[sweep]
seeds = {seeds}
[[strategy]]
name = "none"
[[strategy]]
name = "dash"
lambda_ppi = {lambda_ppi}
lambda_motif = 0.1
"""


@pytest.fixture(scope="session")
def small_study() -> Callable[..., str]:
    """Return a function that gives the text of a study of 12 simulated genes; seeds and λ as TOML."""

    def text(name: str, *, epochs: int, every: int, seeds: str, lambda_ppi: str = "0.5") -> str:
        return _SMALL.format(name=name, epochs=epochs, every=every, seeds=seeds, lambda_ppi=lambda_ppi)

    return text


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of published data sets (environment variable DASH_HPC_DATA)."""
    root = os.environ.get("DASH_HPC_DATA")
    if not root:
        pytest.skip("DASH_HPC_DATA is not set: published data sets are not here")
    return Path(root)


_strict: set[object] = set()


@pytest.fixture(autouse=True)
def strict_promotion(request: pytest.FixtureRequest) -> Iterator[None]:
    """No operation of PyTorch may mix float32 with float64: one of the two would be a mistake. Scalars may.

    Looking at each operation takes ten times as long as a small one itself, so that of the cases of a test only the
    first is looked at. NumPy has no such switch; the operators' dtypes are checked by the tests of each.
    """
    if "torch" not in sys.modules or request.function in _strict:
        yield
        return
    _strict.add(request.function)
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    casts = {torch.ops.aten.copy_, torch.ops.aten._to_copy}
    own = "dash_hpc"  # our operators take intervals in float64 beside states of any precision, and check them

    class Strict(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            tensors = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, torch.Tensor)]
            kinds = {str(each.dtype) for each in tensors if each.dim() and each.dtype.is_floating_point}
            if len(kinds) > 1 and func.namespace != own and func.overloadpacket not in casts:
                raise AssertionError(f"{func} mixes {' and '.join(sorted(kinds))}; cast one of them on purpose")
            return func(*args, **(kwargs or {}))

    with Strict():
        yield


# A process begins with the peak memory of the one that it was forked from, so a small one stands between.
_MEASURE = """
import json, os, sys
both = [(os.POSIX_SPAWN_DUP2, 1, 2)]
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=both)
_, status, usage = os.wait4(process, 0)
code = os.waitstatus_to_exitcode(status)
json.dump([code, usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss], sys.stderr)
"""


@pytest.fixture(scope="session")
def measured() -> Callable[[Sequence[str]], tuple[int, float, int, str]]:
    """Return a function that runs a command and gives its exit code, CPU seconds, peak bytes, and what it printed.

    Both streams are taken together. CPU seconds, for others may be at work on this machine; 60 s of the clock at most.
    """

    def run(words: Sequence[str]) -> tuple[int, float, int, str]:
        with tempfile.TemporaryFile() as said:
            command = [sys.executable, "-S", "-c", _MEASURE, *words]
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.PIPE, timeout=60, check=True
            )
            said.seek(0)
            code, seconds, size = json.loads(done.stderr)
            return code, seconds, size, said.read().decode()

    return run


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what it puts into the background with Ctrl-C ignored, nohup with hang-ups ignored; programs that
    # the tests start would inherit it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line("markers", "gpu: needs an NVIDIA GPU; the only tests that may be skipped everywhere")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Under ``pytest -n`` a file's tests stay together, for their fixtures, and so do those that share one Slurm."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "tests/cluster" if file.startswith("tests/cluster/") else file

    return ByFile(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With DASH_HPC_FORBID_SKIPS=1 a skipped test fails the run, unless it needs a GPU."""
    if os.environ.get("DASH_HPC_FORBID_SKIPS") != "1" or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [report for report in reporter.stats.get("skipped", []) if "gpu" not in report.keywords]
    if skipped:
        reporter.write_line("skipped although DASH_HPC_FORBID_SKIPS=1:", red=True)
        for report in skipped:
            reporter.write_line(f"  {report.nodeid}: {report.longrepr[2]}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
