"""What the floors above know of a model: its tensors, its start, its work, its layers and its edges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.models.layers import Influence, Layer
from dash_hpc.ops.mse import observed_counts
from dash_hpc.ops.state import Matrix, Tensors, values
from dash_hpc.ops.torch_gradients import TorchGradientTask
from dash_hpc.study.models.section import ModelSection

if TYPE_CHECKING:
    from torch import Tensor as TorchTensor

    from dash_hpc.data import TimeCourse
    from dash_hpc.ops.prior_loss import PriorLoss
    from dash_hpc.ops.solver import SolverOptions
    from dash_hpc.ops.timeunit import TimeUnit
    from dash_hpc.ops.train import EpochTask

__all__ = ["Examples", "Family", "Tensor"]


@dataclass(frozen=True)
class Tensor:
    """One tensor of a family.

    Attributes
    ----------
    name : str
        In files and event records. The names of a family are those of no other.
    axes : tuple of str
        What the axes run over: "genes", and whatever else :meth:`Family.sizes` gives a length to.
    prunable : bool, default False
        Whether strategies may remove entries of it: a matrix, one of :meth:`Family.layers`.
    rate : {"base", "fast", "fixed"}, default "base"
        Learning-rate group: ``training.lr``, that times ``training.v_lr_factor``, or not trained.
    """

    name: str
    axes: tuple[str, ...]
    prunable: bool = False
    rate: Literal["base", "fast", "fixed"] = "base"


@dataclass(frozen=True, eq=False)
class Examples:
    """What a model learns from: N times a start, an interval and an end.

    Attributes
    ----------
    y0, y1 : (N, G) arrays
        States, in the model's dtype; NaN in ``y1`` = not observed.
    dt : (N,) float64
        Intervals, in the unit of time that models train in.
    trajectory : (N,) int
        Which of them belong together, for batches of whole trajectories.
    weight : (N,) float64
        Share of the end's values that were observed.
    """

    y0: np.ndarray
    y1: np.ndarray
    dt: np.ndarray
    trajectory: np.ndarray
    weight: np.ndarray


class Family(ABC):
    """A kind of model. Objects have no state: the tensors alone say what a model computes.

    A subclass states ``name`` (that of ``model.family`` in a study), ``Section`` (the model of ``[model]``),
    ``tensors`` and ``per_time``, and gives what is abstract here. Everything else follows from these.
    """

    name: ClassVar[str] = ""
    Section: ClassVar[type[ModelSection]]
    #: In the order of the optimiser's parameter groups. Each axis has a tensor of that axis alone (a bias, say), so
    #: that a file shows how long it is.
    tensors: ClassVar[tuple[Tensor, ...]] = ()
    #: Tensors whose values are per unit of time: those that change when a model is told in another unit.
    per_time: ClassVar[tuple[str, ...]] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tensors."""
        return tuple(tensor.name for tensor in self.tensors)

    @property
    def prunable(self) -> tuple[str, ...]:
        """Names of the tensors that strategies may prune."""
        return tuple(tensor.name for tensor in self.tensors if tensor.prunable)

    @abstractmethod
    def sizes(self, model: Mapping[str, Any], n_genes: int) -> dict[str, int]:
        """Return the length of every axis, from the section ``[model]`` of a study and the number of genes."""

    @abstractmethod
    def initial(
        self, model: Mapping[str, Any], n_genes: int, rng: np.random.Generator, structure: csr_array | None = None
    ) -> dict[str, Matrix]:
        """Draw the initial weights, in ``model["dtype"]``.

        Parameters
        ----------
        model : mapping
            The section ``[model]`` of the study.
        n_genes : int
        rng : numpy.random.Generator
            The run's stream "weights".
        structure : (G, G) csr_array, optional
            Target × regulator: the edges that the model may have. Its matrices are then ``csr_array`` of these edges,
            and nothing of their full size is allocated; the family chooses the number of its units.

        Raises
        ------
        UsageError
            When a size or option is wrong, or the family cannot be built from a structure.
        """

    @abstractmethod
    def epoch_task(self, epoch: EpochTask) -> Any:
        """Return the task that does what ``epoch`` describes: one of those that training knows how to do.

        Native operators do an ``EpochTask`` as it is.
        """

    def gradient_task(
        self, weights: Tensors, masks: Mapping[str, np.ndarray], epoch: EpochTask, index: np.ndarray, widest: int
    ) -> Any:
        """Describe loss and gradients of one batch of ``epoch``: a task that gives ``BatchGradients``, here by PyTorch.

        Parameters
        ----------
        weights, masks
            Those with which the model runs, in the form of the state's.
        epoch : EpochTask
            Gives pairs, solver, τ and prior loss.
        index : (B,) int array
            The pairs of the batch.
        widest : int
            Pairs of the epoch's largest batch.
        """
        return TorchGradientTask(
            self.loss, weights, masks, epoch.y0, epoch.y1, epoch.dt, index, epoch.solver, epoch.tau, epoch.prior
        )

    @abstractmethod
    def predict_task(
        self, weights: Tensors, y0: np.ndarray, dt: np.ndarray, solver: Mapping[str, Any] | SolverOptions
    ) -> Any:
        """Describe the solution of intervals ``dt`` (B,) from states ``y0`` (B, G): a task whose ``run`` returns it."""

    @abstractmethod
    def loss(
        self,
        params: Mapping[str, TorchTensor],
        y0: TorchTensor,
        y1: TorchTensor,
        dt: TorchTensor,
        solver: Mapping[str, Any] | SolverOptions,
    ) -> TorchTensor:
        """Return the mean squared error of one-step predictions, differentiable in ``params``.

        NaN in ``y1`` (B, G) is a value that was not observed. Raises SolveError when an interval cannot be solved.
        """

    @abstractmethod
    def prior_loss(self, network: csr_array, **options: Any) -> PriorLoss:
        """Return the loss that compares a model with a signed prior network; parameters as :class:`PriorLoss` has."""

    @abstractmethod
    def layers(self, weights: Tensors) -> tuple[Layer, ...]:
        """Return the prunable matrices as layers, in the order in which pruning events treat them."""

    def told(self, model: Mapping[str, Any]) -> str:
        """Return what kind of model the section ``[model]`` means and how large it is, for a report."""
        return f"{self.name}, hidden = {model['hidden']}"

    def shapes(self, model: Mapping[str, Any], n_genes: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of a dense model."""
        sizes = self.sizes(model, n_genes)
        return {tensor.name: tuple(sizes[axis] for axis in tensor.axes) for tensor in self.tensors}

    def bytes(self, model: Mapping[str, Any], n_genes: int) -> int:
        """Return the bytes of a dense model's prunable matrices, beside which the rest is small."""
        return self.prunable_count(model, n_genes) * np.dtype(model["dtype"]).itemsize

    def prunable_count(self, model: Mapping[str, Any], n_genes: int) -> int:
        """Return the number of entries of a dense model that strategies may prune."""
        shapes = self.shapes(model, n_genes)
        return sum(prod(shapes[name]) for name in self.prunable)

    def check(self, weights: Tensors) -> dict[str, int]:
        """Return the length of every axis after checking the shapes of the tensors that are there.

        Raises
        ------
        UsageError
            When one has another number of axes, or an axis of another length, than the others mean.
        """
        sizes: dict[str, int] = {}
        for tensor in self.tensors:
            if tensor.name not in weights:
                continue
            shape = weights[tensor.name].shape
            if len(shape) != len(tensor.axes) or any(
                sizes.setdefault(axis, size) != size for axis, size in zip(tensor.axes, shape, strict=True)
            ):
                expected = ", ".join(f"{axis} = {sizes[axis]}" if axis in sizes else axis for axis in tensor.axes)
                raise UsageError(f"{tensor.name} must be [{expected}], got {list(shape)}")
        return sizes

    def n_genes(self, weights: Tensors) -> int:
        """Return G."""
        for tensor in self.tensors:
            if "genes" in tensor.axes and tensor.name in weights:
                return int(weights[tensor.name].shape[tensor.axes.index("genes")])
        raise UsageError(f"a model of {self.name} has {', '.join(self.names)}; none of them is there")

    def examples(self, course: TimeCourse, unit: TimeUnit, dtype: np.dtype) -> Examples:
        """Return what a model learns from and is validated on: here the pairs of neighbouring time points."""
        pairs = course.pairs()
        y0, y1 = (np.ascontiguousarray(states, dtype=dtype) for states in (pairs.y0, pairs.y1))
        weight = observed_counts(pairs.y1) / pairs.y1.shape[1]
        return Examples(y0, y1, unit.intervals(pairs.t1 - pairs.t0), pairs.trajectory, weight)

    def base_rate(self, lr: Mapping[str, float]) -> float:
        """Return the learning rate of the group "base" from the rates of all tensors."""
        return lr[next(tensor.name for tensor in self.tensors if tensor.rate == "base")]

    def learning_rates(self, base: float, fast: float) -> dict[str, float]:
        """Return the learning rate of every tensor, by its group."""
        rates = {"base": base, "fast": fast, "fixed": 0.0}
        return {tensor.name: rates[tensor.rate] for tensor in self.tensors}

    def influence(self, weights: Tensors) -> Influence:
        """Return how genes act on genes, as far as the weights tell: here through the two layers of each branch."""
        layers = self.layers(weights)
        outer = [layer for layer in layers if layer.relation == "chain"]
        inner = {layer.branch: layer for layer in layers if layer.relation == "gram"}
        gain = outer[0].gain
        return Influence(
            tuple(layer.tensor for layer in outer),
            tuple(inner[layer.branch].tensor for layer in outer),
            np.ones(self.n_genes(weights)) if gain is None else gain,
        )

    def weight_counts(self, weights: Tensors) -> tuple[int, int]:
        """Return how many prunable entries are active, and how many there are.

        An entry is active when it is not 0 and its row has a gain. What a compressed matrix does not store is not
        active: both counts are those of the full matrices.
        """
        layers = self.layers(weights)
        return sum(layer.active for layer in layers), sum(prod(layer.tensor.shape) for layer in layers)

    def zero_share(self, weights: Tensors) -> float:
        """Return the share of prunable entries that are not active: 0 for a dense model."""
        active, total = self.weight_counts(weights)
        return (total - active) / total if total else 0.0

    def rescaled(self, weights: Tensors, factor: float) -> dict[str, Matrix]:
        """Return the same model in a unit of time ``factor`` times as long; other tensors are not copied."""
        changed = {}
        for name in self.per_time if factor != 1.0 else ():
            own = values(weights[name])
            changed[name] = (own.astype(np.float64) * factor).astype(own.dtype)
        return {**weights, **changed}
