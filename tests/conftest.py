"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of published data sets (environment variable DASH_HPC_DATA)."""
    root = os.environ.get("DASH_HPC_DATA")
    if not root:
        pytest.skip("DASH_HPC_DATA is not set: published data sets are not here")
    return Path(root)
