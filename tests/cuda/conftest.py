"""Each operator test runs on the emulation (the kernels' source as C++), and on a GPU where there is one."""

from __future__ import annotations

import os

import pytest

from dash_hpc.errors import NativeError
from dash_hpc.ops.cuda import Gpu, open_gpu


@pytest.fixture
def emulation():
    """The emulation as launched on a GPU; tests change it with module.emulate(...)."""
    module = pytest.importorskip("dash_hpc._cuda_emulation")
    module.emulate()
    yield Gpu(module)
    module.emulate()


@pytest.fixture(params=["emulation", pytest.param("cuda", marks=pytest.mark.gpu)])
def gpu(request):
    """A device to compare with the CPU."""
    if request.param == "emulation":
        return request.getfixturevalue("emulation")
    try:
        return open_gpu()
    except NativeError as error:
        if os.environ.get("DASH_HPC_REQUIRE_GPU") == "1":
            raise
        pytest.skip(str(error))
