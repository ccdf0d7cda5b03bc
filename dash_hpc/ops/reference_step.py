"""Plain-PyTorch twins of a training step, over those of the solver (:mod:`dash_hpc.ops.reference`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from dash_hpc.ops.phoenix import PRUNABLE, TENSORS
from dash_hpc.ops.reference import adjoint, integrate
from dash_hpc.ops.trust import TRIES

__all__ = ["Batch", "adam_step", "batch_gradients", "train_epoch"]


@torch.no_grad()
def _data_gradients(
    weights: Mapping[str, Tensor], y0: Tensor, y1: Tensor, dt: Tensor, solver: Mapping[str, float | int | str]
) -> tuple[Tensor, dict[str, Tensor], int, int]:
    """Mean squared error of one-step predictions where y1 is not NaN, its gradients, evaluations and status.

    Where a sample's gradient is not to be trusted, the batch is done again with shorter steps.
    """
    longest, evaluations = 0.0, 0
    for _ in range(TRIES):
        run = integrate(weights, y0, dt, **solver, longest=longest)  # type: ignore[arg-type]
        evaluations += int(run.evaluations.sum())
        observed = ~torch.isnan(y1)
        miss, count = torch.where(observed, run.y1 - y1, 0.0), max(int(observed.sum()), 1)
        loss = miss.square().sum() / count
        worst = int(run.status.max()) if len(run.status) else 0
        if worst or not bool(torch.isfinite(loss)):
            return loss, {name: torch.zeros_like(weights[name]) for name in TENSORS}, evaluations, worst or 3
        _, grads, steps = adjoint(weights, y0, run.step_sizes, 2.0 * miss / count, str(solver["method"]))
        if not len(steps) or bool(torch.isinf(steps).all()):
            return loss, grads, evaluations, 0
        longest = float(steps.min())
    return loss, grads, evaluations, 5


class Batch(NamedTuple):
    """Result of :func:`batch_gradients`: data loss, loss, gradients by name, evaluations and status."""

    loss: float
    total: float
    gradients: dict[str, Tensor]
    evaluations: int
    status: int


def batch_gradients(
    weights: Mapping[str, Tensor],
    y0: Tensor,
    y1: Tensor,
    dt: Tensor,
    solver: Mapping[str, float | int | str],
    tau: float = 1.0,
    prior: Callable[[Mapping[str, Tensor]], Tensor] | None = None,
) -> Batch:
    """τ·MSE + (1 − τ)·prior of one batch and its gradients; they are 0 when the status is not."""
    loss, found, evaluations, status = _data_gradients(weights, y0, y1, dt, solver)
    total = loss
    if not status and prior is not None:
        params = {name: weights[name].detach().requires_grad_() for name in TENSORS}
        term = (1.0 - tau) * prior(params)
        total = tau * loss + term.detach()
        parts = torch.autograd.grad(term, [params[name] for name in TENSORS], materialize_grads=True)
        found = {name: tau * found[name] + part for name, part in zip(TENSORS, parts, strict=True)}
    if not status and not all(bool(torch.isfinite(value).all()) for value in (total, *found.values())):
        status = 3
    if status:
        found = {name: torch.zeros_like(weights[name]) for name in TENSORS}
    return Batch(float(loss), float(total), found, evaluations, status)


@torch.no_grad()
def adam_step(
    value: Tensor,
    moment1: Tensor,
    moment2: Tensor,
    gradient: Tensor,
    mask: Tensor | None,
    lr: float,
    step: int,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """One step of masked Adam on one tensor, in place; the gradient becomes 0 outside the mask."""
    if mask is not None:
        gradient.mul_(mask)
    correction1, correction2 = 1 - betas[0] ** step, 1 - betas[1] ** step
    moment1.mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
    moment2.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    denominator = (moment2 / correction2).sqrt_().add_(eps)
    value.sub_(lr * (moment1 / correction1) / denominator)
    if mask is not None:
        for array in (value, moment1, moment2):
            array.mul_(mask)


def train_epoch(
    weights: dict[str, Tensor],
    moment1: dict[str, Tensor],
    moment2: dict[str, Tensor],
    masks: Mapping[str, Tensor],
    step: int,
    batches: list[tuple[Tensor, Tensor, Tensor]],
    lr: Mapping[str, float],
    betas: tuple[float, float],
    eps: float,
    solver: Mapping[str, float | int | str],
    tau: float = 1.0,
    prior: Callable[[Mapping[str, Tensor]], Tensor] | None = None,
) -> tuple[int, list[float], int, int]:
    """One epoch of masked Adam on τ·MSE + (1 − τ)·prior, in place. Returns step count, MSEs, evaluations and status."""
    losses: list[float] = []
    evaluations = 0
    for y0, y1, dt in batches:
        batch = batch_gradients(weights, y0, y1, dt, solver, tau, prior)
        evaluations += batch.evaluations
        if batch.status:
            return step, losses, evaluations, batch.status
        losses.append(batch.loss)
        step += 1
        for name in TENSORS:
            gradient, mask = batch.gradients[name].clone(), masks[name] if name in PRUNABLE else None
            adam_step(weights[name], moment1[name], moment2[name], gradient, mask, lr[name], step, betas, eps)
    return step, losses, evaluations, 0
