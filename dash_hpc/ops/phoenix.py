"""The seven tensors that the native operators know: those of PHOENIX, by name, shape and order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.ops.checks import as_mapping, check_csr
from dash_hpc.ops.state import Tensors, TrainState, check_like, values

__all__ = ["PRUNABLE", "TENSORS", "check_masks", "check_state", "check_weights", "tensor_shapes"]

#: Order of the optimiser's parameter groups (Hossain et al. 2024).
TENSORS = ("W_sums", "b_sums", "W_prods", "b_prods", "U_sums", "U_prods", "v")
#: The four matrices that strategies may prune. Biases and multipliers are never pruned.
PRUNABLE = ("W_sums", "W_prods", "U_sums", "U_prods")


def tensor_shapes(n_genes: int, n_hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the seven tensors for ``n_genes`` (G) genes and ``n_hidden`` (m) hidden units per branch."""
    G, m = n_genes, n_hidden
    return {
        "W_sums": (m, G),
        "b_sums": (m,),
        "W_prods": (m, G),
        "b_prods": (m,),
        "U_sums": (G, m),
        "U_prods": (G, m),
        "v": (G,),
    }


def check_weights(weights: Tensors) -> tuple[int, int]:
    """Return ``(G, m)`` after checking names, shapes and dtype of the seven tensors.

    Raises
    ------
    UsageError
        When a tensor is missing, its shape or dtype does not fit the others, or a compressed matrix has unsorted or
        repeated entries.
    """
    missing = [name for name in TENSORS if name not in as_mapping(weights, "weights")]
    if missing:
        raise UsageError(f"weights must hold {', '.join(TENSORS)}; missing: {', '.join(missing)}")
    for name in TENSORS:
        if not isinstance(weights[name], (np.ndarray, csr_array)):
            raise UsageError(f"{name} must be a NumPy array or a csr_array, got {type(weights[name]).__name__}")
    if weights["W_sums"].ndim != 2:
        raise UsageError(f"W_sums must be [m, G], got {list(weights['W_sums'].shape)}")
    m, G = weights["W_sums"].shape
    if m < 1 or G < 1:
        raise UsageError(f"a model needs at least one gene and one hidden unit; W_sums [m, G] is {[m, G]}")
    dtype = weights["W_sums"].dtype
    for name, shape in tensor_shapes(G, m).items():
        tensor = weights[name]
        if tensor.shape != shape:
            raise UsageError(f"{name} must be {list(shape)}, got {list(tensor.shape)}")
        if tensor.dtype != dtype or dtype not in (np.float32, np.float64):
            raise UsageError(f"{name} must be float32 or float64 like W_sums ({dtype}), got {tensor.dtype}")
        if isinstance(tensor, csr_array):
            check_csr(tensor, name)
            if not (name in PRUNABLE and tensor.has_canonical_format):
                raise UsageError(
                    f"{name} must be an array, or a matrix as csr_array with sorted columns and none twice"
                )
    return G, m


def check_masks(weights: Tensors, masks: Mapping[str, np.ndarray]) -> None:
    """Raise UsageError when a mask has no tensor that may be pruned, or not its values' shape, or is not bool."""
    for name, mask in as_mapping(masks, "masks").items():
        if name not in PRUNABLE:
            raise UsageError(f"mask of {name!r}: only {', '.join(PRUNABLE)} may have one")
        check_like(mask, f"mask of {name}", values(weights[name]).shape, np.dtype(bool))


def check_state(state: TrainState) -> tuple[int, int]:
    """Return ``(G, m)`` after checking that a state is one that the native epoch can train in place.

    Raises
    ------
    UsageError
        When a shape or dtype does not fit, an array is read-only, not contiguous, or shares memory with another.
    """
    found = check_weights(state.weights)
    missing = [name for name in PRUNABLE if name not in as_mapping(state.masks, "masks")]
    if missing:
        raise UsageError(f"masks must hold {', '.join(PRUNABLE)}; missing: {', '.join(missing)}")
    check_masks(state.weights, state.masks)
    state.check()
    return found
