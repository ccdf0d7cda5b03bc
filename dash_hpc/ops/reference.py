"""Plain-PyTorch meaning of the native operators: right-hand side, solve, adjoint.

These functions define what the native module computes and are its oracle in tests. They are used when the native
module is missing and on devices it does not serve; they are one to two orders slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from dash_hpc.ops.phoenix import TENSORS
from dash_hpc.ops.trust import ADJOINT_ERRORS, Trust

__all__ = ["RHS_ORDER", "TABLEAUS", "Tableau", "adjoint", "integrate", "replay", "rhs"]

RHS_ORDER = TENSORS


class Tableau(NamedTuple):
    """An explicit Runge–Kutta method: ``a`` (strictly lower rows), ``b``, and ``e`` = b − b̂ for the error."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    e: tuple[float, ...] | None


#: Dormand & Prince 1980, RK5(4)7M; the seventh stage is the first of the next step.
_DOPRI5 = Tableau(
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    b=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    e=(71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)
_RK4 = Tableau(a=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6), e=None)
TABLEAUS = {"dopri5": _DOPRI5, "rk4": _RK4}


def rhs(params: Mapping[str, Tensor], y: Tensor) -> Tensor:
    """PHOENIX dynamics dg/dt (Hossain et al., Genome Biology 2024).

    Parameters
    ----------
    params : mapping of Tensor
        The seven tensors: W_sums, W_prods [m, G], b_sums, b_prods [m], U_sums, U_prods [G, m], v [G].
    y : Tensor [..., G]
        Expression, dimensionless, about 0 to 1.

    Returns
    -------
    Tensor [..., G]
        ``relu(v) * (c(y) - y)`` per unit of time.
    """
    u = y - 0.5
    sums = u / (1 + u.abs())
    prods = torch.log1p(sums)
    hidden_sums = sums @ params["W_sums"].T + params["b_sums"]
    hidden_prods = torch.exp(prods @ params["W_prods"].T + params["b_prods"])
    target = hidden_sums @ params["U_sums"].T + hidden_prods @ params["U_prods"].T
    return torch.relu(params["v"]) * (target - y)


def _stages(params: Mapping[str, Tensor], y: Tensor, h: Tensor, tableau: Tableau) -> tuple[Tensor, list[Tensor]]:
    """One step of size h (B, 1) from y: the new state and the stage derivatives."""
    k: list[Tensor] = []
    for row in tableau.a:
        stage = y
        for coefficient, derivative in zip(row, k, strict=True):
            if coefficient:
                stage = stage + (h * coefficient) * derivative
        k.append(rhs(params, stage))
    new = y
    for coefficient, derivative in zip(tableau.b, k, strict=True):
        if coefficient:
            new = new + (h * coefficient) * derivative
    return new, k


def _rms(x: Tensor) -> Tensor:
    return x.square().mean(dim=-1).sqrt()


def _first_step(params: Mapping[str, Tensor], y: Tensor, f: Tensor, dt: Tensor, rtol: float, atol: float) -> Tensor:
    """Starting step size per sample (Hairer, Nørsett & Wanner, Solving ODEs I, II.4)."""
    scale = atol + rtol * y.abs()
    d0, d1 = _rms(y / scale).double(), _rms(f / scale).double()
    h0 = torch.where((d0 < 1e-5) | (d1 < 1e-5), torch.full_like(d0, 1e-6), 0.01 * d0 / d1)
    h0 = torch.minimum(h0, dt)
    f1 = rhs(params, y + h0.to(y.dtype)[:, None] * f)
    d2 = _rms((f1 - f) / scale).double() / h0
    steep = torch.maximum(d1, d2)
    h1 = torch.where(steep <= 1e-15, torch.clamp(h0 * 1e-3, min=1e-6), (0.01 / steep) ** 0.2)
    return torch.minimum(torch.minimum(100 * h0, h1), dt)


class Integration(NamedTuple):
    """Result of :func:`integrate`: states, status and statistics per sample."""

    y1: Tensor
    status: Tensor
    steps: Tensor
    rejected: Tensor
    evaluations: Tensor
    step_sizes: Tensor


