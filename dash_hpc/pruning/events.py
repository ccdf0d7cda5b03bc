"""A pruning event: scores, selection, and what is written down of both; inside training or without it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dash_hpc.errors import UsageError
from dash_hpc.ops.state import TrainState

if TYPE_CHECKING:
    from dash_hpc.pruning.base import Strategy

__all__ = ["EVENT_COLUMNS", "EVENT_TIMES", "alone", "event", "play"]

Result = TypeVar("Result")

#: What the record of an event says of each tensor, whatever the strategy; its own diagnosis follows.
EVENT_COLUMNS = ("epoch", "tensor", "n_before", "n_pruned", "threshold")
#: Wall clock of the event, divided by its number of tensors; the last columns of a record.
EVENT_TIMES = ("seconds_score", "seconds_select")


def event(
    strategy: Strategy, state: TrainState, epoch: int, fraction: float
) -> Generator[Any, Any, list[dict[str, Any]]]:
    """Score, select and remove weights of ``state``; yields what can be done elsewhere, takes the result.

    Returns
    -------
    list of dict
        One per tensor: :data:`EVENT_COLUMNS`, the strategy's own diagnosis, :data:`EVENT_TIMES`.

    Raises
    ------
    RunFailed
        When scores cannot be used; nothing is pruned then.
    UsageError
        When the strategy's diagnosis uses the name of a common column, or does not go with its scores.
    """
    began = perf_counter()
    scores, diagnoses = yield from strategy.scoring(state.weights, state.masks)
    _check(strategy, scores, diagnoses)
    scored = perf_counter()
    selection = strategy.select_task(scores, state.masks, fraction)
    chosen = (yield selection) if selection else strategy.select(scores, state.masks, fraction)
    records = []
    for (name, (mask, threshold)), diagnosis in zip(chosen.items(), diagnoses, strict=True):
        before = int(np.count_nonzero(state.masks[name]))
        state.prune(name, mask)
        removed = before - int(np.count_nonzero(mask))
        common = dict(zip(EVENT_COLUMNS, (epoch, name, before, removed, threshold), strict=True))
        records.append({**common, **diagnosis})
    strategy.after_event(state, epoch)
    times = (scored - began, perf_counter() - scored)
    for record in records:
        record.update((column, time / len(records)) for column, time in zip(EVENT_TIMES, times, strict=True))
    return records


def play(strategy: Strategy, state: TrainState, fractions: Iterable[float]) -> Iterator[list[dict[str, Any]]]:
    """Prune ``state`` again and again without training; gives the records of each event when it is done.

    For controls, for curves over the sparsity, and for strategies that prune in several rounds at their start.

    Parameters
    ----------
    strategy : Strategy
        After :meth:`Strategy.start`.
    state : TrainState
        Changed in place.
    fractions : iterable of float
        Share of the active weights that each event removes; ``strategy.schedule.events(last_epoch)`` has those of a
        run. The number of an event, from 1, stands in the place of the epoch.
    """
    for number, fraction in enumerate(fractions, start=1):
        yield alone(event(strategy, state, number, fraction))


def alone(steps: Generator[Any, Any, Result]) -> Result:
    """Do here what ``steps`` yields, one task after the other; return what it returns."""
    answer: Any = None
    while True:
        try:
            task = steps.send(answer)
        except StopIteration as end:
            found: Result = end.value
            return found
        answer = task.run()


def _check(strategy: Strategy, scores: Any, diagnoses: list[dict[str, Any]]) -> None:
    if len(diagnoses) != len(scores):
        raise UsageError(f"strategy {strategy.name}: {len(scores)} tensors have scores, {len(diagnoses)} a diagnosis")
    for diagnosis in diagnoses:
        if taken := sorted({*EVENT_COLUMNS, *EVENT_TIMES} & set(diagnosis)):
            raise UsageError(f"strategy {strategy.name}: {taken[0]!r} is a column of every event, not for a diagnosis")
