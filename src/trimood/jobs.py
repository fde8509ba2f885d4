"""Seeds and experiments of one command side by side, each in a process and on a device of its own."""

import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import click

from trimood.config.experiments import experiment_names
from trimood.datasets import SIDE_BY_SIDE
from trimood.disk import forget, held, hold, note_holder, release
from trimood.learning.processes import environment, to_send
from trimood.refusals import in_words, shortened

log = logging.getLogger(__name__)

_PROCESSES = multiprocessing.get_context("spawn")

Session = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]

READ = ("01_raw", "02_intermediate", "03_primary", "04_feature")
"""Folders of a data root that jobs read, and to which they add nothing that depends on a seed."""

SHARED = ("05_model_input", "08_reporting")
"""Folders in which the shared stages write beside experiments."""

UNSENT = "08_reporting/unsent"
"""The folder for what MLflow could not take, which the next command sends."""


@dataclass(frozen=True)
class Job:
    """A session of `kedro run` for one experiment and seed; `own_root` is its data root, if that is not the command's.

    `meta` is what its hooks find in `click.Context.meta`.
    """

    name: str
    options: Mapping[str, Any]
    meta: Mapping[str, Any] = field(default_factory=dict)
    own_root: Path | None = None


@dataclass
class _Running:
    job: Job
    slot: int
    process: Any
    outcome: Connection
    lines: threading.Thread


def own_data_root(data_root: Path, name: str) -> Path:
    """Makes a data root for one job beside others of the same experiment: it reads what the shared stages have made."""
    root, own = data_root / SIDE_BY_SIDE / name, {*experiment_names()}
    (data_root / UNSENT).mkdir(parents=True, exist_ok=True)
    for folder in SHARED:
        (root / folder).mkdir(parents=True, exist_ok=True)
    shared = [path for folder in SHARED for path in (data_root / folder).glob("*") if path.name not in own]
    for path in (*(data_root / name for name in READ), *shared):
        link = root / path.relative_to(data_root)
        if not link.is_symlink():
            link.symlink_to(path.absolute(), target_is_directory=path.is_dir())
    return root


@contextmanager
def trained_by_jobs(models: Path) -> Iterator[None]:
    """Lets no other command change what the jobs train on, from before they begin until the last has ended.

    Releases the other locks of this process, which the jobs take.
    """
    lock = models / f".jobs-{os.getpid()}.lock"
    others = held()
    hold(lock, wait=False)
    note_holder(lock, trains=True)
    release(*others)
    try:
        yield
    finally:
        forget(lock)


def run_jobs(
    jobs: Sequence[Job], devices: Sequence[Mapping[str, str]], session: Session, keep: Callable[[Any], None]
) -> list[Exception]:
    """Runs `session(options, meta)` of each job in a new process, as many at once as there are `devices`.

    `devices` are environment variables. Each line that a process writes has the job's name before it. `keep` is given
    what a session has returned as soon as its job ends. Returns the errors in the order in which the jobs ended; one
    job's error affects no other. What ends this process ends all of them, in order.
    """
    free, waiting, running = [*range(len(devices))], [*jobs], list[_Running]()
    errors = list[Exception]()
    longest = max(len(job.name) for job in jobs)
    try:
        while waiting or running:
            while free and waiting:
                job, slot = waiting.pop(0), free.pop(0)
                log.info("%s begins, job %d of %d", job.name, len(jobs) - len(waiting), len(jobs))
                running.append(_start(job, slot, devices[slot], session, f"{job.name:{longest}} | "))
            wait([one.process.sentinel for one in running])
            for one in [one for one in running if not one.process.is_alive()]:
                running.remove(one)
                free.append(one.slot)
                outcome = _outcome_of(one)
                if isinstance(outcome, Exception):
                    log.error("%s failed: %s", one.job.name, outcome)
                    errors.append(outcome)
                    continue
                keep(outcome)
                if one.job.own_root:
                    shutil.rmtree(one.job.own_root, ignore_errors=True)
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.join()
            one.lines.join()
    return errors


def _start(job: Job, slot: int, device: Mapping[str, str], session: Session, prefix: str) -> _Running:
    reads, output = _PROCESSES.Pipe(duplex=False)
    receives, outcome = _PROCESSES.Pipe(duplex=False)
    columns = max(80, shutil.get_terminal_size().columns - len(prefix))
    process = _PROCESSES.Process(
        target=_run, args=(session, dict(job.options), dict(job.meta), output, outcome), name=job.name
    )
    with environment({**device, "COLUMNS": str(columns)}):  # read when libraries are imported
        process.start()
    output.close()
    outcome.close()
    lines = threading.Thread(target=_pass_on, args=(reads, prefix), daemon=True)
    lines.start()
    return _Running(job, slot, process, receives, lines)


def _pass_on(output: Connection, prefix: str) -> None:
    with os.fdopen(os.dup(output.fileno()), errors="replace") as lines:
        for line in lines:
            sys.stderr.write(f"{prefix}{line}")


def _run(
    session: Session, options: Mapping[str, Any], meta: Mapping[str, Any], output: Connection, outcome: Connection
) -> None:
    """What the process of a job runs."""
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the command itself ends its jobs
    threading.Thread(target=_end_with, args=[multiprocessing.parent_process()], daemon=True).start()
    try:
        outcome.send(session(options, meta))
    except Exception as error:
        words = in_words(error)
        outcome.send(to_send(click.ClickException(shortened(words)) if words else error))
        sys.exit(1)


def _end_with(parent: Any) -> None:
    """Ends this process, in order, when the one that started it ends, however that ends."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _outcome_of(one: _Running) -> Any:
    """What the session has returned, or its error; an error as well if its process was ended before it could tell."""
    one.process.join()
    one.lines.join()
    with suppress(EOFError):
        outcome = one.outcome.recv()
        if one.process.exitcode == 0 or isinstance(outcome, Exception):
            return outcome
    code = one.process.exitcode
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return click.ClickException(f"{one.job.name}: its process was ended ({how}). The same command continues it.")
