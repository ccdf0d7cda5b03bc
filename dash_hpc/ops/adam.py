"""One step of Adam on arrays with given gradients: the half of a training step after :mod:`dash_hpc.ops.gradients`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.checks import as_count, as_number
from dash_hpc.ops.native import native_module
from dash_hpc.ops.state import check_apart

__all__ = ["AdamTensor", "adam_step"]


@dataclass(frozen=True)
class AdamTensor:
    """One array of a step, of any shape, float32 or float64; all are changed in place.

    Attributes
    ----------
    value, moment1, moment2 : ndarray
        Of one shape and dtype, writable and C-contiguous.
    gradient : ndarray
        Likewise; becomes 0 outside the mask.
    lr : float
        Learning rate, 0 or more.
    step : int
        Number of this step, from 1 (for the bias correction).
    mask : bool ndarray, optional
        True = active; elsewhere value and moments become 0. Left out: all are active.
    """

    value: np.ndarray
    moment1: np.ndarray
    moment2: np.ndarray
    gradient: np.ndarray
    lr: float
    step: int
    mask: np.ndarray | None = None


def adam_step(tensors: Sequence[AdamTensor], *, betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-8) -> bool:
    """Take one step of Adam (Kingma & Ba 2015, no weight decay) with each tensor, as inside ``train_epoch``.

    Returns
    -------
    bool
        False when a gradient is not finite (inside its mask or not); nothing has been changed then.

    Raises
    ------
    UsageError
        When shapes, dtypes or numbers are wrong, or two arrays share memory.
    """
    tensors = list(tensors)
    beta1, beta2 = (as_number(beta, "betas", least=0, most=1, open_at=(1,)) for beta in _pair(betas))
    eps = as_number(eps, "eps", least=0, open_at=(0,))
    native = native_module()
    if native is None:
        _check(tensors)
        return _run_twin(tensors, beta1, beta2, eps)
    parts = [(t.value, t.moment1, t.moment2, t.gradient, t.mask, float(t.lr), int(t.step)) for t in tensors]
    return bool(native.adam_step(parts, beta1, beta2, eps))


def _pair(betas: Sequence[float]) -> Sequence[float]:
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise UsageError(f"betas must be two numbers, got {betas!r}")
    return betas


def _check(tensors: list[AdamTensor]) -> None:
    """What the native module checks by itself."""
    changed = {}
    for k, tensor in enumerate(tensors):
        like = tensor.value
        for name in ("value", "moment1", "moment2", "gradient"):
            array = getattr(tensor, name)
            if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
                raise UsageError(f"adam_step: {name} of tensor {k} must be a NumPy array of float32 or float64")
            if array.shape != like.shape or array.dtype != like.dtype:
                raise UsageError(
                    f"adam_step: {name} of tensor {k} must be {like.dtype} {list(like.shape)} like its value, "
                    f"got {array.dtype} {list(array.shape)}"
                )
            if not (array.flags.writeable and array.flags.carray):
                raise UsageError(f"adam_step: {name} of tensor {k} must be writable, C-contiguous and aligned")
            changed[f"{name} of tensor {k}"] = array
        mask = tensor.mask
        if mask is not None and not (
            isinstance(mask, np.ndarray) and mask.dtype == bool and mask.shape == like.shape and mask.flags.c_contiguous
        ):
            raise UsageError(f"adam_step: mask of tensor {k} must be bool {list(like.shape)} and C-contiguous")
        as_number(tensor.lr, f"lr of tensor {k}", least=0)
        as_count(tensor.step, f"step of tensor {k}", least=1)
    check_apart(changed)


def _run_twin(tensors: list[AdamTensor], beta1: float, beta2: float, eps: float) -> bool:
    import torch

    from dash_hpc.ops import reference_step

    if not all(np.isfinite(tensor.gradient).all() for tensor in tensors):
        return False
    for tensor in tensors:
        value, moment1, moment2, gradient = map(
            torch.from_numpy, (tensor.value, tensor.moment1, tensor.moment2, tensor.gradient)
        )
        mask = None if tensor.mask is None else torch.from_numpy(tensor.mask)
        reference_step.adam_step(value, moment1, moment2, gradient, mask, tensor.lr, tensor.step, (beta1, beta2), eps)
    return True
