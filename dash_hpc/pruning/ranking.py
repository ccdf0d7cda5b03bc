"""Which weights go, ranked within each tensor or across all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np

from dash_hpc.ops.events import Selection, SelectTask
from dash_hpc.ops.select import select

__all__ = ["Scope", "rank"]

#: Whether scores are compared within a tensor or across all tensors.
Scope: TypeAlias = Literal["local", "global"]


def rank(
    scores: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], counts: Mapping[str, int], scope: Scope
) -> Selection:
    """Remove the active entries with the smallest scores.

    Parameters
    ----------
    scores, masks, counts
        As in :class:`dash_hpc.ops.events.SelectTask`.
    scope : {"local", "global"}
        "local": of each tensor its count. "global": of all tensors together the sum of the counts, so that as many
        weights go as locally; among equal scores the tensor that comes first in ``scores``, and in it the lowest flat
        index, goes first.

    Returns
    -------
    dict
        New mask and threshold of each tensor, as :func:`dash_hpc.ops.select` returns them; globally one threshold.
    """
    if scope == "local":
        return SelectTask(scores, masks, counts).run()
    names = list(scores)
    flat = np.concatenate([np.asarray(scores[name], dtype=np.float64).reshape(-1) for name in names])
    active = np.concatenate([masks[name].reshape(-1) for name in names])
    kept, threshold = select(flat, active, sum(counts[name] for name in names))
    ends = np.cumsum([masks[name].size for name in names])
    parts = zip(names, np.split(kept, ends[:-1]), strict=True)
    return {name: (part.reshape(masks[name].shape), threshold) for name, part in parts}
