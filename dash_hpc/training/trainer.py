"""The epoch loop: pruning event, training steps, validation, learning rate, the kept model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import PriorError, RunFailed, UsageError
from dash_hpc.ops.events import ScoreJob, SelectJob
from dash_hpc.ops.mse import mean_squared_error, observed_counts
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.solver import SolveJob
from dash_hpc.ops.state import PRUNABLE, TENSORS, EpochResult, Matrix, Solution, TrainState, values, zero_share
from dash_hpc.ops.timeunit import TimeUnit
from dash_hpc.ops.train import EpochJob
from dash_hpc.pruning.base import Context
from dash_hpc.pruning.registry import create
from dash_hpc.rng import stream
from dash_hpc.training.batches import epoch_batches
from dash_hpc.training.checkpoint import Checkpoint, CheckpointTimer, capture, restore
from dash_hpc.training.early_stop import BestKept
from dash_hpc.training.fit import TIMERS, Fit, Kept
from dash_hpc.training.plateau import Plateau
from dash_hpc.training.work import do_alone

if TYPE_CHECKING:
    from dash_hpc.data import DataSet, Pairs
    from dash_hpc.training.autograd_epoch import AutogradEpoch

__all__ = ["Course", "Job", "Trainer", "run_course"]

#: A step's work: scores and selection of a pruning event, the epoch, its validation.
Job = ScoreJob | SelectJob | EpochJob | SolveJob
#: A run that is under way: gives out the work of its next step, takes the result, and returns the Fit at the end.
Course = Generator[Job, Any, Fit]
Result = TypeVar("Result")


class Trainer:
    """Trains and prunes one PHOENIX model.

    Parameters
    ----------
    dataset : DataSet
        Training and validation time courses and, for some strategies, a prior.
    spec : mapping
        The parts ``model``, ``solver``, ``training``, ``schedule``, ``strategy`` and ``seed`` of a run
        specification. All draws come from streams of the seed: "weights", "omega0", ("batch-order", epoch),
        "prior-points".
    progress : callable, optional
        Called with the growing :class:`Fit` after each epoch. It may raise to stop the run.

    Raises
    ------
    PriorError
        When the strategy or the prior loss needs a prior and there is none.
    UsageError
        For options out of range.

    Notes
    -----
    Epochs count from 1. An event happens at the start of its epoch; pruned weights and their Adam moments are set to
    0, the other moments are kept. With ``reset_lr_at_events`` the rates start anew with a fresh plateau rule. The
    early-stop count is not reset. The model with the lowest validation error is kept; once a strategy has pruned, only
    pruned models are candidates. Time runs in a unit of its own in here (``dataset.time_unit``); options are given, and
    ``Fit.kept`` comes, in the unit of the data. Results depend on the spec and the data alone, not on time, processes
    or threads.
    """

    def __init__(
        self,
        dataset: DataSet,
        spec: Mapping[str, Any],
        progress: Callable[[Fit], None] | None = None,
    ) -> None:
        self.dataset = dataset
        self.training: Mapping[str, Any] = spec["training"]
        self.time_unit = TimeUnit(dataset.time_unit)
        self.solver = self.time_unit.solver(spec["solver"])
        self.seed: int = spec["seed"]
        self.progress = progress
        self.strategy = create(spec["strategy"], spec["schedule"], dataset, self.seed)
        self.compat_lr_bug = bool(spec["strategy"].get("compat_lr_bug", False))

        model = spec["model"]
        dtype = np.dtype(model["dtype"])
        self.train_pairs = dataset.train.pairs()
        self.validation_pairs = dataset.validation.pairs()
        self._train_arrays = self._arrays(self.train_pairs, dtype)
        self._validation_arrays = self._arrays(self.validation_pairs, dtype)
        self._weight_of_pair = observed_counts(self.train_pairs.y1) / dataset.n_genes

        weights = self.strategy.initial(model, stream(self.seed, "weights"))
        masks = {name: np.ones(values(weights[name]).shape, dtype=bool) for name in PRUNABLE}
        inside = self.train_pairs.in_unit(dataset.time_unit)
        self.strategy.start(weights, masks, Context(dataset, inside, self.solver.as_dict(), self.seed))
        self.state = TrainState.fresh(weights, masks)

        self._epoch_in_torch: AutogradEpoch | None = None
        self.tau = float(self.training["tau"])
        self._prior = self._prior_loss(dtype)
        if self.strategy.needs_autograd:
            from dash_hpc.training.autograd_epoch import AutogradEpoch

            if any(isinstance(weights[name], csr_array) for name in PRUNABLE):
                raise UsageError(
                    f"strategy {self.strategy.name}: a compressed model cannot be trained with gates or penalties"
                )
            self._epoch_in_torch = AutogradEpoch(self.strategy)

    def fit(
        self,
        *,
        resume: Checkpoint | None = None,
        checkpoint: Callable[[Checkpoint], None] | None = None,
        checkpoint_seconds: float = 30.0,
        stop: Callable[[], bool] | None = None,
    ) -> Fit:
        """Train until the last epoch, the early stop, or a request to stop. Parameters as in :meth:`course`."""
        return run_course(
            self.course(resume=resume, checkpoint=checkpoint, checkpoint_seconds=checkpoint_seconds, stop=stop)
        )

    def course(
        self,
        *,
        resume: Checkpoint | None = None,
        checkpoint: Callable[[Checkpoint], None] | None = None,
        checkpoint_seconds: float = 30.0,
        stop: Callable[[], bool] | None = None,
        side_by_side: int = 1,
    ) -> Course:
        """Train step by step: a generator that yields the work of each step (:data:`Job`), to be done by the caller.

        Many runs can so be worked on side by side (:class:`dash_hpc.training.Pack`). What needs autograd is done here,
        and scores that a strategy computes on its own.

        Parameters
        ----------
        resume : Checkpoint, optional
            Go on after its epoch; the result is that of an undisturbed run, bit for bit (seconds apart).
        checkpoint : callable, optional
            Takes a :class:`Checkpoint` between two epochs: every ``checkpoint_seconds``, at pruning events, and when
            the run stops early on request. More rarely where this would take over 2 % of the time.
        checkpoint_seconds : float, default 30
            0 makes one after every epoch.
        stop : callable, optional
            Asked before each epoch. When it returns True, training ends with ``stop_reason`` "" in the Fit.
        side_by_side : int, default 1
            Runs that share this process's time: their checkpoints together take at most those 2 %.

        Raises
        ------
        RunFailed
            When an ODE cannot be solved, a loss is not finite, or prune scores cannot be used; names the epoch.
        CheckpointUnfit
            When ``resume`` does not fit this model; the trainer must not be used any more.
        """
        options = self.training
        last = int(options["epochs"])
        fit = Fit()
        best = BestKept(int(options["early_stop"]))
        plateau = self._fresh_plateau(after_event=False)
        if resume is not None:
            fit = restore(self, resume, best, plateau)
        checkpoints = CheckpointTimer(checkpoint_seconds, perf_counter, side_by_side)
        saved = fit.epoch

        def save() -> None:
            nonlocal saved
            if checkpoint is not None and fit.epoch > saved:
                start = perf_counter()
                checkpoint(capture(self, fit, best, plateau))
                checkpoints.made(start)
                saved = fit.epoch

        for epoch in range(fit.epoch + 1, last + 1):
            if stop is not None and stop():
                save()
                return fit
            clock = dict.fromkeys(TIMERS, 0.0)
            began = perf_counter()
            fraction = self.strategy.fraction(epoch, last)
            if fraction is not None:
                if not fit.events:
                    best.forget()
                fit.events.extend((yield from self._event(epoch, fraction, clock)))
                if options["reset_lr_at_events"]:
                    plateau = self._fresh_plateau(after_event=True)
            train_mse = yield from self._train(epoch, plateau.lr, clock)
            self.strategy.after_epoch(self.state, epoch)
            weights = self.strategy.final_weights(self.state.weights, self.state.masks)
            validation_mse = yield from self._validate(epoch, weights, clock)
            if best.step(epoch, validation_mse):
                masks = {name: mask.copy() for name, mask in self.state.masks.items()}
                fit.kept = Kept(self.time_unit.outside(weights), masks, epoch, validation_mse)
            lr = plateau.lr["W_sums"]
            plateau.step(validation_mse)

            row = {
                "epoch": epoch,
                "train_mse": train_mse,
                "validation_mse": validation_mse,
                "lr": lr,
                "sparsity": zero_share(weights),
                "seconds": perf_counter() - began,
                **{f"seconds_{timer}": clock[timer] for timer in TIMERS},
            }
            for column, value in row.items():
                fit.history[column].append(value)
            fit.seconds["total"] += row["seconds"]
            for timer in TIMERS:
                fit.seconds[timer] += clock[timer]
            fit.epoch = epoch
            if best.stop(epoch):
                fit.stop_reason = "early_stop"
            elif epoch == last:
                fit.stop_reason = "epochs"
            if self.progress is not None:
                self.progress(fit)
            if fit.stop_reason:
                break
            if checkpoints.due(at_event=fraction is not None):
                save()
        return fit

    def own_state(self) -> dict[str, np.ndarray]:
        """Return the strategy's own trainable tensors with their Adam state; empty without such."""
        return {} if self._epoch_in_torch is None else self._epoch_in_torch.own_state()

    def load_own_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`own_state` returned."""
        if self._epoch_in_torch is not None:
            self._epoch_in_torch.load_own_state(arrays, self.training["betas"], float(self.training["eps"]))

    def _event(
        self, epoch: int, fraction: float, clock: dict[str, float]
    ) -> Generator[ScoreJob | SelectJob, Any, list[dict[str, Any]]]:
        state, strategy = self.state, self.strategy
        began = perf_counter()
        try:
            described = strategy.score_job(state.weights, state.masks)
            if described is None:
                scores, diagnostics = strategy.scores(state.weights, state.masks)
            else:
                job, take = described
                scores, diagnostics = take((yield job))
            scored = perf_counter()
            selection = strategy.select_job(scores, state.masks, fraction)
            chosen = (yield selection) if selection else strategy.select(scores, state.masks, fraction)
        except RunFailed as error:
            raise RunFailed(f"epoch {epoch}: {error}") from error
        records = []
        for (name, (mask, threshold)), diagnosis in zip(chosen.items(), diagnostics, strict=True):
            before = int(np.count_nonzero(state.masks[name]))
            state.prune(name, mask)
            records.append(
                {
                    "epoch": epoch,
                    "tensor": name,
                    "n_before": before,
                    "n_pruned": before - int(np.count_nonzero(mask)),
                    "threshold": threshold,
                    **diagnosis,
                }
            )
        strategy.after_event(state, epoch)
        done = perf_counter()
        clock["score"] += scored - began
        clock["select"] += done - scored
        for record in records:
            record["seconds_score"] = (scored - began) / len(records)
            record["seconds_select"] = (done - scored) / len(records)
        return records

    def _train(
        self, epoch: int, lr: Mapping[str, float], clock: dict[str, float]
    ) -> Generator[EpochJob, EpochResult, float]:
        options = self.training
        began = perf_counter()
        pointer, index = epoch_batches(
            self.train_pairs.trajectory,
            options["batch"],
            int(options["batch_size"]),
            stream(self.seed, "batch-order", epoch),
        )
        y0, y1, dt = self._train_arrays
        betas, eps = options["betas"], float(options["eps"])
        job = EpochJob(self.state, y0, y1, dt, pointer, index, dict(lr), betas, eps, self.solver, self.tau, self._prior)
        result = (yield job) if self._epoch_in_torch is None else self._epoch_in_torch(job)
        clock["train"] += perf_counter() - began
        if result.reason is not None or not np.isfinite(result.loss).all():
            batch = int(np.argmax(~np.isfinite(result.loss)))
            reason = result.reason or "the loss is not finite"
            raise RunFailed(f"epoch {epoch}, batch {batch + 1} of {len(result.loss)}: {reason}")
        return float(np.average(result.loss, weights=np.add.reduceat(self._weight_of_pair[index], pointer[:-1])))

    def _validate(
        self, epoch: int, weights: dict[str, Matrix], clock: dict[str, float]
    ) -> Generator[SolveJob, Solution, float]:
        began = perf_counter()
        y0, y1, dt = self._validation_arrays
        solution = yield SolveJob(weights, y0, dt, self.solver)
        clock["validation"] += perf_counter() - began
        if not solution.ok.all():
            pair = int(np.argmin(solution.ok))
            trajectory = int(self.validation_pairs.trajectory[pair])
            raise RunFailed(f"epoch {epoch}, validation pair {pair} (trajectory {trajectory}): {solution.reason(pair)}")
        mse = mean_squared_error(solution.y1, y1)
        if not np.isfinite(mse):
            raise RunFailed(f"epoch {epoch}: the validation error is not finite (lower training.lr)")
        return mse

    def _arrays(self, pairs: Pairs, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y0, y1 = (np.ascontiguousarray(values, dtype=dtype) for values in (pairs.y0, pairs.y1))
        return y0, y1, self.time_unit.intervals(pairs.t1 - pairs.t0)

    def _fresh_plateau(self, *, after_event: bool) -> Plateau:
        options = self.training
        base, fast = float(options["lr"]), float(options["lr"]) * float(options["v_lr_factor"])
        lr = dict.fromkeys(TENSORS, base)
        # The authors' program shifts the seven groups by one when it resets the rates, so U_prods gets v's.
        lr["U_prods" if after_event and self.compat_lr_bug else "v"] = fast
        return Plateau(
            lr,
            factor=float(options["plateau_factor"]),
            patience=int(options["plateau_patience"]),
            threshold=float(options["plateau_threshold"]),
            min_lr=float(options["min_lr"]),
        )

    def _prior_loss(self, dtype: np.dtype) -> PriorLoss | None:
        if self.tau == 1.0:
            return None
        options = self.training
        if self.dataset.prior is None:
            raise PriorError(
                f"training.tau = {self.tau} needs prior knowledge but data set {self.dataset.name!r} has none; "
                "give data.prior, or set training.tau = 1"
            )
        return PriorLoss(
            self.dataset.prior.expected_effects(),
            n_points=int(options["prior_points"]),
            low=float(options["prior_low"]),
            high=float(options["prior_high"]),
            rng=stream(self.seed, "prior-points"),
            dtype=dtype,
            multipliers=bool(options.get("prior_multipliers", False)),
        )


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
