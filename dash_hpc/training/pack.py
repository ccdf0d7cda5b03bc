"""Many runs side by side: one native call for the epoch of all, one for their validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dash_hpc.errors import UsageError
from dash_hpc.ops.solver import SolveJob, solve_pack
from dash_hpc.ops.train import EpochJob, train_pack
from dash_hpc.training.fit import Fit
from dash_hpc.training.trainer import Course

__all__ = ["Pack"]

#: What a course asks for, in the order of an epoch, and what does it for many.
_WORK: tuple[tuple[type, Callable[..., Sequence[Any]]], ...] = ((EpochJob, train_pack), (SolveJob, solve_pack))


class Pack:
    """Runs that advance together, an epoch at a time.

    A run's result has the bits that it has alone. A run that ends early or fails leaves the pack; the others go on.

    Parameters
    ----------
    threads : int, default 1
        Runs worked on at a time; each by one thread.
    stop : callable, optional
        Asked once before each epoch of the pack. When it returns True, every run that asks :meth:`stopping` stops at
        that same epoch.

    Examples
    --------
    >>> pack = Pack(threads=4, stop=flag.is_set)
    >>> courses = [trainer.course(stop=pack.stopping) for trainer in trainers]
    >>> fits = pack.run(courses)
    """

    def __init__(self, *, threads: int = 1, stop: Callable[[], bool] | None = None) -> None:
        if threads < 1:
            raise UsageError(f"Pack: threads must be 1 or more, got {threads}")
        self.threads = threads
        self._stop = stop
        self._stopping = False

    def stopping(self) -> bool:
        """Return whether the runs are to stop before their next epoch."""
        return self._stopping

    def run(self, courses: Sequence[Course]) -> list[Fit | Exception]:
        """Work until all runs have ended; return, in order, their Fits, or what they raised."""
        results: list[Fit | Exception | None] = [None] * len(courses)
        jobs: dict[int, EpochJob | SolveJob] = {}

        def advance(k: int, answer: Any) -> None:
            try:
                jobs[k] = courses[k].send(answer)
            except StopIteration as end:
                results[k] = end.value
            except Exception as error:  # the run's own failure, for its owner to record
                results[k] = error

        self._look()
        for k in range(len(courses)):
            advance(k, None)
        while jobs:
            for kind, work in _WORK:
                chosen = {k: jobs.pop(k) for k in list(jobs) if isinstance(jobs[k], kind)}
                if kind is SolveJob:  # what follows a validation is the question whether to stop: one answer for all
                    self._look()
                for k, result in zip(chosen, work(list(chosen.values()), threads=self.threads), strict=True):
                    advance(k, result)
        return [result for result in results if result is not None]

    def _look(self) -> None:
        self._stopping = self._stopping or (self._stop is not None and self._stop())
