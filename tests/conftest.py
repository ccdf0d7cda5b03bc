"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Torch's threads wait for each other by spinning: with tensors as small as these, and more so on a busy machine, one
# is faster. Workers train on one thread as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")


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
