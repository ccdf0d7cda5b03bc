"""What a pack does when the GPU has too little memory, refuses a run, or fails: a stand-in for the GPU says when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dash_hpc.data import DataSet
from dash_hpc.errors import GpuFault, GpuMemoryError, UsageError
from dash_hpc.ops.train import EpochTask
from dash_hpc.training import Fit, Pack, Trainer
from dash_hpc.training.work import do_alone
from tests.small_runs import MakeSpec, same


class FakeGpu:
    """Computes on the CPU, but fits only ``room`` runs of a launch; ``trouble`` raises before anything changes."""

    def __init__(self, room: int = 99, trouble: Callable[[Sequence[Any]], None] = lambda tasks: None) -> None:
        self.room, self.trouble = room, trouble
        self.sizes: list[int] = []
        self.released = 0

    def release_memory(self) -> None:
        self.released += 1

    def _do(self, tasks: Sequence[Any]) -> list[Any]:
        self.sizes.append(len(tasks))
        self.trouble(tasks)
        if len(tasks) > self.room:
            raise GpuMemoryError(f"out of memory on the GPU: {len(tasks)} runs")
        return [do_alone(task) for task in tasks]

    train_many = solve_many = _do


def trained(dataset: DataSet, make_spec: MakeSpec, pack: Pack, count: int = 5) -> list[Fit | Exception]:
    return pack.run([Trainer(dataset, make_spec(seed=k, epochs=3)).steps(stop=pack.stopping) for k in range(count)])


def alone(dataset: DataSet, make_spec: MakeSpec, seed: int) -> Fit:
    return Trainer(dataset, make_spec(seed=seed, epochs=3)).fit()


def test_a_launch_that_does_not_fit_is_halved_once(dataset: DataSet, make_spec: MakeSpec) -> None:
    gpu: Any = FakeGpu(room=2)
    for seed, found in enumerate(trained(dataset, make_spec, Pack(gpu=gpu))):
        same(found, alone(dataset, make_spec, seed))
    # 5 runs, then 3, then 2 and 1; the rest of the first three in twos; later epochs begin with twos.
    assert gpu.sizes[:5] == [5, 3, 2, 1, 2]
    assert gpu.sizes[5:] == [2, 2, 1] * 5
    assert gpu.released == 2


def test_a_run_that_does_not_fit_alone_fails_with_the_remedy(dataset: DataSet, make_spec: MakeSpec) -> None:
    def trouble(tasks: Sequence[Any]) -> None:
        if any(isinstance(task, EpochTask) and task.state is big.state for task in tasks):
            raise GpuMemoryError("out of memory on the GPU: too big")

    big = Trainer(dataset, make_spec(seed=1, epochs=3))
    gpu: Any = FakeGpu(trouble=trouble)
    pack = Pack(gpu=gpu)
    others = [Trainer(dataset, make_spec(seed=seed, epochs=3)) for seed in (0, 2)]
    first, failed, last = pack.run([others[0].steps(), big.steps(), others[1].steps()])
    assert isinstance(failed, GpuMemoryError)
    assert str(failed) == ("out of memory on the GPU: too big; this run does not even fit alone: use the CPU for it")
    same(first, alone(dataset, make_spec, 0))
    same(last, alone(dataset, make_spec, 2))


def test_where_the_cpu_is_allowed_it_takes_over_and_keeps_the_run(dataset: DataSet, make_spec: MakeSpec) -> None:
    gpu: Any = FakeGpu(room=0)
    moved: list[tuple[int, str]] = []
    pack = Pack(gpu=gpu, fallback=lambda k, reason: moved.append((k, reason)))
    for seed, found in enumerate(trained(dataset, make_spec, pack, 2)):
        same(found, alone(dataset, make_spec, seed))
    assert moved == [(k, "out of memory on the GPU: 1 runs") for k in range(2)]
    assert gpu.sizes == [2, 1, 1]


def test_a_run_that_the_gpu_refuses_is_found_and_leaves(dataset: DataSet, make_spec: MakeSpec) -> None:
    def trouble(tasks: Sequence[Any]) -> None:
        if any(isinstance(task, EpochTask) and task.state is bad.state and task.state.step for task in tasks):
            raise UsageError("batch_index must lie in 0..3")

    trainers = [Trainer(dataset, make_spec(seed=seed, epochs=3)) for seed in range(4)]
    bad = trainers[2]
    gpu: Any = FakeGpu(trouble=trouble)
    found = Pack(gpu=gpu).run([trainer.steps() for trainer in trainers])
    assert isinstance(found[2], UsageError)
    for seed in (0, 1, 3):
        same(found[seed], alone(dataset, make_spec, seed))


def test_a_gpu_that_fails_ends_the_pack_unless_the_cpu_is_allowed(dataset: DataSet, make_spec: MakeSpec) -> None:
    def trouble(tasks: Sequence[Any]) -> None:
        if len(gpu.sizes) > 3:
            raise GpuFault("the GPU failed")

    gpu: Any = FakeGpu(trouble=trouble)
    runs = [Trainer(dataset, make_spec(seed=seed, epochs=3)).steps() for seed in range(3)]
    with pytest.raises(GpuFault):
        Pack(gpu=gpu).run(runs)
    assert all(steps.gi_frame is None for steps in runs)

    gpu = FakeGpu(trouble=trouble)
    moved: list[int] = []
    pack = Pack(gpu=gpu, fallback=lambda k, reason: moved.append(k))
    for seed, found in enumerate(trained(dataset, make_spec, pack, 3)):
        same(found, alone(dataset, make_spec, seed))
    assert moved == [0, 1, 2]
    assert len(gpu.sizes) == 4


def test_a_failure_of_one_run_on_the_cpu_is_its_own(
    dataset: DataSet, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dash_hpc.training.work as work

    trainers = [Trainer(dataset, make_spec(seed=seed, epochs=3)) for seed in range(3)]

    def failing(tasks: list[EpochTask]) -> Any:
        if tasks[0].state is trainers[1].state and tasks[0].state.step:
            raise UsageError("refused")
        return original(tasks)

    original = work.train_many
    monkeypatch.setattr(work, "train_many", failing)
    first, failed, last = Pack(threads=2).run([trainer.steps() for trainer in trainers])
    assert isinstance(failed, UsageError)
    same(first, alone(dataset, make_spec, 0))
    same(last, alone(dataset, make_spec, 2))
