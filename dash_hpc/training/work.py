"""What a run asks for, and what does it: the CPU for one run, a launch on the GPU for many."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from dash_hpc.ops.events import ScoreTask, SelectTask, score_many, select_many
from dash_hpc.ops.gradients import GradientTask
from dash_hpc.ops.solver import SolveTask, solve_arrays
from dash_hpc.ops.torch_gradients import TorchGradientTask
from dash_hpc.ops.torch_tasks import TorchEpochTask, TorchSolveTask
from dash_hpc.ops.train import EpochTask, train_many
from dash_hpc.training.build import BuildTask

__all__ = ["KINDS", "Kind", "do_alone", "run_steps"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Kind:
    """One kind of work.

    Attributes
    ----------
    task : type
        What a run yields.
    alone : callable
        Takes one task and returns its result on the CPU, or raises or returns the error that it ended in.
    together : str
        The method of :class:`dash_hpc.ops.cuda.Gpu` that takes many tasks of one precision; "" when only the CPU can.
    precision : callable
        Takes a task and returns its dtype, of which a launch has one; "" where a launch may mix them.
    ends_epoch : bool
        Whether a run may be asked to stop after it.
    """

    task: type
    alone: Callable[[Any], Any]
    together: str
    precision: Callable[[Any], str]
    ends_epoch: bool = False


def _score(task: ScoreTask) -> Any:
    return score_many([task])[0]


def _select(task: SelectTask) -> Any:
    return select_many([task])[0]


def _train(task: EpochTask) -> Any:
    return train_many([task])[0]


def _solve(task: SolveTask) -> Any:
    return solve_arrays(task.weights, task.y0, task.dt, solver=task.solver)


#: In the order of an epoch, which is one EpochTask or a GradientTask for each batch, or a BuildTask.
KINDS = (
    Kind(ScoreTask, _score, "score_many", precision=lambda task: ""),
    Kind(SelectTask, _select, "select_many", precision=lambda task: ""),
    Kind(EpochTask, _train, "train_many", precision=lambda task: str(task.state.dtype)),
    Kind(GradientTask, GradientTask.run, "gradients_many", precision=lambda task: str(task.dtype)),
    Kind(TorchGradientTask, TorchGradientTask.run, "", precision=lambda task: str(task.dtype)),
    Kind(BuildTask, BuildTask.run, "", precision=lambda task: ""),
    Kind(SolveTask, _solve, "solve_many", precision=lambda task: str(task.dtype), ends_epoch=True),
    # Of models without native operators.
    Kind(TorchEpochTask, TorchEpochTask.run, "", precision=lambda task: ""),
    Kind(TorchSolveTask, TorchSolveTask.run, "", precision=lambda task: "", ends_epoch=True),
)


def do_alone(task: Any) -> Any:
    """Do one piece of work on the CPU."""
    return next(kind for kind in KINDS if isinstance(task, kind.task)).alone(task)


def run_steps(steps: Generator[Any, Any, Result]) -> Result:
    """Do the work of one run on the CPU until it ends; return what it returns."""
    answer: Any = None
    while True:
        try:
            task = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result
        try:
            answer = do_alone(task)
        except Exception as error:  # the run knows what it means
            answer = error
