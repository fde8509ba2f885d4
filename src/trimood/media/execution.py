"""The same work for each of many clips: here, on processes, or on Ray. A clip that hangs or crashes costs itself."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from trimood.config.parameters import Executor
from trimood.media.errors import ClipError, Result, Task, attempt
from trimood.media.on_processes import on_processes
from trimood.media.on_ray import on_ray

log = logging.getLogger(__name__)

LINE_SECONDS = 30.0
"""How often a log file is told."""

Item = TypeVar("Item")


def followed(items: Iterable[Item], total: int, doing: str, line_seconds: float = LINE_SECONDS) -> Iterator[Item]:
    """The items as they are; speed and remaining time are shown on the way."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=doing, unit="clip", smoothing=0.05)
        return
    start = told = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - told >= line_seconds and number < total:
            told = now
            per_second = number / (now - start)
            left_seconds = (total - number) / per_second
            log.info(
                "%s: %s of %s, %.1f clips a second, about %s left",
                doing,
                f"{number:,}",
                f"{total:,}",
                per_second,
                duration(left_seconds),
            )


def duration(seconds: float) -> str:
    """A length of time as a person says it: 40 s, 12 min, 3 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


@dataclass(frozen=True)
class Execution:
    """Where work on clips is done, by how many workers (0: one for each core), and how long one clip may take.

    `serial` works in this process: it knows no time limit, and a crash of the decoder is a crash of the run.
    """

    executor: Executor = "processes"
    workers: int = 0
    time_limit_seconds: float = 60.0


def run_each(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    execution: Execution,
    clip_of: Callable[[Task], Path],
) -> Iterator[tuple[Task, Result | ClipError]]:
    """What a function of a module makes of each task, in the order in which they are finished.

    A ClipError that it raises is that task's result. So is timed_out or crashed, where the limit is overrun or the
    process dies. Any other exception ends the work: tasks under way are finished, the others are not begun. Raises
    PreparationError where no worker can be started or kept.
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
    limit_seconds = execution.time_limit_seconds
    if execution.executor == "serial":
        return _in_this_process(function, tasks)
    if execution.executor == "ray":
        return on_ray(function, tasks, execution.workers, limit_seconds, clip_of)
    workers = min(execution.workers or core_count(), len(tasks))
    return on_processes(function, tasks, workers, limit_seconds, clip_of)


def core_count() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_this_process(function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker, so that all ways give the same bytes
    try:
        for task in tasks:
            yield task, attempt(function, task)
    finally:
        torch.set_num_threads(threads)
