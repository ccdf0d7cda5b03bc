"""Many runs side by side: one launch for the epoch of all, one for their validation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from dash_hpc.errors import GpuFault, GpuMemoryError, GpuUnavailable, NativeError, UsageError
from dash_hpc.ops.threads import Threads
from dash_hpc.training.work import KINDS, Kind

if TYPE_CHECKING:
    from dash_hpc.ops.cuda import Gpu

__all__ = ["Pack"]

Result = TypeVar("Result")


class Pack:
    """Runs that advance together, an epoch at a time.

    A run's result has the bits that it has alone. A run that ends early or fails leaves the pack; the others go on.

    Parameters
    ----------
    threads : int, default 1
        Runs worked on at a time by the CPU; each by one thread.
    stop : callable, optional
        Asked once before each epoch of the pack. When it returns True, every run that asks :meth:`stopping` stops at
        that same epoch.
    gpu : dash_hpc.ops.cuda.Gpu, optional
        Where epochs, validations and pruning events are computed; default the CPU. What strategies compute on their own
        stays on the CPU. A launch that does not fit the GPU's memory is halved, down to one run.
    fallback : callable, optional
        Allows the CPU to take over what the GPU cannot do: a run that does not fit alone, or all when the GPU fails.
        Called with the number of each run that moves and the reason; the run stays on the CPU. Without it the run
        fails, or :meth:`run` raises.

    Examples
    --------
    >>> pack = Pack(threads=4, stop=flag.is_set)
    >>> runs = [trainer.steps(stop=pack.stopping) for trainer in trainers]
    >>> fits = pack.run(runs)
    """

    def __init__(
        self,
        *,
        threads: int = 1,
        stop: Callable[[], bool] | None = None,
        gpu: Gpu | None = None,
        fallback: Callable[[int, str], None] | None = None,
    ) -> None:
        if threads < 1:
            raise UsageError(f"Pack: threads must be 1 or more, got {threads}")
        self.threads = threads
        self.gpu = gpu
        self._stop = stop
        self._stopping = False
        self._fallback = fallback
        self._active: set[int] = set()
        self._moved: set[int] = set()
        # Runs in a launch; what did not fit once is not tried again at every epoch.
        self._most = 0

    def stopping(self) -> bool:
        """Return whether the runs are to stop before their next epoch."""
        return self._stopping

    def run(self, runs: Sequence[Generator[Any, Any, Result]]) -> list[Result | Exception]:
        """Work until all runs have ended; return, in order, what they return, or what they raised.

        Raises
        ------
        GpuUnavailable, GpuFault
            When the GPU fails and no ``fallback`` is given; the runs are closed then.
        """
        ended: dict[int, Result | Exception] = {}
        tasks: dict[int, Any] = {}
        self._most = max(len(runs), 1)
        self._moved = set()
        self._active = set(range(len(runs)))

        def advance(k: int, answer: Any) -> None:
            try:
                tasks[k] = runs[k].throw(answer) if isinstance(answer, Exception) else runs[k].send(answer)
                return
            except StopIteration as end:
                ended[k] = end.value
            except Exception as error:  # the run's own failure, for its owner to record
                ended[k] = error
            self._active.discard(k)

        self._look()
        try:
            with Threads(self.threads) if self.threads > 1 else nullcontext() as pool:
                for k in range(len(runs)):
                    advance(k, None)
                while tasks:
                    for kind in KINDS:
                        # batch by batch, where an epoch is many tasks
                        while chosen := {k: tasks.pop(k) for k in list(tasks) if isinstance(tasks[k], kind.task)}:
                            if kind.ends_epoch:  # what follows is the question whether to stop: one answer for all
                                self._look()
                            for k, result in self._done(kind, chosen, pool).items():
                                advance(k, result)
        finally:
            for steps in runs:
                steps.close()
        return [ended[k] for k in range(len(runs))]

    def _done(self, kind: Kind, chosen: dict[int, Any], pool: Threads | None) -> dict[int, Any]:
        """Results of tasks of one kind, or what went wrong with them, by run and in the order of the runs."""
        done: dict[int, Any] = {}
        if self.gpu is not None and kind.together:
            launches: dict[str, dict[int, Any]] = {}  # each has one precision
            for k, task in chosen.items():
                if k not in self._moved:
                    launches.setdefault(kind.precision(task), {})[k] = task
            for precision in sorted(launches):
                done |= self._launched(kind, launches[precision])
        rest = [k for k in chosen if k not in done]

        def alone(k: int) -> Any:
            try:
                return kind.alone(chosen[k])
            except Exception as error:  # of this run, whatever becomes of the others
                return error

        done |= zip(rest, (map if pool is None else pool.map)(alone, rest), strict=True)
        return {k: done[k] for k in chosen}

    def _launched(self, kind: Kind, chosen: dict[int, Any]) -> dict[int, Any]:
        """What the GPU has done; the tasks that are missing are for the CPU."""
        done: dict[int, Any] = {}
        order = list(chosen)
        waiting = deque(order[k : k + self._most] for k in range(0, len(order), self._most))
        while waiting and self.gpu is not None:
            part = waiting.popleft()
            try:
                results = getattr(self.gpu, kind.together)([chosen[k] for k in part])
            except (GpuUnavailable, GpuFault) as error:
                if self._fallback is None:
                    raise
                self._leave(error)
            except Exception as error:
                # Nothing was changed: smaller launches find room, or the run that is at fault.
                no_room = isinstance(error, GpuMemoryError)
                half = (len(part) + 1) // 2
                if no_room:
                    self._most = min(self._most, half)
                    with suppress(NativeError):
                        self.gpu.release_memory()
                if len(part) > 1:
                    waiting.extendleft([part[half:], part[:half]])
                elif no_room and self._fallback is not None:
                    self._move(part[0], str(error))
                elif no_room:
                    done[part[0]] = GpuMemoryError(f"{error}; this run does not even fit alone: use the CPU for it")
                else:
                    done[part[0]] = error
            else:
                done |= zip(part, results, strict=True)
        return done

    def _leave(self, error: Exception) -> None:
        """The GPU is lost: all runs go on with the CPU."""
        self.gpu = None
        for k in sorted(self._active - self._moved):
            self._move(k, str(error))

    def _move(self, k: int, reason: str) -> None:
        self._moved.add(k)
        if self._fallback is not None:
            self._fallback(k, reason)

    def _look(self) -> None:
        self._stopping = self._stopping or (self._stop is not None and self._stop())
