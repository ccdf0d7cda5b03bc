"""The suite's own guard: an operation of PyTorch that mixes dtypes fails the test in which it happens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dash_hpc.models import initial_weights
from dash_hpc.ops import solve


def test_mixed_floats_are_an_error() -> None:
    single, double = torch.ones(3), torch.ones(3, dtype=torch.float64)
    with pytest.raises(AssertionError, match=r"mul.* mixes torch.float32 and torch.float64"):
        single * double
    with pytest.raises(AssertionError, match="mixes"):
        torch.cat([single, double])


def test_mixed_floats_are_an_error_on_the_way_back() -> None:
    single = torch.ones(3, requires_grad=True)

    class Careless(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, grad):
            return grad * torch.ones(3, dtype=torch.float64)

    with pytest.raises(AssertionError, match="mixes"):
        Careless.apply(single).sum().backward()


def test_scalars_integers_and_casts_are_none() -> None:
    single = torch.ones(3)
    assert (2.5 * single + torch.tensor(0.5, dtype=torch.float64)).dtype == torch.float32
    assert (single * torch.arange(3)).dtype == torch.float32
    assert single.double().add(torch.ones(3, dtype=torch.float64)).dtype == torch.float64
    target = torch.empty(3, dtype=torch.float64)
    target.copy_(single)


def test_operators_of_our_own_take_intervals_in_float64() -> None:
    weights = initial_weights(4, 3, np.random.default_rng(0))
    params = {name: torch.from_numpy(value) for name, value in weights.items()}
    assert solve(params, torch.full((2, 4), 0.5), 0.0, torch.ones(2, dtype=torch.float64)).y1.dtype == torch.float32


@pytest.mark.parametrize("strict", [True, False])
def test_first_case_of_a_test_is_looked_at(strict: bool) -> None:
    try:
        torch.ones(3) * torch.ones(3, dtype=torch.float64)
    except AssertionError:
        assert strict
    else:
        assert not strict
