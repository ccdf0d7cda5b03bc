"""A tiny study, and functions that misbehave inside worker processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dash_hpc.execution import run_one, run_study
from dash_hpc.execution.work import one_run
from dash_hpc.store import Store

FUNCTIONS = '''
import os
import time
from pathlib import Path

from dash_hpc.errors import RunFailed, StoreError
from dash_hpc.execution.work.one_run import run_one


def add(a, b):
    print("a library prints")
    return a + b


def environment(*names):
    return [os.environ.get(name) for name in names]


def gpu_of_worker(folder, count):
    (Path(folder) / f"here-{os.getpid()}").touch()
    while len(list(Path(folder).glob("here-*"))) < count:
        time.sleep(0.01)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def threads():
    import torch
    return torch.get_num_threads()


def refuse(message):
    raise StoreError(message)


def divide(a, b):
    return a / b


def pid():
    return os.getpid()


def leave(code):
    os._exit(code)


def kill_self():
    os.kill(os.getpid(), 9)


def sleep(seconds, started):
    Path(started).touch()
    time.sleep(seconds)


def until_stopped(started):
    from dash_hpc.execution.machine.signals import process_flag
    Path(started).touch()
    while not process_flag().is_set():
        time.sleep(0.01)
    return process_flag().reason


def crash_some(folder, run_id):
    """Die as often as <folder>/../deaths-<run id> says, then go on as usual."""
    counter = Path(folder).parent / f"deaths-{run_id}"
    left = int(counter.read_text()) if counter.exists() else 0
    if left:
        counter.write_text(str(left - 1))
        import dash_hpc.training as training
        whole = training.Trainer

        class Dying(whole):
            def __init__(self, dataset, spec, progress=None):
                super().__init__(dataset, spec, lambda fit: os._exit(7) if fit.epoch == 2 else None)

        training.Trainer = Dying
    return run_one(folder, run_id)


def fail_some(folder, run_id):
    """Raise in the middle of the runs that <folder>/../fails names."""
    import dash_hpc.training.phases as phases
    whole = phases.validate
    if run_id not in (Path(folder).parent / "fails").read_text():
        return run_one(folder, run_id)

    def failing(trainer, epoch, *arguments):
        if epoch == 3:
            if trainer.seed:
                raise ZeroDivisionError("a bug\\non two lines")
            raise RunFailed("epoch 3, validation pair 0: the step became too small")
        return whole(trainer, epoch, *arguments)

    phases.validate = failing
    try:
        return run_one(folder, run_id)
    finally:
        phases.validate = whole
'''


STRATEGIES = """
[[strategy]]
name = "imp"
rewind = 1
[[strategy]]
name = "bioprune"
"""


class StopsAfter:
    """A flag that is set after so many epochs. The first question comes after the first epoch."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs - 1

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture(scope="session")
def tiny_text(small_study: Callable[..., str]) -> str:
    """A study: 12 genes, 4 runs (none and dash, 2 seeds) of 4 epochs."""
    return small_study("tiny", epochs=4, every=2, seeds="[0, 1]")


@pytest.fixture
def tiny(tmp_path: Path, tiny_text: str) -> Path:
    """The study as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_text)
    return path


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Store:
    """Eight runs of four strategies and two seeds, 7 epochs each, undisturbed. Tests work on copies of its plan."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.toml").write_text(tiny_text.replace("epochs = 4", "epochs = 7") + STRATEGIES)
    return run_study(folder / "tiny.toml", output=folder / "out", workers=2, progress="none")


@pytest.fixture
def planned(whole: Store, tmp_path: Path) -> Path:
    """A store with the same plan and no runs."""
    folder = tmp_path / "out"
    shutil.copytree(whole.folder, folder, ignore=shutil.ignore_patterns("runs", "index.h5"))
    (folder / "runs").mkdir()
    return folder


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str, int], str]:
    """Return a function that runs a run for so many epochs and then asks it to stop."""

    def run(folder: Path, run_id: str, epochs: int) -> str:
        flag = StopsAfter(epochs)
        with monkeypatch.context() as patch:
            patch.setattr(one_run, "process_flag", lambda: flag)
            return run_one(str(folder), run_id)

    return run


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The module of functions, importable here and in worker processes."""
    import importlib
    import sys

    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "worker_functions.py").write_text(FUNCTIONS)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("worker_functions")
    sys.modules.pop("worker_functions", None)
