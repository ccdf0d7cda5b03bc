"""Fixtures for the tests of the operators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dash_hpc.ops.native import native_module

native = native_module()


@pytest.fixture(params=native.build_info()["runnable_isas"] if native is not None else [])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run on one instruction set, then go back to the best."""
    module = native_module()
    assert module is not None
    best = module.build_info()["isa"]
    module.set_isa(request.param)
    yield request.param
    module.set_isa(best)
