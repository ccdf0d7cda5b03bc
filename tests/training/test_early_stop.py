"""Which epoch is kept, and when training stops."""

from __future__ import annotations

from dash_hpc.training import BestKept


def test_only_a_strictly_lower_error_is_kept() -> None:
    best = BestKept(0)
    assert [best.step(k, mse) for k, mse in enumerate([3.0, 2.0, 2.0, 2.5, 1.0], start=1)] == [
        True, True, False, False, True,
    ]  # fmt: skip
    assert (best.best, best.best_epoch) == (1.0, 5)
    assert not best.stop(10**6)


def test_stops_after_so_many_epochs_without_a_new_best() -> None:
    best = BestKept(3)
    errors = [5.0, 4.0, 4.5, 4.2, 3.0, 9.0, 9.0, 9.0, 1.0]
    stopped = []
    for epoch, error in enumerate(errors, start=1):
        best.step(epoch, error)
        stopped.append(best.stop(epoch))
    assert stopped == [False] * 7 + [True, False]
