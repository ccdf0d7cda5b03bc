"""solve and batch_loss for PyTorch: registered operators with shape kernels and gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dash_hpc.errors import SolveError, UsageError
from dash_hpc.ops import reference
from dash_hpc.ops.checks import as_array, as_mapping
from dash_hpc.ops.mse import masked_mean_square
from dash_hpc.ops.native import native_module
from dash_hpc.ops.phoenix import TENSORS, tensor_shapes
from dash_hpc.ops.solver import SolverOptions
from dash_hpc.ops.state import STATUS_REASONS, Solution
from dash_hpc.ops.threads import stop_token
from dash_hpc.ops.trust import TRIES, shorter_steps

__all__ = ["batch_loss", "solve"]


def _use_native(y0: Tensor) -> bool:
    return y0.device.type == "cpu" and native_module() is not None


def _arrays(tensors: Sequence[Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().contiguous().numpy() for name, tensor in zip(TENSORS, tensors, strict=True)}


@torch.library.custom_op("dash_hpc::solve", mutates_args=())
def _solve(
    y0: Tensor,
    dt: Tensor,
    weights: Sequence[Tensor],
    method: str,
    rtol: float,
    atol: float,
    step: float,
    max_steps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """States [B, G], statistics [B, 4] (status, steps, rejected, evaluations), step sizes [B, n]."""
    options = {"method": method, "rtol": rtol, "atol": atol, "step": step, "max_steps": max_steps}
    if _use_native(y0):
        y1, status, steps, rejected, evaluations, sizes = native_module().solve(  # type: ignore[union-attr]
            _arrays(weights), {}, y0.detach().contiguous().numpy(), dt.contiguous().numpy(), **options,
            stop=stop_token(),
        )  # fmt: skip
        statistics = np.stack([status, steps, rejected, evaluations], axis=1)
        return torch.from_numpy(y1), torch.from_numpy(statistics), torch.from_numpy(sizes)
    run = reference.integrate(dict(zip(TENSORS, weights, strict=True)), y0, dt, **options)  # type: ignore[arg-type]
    return run.y1, torch.stack([run.status, run.steps, run.rejected, run.evaluations], dim=1), run.step_sizes


@_solve.register_fake
def _(
    y0: Tensor,
    dt: Tensor,
    weights: Sequence[Tensor],
    method: str,
    rtol: float,
    atol: float,
    step: float,
    max_steps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    width = torch.library.get_ctx().new_dynamic_size()
    B = y0.shape[0]
    return (
        y0.new_empty(y0.shape),
        y0.new_empty((B, 4), dtype=torch.int64),
        y0.new_empty((B, width), dtype=torch.float64),
    )


@torch.library.custom_op("dash_hpc::solve_backward", mutates_args=())
def _solve_backward(
    grad: Tensor, y0: Tensor, step_sizes: Tensor, weights: Sequence[Tensor], method: str
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of <grad, y1> with respect to y0 [B, G] and the seven tensors, through the accepted steps.

    Through parts of them where a gradient would else not be right (docs/numerics.md).
    """
    for _ in range(TRIES):
        grad_y0, grads, longest = _sweep_back(grad, y0, step_sizes, weights, method)
        if np.isinf(longest).all():
            return grad_y0, grads
        step_sizes = torch.from_numpy(shorter_steps(step_sizes.cpu().numpy(), longest)).to(y0.device)
    raise SolveError(f"sample {int(np.argmin(longest))}: {STATUS_REASONS[5]}")


def _sweep_back(
    grad: Tensor, y0: Tensor, step_sizes: Tensor, weights: Sequence[Tensor], method: str
) -> tuple[Tensor, list[Tensor], np.ndarray]:
    if _use_native(y0):
        grad_y0, grads, longest = native_module().solve_backward(  # type: ignore[union-attr]
            _arrays(weights), y0.detach().contiguous().numpy(), step_sizes.contiguous().numpy(),
            grad.contiguous().numpy(), method=method, stop=stop_token(),
        )  # fmt: skip
        return torch.from_numpy(grad_y0), [torch.from_numpy(grads[name]) for name in TENSORS], longest
    found, named, steps = reference.adjoint(dict(zip(TENSORS, weights, strict=True)), y0, step_sizes, grad, method)
    return found if found is not grad else grad.clone(), [named[name] for name in TENSORS], steps.cpu().numpy()


