"""What a pruning strategy is: a set of hooks that training calls, with defaults that do nothing."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dash_hpc.errors import PriorError, UsageError
from dash_hpc.models.registry import family_of_spec
from dash_hpc.ops.events import Selection, SelectTask
from dash_hpc.ops.state import Matrix, Tensors, TrainState, masked_tensors, values
from dash_hpc.pruning.schedule import LatticeSchedule, n_to_prune
from dash_hpc.rng import stream
from dash_hpc.study.options import StrategyOptions

if TYPE_CHECKING:
    from torch import Tensor

    from dash_hpc.data import DataSet, Pairs, Prior
    from dash_hpc.store import Evidence

__all__ = ["Context", "EventScores", "Step", "Strategy", "closed", "pulls_back"]

#: Scores by tensor, in processing order, and what the event records of each.
EventScores = tuple[dict[str, np.ndarray], list[dict[str, Any]]]


@dataclass(frozen=True)
class Context:
    """What a strategy may look at when it starts: data set, training pairs, the solver's options, seed.

    Times of ``pairs`` and ``solver`` are in the unit that the weights' v belongs to, those of ``dataset`` in its own.
    """

    dataset: DataSet
    pairs: Pairs
    solver: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class Step:
    """One step of the optimiser.

    Attributes
    ----------
    epoch : int
        From 1.
    batch : int
        From 0, in the order in which the epoch visits them.
    seed : int
        The run's.
    rate : float
        Learning rate of the weights' base group in this epoch.
    rng : numpy.random.Generator
        The stream of this step alone: what is drawn in its hooks, in their order, does not depend on anything before,
        so that a resumed run draws the same. One generator for all hooks of the step.
    """

    epoch: int
    batch: int
    seed: int
    rate: float = 0.0

    @cached_property
    def rng(self) -> np.random.Generator:
        return stream(self.seed, "step", self.epoch, self.batch)


class Strategy:
    """Base of all strategies; as it stands it prunes nothing.

    A subclass sets ``name`` and ``Options`` and overrides the hooks it needs. Training calls, in this order:
    :meth:`initial`, :meth:`start`; then per epoch :meth:`fraction` and, where that is not None, :meth:`scoring`,
    :meth:`select`, :meth:`after_event`, :meth:`rates`; the epoch's steps with :meth:`tau`, and with :meth:`effective`,
    :meth:`penalty` and :meth:`after_step` where the strategy has one of these; :meth:`after_epoch`; :meth:`final`
    before each validation. :meth:`enter` begins each phase but the first; :meth:`build` stands in the place of an
    epoch's steps in a phase that does not train.

    Work that :meth:`scoring` yields and :meth:`select_task` describes is done for many runs at once, on a GPU if there
    is one.

    Parameters
    ----------
    options : StrategyOptions
        An object of the strategy's own class of options: complete and checked.
    schedule : mapping
        Fields of :class:`LatticeSchedule`; missing ones take their defaults.
    dataset : DataSet
        Gives the prior to strategies that use one.
    seed : int
        The run's seed; strategies draw from named streams of it.

    Raises
    ------
    UsageError
        For options of another class, or such as do not go with the schedule.
    PriorError
        When the strategy needs a prior and the data set has none.
    """

    name: ClassVar[str] = ""
    Options: ClassVar[type[StrategyOptions]] = StrategyOptions
    #: True when the strategy prunes at the epochs of its schedule.
    scheduled: ClassVar[bool] = False

    def __init__(self, options: StrategyOptions, schedule: Mapping[str, Any], dataset: DataSet, seed: int) -> None:
        if not isinstance(options, self.Options):
            raise UsageError(f"strategy {self.name}: give its options as {self.Options.__name__}, got {options!r}")
        self.options = options
        self.schedule = LatticeSchedule(**schedule)
        for key, value in options:
            if wrong := options.unfit(key, value, self.schedule.first_epoch):
                raise UsageError(f"strategy {self.name}: {key} = {value!r} {wrong}")
        if wasted := options.wasted():
            raise UsageError(f"strategy {self.name}: {wasted[0]} = {getattr(options, wasted[0])!r} {wasted[1]}")
        self.dataset = dataset
        self.seed = seed

    def initial(self, model: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Matrix]:
        """Draw the initial weights: dense, as the model family does.

        A strategy that fixes the structure from the start hands it to the family and gets matrices as ``csr_array``;
        then nothing of size m·G exists in the whole run, and gradients, moments, scores, masks and checkpoints hold
        the stored entries alone.

        Parameters
        ----------
        model : mapping
            The section ``[model]`` of the run.
        rng : numpy.random.Generator
            The run's stream "weights".
        """
        return family_of_spec(model).initial(model, self.dataset.train.n_genes, rng)

    def start(self, weights: dict[str, Matrix], masks: dict[str, np.ndarray], context: Context) -> None:
        """Change initial weights and masks in place, and draw what the strategy needs."""

    def fraction(self, epoch: int, last_epoch: int) -> float | None:
        """Return the share of active weights to remove at the start of ``epoch`` (from 1), None for no event."""
        return self.schedule.fraction_at(epoch, last_epoch) if self.scheduled else None

    def scores(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> EventScores:
        """Return float64 scores per tensor (lower is removed first), in processing order, and a dict for each.

        A score has the shape of its tensor's values, like a mask. The dicts are the strategy's own diagnosis: numbers
        and words by name, a column of the event records each, beside the common ones
        (:data:`dash_hpc.pruning.events.EVENT_COLUMNS`). Tensors without a score are not pruned. Called once per event:
        a strategy may advance its own state here.
        """
        return {}, []

    def scoring(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> Generator[Any, Any, EventScores]:
        """Return what :meth:`scores` does, and yield, on the way, work to be done elsewhere: a task, for its result.

        Tasks are those that training knows (``dash_hpc.training.work``): scores of both branches, gradients of a batch,
        an interval to solve. Here: none, the strategy computes in :meth:`scores`.
        """
        yield from ()
        return self.scores(weights, masks)

    def select(self, scores: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], fraction: float) -> Selection:
        """Return (new mask, threshold) per tensor. Here: locally, the same fraction of each tensor's active entries."""
        return self._local_selection(scores, masks, fraction).run()

    def select_task(
        self, scores: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], fraction: float
    ) -> SelectTask | None:
        """Describe what :meth:`select` would do; None (also where a strategy has its own) to have it called."""
        own = type(self).select is not Strategy.select
        return None if own else self._local_selection(scores, masks, fraction)

    def after_event(self, state: TrainState, epoch: int) -> None:
        """Change the state after pruned weights were set to 0, for example rewind the others."""

    def after_epoch(self, state: TrainState, epoch: int) -> None:
        """Look at the state after the epoch's steps."""

    def rates(self, rates: dict[str, float], *, after_event: bool) -> dict[str, float]:
        """Return the learning rate of every tensor, at the start of a phase or right after an event.

        ``rates`` are those of the model family's groups, from ``training.lr`` and ``training.v_lr_factor``.
        """
        return rates

    def tau(self, epoch: int) -> float | None:
        """Return the share of the data in the loss of ``epoch``, the rest is the prior loss; None for training.tau.

        The prior loss compares at the points that ``training.prior_points`` and its neighbours say.
        """
        return None

    def enter(
        self, phase: int, weights: dict[str, Matrix], masks: dict[str, np.ndarray]
    ) -> tuple[dict[str, Matrix], dict[str, np.ndarray]] | None:
        """Change the model at the beginning of a phase (from 1; the first, 0, has :meth:`start`); None leaves it alone.

        The phases are those of the options (:meth:`StrategyOptions.phases`). What is given must not be changed in
        place; what is returned may be of other structure, with more or fewer units, or compressed: the family's tensors
        by name, and a mask for each that may be pruned. Adam starts afresh then. Draws belong to a stream of
        ``self.seed`` and ``phase``.
        """
        return None

    def build(
        self, weights: dict[str, Matrix], masks: dict[str, np.ndarray]
    ) -> tuple[dict[str, Matrix], dict[str, np.ndarray]] | None:
        """Give the model of a phase that does not train (:attr:`Phase.trains`); None leaves it as it is.

        A strategy may so compute a model instead of training it, before, between or without other phases. What is given
        and returned is as in :meth:`enter`. It is called once per run, also of one that was stopped before and goes on.
        """
        return None

    def evidence(self) -> Evidence | None:
        """Return what the strategy knows of single edges, to be stored beside the model; asked once, at the end."""
        return None

    def notes(self) -> tuple[str, ...]:
        """Return what has to be said beside the run's results, a sentence each; asked once, at the end."""
        return ()

    @property
    def stepwise(self) -> bool:
        """Whether an epoch goes batch by batch: where one of the hooks of a step is the strategy's own."""
        hooks = ("parameters", "effective", "penalty", "after_step")
        return any(getattr(type(self), hook) is not getattr(Strategy, hook) for hook in hooks)

    def parameters(self) -> list[tuple[Tensor, float | None]]:
        """Return the strategy's own trainable tensors (gates, thresholds), each with its learning rate.

        Adam steps them with the weights. None is the weights' base rate, with its plateau rule and its restarts; a
        number stays as it is. Always the same tensors in the same order, but for :meth:`enter`.
        """
        return []

    def effective(self, params: dict[str, Tensor], step: Step) -> dict[str, Tensor]:
        """Forward hook: return the weights with which the model runs, differentiable in ``params``."""
        return params

    def penalty(self, params: dict[str, Tensor], step: Step) -> Tensor | None:
        """Loss hook: return a scalar to add to the loss of each batch, or None. Called after :meth:`effective`."""
        return None

    def pull_back(
        self, params: dict[str, Tensor], gradients: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Take gradients for :meth:`effective` back, and add those of :meth:`penalty`, without PyTorch's autograd.

        A strategy need not have it: autograd then does the same. Written out, it saves half of what gates cost. It
        comes after :meth:`effective` of the same batch, whose results it may use up; :meth:`penalty` is not called.

        Parameters
        ----------
        params : dict of Tensor
            As the hooks have them.
        gradients : dict of Tensor
            Of τ·MSE + (1 − τ)·prior loss for the effective tensors; may be changed in place.

        Returns
        -------
        (dict of Tensor, list of Tensor)
            Gradients for all of ``params`` and for each of :meth:`parameters`.
        """
        raise NotImplementedError

    def after_step(self, state: TrainState, step: Step) -> None:
        """Change weights in place after the optimiser's step (project, threshold), or the strategy's own tensors.

        What a mask has removed must stay 0.
        """

    def final(
        self, weights: Tensors, masks: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Matrix], dict[str, np.ndarray]]:
        """Return the model as it is validated, kept and stored: gates and thresholds resolved.

        Weights are copies, 0 wherever the mask of the same name is False. What a gate has closed is not active: take it
        out of the mask too (:func:`closed` does).
        """
        return masked_tensors(weights, masks), dict(masks)

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a checkpoint must hold to go on bit for bit."""
        return {}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`state_arrays` returned."""

    @staticmethod
    def counts(scores: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], fraction: float) -> dict[str, int]:
        """Return how many active entries of each scored tensor ``fraction`` of them are."""
        return {name: n_to_prune(fraction, int(np.count_nonzero(masks[name]))) for name in scores}

    def _local_selection(
        self, scores: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], fraction: float
    ) -> SelectTask:
        return SelectTask(scores, masks, self.counts(scores, masks, fraction))

    def _need_prior(self) -> Prior:
        prior = self.dataset.prior
        if prior is None:
            raise PriorError(
                f"strategy {self.name} needs prior knowledge but data set {self.dataset.name!r} has none; "
                "give data.prior, or use the strategy imp"
            )
        return prior


def closed(weights: Tensors, masks: Mapping[str, np.ndarray]) -> tuple[dict[str, Matrix], dict[str, np.ndarray]]:
    """Return the masked weights, and the masks without the entries whose weight is exactly 0.

    For :meth:`Strategy.final` of a strategy whose gates or thresholds close weights: they are removed, not small.
    """
    masked = masked_tensors(weights, masks)
    return masked, {name: mask & (values(masked[name]) != 0) for name, mask in masks.items()}


def pulls_back(strategy: Strategy) -> bool:
    """Whether a strategy has written out its :meth:`Strategy.pull_back`."""
    return type(strategy).pull_back is not Strategy.pull_back
