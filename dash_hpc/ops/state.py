"""The arrays that operators share: the tensors of a model, whatever their names, training state, results.

A matrix is a plain array, or a ``scipy.sparse.csr_array`` when its structure is fixed from the start. Whatever belongs
to the single weights (moments, masks, scores) has the shape of the matrix's values: that of the array, or the ``data``
of the compressed form, in its order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.ops.checks import as_count, as_mapping

__all__ = [
    "STATUS_REASONS",
    "EpochResult",
    "Matrix",
    "Solution",
    "Tensors",
    "TrainState",
    "check_apart",
    "check_like",
    "copy_tensor",
    "entry_rows",
    "masked_tensors",
    "native_form",
    "values",
]

#: One tensor of a model: np.ndarray or csr_array (SciPy has no type stubs).
Matrix: TypeAlias = Any
#: The tensors of a model by name.
Tensors = Mapping[str, Matrix]

#: What a solver status means, as shown to the user. The numbers are those of ``csrc/core/types.hpp``.
STATUS_REASONS = (
    "solved",
    "the maximum number of steps was reached (raise solver.max_steps, loosen solver.rtol, or shorten the intervals)",
    "the step size underflowed: the tolerance cannot be met in this precision (loosen solver.rtol or use float64)",
    "the state became infinite or NaN: the dynamics diverge (lower training.lr or check the data's scale)",
    "the state grows without bound within the interval: the model itself blows up (lower training.lr or check the "
    "data's scale)",
    "solved, but no step was short enough for a gradient that can be trusted (lower training.lr or shorten the "
    "intervals)",
)


def values(tensor: Matrix) -> np.ndarray:
    """The tensor's values as an array that can be written to: itself, or the stored entries of a compressed matrix."""
    return tensor.data if isinstance(tensor, csr_array) else tensor


def copy_tensor(tensor: Matrix, new_values: np.ndarray | None = None) -> Matrix:
    """A tensor of the same structure with ``new_values`` (copies of its own when left out); indices are shared."""
    found = np.array(values(tensor) if new_values is None else new_values, order="C")
    return csr_array((found, tensor.indices, tensor.indptr), tensor.shape) if isinstance(tensor, csr_array) else found


def entry_rows(tensor: csr_array) -> np.ndarray:
    """(nnz,) row of each stored entry."""
    return np.repeat(np.arange(tensor.shape[0]), np.diff(tensor.indptr))


def masked_tensors(weights: Tensors, masks: Mapping[str, np.ndarray]) -> dict[str, Matrix]:
    """Copies of the tensors with 0 outside the masks (those without a mask as they are)."""
    found = {}
    for name, tensor in weights.items():
        own = values(tensor)
        found[name] = copy_tensor(tensor, np.where(masks[name], own, own.dtype.type(0)) if name in masks else own)
    return found


def native_form(weights: Tensors) -> dict[str, Any]:
    """The tensors as the native module takes them: compressed matrices as (row pointers, columns, values)."""
    return {
        name: (np.asarray(tensor.indptr, dtype=np.int64), np.asarray(tensor.indices, dtype=np.int32), tensor.data)
        if isinstance(tensor, csr_array)
        else tensor
        for name, tensor in weights.items()
    }


