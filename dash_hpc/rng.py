"""Random streams that depend on the seed and a name, never on the order of calls, ranks or threads."""

from __future__ import annotations

import hashlib

import numpy as np

from dash_hpc.errors import UsageError

__all__ = ["stream"]


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to ``(seed, names)``.

    Parameters
    ----------
    seed : int
        The run's (or data set's) seed, 0 or larger.
    *names : str or int
        What the numbers are for, for example ``"omega0"`` or ``("batch-order", epoch)``. Different names give
        independent streams; the same names always give the same numbers.

    Returns
    -------
    numpy.random.Generator
        Counter-based (Philox), keyed by a hash of the arguments.

    Raises
    ------
    UsageError
        When ``seed`` is negative or not an integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise UsageError(f"seed must be an integer of 0 or more, got {seed!r}")
    label = "\x1f".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    key = np.frombuffer(hashlib.blake2b(label.encode(), digest_size=16).digest(), dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
