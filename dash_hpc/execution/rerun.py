"""Execute one recorded run again, elsewhere, and compare the bits."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dash_hpc.errors import StoreError, UsageError
from dash_hpc.execution.local.executor import LocalExecutor
from dash_hpc.execution.packing import check_wishes
from dash_hpc.execution.work.many_runs import run_pack
from dash_hpc.store import RunRecord, compare_records, is_store, open_store, plan_header, read_run, run_path, write_plan
from dash_hpc.study import check_spec

__all__ = ["Rerun", "rerun"]


@dataclass(frozen=True)
class Rerun:
    """A run, done twice.

    Attributes
    ----------
    run_id : str
    differences : list of str
        One line per part that differs in any bit, apart from seconds and provenance; empty when it is reproduced.
    circumstances : list of str
        What was different about the two executions: versions, instruction set, threads, device, and metrics that the
        recorded one did not measure.
    recorded, repeated : RunRecord
    """

    run_id: str
    differences: list[str]
    circumstances: list[str]
    recorded: RunRecord
    repeated: RunRecord


def rerun(folder: Path | str, run_id: str, device: str = "cpu") -> Rerun:
    """Execute one run of a store again in a temporary folder, in a process of its own, and compare.

    Parameters
    ----------
    folder : path
        The output folder of a study; it is only read.
    run_id : str
        The id, or its beginning when only one run begins so. The run must have ended (done or failed).
    device : str, default "cpu"
        Where to repeat it, as for :func:`dash_hpc.execution.run_study`; bits agree only on the device of the record.

    Raises
    ------
    StoreError, StudyError, UsageError
        When there is no such run, it has not ended, its spec is none of a study, or the folder has no plan (which says
        where the data are).
    GpuUnavailable, GpuFault
        When a GPU was asked for by name and cannot be used, or fails.
    WorkerDied
        When the process that repeats the run ends in the middle of it.
    """
    check_wishes(device, None)
    store = open_store(folder)
    recorded = store.record(run_id)
    if not recorded.complete:
        raise UsageError(f"run {recorded.run_id} is {recorded.status}: only an ended run can be compared")
    check_spec(recorded.spec)
    if not is_store(folder):
        raise StoreError(f"{folder}: no plan.jsonl, which says where the data are; give the run command again")
    base = plan_header(folder).base
    with tempfile.TemporaryDirectory(prefix="dash-hpc-rerun-") as place:
        target = Path(place) / "store"
        write_plan(target, [(recorded.run_id, recorded.spec)], study=store.name, base=base)
        with LocalExecutor(1) as executor:
            executor.submit(run_pack, str(target), [recorded.run_id], device).result()
        repeated = read_run(run_path(target, recorded.run_id))
    # What an earlier version did not measure is no difference between the runs.
    new = [name for name in repeated.metrics if recorded.metrics and name not in recorded.metrics]
    same = replace(repeated, metrics={name: repeated.metrics[name] for name in repeated.metrics if name not in new})
    told = [f"measured now, not then: {', '.join(new)}"] if new else []
    return Rerun(
        recorded.run_id,
        compare_records(recorded, same),
        [*_circumstances(recorded.provenance, repeated.provenance), *told],
        recorded,
        repeated,
    )


_TELLING = ("dash_hpc", "code", "git", "python", "numpy", "scipy", "torch", "h5py", "native", "cpu", "threads")


def _circumstances(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    lines = []
    for key in _TELLING:
        if one.get(key) != two.get(key):
            lines.append(f"{key}: {_short(one.get(key))} then, {_short(two.get(key))} now")
    then, now = _devices(one), _devices(two)
    if then != now:
        lines.append(f"device: {then} then, {now} now; last bits depend on it, so repeat it there with --device")
    return lines


def _devices(provenance: dict[str, Any]) -> str:
    """Where a run was worked on, in turn; records without a word about it are of the CPU."""
    steps = [
        (step["at"], change.removeprefix("device: ").partition(" -> ")[0])
        for step in provenance.get("resumed", [])
        for change in step.get("changes", ())
        if change.startswith("device: ")
    ]
    steps += [(step["at"], str(step["from"])) for step in provenance.get("moved", [])]
    return ", then ".join([*(device for _, device in sorted(steps)), str(provenance.get("device", "cpu"))])


def _short(value: Any) -> str:
    return "unknown" if value in (None, "") else str(value)
