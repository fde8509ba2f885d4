"""Several trials of a search at the same time: this process asks, tells and logs; each training has one of its own."""

import os
import pickle
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from trimood.learning.device import shared_out
from trimood.learning.experiment import TrainingOutcome, train_experiment
from trimood.learning.loop import ReportFunction
from trimood.learning.processes import Say, environment, run_together
from trimood.model.stored import RunIdentity
from trimood.pipelines.tune.trial import COSTS_ONE_TRIAL, Search


def run_trials(search: Search, trials: int, jobs: int) -> None:
    """Runs so many trials, `jobs` at a time, each on a device of its own. Raises the first error that ends a search.

    Optuna is used in threads of this process alone, so that its storage has one writer.
    """
    over, outer = threading.Event(), copy_context()
    devices: SimpleQueue[Mapping[str, str]] = SimpleQueue()
    shares = shared_out(jobs)
    for share in shares:
        devices.put(share)

    def run_one() -> None:
        device = devices.get()
        try:
            own = replace(search, train=partial(train_apart, device=device, is_over=over.is_set))
            # In a copy, because each trial logs to a run of its own.
            outer.copy().run(search.study.optimize, own.run, n_trials=1, catch=COSTS_ONE_TRIAL)
        finally:
            devices.put(device)

    threads = {"OMP_NUM_THREADS": shares[0].get("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", ""))}
    with environment({name: value for name, value in threads.items() if value}), ThreadPoolExecutor(jobs) as pool:
        try:
            for trial in as_completed([pool.submit(run_one) for _ in range(trials)]):
                trial.result()
        except BaseException:
            over.set()
            pool.shutdown(cancel_futures=True)
            raise


def train_apart(
    identity: RunIdentity,
    *arguments: Any,
    report: ReportFunction,
    device: Mapping[str, str],
    is_over: Callable[[], bool],
) -> TrainingOutcome:
    """`train_experiment` in a process of its own on this device; the outcome has no weights.

    A process that is killed is started again and continues from its last epoch.
    """
    checkpoints: Path = arguments[3]
    given, outcomes = checkpoints / f"{identity.digest}.given", list[TrainingOutcome]()

    def hear(message: Any) -> None:
        if isinstance(message, TrainingOutcome):
            outcomes.append(message)
        else:
            report(*message)

    given.write_bytes(pickle.dumps((dict(device), partial(train_experiment, identity, *arguments))))
    try:
        run_together(_train, given, 1, hear, is_over)
    finally:
        given.unlink(missing_ok=True)
    return outcomes[-1]


def _train(given: Path, say: Say) -> None:
    device, train = pickle.loads(given.read_bytes())  # noqa: S301 - written by `train_apart`
    os.environ.update(device)
    outcome = train(lambda numbers, step: say((numbers, step)))
    say(replace(outcome, fitted=replace(outcome.fitted, best={}, last={})))
