"""Finding the native module, and saying what it is."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from dash_hpc.errors import NativeError, UsageError

__all__ = ["native_info", "native_module"]

_cache: dict[str, ModuleType | None] = {}


def native_module() -> ModuleType | None:
    """Return ``dash_hpc._native``, or None when it was not built or ``DASH_HPC_NATIVE=0``.

    The instruction set is the best one that both the build and the processor have; the environment variable
    ``DASH_HPC_ISA`` (``baseline``, ``avx2``, ``avx512``) forces a lower one. Both are read once.

    Raises
    ------
    NativeError
        When ``DASH_HPC_ISA`` names a level that this build or processor does not have.
    """
    if "module" not in _cache:
        if os.environ.get("DASH_HPC_NATIVE", "1") == "0":
            _cache["module"] = None
        else:
            try:
                from dash_hpc import _native
            except ImportError as error:
                if "dash_hpc._native" not in str(error) and "_native" not in str(error):
                    raise NativeError(f"the native module cannot be loaded: {error}; reinstall dash-hpc") from error
                _cache["module"] = None
            else:
                level = os.environ.get("DASH_HPC_ISA", "")
                if level:
                    try:
                        _native.set_isa(level)
                    except UsageError as error:
                        raise NativeError(f"DASH_HPC_ISA: {error}") from None
                _cache["module"] = _native
    return _cache["module"]


def native_info() -> dict[str, Any]:
    """What runs the operators: ``{"available": bool, "isa": str, "built_isas": [...], "compiler": str}``."""
    module = native_module()
    if module is None:
        return {"available": False, "isa": "none (plain PyTorch)", "built_isas": [], "compiler": ""}
    return {"available": True, **module.build_info()}
