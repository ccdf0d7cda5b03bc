"""The arrays that operators share: names, training state, results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dash_hpc.errors import UsageError

__all__ = [
    "PRUNABLE",
    "STATUS_REASONS",
    "TENSORS",
    "EpochResult",
    "Solution",
    "TrainState",
    "check_weights",
    "tensor_shapes",
]

#: Order of the optimiser's parameter groups (Hossain et al. 2024).
TENSORS = ("W_sums", "b_sums", "W_prods", "b_prods", "U_sums", "U_prods", "v")
#: The four matrices that strategies may prune. Biases and multipliers are never pruned.
PRUNABLE = ("W_sums", "W_prods", "U_sums", "U_prods")

#: What a solver status means, as shown to the user. The numbers are those of ``csrc/core/types.hpp``.
STATUS_REASONS = (
    "solved",
    "the maximum number of steps was reached (raise solver.max_steps or loosen solver.rtol)",
    "the step size underflowed: the tolerance cannot be met in this precision (loosen solver.rtol or use float64)",
    "the state became infinite or NaN: the dynamics diverge (lower training.lr or check the data's scale)",
)


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


def check_weights(weights: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Return ``(G, m)`` after checking names, shapes and dtype of the seven tensors.

    Raises
    ------
    UsageError
        When a tensor is missing or its shape or dtype does not fit the others.
    """
    missing = [name for name in TENSORS if name not in weights]
    if missing:
        raise UsageError(f"weights must hold {', '.join(TENSORS)}; missing: {', '.join(missing)}")
    if weights["W_sums"].ndim != 2:
        raise UsageError(f"W_sums must be [m, G], got {list(weights['W_sums'].shape)}")
    m, G = weights["W_sums"].shape
    dtype = weights["W_sums"].dtype
    for name, shape in tensor_shapes(G, m).items():
        if weights[name].shape != shape:
            raise UsageError(f"{name} must be {list(shape)}, got {list(weights[name].shape)}")
        if weights[name].dtype != dtype or dtype not in (np.float32, np.float64):
            raise UsageError(f"{name} must be float32 or float64 like W_sums ({dtype}), got {weights[name].dtype}")
    return G, m


@dataclass
class TrainState:
    """Everything an optimiser step changes; :func:`dash_hpc.ops.train_epoch` works on it in place.

    Attributes
    ----------
    weights : dict of ndarray
        The seven tensors (:data:`TENSORS`), float32 or float64, C-contiguous. Masked entries are exactly 0.
    moment1, moment2 : dict of ndarray
        Adam's running means of the gradient and its square; same shapes and dtype.
    step : int
        Adam steps taken so far (for the bias correction).
    masks : dict of ndarray of bool
        For each of :data:`PRUNABLE`: True where a weight is active.
    """

    weights: dict[str, np.ndarray]
    moment1: dict[str, np.ndarray]
    moment2: dict[str, np.ndarray]
    step: int
    masks: dict[str, np.ndarray]

    @classmethod
    def fresh(cls, weights: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray] | None = None) -> TrainState:
        """State at the first step: copies of ``weights`` with the masks applied, zero moments."""
        check_weights(weights)
        masks = masks or {}
        for name in masks:
            if name not in PRUNABLE or masks[name].shape != weights[name].shape:
                raise UsageError(f"mask of {name} must be one of {', '.join(PRUNABLE)} and have its tensor's shape")
        own = {name: np.array(weights[name], order="C") for name in TENSORS}
        active = {
            name: np.array(masks[name], dtype=bool) if name in masks else np.ones(own[name].shape, bool)
            for name in PRUNABLE
        }
        for name in PRUNABLE:
            own[name][~active[name]] = 0
        return cls(
            weights=own,
            moment1={name: np.zeros_like(own[name]) for name in TENSORS},
            moment2={name: np.zeros_like(own[name]) for name in TENSORS},
            step=0,
            masks=active,
        )


@dataclass(frozen=True)
class EpochResult:
    """What one epoch did.

    Attributes
    ----------
    loss : (n_batches,) float64
        Mean squared error of each batch before its optimiser step; NaN for batches that were not reached.
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
