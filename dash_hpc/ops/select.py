"""Which weights go: the n smallest scores among the active ones, with a rule for ties that does not depend on order."""

from __future__ import annotations

import numpy as np

from dash_hpc.errors import RunFailed, UsageError
from dash_hpc.ops.checks import as_array, as_count
from dash_hpc.ops.native import native_module

__all__ = ["select"]


def select(score: np.ndarray, mask: np.ndarray, n: int) -> tuple[np.ndarray, float]:
    """Remove from ``mask`` the ``n`` active entries that come first by (score, flat index).

    Parameters
    ----------
    score : (R, C) float64
        Lower is removed first. Entries that are not active are not read. -0.0 equals 0.0.
    mask : (R, C) bool
        True = active. Not changed.
    n : int
        How many to remove, between 0 and the number of active entries.

    Returns
    -------
    (new_mask, threshold) : (R, C) bool, float
        ``threshold`` is the largest score that was removed, NaN when ``n`` is 0. Entries with exactly this score may
        be left: among equal scores the lowest flat (row-major) index goes first.

    Raises
    ------
    UsageError
        When the shapes differ or ``n`` is out of range.
    RunFailed
        When an active score is NaN or infinite. Nothing is removed then.
    """
    wide, new_mask = checked_selection(score, mask, n)
    native = native_module()
    if native is not None:
        return native.select(wide, new_mask, int(n))
    active = np.flatnonzero(new_mask)
    return smallest_by_partition(wide.reshape(-1)[active], active, new_mask, n)


def checked_selection(score: np.ndarray, mask: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores as the native modules take them and a copy of the mask; raises as :func:`select` does."""
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise UsageError(f"select: the mask must be bool, got {mask.dtype}")
    if np.shape(score) != mask.shape:
        raise UsageError(f"select: scores are {np.shape(score)} but the mask is {mask.shape}")
    new_mask = np.array(mask, order="C")
    n_active = int(np.count_nonzero(new_mask))
    if not 0 <= as_count(n, "select: n", least=-(2**63)) <= n_active:
        raise UsageError(f"select: cannot remove {n} of {n_active} active entries")
    wide = as_array(score, np.float64, "select: scores")
    if not np.isfinite(wide).all():
        bad = ~np.isfinite(wide.reshape(-1)[np.flatnonzero(new_mask)])
        if bad.any():
            raise RunFailed(f"prune scores: {int(bad.sum())} active entries are not finite")
    return wide, new_mask


def smallest_by_partition(
    values: np.ndarray, active: np.ndarray, new_mask: np.ndarray, n: int
) -> tuple[np.ndarray, float]:
    """The meaning of the native operator: remove n of ``active`` (flat indices) by their ``values``, in place."""
    if n == 0:
        return new_mask, float("nan")
    threshold = np.partition(values, n - 1)[n - 1]
    below = values < threshold
    tied = np.flatnonzero(values == threshold)[: n - int(below.sum())]
    flat = new_mask.reshape(-1)
    flat[active[below]] = False
    flat[active[tied]] = False
    return new_mask, float(threshold)
