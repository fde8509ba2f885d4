"""Runs a function on clips with several processes on this machine."""

import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from trimood.media.errors import PreparationError, Result, Task, attempt, crashed, how_it_ended, timed_out

PRELOADED = ["torch", "torchaudio", "av", "safetensors.torch"]
"""No module of trimood: the fork server of Python 3.11 imports them without the sys.path of this process."""

WAITING_PER_WORKER = 2
"""Tasks queued ahead for each worker: enough to keep it busy, few enough to react to Ctrl-C soon."""


def on_processes(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    limit_seconds: float,
    clip_of: Callable[[Task], Path],
) -> Iterator[tuple[Task, Any]]:
    """Yields each task with its result or exception as it finishes; with 0 workers, there is one for each core.

    Raises PreparationError if workers die before they finish any task.
    """
    left = dict(enumerate(tasks))
    while left:
        before = len(left)
        try:
            yield from _by_one_pool(function, left, min(workers or core_count(), len(left)), limit_seconds, clip_of)
        except (BrokenProcessPool, RuntimeError) as error:
            # Pebble stops a pool if a worker dies between two tasks: a new pool continues.
            if len(left) == before:
                raise PreparationError(
                    f"no worker process could be started or kept ({error}). Finished work is kept; "
                    "--params data.clips.executor=serial needs no workers."
                ) from error


def core_count() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _by_one_pool(
    function: Callable[[Task], Result],
    left: dict[int, Task],
    workers: int,
    limit_seconds: float,
    clip_of: Callable[[Task], Path],
) -> Iterator[tuple[Task, Any]]:
    """Does the tasks in `left`, and removes each when it is done."""
    # Not fork: a forked child of a process with running torch threads may wait for a lock forever. The fork
    # server has no such threads, imports torch once (3 s of CPU time), and workers of all later calls share it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    pool = ProcessPool(workers, initializer=start_worker, initargs=(function.__module__,), context=context)
    running: dict[Future[Any], int] = {}
    try:
        for number in list(left):
            # Ctrl-C reaches the whole process group: only this process reacts, and running clips finish. The fork
            # server starts within the first `schedule` and passes the blocked signal on to every worker, so that they
            # ignore it even while they import.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                running[pool.schedule(attempt, args=(function, left[number]), timeout=limit_seconds)] = number
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if len(running) >= workers * (1 + WAITING_PER_WORKER):
                yield from _finished(running, left, limit_seconds, clip_of)
        while running:
            yield from _finished(running, left, limit_seconds, clip_of)
    finally:
        try:
            pool.close()  # queued tasks finish, so nothing is left half written. A second Ctrl-C ends them.
            pool.join()
        finally:
            pool.stop()


def _finished(
    running: dict[Future[Any], int], left: dict[int, Task], limit_seconds: float, clip_of: Callable[[Task], Path]
) -> Iterator[tuple[Task, Any]]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        task = left[running[future]]
        try:
            result = future.result()
        except TimeoutError:
            result = timed_out(clip_of(task), limit_seconds)
        except ProcessExpired as error:
            result = crashed(clip_of(task), how_it_ended(error.exitcode))
        del left[running.pop(future)]
        yield task, result


def start_worker(module: str) -> None:
    """Imports the function's module now: Pebble would do it under a lock that a killed worker never gives back."""
    import torch

    importlib.import_module(module)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends a worker whose parent was killed: it holds both ends of its queue and would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
