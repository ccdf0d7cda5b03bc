"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

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


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs an NVIDIA GPU; the only tests that may be skipped everywhere")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With DASH_HPC_FORBID_SKIPS=1 a skipped test fails the run, unless it needs a GPU."""
    if os.environ.get("DASH_HPC_FORBID_SKIPS") != "1":
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [report for report in reporter.stats.get("skipped", []) if "gpu" not in report.keywords]
    if skipped:
        reporter.write_line("skipped although DASH_HPC_FORBID_SKIPS=1:", red=True)
        for report in skipped:
            reporter.write_line(f"  {report.nodeid}: {report.longrepr[2]}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
