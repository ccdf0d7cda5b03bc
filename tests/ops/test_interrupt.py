"""Signals inside long native calls, and what they leave behind."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from dash_hpc import ops
from dash_hpc.errors import Interrupted
from dash_hpc.execution import StopFlag
from dash_hpc.models import initial_weights
from dash_hpc.ops import TENSORS, EpochTask, SolverOptions, TrainState
from dash_hpc.ops.native import native_module
from dash_hpc.ops.solver import MOST_STEPS
from dash_hpc.rng import stream

pytestmark = pytest.mark.skipif(native_module() is None, reason="the native module was not built")

#: A call must end so soon after a signal; a machine where others work too is slower than the 0.1 s of a quiet one.
SOON = 2.0


@contextmanager
def sent(number: signal.Signals, after: float) -> Iterator[list[float]]:
    """Send this process a signal ``after`` seconds from now, unless the body ends before; yields when it was sent."""
    when: list[float] = []

    def send() -> None:
        when.append(time.monotonic())
        os.kill(os.getpid(), number)

    timer = threading.Timer(after, send)
    timer.start()
    try:
        yield when
    finally:
        timer.cancel()
        timer.join()


def seconds_until_interrupt(call: Callable[[], Any], after: float = 0.3) -> float:
    with sent(signal.SIGINT, after) as when:
        try:
            call()
        except KeyboardInterrupt:
            return time.monotonic() - when[0]
    raise AssertionError("the call ended before the signal came")


def epoch(batches: int = 4000, seed: int = 0) -> EpochTask:
    """Batches of one pair, rk4 with 4,000 steps each: minutes in all."""
    rng = stream(seed, "test-interrupt")
    G, m = 30, 8
    state = TrainState.fresh(initial_weights(G, m, rng))
    y0, y1 = rng.random((3, G)), rng.random((3, G))
    index = np.arange(batches) % 3
    options = SolverOptions(method="rk4", step=2.5e-4)
    return EpochTask(
        state, y0, y1, np.ones(3), np.arange(batches + 1), index, dict.fromkeys(TENSORS, 1e-3), solver=options
    )


def train(task: EpochTask) -> ops.EpochResult:
    return ops.train_many([task])[0]


def arrays(state: TrainState) -> list[np.ndarray]:
    return [np.array(array) for array in state.changed_arrays().values()]


def assert_untouched(state: TrainState, before: list[np.ndarray]) -> None:
    assert state.step == 0
    for array, was in zip(arrays(state), before, strict=True):
        np.testing.assert_array_equal(array, was)


def test_an_interrupt_ends_a_solve_of_ten_million_steps() -> None:
    weights = initial_weights(30, 8, stream(0, "test-interrupt"))
    options = SolverOptions(method="rk4", step=1e-7, max_steps=MOST_STEPS)
    assert (
        seconds_until_interrupt(lambda: ops.solve_arrays(weights, np.zeros((4, 30)), np.ones(4), solver=options)) < SOON
    )


def test_an_interrupt_ends_a_gradient() -> None:
    weights = initial_weights(30, 8, stream(0, "test-interrupt"))
    sizes = np.full((400, 4000), 2.5e-4)
    y = np.zeros((400, 30), np.float32)
    assert seconds_until_interrupt(lambda: native_module().solve_backward(weights, y, sizes, y, "rk4")) < SOON


def test_an_interrupt_ends_the_prior_terms_of_an_event() -> None:
    S = stream(0, "test-interrupt").random((2500, 2600))
    assert seconds_until_interrupt(lambda: native_module().prior_terms(S, None, None, 1e-10)) < SOON


@pytest.mark.parametrize("after", [0.2, 0.35, 0.5])
def test_an_interrupted_epoch_leaves_the_state_as_it_was(after: float) -> None:
    task = epoch()
    before = arrays(task.state)
    assert seconds_until_interrupt(lambda: train(task), after) < SOON
    assert_untouched(task.state, before)
    # and what is trained from it has the bits of an undisturbed run
    few = {"batch_ptr": np.arange(7), "batch_index": np.arange(6) % 3}
    again, undisturbed = (EpochTask(**(vars(one) | few)) for one in (task, epoch()))
    train(again), train(undisturbed)
    for array, wanted in zip(arrays(again.state), arrays(undisturbed.state), strict=True):
        np.testing.assert_array_equal(array, wanted)


def test_an_interrupt_ends_the_threads_of_a_pack() -> None:
    """Python interrupts its main thread; the others, which do the work, must not go on for minutes."""
    tasks = [epoch(seed=k) for k in range(4)]
    before = [arrays(task.state) for task in tasks]
    threads = threading.active_count()
    assert seconds_until_interrupt(lambda: ops.train_many(tasks, threads=2)) < SOON
    assert threading.active_count() == threads
    for task, was in zip(tasks, before, strict=True):
        assert_untouched(task.state, was)


def test_a_token_ends_a_call_of_another_thread() -> None:
    native = native_module()
    token = native.StopToken()
    weights = initial_weights(30, 8, stream(0, "test-interrupt"))
    options = SolverOptions(method="rk4", step=1e-7, max_steps=MOST_STEPS).as_dict()
    raised: list[BaseException] = []

    def call() -> None:
        try:
            native.solve(weights, {}, np.zeros((1, 30), np.float32), np.ones(1), **options, stop=token)
        except Interrupted as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.2)
    assert thread.is_alive()
    assert not token.is_set()
    token.set()
    thread.join(timeout=SOON)
    assert not thread.is_alive()
    assert len(raised) == 1


def test_a_request_to_stop_lets_the_epoch_end_with_its_bits() -> None:
    """The flag of a study: its handler runs at once, inside the call; the epoch is finished as if nothing had been."""
    batches = 15
    undisturbed, task = epoch(batches), epoch(batches)
    began = time.monotonic()
    wanted = train(undisturbed)
    length = time.monotonic() - began
    seen: list[float] = []

    class Watched(StopFlag):
        def set(self, reason: str) -> None:
            seen.append(time.monotonic())
            super().set(reason)

    with Watched() as flag, sent(signal.SIGTERM, min(0.2, length / 4)) as when:
        found = train(task)
        ended = time.monotonic()
    assert flag.reason == "SIGTERM"
    assert seen[0] - when[0] < SOON
    assert seen[0] < ended - length / 4, "the handler ran only after the call"
    np.testing.assert_array_equal(found.loss, wanted.loss)
    for array, other in zip(arrays(task.state), arrays(undisturbed.state), strict=True):
        np.testing.assert_array_equal(array, other)


def test_a_handler_that_raises_ends_the_call_with_its_error() -> None:
    class Alarm(Exception):
        pass

    def handler(*_: Any) -> None:
        raise Alarm

    former = signal.signal(signal.SIGUSR1, handler)
    try:
        task = epoch()
        before = arrays(copy.deepcopy(task.state))
        with pytest.raises(Alarm), sent(signal.SIGUSR1, 0.2):
            train(task)
        assert_untouched(task.state, before)
    finally:
        signal.signal(signal.SIGUSR1, former)
