"""Settings that come from environment variables."""

from __future__ import annotations

import os

from dash_hpc.errors import UsageError

__all__ = ["seconds"]


def seconds(name: str, default: float, *, zero: bool = False) -> float:
    """Return the number of seconds in the environment variable ``name``, or ``default`` where it is not set or empty.

    Parameters
    ----------
    name : str
    default : float
    zero : bool, default False
        Whether 0 is allowed as well.

    Raises
    ------
    UsageError
        When it is not a number, not finite, negative, or 0 where that is not allowed.
    """
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if 0.0 < value < float("inf") or (zero and value == 0.0):
        return value
    what = "a number of seconds, 0 or more" if zero else "a positive number of seconds"
    raise UsageError(f"{name} must be {what}, got {text!r}")
