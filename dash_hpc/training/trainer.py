"""One training run: its data as arrays, its model, its strategy, its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dash_hpc.errors import PriorError
from dash_hpc.evidence.criterion import RowError
from dash_hpc.evidence.starts import with_starts
from dash_hpc.models.registry import family_of_spec
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.state import Matrix, Tensors, TrainState, copy_tensor, values
from dash_hpc.ops.timeunit import TimeUnit
from dash_hpc.pruning.base import Context
from dash_hpc.pruning.registry import create
from dash_hpc.pruning.schedule import LatticeSchedule
from dash_hpc.rng import stream
from dash_hpc.training.checkpoint import Checkpoint
from dash_hpc.training.early_stop import BestKept
from dash_hpc.training.fit import HISTORY_COLUMNS, Fit
from dash_hpc.training.phases import Steps, steps
from dash_hpc.training.plateau import Plateau
from dash_hpc.training.validation import Validation
from dash_hpc.training.work import run_steps

if TYPE_CHECKING:
    from dash_hpc.data import DataSet
    from dash_hpc.training.autograd_epoch import AutogradEpoch

__all__ = ["Trainer"]


class Trainer:
    """Trains and prunes one model.

    Parameters
    ----------
    dataset : DataSet
        Training and validation time courses and, for some strategies, a prior. Here ``dataset`` has the starts that
        it asks for.
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
    early-stop count is not reset. The model with the lowest validation error (that of ``criterion``) is kept; once a
    strategy has pruned, only pruned models are candidates. Time runs in a unit of its own in here
    (``dataset.time_unit``); options are given, and ``Fit.kept`` comes, in the unit of the data. Results depend on the
    spec and the data alone, not on time, processes or threads.
    """

    def __init__(
        self,
        dataset: DataSet,
        spec: Mapping[str, Any],
        progress: Callable[[Fit], None] | None = None,
    ) -> None:
        dataset = with_starts(dataset)
        self.dataset = dataset
        self.time_unit = TimeUnit(dataset.time_unit)
        self.solver = self.time_unit.solver(spec["solver"])
        self.seed: int = spec["seed"]
        self.progress = progress
        self.strategy = create(spec["strategy"], spec["schedule"], dataset, self.seed)
        self.phases = self.strategy.options.phases(spec["training"])
        self._training: Mapping[str, Any] = spec["training"]
        #: The section ``[training]`` as it is in the present phase.
        self.options: Mapping[str, Any] = self._training

        model = spec["model"]
        self.family = family_of_spec(model)
        dtype = self.dtype = np.dtype(model["dtype"])
        self.train_examples = self.family.examples(dataset.train, self.time_unit, dtype)
        self.validation = Validation(
            self.family.examples(dataset.validation, self.time_unit, dtype), self._row_error(), self.time_unit
        )

        weights = self.strategy.initial(model, stream(self.seed, "weights"))
        masks = {name: np.ones(values(weights[name]).shape, dtype=bool) for name in self.family.prunable}
        inside = dataset.train.pairs().in_unit(dataset.time_unit)
        self.strategy.start(weights, masks, Context(dataset, inside, self.solver.as_dict(), self.seed))
        self.state = TrainState.fresh(weights, masks)
        #: What the structure of the model is from the start; a phase may have another one.
        self.structure: Tensors = dict(self.state.weights)
        self._initial: dict[str, Matrix] = {}
        if any(phase.start == "initial" for phase in self.phases):
            self._initial = {name: copy_tensor(tensor) for name, tensor in self.state.weights.items()}

        self.stepwise: AutogradEpoch | None = None
        self.prior: PriorLoss | None = None
        for number in range(1, len(self.phases)):
            self._take_options(number)  # what it lacks is said before the first begins
        self.begin(0)
        if self.strategy.stepwise:
            from dash_hpc.training.autograd_epoch import AutogradEpoch

            self.stepwise = AutogradEpoch(self.strategy)

    def fit(
        self,
        *,
        resume: Checkpoint | None = None,
        checkpoint: Callable[[Checkpoint], None] | None = None,
        checkpoint_seconds: float = 30.0,
        stop: Callable[[], bool] | None = None,
    ) -> Fit:
        """Train until the last epoch, the early stop, or a request to stop. Parameters as in :meth:`steps`."""
        return run_steps(
            self.steps(resume=resume, checkpoint=checkpoint, checkpoint_seconds=checkpoint_seconds, stop=stop)
        )

    def steps(
        self,
        *,
        resume: Checkpoint | None = None,
        checkpoint: Callable[[Checkpoint], None] | None = None,
        checkpoint_seconds: float = 30.0,
        stop: Callable[[], bool] | None = None,
        side_by_side: int = 1,
    ) -> Steps:
        """Train step by step: a generator that yields the work of each step, to be done by the caller.

        The kinds of work are those of :data:`dash_hpc.training.phases.Task`. Many runs can so be worked on side by side
        (:class:`dash_hpc.training.Pack`). Gates and penalties pull back here, and a strategy's own scores are computed
        here.

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
        return steps(
            self,
            resume=resume,
            checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_seconds,
            stop=stop,
            side_by_side=side_by_side,
        )

    def own_state(self) -> dict[str, np.ndarray]:
        """Return the strategy's own trainable tensors with their Adam state; empty without such."""
        return {} if self.stepwise is None else self.stepwise.own_state()

    def load_own_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`own_state` returned."""
        if self.stepwise is not None:
            self.stepwise.load_own_state(arrays)

    def fresh_plateau(self, *, after_event: bool) -> Plateau:
        """Return the learning rates as they are at the start of a phase, or right after a pruning event."""
        options = self.options
        base, fast = float(options["lr"]), float(options["lr"]) * float(options["v_lr_factor"])
        lr = self.strategy.rates(self.family.learning_rates(base, fast), after_event=after_event)
        return Plateau(
            lr,
            factor=float(options["plateau_factor"]),
            patience=int(options["plateau_patience"]),
            threshold=float(options["plateau_threshold"]),
            min_lr=float(options["min_lr"]),
        )

    @property
    def history_columns(self) -> tuple[str, ...]:
        """Columns of the history: of the phases and of rows too, where there are some."""
        several, rows = len(self.phases) > 1, self.validation.rows is not None
        return (*HISTORY_COLUMNS, *(["phase"] if several else []), *(["validation_rows"] if rows else []))

    def _row_error(self) -> RowError | None:
        """Return the criterion of rows, where a phase goes by it."""
        criteria = [{**self._training, **phase.training}.get("criterion", "pairs") for phase in self.phases]
        return RowError(self.dataset) if "rows" in criteria else None

    def race(self, began: int) -> BestKept:
        """Return the rule that keeps a model and stops early, for a phase that begins after the epoch ``began``."""
        return BestKept(int(self.options["early_stop"]), began)

    def fraction(self, fit: Fit) -> float | None:
        """Return the share of active weights to remove before the next epoch, None for no event."""
        phase, epoch = self.phases[fit.phase], fit.epoch + 1 - fit.phase_began
        if phase.schedule == "run":
            return self.strategy.fraction(epoch, phase.epochs)
        if phase.schedule is None:
            return None
        return LatticeSchedule(**phase.schedule).fraction_at(epoch, phase.epochs)

    def tau(self, epoch: int) -> float:
        """Return the share of the data in the loss of an epoch."""
        own = self.strategy.tau(epoch)
        return float(self.options["tau"] if own is None else own)

    def begin(self, number: int) -> None:
        """Take over the options of a phase, and its prior loss."""
        self.prior = self._prior_loss() if self._take_options(number) else None

    def enter(self, fit: Fit) -> None:
        """Begin the phase ``fit.phase``, which is not the first: its options, and the model that it starts from."""
        phase, here = self.phases[fit.phase], self.state
        self.begin(fit.phase)
        weights, masks = dict(here.weights), dict(here.masks)
        if phase.start == "kept" and fit.kept is not None:
            weights, masks = self.family.rescaled(fit.kept.weights, self.time_unit.size), dict(fit.kept.masks)
        elif phase.start == "initial":
            weights = self._initial
            same = all(values(weights[name]).shape == mask.shape for name, mask in masks.items())
            masks = masks if same else {name: np.ones(values(weights[name]).shape, dtype=bool) for name in masks}
        built = self.strategy.enter(fit.phase, weights, masks)
        if built is not None or phase.start != "here":
            self.state = TrainState.fresh(*(built or (weights, masks)))

    def _take_options(self, number: int) -> bool:
        """Take over the options of a phase; return whether it has a prior loss, PriorError when it cannot have one."""
        self.options = {**self._training, **self.phases[number].training}
        if not self.phases[number].trains:
            return False
        last = sum(phase.epochs for phase in self.phases)
        lowest = min(self.tau(epoch) for epoch in range(1, last + 1))
        if lowest < 1.0 and self.dataset.prior is None:
            whose = "training.tau" if lowest == self.options["tau"] else f"the tau of strategy {self.strategy.name}"
            remedy = ", or set training.tau = 1" if whose == "training.tau" else ""
            raise PriorError(
                f"{whose} = {lowest} needs prior knowledge but data set {self.dataset.name!r} has none; "
                f"give data.prior{remedy}"
            )
        return lowest < 1.0

    def _prior_loss(self) -> PriorLoss:
        options, prior = self.options, self.dataset.prior
        if prior is None:
            raise PriorError(f"data set {self.dataset.name!r} has no prior")
        return self.family.prior_loss(
            prior.expected_effects(),
            n_points=int(options["prior_points"]),
            low=float(options["prior_low"]),
            high=float(options["prior_high"]),
            rng=stream(self.seed, "prior-points"),
            dtype=self.dtype,
            multipliers=bool(options.get("prior_multipliers", False)),
        )