@_solve_backward.register_fake
def _(
    grad: Tensor, y0: Tensor, step_sizes: Tensor, weights: Sequence[Tensor], method: str
) -> tuple[Tensor, list[Tensor]]:
    return torch.empty_like(y0), [torch.empty_like(tensor) for tensor in weights]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    y0, _, weights, method, *_ = inputs
    ctx.method = method
    ctx.mark_non_differentiable(output[1], output[2])
    ctx.save_for_backward(y0, output[1], output[2], *weights)


def _backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
    y0, statistics, step_sizes, *weights = ctx.saved_tensors
    step_sizes = torch.where(statistics[:, :1] == 0, step_sizes, 0.0)  # what was not solved has no gradient
    grad_y0, grads = _solve_backward(grad, y0, step_sizes, weights, ctx.method)
    return grad_y0, None, grads, None, None, None, None, None


_solve.register_autograd(_backward, setup_context=_setup_context)


def _checked_params(params: Any) -> Mapping[str, Tensor]:
    """The seven tensors, when they fit each other; UsageError when not."""
    missing = [name for name in TENSORS if name not in as_mapping(params, "model")]
    if missing:
        raise UsageError(f"the model must hold {', '.join(TENSORS)}; missing: {', '.join(missing)}")
    for name in TENSORS:
        if not isinstance(params[name], Tensor):
            raise UsageError(f"{name} must be a Tensor, got {type(params[name]).__name__}")
    first, v = params["W_sums"], params["v"]
    if first.ndim != 2 or 0 in first.shape:
        raise UsageError(f"W_sums must be [m, G] with at least one of each, got {list(first.shape)}")
    for name, shape in tensor_shapes(first.shape[1], first.shape[0]).items():
        if params[name].shape != shape:
            raise UsageError(f"{name} must be {list(shape)}, got {list(params[name].shape)}")
        if params[name].dtype != v.dtype or v.dtype not in (torch.float32, torch.float64):
            raise UsageError(f"{name} must be float32 or float64 like v ({v.dtype}), got {params[name].dtype}")
    return params