def check_like(array: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise UsageError when ``array`` is no array of this shape and dtype."""
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if array.shape != shape or array.dtype != dtype:
        raise UsageError(f"{name} must be {dtype} {list(shape)}, got {array.dtype} {list(array.shape)}")


def check_apart(arrays: Mapping[Any, np.ndarray]) -> None:
    """Raise UsageError when two of the arrays, all C-contiguous, share memory."""
    spans = sorted(
        (array.__array_interface__["data"][0], array.nbytes, label) for label, array in arrays.items() if array.size
    )
    for (first, size, label), (following, _, other) in pairwise(spans):
        if following < first + size:
            raise UsageError(f"{label} and {other} share memory; each needs its own")


@dataclass
class TrainState:
    """Everything an optimiser step changes; an epoch works on it in place.

    Attributes
    ----------
    weights : dict of ndarray or csr_array
        The model's tensors, float32 or float64, C-contiguous. Masked entries are exactly 0. Matrices may be compressed;
        nothing of their full size is then allocated.
    moment1, moment2 : dict of ndarray
        Adam's running means of the gradient and its square; shape and dtype of the tensors' :func:`values`.
    step : int
        Adam steps taken so far (for the bias correction).
    masks : dict of ndarray of bool
        For each tensor that may be pruned: True where a weight is active; shape of the tensor's :func:`values`.
    """

    weights: dict[str, Matrix]
    moment1: dict[str, np.ndarray]
    moment2: dict[str, np.ndarray]
    step: int
    masks: dict[str, np.ndarray]

    @classmethod
    def fresh(cls, weights: Tensors, masks: Mapping[str, np.ndarray] | None = None) -> TrainState:
        """State at the first step: copies of ``weights`` with the masks applied, zero moments.

        Tensors with a mask may be pruned. Matrices without one are fully active; vectors are not pruned.
        """
        for name, tensor in weights.items():
            if not isinstance(tensor, (np.ndarray, csr_array)):
                raise UsageError(f"{name} must be a NumPy array or a csr_array, got {type(tensor).__name__}")
        masks = masks or {}
        for name, mask in masks.items():
            if name not in weights:
                raise UsageError(f"mask of {name!r}: the model has no such tensor")
            check_like(mask, f"mask of {name}", values(weights[name]).shape, np.dtype(bool))
        active = {
            name: np.array(masks[name]) if name in masks else np.ones(values(tensor).shape, dtype=bool)
            for name, tensor in weights.items()
            if name in masks or tensor.ndim == 2
        }
        own = masked_tensors(weights, active)
        return cls(
            weights=own,
            moment1={name: np.zeros_like(values(tensor)) for name, tensor in own.items()},
            moment2={name: np.zeros_like(values(tensor)) for name, tensor in own.items()},
            step=0,
            masks=active,
        )

    @property
    def dtype(self) -> np.dtype:
        """Precision of the weights."""
        return np.dtype(next(iter(self.weights.values())).dtype)

    def check(self) -> None:
        """Check that all arrays fit each other and can be trained in place.

        Raises
        ------
        UsageError
            When a shape or dtype does not fit, an array is read-only, not contiguous, or shares memory with another.
        """
        as_count(self.step, "step", least=0)
        for name, mask in as_mapping(self.masks, "masks").items():
            check_like(mask, f"mask of {name}", values(self.weights[name]).shape, np.dtype(bool))
        for kind, moments in (("moment1", self.moment1), ("moment2", self.moment2)):
            missing = [name for name in self.weights if name not in as_mapping(moments, kind)]
            if missing:
                raise UsageError(f"{kind} must hold {', '.join(self.weights)}; missing: {', '.join(missing)}")
            for name, tensor in self.weights.items():
                own = values(tensor)
                check_like(moments[name], f"{kind} of {name}", own.shape, own.dtype)
        changed = self.changed_arrays()
        for label, array in changed.items():
            if not (array.flags.writeable and array.flags.carray and min(array.strides) >= 0):
                raise UsageError(f"{label} must be writable, C-contiguous and aligned: it is trained in place")
        check_apart(changed)

    def changed_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that an epoch writes to, by what they are."""
        found = {name: values(tensor) for name, tensor in self.weights.items()}
        found |= {f"moment1 of {name}": self.moment1[name] for name in self.weights}
        return found | {f"moment2 of {name}": self.moment2[name] for name in self.weights}

    def prune(self, name: str, mask: np.ndarray) -> None:
        """Take over a new mask: weights and moments that are no longer active become 0."""
        self.masks[name][...] = mask
        gone = ~mask
        for array in (values(self.weights[name]), self.moment1[name], self.moment2[name]):
            array[gone] = 0


@dataclass(frozen=True)
class EpochResult:
    """What one epoch did.

    Attributes
    ----------
    loss : (n_batches,) float64
        Mean squared error of each batch over its observed values, before its optimiser step (0 when none was observed);
        NaN for batches that were not reached.
    evaluations : int
        Evaluations of the right-hand side over all samples, rejected steps included.
    status : int
        0, or the solver's status that stopped the epoch.
    reason : str or None
        The same as a sentence; None when the epoch is complete. The state then holds the last good step.
    """

    loss: np.ndarray
    evaluations: int
    status: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Solution:
    """States at the end of the intervals, with status and statistics per sample.

    Attributes
    ----------
    y1 : (B, G) array
        State at the end. Rows whose status is not 0 hold the last accepted state and are NOT a solution.
    status : (B,) int64
        0 = solved; see :meth:`reason` for the others.
    steps, rejected, evaluations : (B,) int64
        Accepted steps, rejected steps, evaluations of the right-hand side.
    step_sizes : (B, n) float64
        Accepted step sizes, padded with 0.
    """

    y1: np.ndarray
    status: np.ndarray
    steps: np.ndarray
    rejected: np.ndarray
    evaluations: np.ndarray
    step_sizes: np.ndarray = field(repr=False)

    @property
    def ok(self) -> np.ndarray:
        """(B,) bool: True where the sample was solved to tolerance."""
        return self.status == 0

    def reason(self, sample: int) -> str:
        """One sentence on how the solve of this sample ended."""
        return STATUS_REASONS[int(self.status[sample])]
