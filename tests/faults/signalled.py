"""Signals to whole studies: they leave with exit code 3, every start gets on, and the end has the same bits."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from studies import Result, Study, children, differences, has_handlers, pause, send, undisturbed, wait

from dash_hpc.execution.machine.signals import START_SECONDS

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
EPOCHS = 2000


def signal_campaign(
    folder: Path, restarts: int, seed: int, every: float = 2.0, epochs: int = EPOCHS, whole: Study | None = None
) -> Result:
    """A signal ``every`` seconds after each start, to the driver alone or to all its processes; then start again.

    Each signalled command has to leave with exit code 3, unless it was done, and has to have trained an epoch or more
    that no later one trains again, however early it was signalled, or to have used up the time that a start has left
    then, as on a busy machine. The last start is left alone.
    """
    rng = random.Random(seed)
    result = Result("a signal, then a restart")
    whole = whole or undisturbed(folder, epochs)
    episode, slowest, resumed, work = 1, 0.0, 0, 0
    study = Study(folder, epochs, "signalled-1")
    while result.trials < restarts and not result.failures:
        driver = study.start()
        pause(driver, every)
        while driver.poll() is None and not has_handlers(driver.pid):  # Python itself has not begun yet
            time.sleep(0.002)
        number = rng.choice(SIGNALS)
        began = time.monotonic()
        for pid in [driver.pid, *(children(driver.pid) if rng.random() < 0.5 else [])]:
            send(pid, number)
        code = wait(driver)
        took = time.monotonic() - began
        slowest = max(slowest, took)
        result.trials += 1
        if code == 0:
            result.failures += differences(whole, study)
            resumed += study.resumptions()
            episode += 1
            study, work = Study(folder, epochs, f"signalled-{episode}"), 0
        elif code != 3:
            result.failures.append(f"{signal.Signals(number).name}: exit code {code}; see {study.log}")
        else:
            before, work = work, study.work(epochs)
            if work <= before and took < START_SECONDS:
                result.failures.append(f"start {result.trials} did not get on: {work} epochs; see {study.log}")
    if study.run() != 0:
        result.failures.append(f"{study.output.name} was not completed; see {study.log}")
    result.failures += differences(whole, study)
    resumed += study.resumptions()
    result.words = f"{episode} studies, {resumed} resumptions; left within {slowest:.1f} s"
    return result
