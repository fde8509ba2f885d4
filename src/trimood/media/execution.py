"""Runs a function on many clips: in this process, in worker processes, or on Ray. A bad clip affects only itself."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from trimood.config.parameters import Executor
from trimood.media.errors import ClipError, Result, Task, attempt
from trimood.media.on_processes import on_processes
from trimood.media.on_ray import on_ray

log = logging.getLogger(__name__)

LINE_SECONDS = 30.0
"""Interval between log lines about progress."""

Item = TypeVar("Item")


def followed(items: Iterable[Item], total: int, doing: str, line_seconds: float = LINE_SECONDS) -> Iterator[Item]:
    """Yields the items and reports speed and remaining time: as a bar in a terminal, else in the log."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=doing, unit="clip", smoothing=0.05)
        return
    start = logged = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - logged >= line_seconds and number < total:
            logged = now
            per_second = number / (now - start)
            done, left = f"{number:,} of {total:,}", duration((total - number) / per_second)
            log.info("%s: %s, %.1f clips a second, about %s left", doing, done, per_second, left)


def duration(seconds: float) -> str:
    """A duration in words: 40 s, 12 min, 3 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


@dataclass(frozen=True)
class Execution:
    """Where clips are processed, the number of workers (0: one per core), and the time limit for one clip.

    `serial` uses this process, without a time limit; a crash of the decoder ends the run. `work` replaces the executor:
    it is called with the function, the tasks and `clip_of`, and yields as `run_each` does.
    """

    executor: Executor = "processes"
    workers: int = 0
    time_limit_seconds: float = 60.0
    work: Callable[..., Iterator[tuple[Any, Any]]] | None = None


def run_each(
    function: Callable[[Task], Result], tasks: Sequence[Task], execution: Execution, clip_of: Callable[[Task], Path]
) -> Iterator[tuple[Task, Result | ClipError]]:
    """Yields each task with the function's result as it finishes; the function must be defined in a module.

    If the function raises ClipError, exceeds the time limit, or crashes its process twice, the second time while no
    other task runs, the task's result is a ClipError.
    Any other exception ends the work: running tasks finish, and no others start. Raises PreparationError if no worker
    can be started or kept alive.
    """
    if not tasks:
        return
    for task, result in _work(function, tasks, execution, clip_of):
        if isinstance(result, Exception) and not isinstance(result, ClipError):
            raise result
        yield task, result


def _work(
    function: Callable[[Task], Result], tasks: Sequence[Task], execution: Execution, clip_of: Callable[[Task], Path]
) -> Iterator[tuple[Task, Any]]:
    if execution.work:
        yield from execution.work(function, tasks, clip_of)
        return
    if execution.executor == "serial":
        yield from _in_this_process(function, tasks)
        return
    on_workers = on_ray if execution.executor == "ray" else on_processes
    again = []
    for task, result in on_workers(function, tasks, execution.workers, execution.time_limit_seconds, clip_of):
        if isinstance(result, ClipError) and result.problem == "crashed":
            again.append(task)
        else:
            yield task, result
    if again:
        # The kernel may have killed the worker because all of them together needed too much memory.
        log.warning("the worker processes of %d clips died: each of these clips is tried once more, alone", len(again))
        yield from on_workers(function, again, 1, execution.time_limit_seconds, clip_of)


def _in_this_process(function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker, so that all executors give the same bytes
    try:
        for task in tasks:
            yield task, attempt(function, task)
    finally:
        torch.set_num_threads(threads)