@torch.no_grad()
def integrate(
    params: Mapping[str, Tensor],
    y0: Tensor,
    dt: Tensor,
    *,
    method: str,
    rtol: float,
    atol: float,
    step: float,
    max_steps: int,
    longest: float = 0.0,
) -> Integration:
    """Integrate each sample over its own interval with its own step sizes.

    Parameters
    ----------
    params : mapping of Tensor
        The seven tensors, dtype of ``y0``.
    y0 : Tensor [B, G]
    dt : Tensor [B] float64
        Interval lengths, 0 or more, in the data's unit of time.
    method : {"dopri5", "rk4"}
        Adaptive Dormand–Prince 5(4), or RK4 with ``ceil(dt / step)`` equal steps.
    rtol, atol : float
        dopri5: a step is accepted when the RMS over genes of error / (atol + rtol·max(|y|, |y_new|)) is at most 1.
    step : float
        rk4: largest step, in units of time.
    max_steps : int
        Limit on accepted plus rejected steps per sample.
    longest : float
        Longest step, or 0: as long as the error (dopri5) or ``step`` (rk4) allows.
    """
    tableau = TABLEAUS[method]
    longest = longest or float("inf")
    B = len(y0)
    y, t = y0.clone(), torch.zeros(B, dtype=torch.float64, device=y0.device)
    status = torch.zeros(B, dtype=torch.int64, device=y0.device)
    steps, rejected, evaluations = (torch.zeros_like(status) for _ in range(3))
    sizes: list[list[float]] = [[] for _ in range(B)]
    bad = ~torch.isfinite(y0).all(dim=1)
    status[bad] = 3
    todo = (dt > 0) & ~bad

    if tableau.e is None:
        count = torch.ceil(dt / min(step, longest) - 1e-9).clamp(min=1).to(torch.int64)
        h = dt / count
        status[todo & (count > max_steps)] = 1
        todo &= count <= max_steps
    else:
        count = torch.full((B,), max_steps, dtype=torch.int64, device=y0.device)
        h = torch.zeros_like(dt)
        if todo.any():
            h[todo] = _first_step(params, y[todo], rhs(params, y[todo]), dt[todo], rtol, atol).clamp(max=longest)
            evaluations[todo] += 2

    while todo.any():
        rows = torch.nonzero(todo).squeeze(1)
        y_old = y[rows]
        last = (t[rows] + h[rows] >= dt[rows] * (1 - 1e-12)) if tableau.e else (steps[rows] + 1 == count[rows])
        size = torch.where(last, dt[rows] - t[rows], h[rows]) if tableau.e else h[rows]
        y_new, k = _stages(params, y_old, size.to(y.dtype)[:, None], tableau)
        if tableau.e:
            k.append(rhs(params, y_new))
            evaluations[rows] += 6
            error = sum(c * d for c, d in zip(tableau.e, k, strict=True) if c) * size.to(y.dtype)[:, None]
            scale = atol + rtol * torch.maximum(y_old.abs(), y_new.abs())
            ratio = _rms(error / scale).double()
            accept = ratio <= 1
            factor = torch.clamp(0.9 * ratio.clamp(min=1e-30) ** -0.2, max=10.0)
            factor = torch.where(accept, factor.clamp(min=1.0), factor.clamp(min=0.2))
            factor = torch.where(torch.isfinite(ratio), factor, torch.full_like(factor, 0.2))
            h[rows] = (size * factor).clamp(max=longest)
        else:
            evaluations[rows] += len(tableau.b)
            ratio = torch.where(torch.isfinite(y_new).all(dim=1), 0.0, torch.nan).double()
            accept = ratio == 0
        taken = rows[accept]
        y[taken] = y_new[accept]
        t[taken] = torch.where(last[accept], dt[taken], t[taken] + size[accept])
        steps[taken] += 1
        for row, value in zip(taken.tolist(), size[accept].tolist(), strict=True):
            sizes[row].append(value)
        rejected[rows[~accept]] += 1
        done = rows[accept & last]
        todo[done] = False
        failed = ~accept & ((h[rows] <= dt[rows] * 1e-12) | (tableau.e is None))
        finite = torch.isfinite(ratio[failed])
        state, slope = (x[failed].abs().amax(dim=1).double() for x in (y_old, k[0]))
        status[rows[failed]] = torch.where(finite, torch.where(slope * dt[rows[failed]] * 1e-9 > state, 4, 2), 3)
        todo[rows[failed]] = False
        spent = todo & (steps + rejected >= count)
        status[spent] = 1
        todo &= ~spent

    width = max(map(len, sizes), default=0)
    table = torch.tensor([s + [0.0] * (width - len(s)) for s in sizes], dtype=torch.float64).reshape(B, width)
    return Integration(y, status, steps, rejected, evaluations, table.to(y0.device))


