"""Many runs side by side: one native call for the epoch of all, one for their validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dash_hpc.errors import UsageError
from dash_hpc.ops.events import ScoreJob, SelectJob, score_pack, select_pack
from dash_hpc.ops.solver import SolveJob, solve_pack
from dash_hpc.ops.train import EpochJob, train_pack
from dash_hpc.training.fit import Fit
from dash_hpc.training.trainer import Course, Job

if TYPE_CHECKING:
    from dash_hpc.ops.cuda import Gpu

__all__ = ["Pack"]

#: What a course asks for, in the order of an epoch, and what does it for many; a Gpu has a method of the same name.
_WORK: tuple[tuple[type, Callable[..., Sequence[Any]]], ...] = (
    (ScoreJob, score_pack),
    (SelectJob, select_pack),
    (EpochJob, train_pack),
    (SolveJob, solve_pack),
)


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
    gpu : dash_hpc.ops.cuda.Gpu, optional
        Where epochs, validations and pruning events are computed; default the CPU. What strategies compute on their own
        stays on the CPU.

    Examples
    --------
    >>> pack = Pack(threads=4, stop=flag.is_set)
    >>> courses = [trainer.course(stop=pack.stopping) for trainer in trainers]
    >>> fits = pack.run(courses)
    """

    def __init__(self, *, threads: int = 1, stop: Callable[[], bool] | None = None, gpu: Gpu | None = None) -> None:
        if threads < 1:
            raise UsageError(f"Pack: threads must be 1 or more, got {threads}")
        self.threads = threads
        self.gpu = gpu
        self._stop = stop
        self._stopping = False

    def stopping(self) -> bool:
        """Return whether the runs are to stop before their next epoch."""
        return self._stopping

    def run(self, courses: Sequence[Course]) -> list[Fit | Exception]:
        """Work until all runs have ended; return, in order, their Fits, or what they raised."""
        results: list[Fit | Exception | None] = [None] * len(courses)
        jobs: dict[int, Job] = {}

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
                for k, result in self._done(chosen, work):
                    advance(k, result)
        return [result for result in results if result is not None]

    def _done(self, chosen: dict[int, Any], work: Callable[..., Sequence[Any]]) -> list[tuple[int, Any]]:
        """Jobs of one kind with their results."""
        if self.gpu is None:
            return list(zip(chosen, work(list(chosen.values()), threads=self.threads), strict=True))
        done: list[tuple[int, Any]] = []
        on_gpu: Callable[..., Sequence[Any]] = getattr(self.gpu, work.__name__)
        for dtype in ("", "float32", "float64"):  # a launch has one precision
            own = {k: job for k, job in chosen.items() if _dtype(job) == dtype}
            if own:
                done += zip(own, on_gpu(list(own.values())), strict=True)
        return done

    def _look(self) -> None:
        self._stopping = self._stopping or (self._stop is not None and self._stop())


def _dtype(job: Job) -> str:
    """Precision of the job; "" where it does not matter."""
    if isinstance(job, ScoreJob | SelectJob):
        return ""
    weights = job.state.weights if isinstance(job, EpochJob) else job.weights
    return str(weights["v"].dtype)
