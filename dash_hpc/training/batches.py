"""The order in which an epoch visits the training pairs."""

from __future__ import annotations

import numpy as np

from dash_hpc.errors import UsageError

__all__ = ["epoch_batches"]


def epoch_batches(
    trajectory: np.ndarray, mode: str, batch_size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one epoch's batches; every pair comes exactly once.

    Parameters
    ----------
    trajectory : (N,) int
        Trajectory of each pair.
    mode : "trajectory" or "single"
        "trajectory": one batch per trajectory that has pairs, in random order, its pairs in the order of the data
        (``batch_size`` is not used). "single": all pairs in random order, ``batch_size`` at a time; the last batch
        may be smaller.
    batch_size : int
        1 or more.
    rng : numpy.random.Generator
        The epoch's own stream.

    Returns
    -------
    (batch_ptr, batch_index) : (n_batches + 1,) int64, (N,) int64
        Batch k holds the pairs ``batch_index[batch_ptr[k]:batch_ptr[k + 1]]``.

    Raises
    ------
    UsageError
        For an unknown mode or a batch size below 1.
    """
    trajectory = np.asarray(trajectory)
    if mode == "trajectory":
        present, inverse, counts = np.unique(trajectory, return_inverse=True, return_counts=True)
        order = rng.permutation(len(present))
        grouped = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
        index = np.concatenate([grouped[k] for k in order]) if len(order) else np.empty(0, dtype=np.int64)
        sizes = counts[order]
    elif mode == "single":
        if batch_size < 1:
            raise UsageError(f"training.batch_size must be 1 or more, got {batch_size}")
        index = rng.permutation(len(trajectory))
        full, rest = divmod(len(index), batch_size)
        sizes = np.array([batch_size] * full + [rest] * (rest > 0), dtype=np.int64)
    else:
        raise UsageError(f"training.batch must be trajectory or single, got {mode!r}")
    pointer = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return pointer, np.ascontiguousarray(index, dtype=np.int64)
