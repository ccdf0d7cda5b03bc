"""A short life of a store, step by step, and what must be readable after each step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dash_hpc.errors import StoreError
from dash_hpc.ids import spec_id
from dash_hpc.store import (
    Evidence,
    RunWriter,
    compact,
    open_store,
    publish,
    publish_sealed_text,
    rebuild_index,
    verify,
    write_plan,
)
from dash_hpc.store.checkpoint import CheckpointFile
from dash_hpc.store.index import row_or_problem
from dash_hpc.store.scan import choose, read_data, scan, scan_bundles


def run_spec(seed: int) -> dict[str, Any]:
    return {
        "data": {"kind": "simulate", "genes": 5, "times": [0.0, 2.0]},
        "data_digest": "",
        "model": {"hidden": 3, "dtype": "float32"},
        "training": {"epochs": 4},
        "strategy": {"name": "dash", "lambda_ppi": 0.25, "lambda_motif": 0.5},
        "seed": seed,
    }


def run_result(seed: int, genes: int = 5, hidden: int = 3) -> dict[str, Any]:
    """What a finished run hands to ``RunWriter.finish``."""
    rng = np.random.default_rng(seed)
    shapes = {
        "W_sums": (hidden, genes),
        "W_prods": (hidden, genes),
        "U_sums": (genes, hidden),
        "U_prods": (genes, hidden),
    }
    masks = {name: rng.random(shape) < 0.4 for name, shape in shapes.items()}
    weights = {
        name: np.where(mask, rng.standard_normal(mask.shape), 0).astype(np.float32) for name, mask in masks.items()
    }
    weights |= {name: rng.standard_normal(hidden).astype(np.float32) for name in ("b_sums", "b_prods")}
    weights["v"] = rng.standard_normal(genes).astype(np.float32)
    return {
        "history": {"epoch": [1, 2, 3], "train_mse": rng.random(3).tolist(), "seconds": [0.1, 0.2, 0.3]},
        "events": [{"epoch": 2, "tensor": "W_sums", "n_pruned": 9, "condition": 3.5, "method": "cholesky"}],
        "weights": weights,
        "masks": masks,
        "epoch": 2,
        "metrics": {"validation_mse": float(rng.random()), "sparsity": 0.6},
        "genes": [f"g{k}" for k in range(genes)],
        "stop_reason": "epochs",
        "timing": {"seconds_total": 1.5},
        "evidence": run_evidence(rng) if seed < 2 else None,
    }


def run_evidence(rng: np.random.Generator, edges: int = 4) -> Evidence:
    """What a run of strategy evidence says of its edges."""
    log_bf, prior = rng.normal(0, 3, edges), rng.normal(-2, 1, edges)
    table = {
        "regulator": np.array(["g0", "g1", "g2", "g0"], dtype=object),
        "target": np.array(["g3", "g3", "g4", "g4"], dtype=object),
        "listed": np.array([True, True, False, True]),
        "taken": np.array([True, False, True, True]),
        "sign": np.array([1, -1, 0, 0]),
        "log_bf": log_bf,
        "prior_log_odds": prior,
        "log_odds": log_bf + prior,
        "probability": 1 / (1 + np.exp(-log_bf - prior)),
        "effect": rng.normal(0, 1, edges),
        "standard_error": rng.random(edges),
        "power": np.array([3.0, 1.5, np.nan, 0.2]),
        "verdict": np.array(["supported", "refused", "supported", "undecided"], dtype=object),
        "alike": np.array(["g1", "", "g1", "g2"], dtype=object),
        "correlation": np.array([0.95, np.nan, -0.4, 0.1]),
    }
    return Evidence(table, {"mode": "network", "taken": 3, "corruption": 0.1, "median_power": None})


SPECS = [run_spec(seed) for seed in range(3)]
A, B, C = IDS = [spec_id(spec) for spec in SPECS]
CHECKPOINT_EPOCHS = {"checkpoint 1": 1, "checkpoint 2": 2, "checkpoint 3": 3}


def _writer(folder: Path, run_id: str) -> RunWriter:
    return RunWriter(folder, run_id, SPECS[IDS.index(run_id)], {"host": "here"}, interval=0.0)


def _begin(folder: Path, run_id: str) -> None:
    _writer(folder, run_id).begin()


def _update(folder: Path, run_id: str) -> None:
    result = run_result(IDS.index(run_id))
    _writer(folder, run_id).update({key: values[:1] for key, values in result["history"].items()})


def _finish(folder: Path, run_id: str) -> None:
    _writer(folder, run_id).finish(**run_result(IDS.index(run_id)))


def _fail(folder: Path, run_id: str) -> None:
    _writer(folder, run_id).fail("epoch 3: the loss is not finite")


def _checkpoint(folder: Path, epoch: int) -> None:
    file = CheckpointFile(folder, C)
    file.load()
    file.save(epoch, {"epoch": epoch}, {"w": np.full(300, epoch, dtype=np.float32)}, {})


# Each step may be taken again, from any state that a fault in it has left.
STEPS: dict[str, Callable[[Path], object]] = {
    "plan": lambda folder: write_plan(folder, list(zip(IDS, SPECS, strict=True)), study="life", base=Path("/")),
    "study": lambda folder: publish_sealed_text(folder / "study.toml", '[study]\nname = "life"\n'),
    "begin A": lambda folder: _begin(folder, A),
    "update A": lambda folder: _update(folder, A),
    "finish A": lambda folder: _finish(folder, A),
    "begin B": lambda folder: _begin(folder, B),
    "fail B": lambda folder: _fail(folder, B),
    "index": lambda folder: open_store(folder).write_index(),
    "compact": compact,
    "begin C": lambda folder: _begin(folder, C),
    **{
        name: lambda folder, epoch=epoch: _checkpoint(folder, epoch)  # type: ignore[misc]
        for name, epoch in CHECKPOINT_EPOCHS.items()
    },
    "finish C": lambda folder: _finish(folder, C),
    "remove checkpoints": lambda folder: CheckpointFile(folder, C).remove(),
    "begin B again": lambda folder: _begin(folder, B),
    "finish B": lambda folder: _finish(folder, B),
    "index again": rebuild_index,
    "compact again": compact,
}
NAMES = list(STEPS)


@dataclass
class Life:
    """The undisturbed life: for each step the contents that runs have after it, by run id (None: not there)."""

    states: list[dict[str, bytes | None]] = field(default_factory=list)

    @classmethod
    def live(cls, folder: Path) -> Life:
        life = cls()
        for step in STEPS.values():
            step(folder)
            life.states.append(contents(folder))
        return life

    def allowed(self, step: int) -> dict[str, set[bytes | None]]:
        """Contents that a reader may find while step number ``step`` is under way: those before and those after it."""
        before = self.states[step - 1] if step else dict.fromkeys(IDS)
        after = self.states[min(step, len(self.states) - 1)]
        return {run_id: {before[run_id], after[run_id]} for run_id in IDS}


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return the bytes of each run's record as the store shows it."""
    found: dict[str, bytes | None] = dict.fromkeys(IDS)
    chosen, _ = choose(scan(folder)[0], scan_bundles(folder)[0], row_or_problem)
    for run_id, (file, row) in chosen.items():
        found[run_id] = read_data(file) if isinstance(row, dict) else str(row).encode()
    return found