def replay(params: Mapping[str, Tensor], y0: Tensor, step_sizes: Tensor, method: str) -> Tensor:
    """Take the recorded steps again, differentiably: autograd through this is the discrete adjoint.

    ``step_sizes`` [B, n] float64 are constants, padded with 0 (a step of size 0 changes nothing).
    """
    y = y0
    for column in range(step_sizes.shape[1]):
        y, _ = _stages(params, y, step_sizes[:, column].to(y.dtype)[:, None], TABLEAUS[method])
    return y


def _rhs_vjp(params: Mapping[str, Tensor], y: Tensor, bar: Tensor, grads: dict[str, Tensor]) -> Tensor:
    """Add the parameter gradients of <bar, rhs(y)> to ``grads`` and return the gradient for y."""
    u = y - 0.5
    slope = (1 + u.abs()).reciprocal()
    sums = u * slope
    prods = torch.log1p(sums)
    hidden_sums = sums @ params["W_sums"].T + params["b_sums"]
    hidden_prods = torch.exp(prods @ params["W_prods"].T + params["b_prods"])
    target = hidden_sums @ params["U_sums"].T + hidden_prods @ params["U_prods"].T
    scaled = bar * torch.relu(params["v"])
    bar_sums = scaled @ params["U_sums"]
    bar_prods = (scaled @ params["U_prods"]) * hidden_prods
    grads["v"] += (bar * (target - y)).sum(dim=0) * (params["v"] > 0)
    grads["U_sums"] += scaled.T @ hidden_sums
    grads["U_prods"] += scaled.T @ hidden_prods
    grads["W_sums"] += bar_sums.T @ sums
    grads["W_prods"] += bar_prods.T @ prods
    grads["b_sums"] += bar_sums.sum(dim=0)
    grads["b_prods"] += bar_prods.sum(dim=0)
    through_sums = (bar_sums @ params["W_sums"]) * slope.square()
    through_prods = (bar_prods @ params["W_prods"]) * slope.square() / (1 + sums)
    return through_sums + through_prods - scaled


@torch.no_grad()
def adjoint(
    params: Mapping[str, Tensor], y0: Tensor, step_sizes: Tensor, bar: Tensor, method: str
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Discrete adjoint of :func:`replay`, written out: gradients of <bar, y1> for y0 and the seven tensors.

    Accepted states are stored, stages recomputed; the sweep runs over steps and stages in reverse. The third result
    [B] float64 is the longest step that each sample's gradient needs, infinity where it is right (docs/numerics.md).
    """
    tableau, check, trust = TABLEAUS[method], ADJOINT_ERRORS[method], Trust(method, len(y0))
    rates, states = torch.relu(params["v"]), [y0]
    for column in range(step_sizes.shape[1] - 1):
        states.append(_stages(params, states[-1], step_sizes[:, column].to(y0.dtype)[:, None], tableau)[0])
    grads = {name: torch.zeros_like(params[name]) for name in TENSORS}
    for column in reversed(range(step_sizes.shape[1])):
        h = step_sizes[:, column].to(y0.dtype)[:, None]
        stages: list[Tensor] = []
        k: list[Tensor] = []
        for row in tableau.a:
            stage = states[column]
            for coefficient, derivative in zip(row, k, strict=True):
                stage = stage + (h * coefficient) * derivative
            stages.append(stage)
            k.append(rhs(params, stage))
        k_bar = [(h * coefficient) * bar for coefficient in tableau.b]
        entering, error, integral = bar, torch.zeros_like(bar), torch.zeros_like(bar)
        for i in reversed(range(len(k))):
            stage_bar = _rhs_vjp(params, stages[i], k_bar[i], grads)
            bar = bar + stage_bar
            error = error + check.d[i] * stage_bar
            integral = integral + k_bar[i]
            for j, coefficient in enumerate(tableau.a[i]):
                k_bar[j] = k_bar[j] + (h * coefficient) * stage_bar
        norms = ((rates * x).double().norm(dim=1).cpu().numpy() for x in (error, entering, integral))
        trust.step(step_sizes[:, column].cpu().numpy(), *norms)
    return bar, grads, torch.from_numpy(trust.longest_steps()).to(y0.device)
