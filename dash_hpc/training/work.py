"""What a course asks for, and what does it: the CPU for one run, a launch on the GPU for many."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from dash_hpc.ops.events import ScoreJob, SelectJob, score_pack, select_pack
from dash_hpc.ops.gradients import GradientJob
from dash_hpc.ops.solver import SolveJob, solve_arrays
from dash_hpc.ops.torch_gradients import TorchGradientJob
from dash_hpc.ops.torch_jobs import TorchEpochJob, TorchSolveJob
from dash_hpc.ops.train import EpochJob, train_pack

__all__ = ["KINDS", "Kind", "do_alone", "run_course"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Kind:
    """One kind of work.

    Attributes
    ----------
    job : type
        What a course yields.
    alone : callable
        Takes one job and returns its result on the CPU, or raises or returns the error that it ended in.
    together : str
        The method of :class:`dash_hpc.ops.cuda.Gpu` that takes many jobs of one precision; "" when only the CPU can.
    precision : callable
        Takes a job and returns its dtype, of which a launch has one; "" where a launch may mix them.
    ends_epoch : bool
        Whether a run may be asked to stop after it.
    """

    job: type
    alone: Callable[[Any], Any]
    together: str
    precision: Callable[[Any], str]
    ends_epoch: bool = False


def _score(job: ScoreJob) -> Any:
    return score_pack([job])[0]


def _select(job: SelectJob) -> Any:
    return select_pack([job])[0]


def _train(job: EpochJob) -> Any:
    return train_pack([job])[0]


def _solve(job: SolveJob) -> Any:
    return solve_arrays(job.weights, job.y0, job.dt, solver=job.solver)


#: In the order of an epoch, which is one EpochJob or a GradientJob for each batch.
KINDS = (
    Kind(ScoreJob, _score, "score_pack", precision=lambda job: ""),
    Kind(SelectJob, _select, "select_pack", precision=lambda job: ""),
    Kind(EpochJob, _train, "train_pack", precision=lambda job: str(job.state.dtype)),
    Kind(GradientJob, GradientJob.run, "gradients_many", precision=lambda job: str(job.dtype)),
    Kind(TorchGradientJob, TorchGradientJob.run, "", precision=lambda job: str(job.dtype)),
    Kind(SolveJob, _solve, "solve_pack", precision=lambda job: str(job.dtype), ends_epoch=True),
    # Of models without native operators.
    Kind(TorchEpochJob, TorchEpochJob.run, "", precision=lambda job: ""),
    Kind(TorchSolveJob, TorchSolveJob.run, "", precision=lambda job: "", ends_epoch=True),
)


def do_alone(job: Any) -> Any:
    """Do one piece of work on the CPU."""
    return next(kind for kind in KINDS if isinstance(job, kind.job)).alone(job)


def run_course(course: Generator[Any, Any, Result]) -> Result:
    """Do the work of one course on the CPU until it ends; return what it returns."""
    answer: Any = None
    while True:
        try:
            job = course.throw(answer) if isinstance(answer, Exception) else course.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result
        try:
            answer = do_alone(job)
        except Exception as error:  # the course knows what it means
            answer = error
