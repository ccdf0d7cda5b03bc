"""Everything that the next epoch depends on, as plain arrays and JSON-able facts.

Random numbers come from streams keyed by (seed, name, epoch), so a checkpoint holds no generator: a resumed run draws
what the undisturbed one would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dash_hpc.errors import CheckpointUnfit, UsageError
from dash_hpc.ops.state import Tensors, TrainState, copy_tensor, values
from dash_hpc.training.early_stop import BestKept
from dash_hpc.training.fit import TIMERS, Fit, Kept
from dash_hpc.training.plateau import Plateau
from dash_hpc.training.structure import put_structure, shapes_of, take_structure

if TYPE_CHECKING:
    from dash_hpc.training.trainer import Trainer

__all__ = ["Checkpoint", "CheckpointTimer", "capture", "restore"]

#: Share of the time that checkpoints may take.
_SHARE = 0.02
#: Columns of the history that hold whole numbers.
_WHOLE = ("epoch", "phase")


@dataclass(frozen=True)
class Checkpoint:
    """A training run after a complete epoch.

    Attributes
    ----------
    epoch : int
        The last complete one.
    facts : dict
        JSON-able: steps, plateau rule, early stop, events, seconds.
    arrays : dict of ndarray
        Weights, moments, masks, history, kept model, the strategy's own state. Of a pruned matrix only the active
        entries (in C order), of a compressed one its values alone, masks as packed bits. The structure follows from
        the spec, and is there only where a strategy has changed it.
    """

    epoch: int
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(repr=False)


def capture(trainer: Trainer, fit: Fit, best: BestKept, plateau: Plateau) -> Checkpoint:
    """Copy the state of ``trainer`` between two epochs."""
    state = trainer.state
    arrays: dict[str, np.ndarray] = {}
    _put_model(arrays, "weights", state.weights, state.masks)
    _put_model(arrays, "moment1", state.moment1, state.masks)
    _put_model(arrays, "moment2", state.moment2, state.masks)
    _put_masks(arrays, "masks", state.masks)
    structure = {"weights": put_structure(arrays, "weights", state.weights, trainer.structure)}
    for key, value in trainer.strategy.state_arrays().items():
        arrays[f"strategy/{key}"] = np.array(value)
    own = trainer.own_state()
    for key, value in own.items():
        arrays[f"own/{key}"] = value
    for column, entries in fit.history.items():
        arrays[f"history/{column}"] = np.asarray(entries, dtype=np.int64 if column in _WHOLE else np.float64)
    kept = None
    if fit.kept is not None:
        kept = {"epoch": fit.kept.epoch, "validation_mse": fit.kept.validation_mse}
        _put_model(arrays, "kept_weights", fit.kept.weights, fit.kept.masks)
        _put_masks(arrays, "kept_masks", fit.kept.masks)
        structure["kept"] = put_structure(arrays, "kept", fit.kept.weights, trainer.structure)
    facts: dict[str, Any] = {
        "tensors": shapes_of(trainer.structure),
        "structure": structure,
        "phase": [fit.phase, fit.phase_began],
        "dtype": str(state.dtype),
        "step": int(state.step),
        "plateau": {"lr": dict(plateau.lr), "best": plateau.best, "bad_epochs": plateau.bad_epochs},
        "best": {"best": best.best, "best_epoch": best.best_epoch},
        "kept": kept,
        "events": [{key: _plain(value) for key, value in event.items()} for event in fit.events],
        "seconds": dict(fit.seconds),
    }
    return Checkpoint(fit.epoch, facts, arrays)


def restore(trainer: Trainer, checkpoint: Checkpoint) -> tuple[Fit, BestKept, Plateau]:
    """Bring a fresh ``trainer`` to the state of the checkpoint; return how far it is, and its rules.

    Raises
    ------
    CheckpointUnfit
        When the checkpoint belongs to a model of other shape or precision, or lacks something. The trainer must not
        be used then.
    """
    facts, arrays, usual = checkpoint.facts, checkpoint.arrays, trainer.structure
    dtype = trainer.state.dtype
    found = facts.get("tensors"), facts.get("dtype")
    if found != (shapes_of(usual), str(dtype)):
        raise CheckpointUnfit(f"checkpoint of another model: {found[1]}, shapes {found[0]}")
    prunable = list(trainer.state.masks)
    try:
        structure = take_structure(arrays, "weights", facts["structure"]["weights"], usual, dtype)
        shapes = {name: values(tensor).shape for name, tensor in structure.items()}
        masks = _take_masks(arrays, "masks", shapes, prunable)
        weights, first, second = (
            _take_model(arrays, part, shapes, masks, dtype) for part in ("weights", "moment1", "moment2")
        )
        models = {name: copy_tensor(structure[name], value) for name, value in weights.items()}
        trainer.state = TrainState(models, first, second, int(facts["step"]), masks)
        number, began = map(int, facts["phase"])
        if not (0 <= number < len(trainer.phases) and 0 <= began <= checkpoint.epoch):
            raise ValueError(f"there is no phase {number} after epoch {began}")
        trainer.begin(number)
        trainer.strategy.load_state(_below(arrays, "strategy/"))
        trainer.load_own_state(_below(arrays, "own/"))
        best, plateau = trainer.race(began), trainer.fresh_plateau(after_event=False)
        plateau.lr = {name: float(facts["plateau"]["lr"][name]) for name in usual}
        plateau.best = float(facts["plateau"]["best"])
        plateau.bad_epochs = int(facts["plateau"]["bad_epochs"])
        best.best, best.best_epoch = float(facts["best"]["best"]), int(facts["best"]["best_epoch"])
        kept = None
        if facts["kept"] is not None:
            structure = take_structure(arrays, "kept", facts["structure"]["kept"], usual, dtype)
            shapes = {name: values(tensor).shape for name, tensor in structure.items()}
            kept_masks = _take_masks(arrays, "kept_masks", shapes, prunable)
            kept_values = _take_model(arrays, "kept_weights", shapes, kept_masks, dtype)
            kept = Kept(
                {name: copy_tensor(structure[name], value) for name, value in kept_values.items()},
                kept_masks,
                int(facts["kept"]["epoch"]),
                float(facts["kept"]["validation_mse"]),
            )
        history = {column: arrays[f"history/{column}"].tolist() for column in trainer.history_columns}
        if {len(column) for column in history.values()} != {checkpoint.epoch}:
            raise ValueError("the history does not reach the epoch")
        fit = Fit(
            history=history,
            events=[dict(event) for event in facts["events"]],
            kept=kept,
            epoch=checkpoint.epoch,
            phase=number,
            phase_began=began,
            seconds={name: float(facts["seconds"][name]) for name in ("total", *TIMERS)},
        )
        return fit, best, plateau
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, UsageError) as error:
        raise CheckpointUnfit(f"checkpoint after epoch {checkpoint.epoch} is not complete: {error}") from error


class CheckpointTimer:
    """Says after which epochs to make a checkpoint: at an interval, and at pruning events.

    Checkpoints take at most 2 % of the time: when one is slow, the interval grows to 50 times its cost, and one at a
    pruning event waits until it fits.

    Parameters
    ----------
    interval : float
        Seconds between checkpoints, 0 for one after each epoch (regardless of cost).
    clock : callable
        Monotonic seconds.
    side_by_side : int, default 1
        Runs that share the time: each gets its part of the 2 %.
    """

    def __init__(self, interval: float, clock: Callable[[], float], side_by_side: int = 1) -> None:
        self.interval = interval
        self._share = _SHARE / side_by_side
        self._clock = clock
        self._last = clock()
        self._cost = 0.0

    def due(self, *, at_event: bool) -> bool:
        """Return whether it is time, after an epoch that did or did not begin with a pruning event."""
        since = self._clock() - self._last
        rest = self._cost / self._share if self.interval > 0 else 0.0
        return since >= (rest if at_event else max(self.interval, rest))

    def made(self, began: float) -> None:
        """Note that a checkpoint was begun at ``began`` and is finished now."""
        self._last = self._clock()
        self._cost = self._last - began


def _put_model(arrays: dict[str, np.ndarray], part: str, tensors: Tensors, masks: Mapping[str, np.ndarray]) -> None:
    for name, tensor in tensors.items():
        value = values(tensor)
        if name in masks and not masks[name].all():
            gone = value[~masks[name]]
            if not gone.any() and not np.signbit(gone).any():
                arrays[f"{part}/{name}/active"] = value[masks[name]]
                continue
        arrays[f"{part}/{name}"] = value.copy()


def _take_model(
    arrays: Mapping[str, np.ndarray],
    part: str,
    shapes: Mapping[str, tuple[int, ...]],
    masks: Mapping[str, np.ndarray],
    dtype: np.dtype,
) -> dict[str, np.ndarray]:
    tensors = {}
    for name in shapes:
        whole = arrays.get(f"{part}/{name}")
        value = np.zeros(shapes[name], dtype=dtype)
        if whole is None:
            active = arrays[f"{part}/{name}/active"]
            if active.dtype != dtype:
                raise ValueError(f"{part}/{name} is {active.dtype}")
            value[masks[name]] = active
        else:
            if whole.shape != shapes[name] or whole.dtype != dtype:
                raise ValueError(f"{part}/{name} is {whole.dtype}{list(whole.shape)}")
            value[...] = whole
        tensors[name] = value
    return tensors


def _put_masks(arrays: dict[str, np.ndarray], part: str, masks: Mapping[str, np.ndarray]) -> None:
    for name, mask in masks.items():
        arrays[f"{part}/{name}"] = np.packbits(mask)


def _take_masks(
    arrays: Mapping[str, np.ndarray], part: str, shapes: Mapping[str, tuple[int, ...]], names: Iterable[str]
) -> dict[str, np.ndarray]:
    masks = {}
    for name in names:
        size = int(np.prod(shapes[name]))
        bits = np.unpackbits(arrays[f"{part}/{name}"], count=size)
        masks[name] = bits.astype(bool).reshape(shapes[name])
    return masks


def _below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