def _as_tensor(value: Any, name: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    if not isinstance(value, Tensor):
        # PyTorch reads neither other byte orders nor negative strides
        value = torch.from_numpy(np.array(as_array(value, np.float64 if dtype == torch.float64 else np.float32, name)))
    elif value.is_complex():
        raise UsageError(f"{name} must hold numbers, got {value.dtype}")
    return value.to(dtype=dtype, device=device)


def _run(params: Mapping[str, Tensor], y0: Tensor, dt: Tensor, options: SolverOptions) -> tuple[Tensor, Tensor, Tensor]:
    return _solve(
        y0, dt, [params[name] for name in TENSORS],
        options.method, options.rtol, options.atol, options.step, options.max_steps,
    )  # fmt: skip


def solve(
    model: Any,
    y0: Tensor | np.ndarray,
    t0: Tensor | np.ndarray | float,
    t1: Tensor | np.ndarray | float,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    method: str = "dopri5",
    step: float = 0.125,
    max_steps: int = 10_000,
    check: bool = False,
) -> Solution:
    """Solve the model's initial value problems, each sample with its own step sizes; differentiable.

    Parameters
    ----------
    model : dash_hpc.Phoenix or mapping of Tensor
        The dynamics.
    y0 : (B, G) or (G,) Tensor or array
        Start states, expression; cast to the model's dtype.
    t0, t1 : scalar or (B,)
        Start and end of each interval, ``t1 >= t0``, in the data's unit of time.
    rtol, atol : float
        Tolerances of the local error per step (RMS over genes), dopri5 only.
    method : {"dopri5", "rk4"}
    step : float
        rk4 only: largest step, in units of time.
    max_steps : int
        Limit on accepted plus rejected steps per sample.
    check : bool
        Raise when a sample fails. Default: failures only show in ``status``.

    Returns
    -------
    Solution
        ``y1`` is a Tensor that carries gradients to the model and ``y0``: the exact gradient of the discrete solution
        (step sizes count as constants), taken through shorter steps where it would else be off by more than 1 %.
        Rows with a status other than 0 are not solutions, and add nothing to the model's gradients. One start state
        without batch dimension gives results with B = 1.

    Raises
    ------
    UsageError
        When tensors, shapes, times or options are wrong.
    SolveError
        With ``check=True``, naming the first sample that failed and the reason.
    """
    options = SolverOptions(method=method, rtol=rtol, atol=atol, step=step, max_steps=max_steps)
    params = _checked_params(model.tensors() if hasattr(model, "tensors") else model)
    like = params["v"]
    y0 = _as_tensor(y0, "y0", like.dtype, like.device)
    if y0.ndim == 1:
        y0 = y0[None]
    if y0.ndim != 2 or y0.shape[1] != like.shape[0]:
        raise UsageError(f"y0 must be [B, {like.shape[0]}], got {list(y0.shape)}")
    start, end = (_as_tensor(t, name, torch.float64, like.device) for t, name in ((t0, "t0"), (t1, "t1")))
    if any(t.shape not in ((), (len(y0),)) for t in (start, end)):
        raise UsageError(f"t0 and t1 must be scalars or [{len(y0)}], got {list(start.shape)} and {list(end.shape)}")
    dt = (end - start).expand(len(y0)).contiguous()
    if not bool(torch.isfinite(dt).all()) or bool((dt < 0).any()):
        raise UsageError("t0 and t1 must be finite with t1 >= t0: intervals run forward in time")
    y1, statistics, sizes = _run(params, y0, dt, options)
    status, steps, rejected, evaluations = statistics.unbind(dim=1)
    if check and bool((status != 0).any()):
        worst = int(torch.nonzero(status)[0])
        raise SolveError(f"sample {worst} was not solved: {STATUS_REASONS[int(status[worst])]}")
    return Solution(y1, status, steps, rejected, evaluations, sizes)  # type: ignore[arg-type]


def batch_loss(
    params: Mapping[str, Tensor],
    y0: Tensor,
    y1: Tensor,
    dt: Tensor,
    solver: Mapping[str, Any] | SolverOptions,
) -> Tensor:
    """Mean squared error of one-step predictions, differentiable in ``params``.

    Parameters
    ----------
    params : mapping of Tensor
        The seven (effective) tensors.
    y0, y1 : (B, G) Tensor
        Observed start and end states, dtype of ``params``; NaN in ``y1`` = not observed, does not count.
    dt : (B,) float64 Tensor
    solver : SolverOptions or mapping

    Raises
    ------
    SolveError
        When a sample cannot be solved, with its index in the batch and the reason.
    """
    G = _checked_params(params)["v"].shape[0]
    if y0.shape != y1.shape or y0.shape[1:] != (G,) or dt.shape != y0.shape[:1] or not len(y0):
        raise UsageError(
            f"batch_loss: y0 and y1 must be [B, {G}] and dt [B] with B of at least 1, got {list(y0.shape)}, "
            f"{list(y1.shape)} and {list(dt.shape)}"
        )
    predicted, statistics, _ = _run(params, y0, dt, SolverOptions.of(solver))
    status = statistics[:, 0]
    if bool((status != 0).any()):
        worst = int(torch.nonzero(status)[0])
        raise SolveError(f"pair {worst} of the batch was not solved: {STATUS_REASONS[int(status[worst])]}")
    return masked_mean_square(predicted, y1)