def complaints(folder: Path, life: Life, step: int) -> list[str]:
    """Return what is wrong in a folder whose life was stopped in the middle of step number ``step``."""
    wrong = []
    found = contents(folder)
    for run_id, allowed in life.allowed(step).items():
        if found[run_id] not in allowed:
            wrong.append(f"run {'ABC'[IDS.index(run_id)]}: neither the old nor the new record")
    name = NAMES[step] if step < len(NAMES) else ""
    acknowledged = max((epoch for key, epoch in CHECKPOINT_EPOCHS.items() if NAMES.index(key) < step), default=0)
    if name != "remove checkpoints" and step < NAMES.index("remove checkpoints"):
        file = CheckpointFile(folder, C)
        stored = file.load()
        wrong += file.problems
        epoch = stored.epoch if stored is not None else 0
        if not acknowledged <= epoch <= acknowledged + 1:
            wrong.append(f"checkpoint of epoch {epoch} where {acknowledged} was acknowledged")
    if step > NAMES.index("study"):
        try:
            wrong += [finding.text for finding in verify(folder).findings if finding.kind == "damage"]
        except StoreError as error:
            wrong.append(str(error))
    return wrong


def finish_life(folder: Path, life: Life, step: int) -> list[str]:
    """Take the remaining steps again, beginning with ``step``; return what differs from the undisturbed life."""
    for name in NAMES[step:]:
        STEPS[name](folder)
    wrong = [
        f"run {run_id} differs at the end"
        for run_id, data in contents(folder).items()
        if data != life.states[-1][run_id]
    ]
    found = verify(folder)
    wrong += [finding.text for finding in found.findings if finding.kind == "damage"]
    if (found.done, found.missing) != (3, 0):
        wrong.append(f"{found.done} of 3 runs done at the end")
    return wrong


@contextmanager
def through(layer: Any) -> Any:
    """Let the store reach the disk through ``layer``."""
    before = publish.layer
    publish.layer = layer
    try:
        yield layer
    finally:
        publish.layer = before


@contextmanager
def scratch() -> Any:
    """A folder in memory where there is one, since thousands of states are written."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="dash-hpc-faults-", dir=memory if memory.is_dir() else None) as place:
        yield Path(place)
