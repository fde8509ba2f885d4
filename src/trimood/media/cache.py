"""Preparing many clips, each content once: decoded by several processes, kept as parts, found again in later runs."""

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from trimood.media.errors import ClipError, DiskFull, PreparationError
from trimood.media.parts import (
    Recipe,
    content_name,
    existing_parent,
    is_whole,
    load_part,
    part_bytes,
    part_path,
    write_part,
)

__all__ = ["PreparedClips", "Recipe", "load_part", "prepare_clips"]

WAITING_PER_WORKER = 4

Task = tuple[Path, Path]
"""A clip and where its part goes."""


@dataclass(frozen=True)
class PreparedClips:
    """What became of each clip: its part, or its problem; `hits` were prepared before, `misses` tried in this run."""

    parts: dict[str, Path]
    problems: dict[str, ClipError]
    hits: int
    misses: int


def prepare_clips(clips: Mapping[str, Path], recipe: Recipe, cache: Path, workers: int) -> PreparedClips:
    """Sees to it that every clip has a part in `cache`, decoding only those contents that have none yet.

    `workers` processes decode; with 0 or 1 this one does. A clip with a problem is tried again in every run.
    Raises DiskFull before the first clip if the space will not do, or when it runs out, and PreparationError
    when a worker dies; in each case the finished parts stay and the next run goes on from there.
    """
    contents = _contents(set(clips.values()), workers)
    parts = {path: part_path(cache, recipe, name) for path, name in contents.items() if isinstance(name, str)}
    whole = {part for part in set(parts.values()) if is_whole(part)}
    # Keyed by part: clips of the same bytes are one task.
    tasks = {part: path for path, part in parts.items() if part not in whole}
    hits = sum(parts.get(path) in whole for path in clips.values())
    _require_space(cache, len(tasks) * part_bytes(recipe))

    failed: dict[Path, ClipError] = {}
    with tqdm(total=len(tasks), desc="preparing clips", unit="clip", disable=not tasks) as progress:
        progress.set_postfix(hits=hits, misses=len(clips) - hits)
        for part, error in _run([(path, part) for part, path in tasks.items()], recipe, workers):
            if error is not None:
                failed[part] = error
            progress.update()
    problems = {key: error for key, path in clips.items() if (error := _problem(path, contents, parts, failed))}
    return PreparedClips(
        parts={key: parts[path] for key, path in clips.items() if key not in problems},
        problems=problems,
        hits=hits,
        misses=len(clips) - hits,
    )


def _contents(paths: set[Path], workers: int) -> dict[Path, str | ClipError]:
    """The content name of every file, or why it has none. Threads do: hashing and reading both release the GIL."""
    ordered = sorted(paths)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        names = tqdm(pool.map(_content, ordered), total=len(ordered), desc="hashing clips", unit="clip", delay=2)
        return dict(zip(ordered, names, strict=True))


def _content(path: Path) -> str | ClipError:
    if not path.is_file():
        return ClipError(path, "missing", f"no such file in {path.parent}")
    try:
        return content_name(path)
    except OSError as error:
        return ClipError(path, "unreadable", f"the file cannot be read ({error.strerror})")


def _problem(
    path: Path, contents: Mapping[Path, str | ClipError], parts: Mapping[Path, Path], failed: Mapping[Path, ClipError]
) -> ClipError | None:
    content = contents[path]
    if isinstance(content, ClipError):
        return content
    error = failed.get(parts[path])
    # The task may have run on another clip of the same bytes; the message names this one.
    return error and ClipError(path, error.problem, error.detail)


def _require_space(cache: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(existing_parent(cache / "part")).free
    if needed_bytes > free_bytes:
        raise DiskFull(cache, needed_bytes, free_bytes)


def _run(tasks: list[Task], recipe: Recipe, workers: int) -> Iterator[tuple[Path, ClipError | None]]:
    if min(workers, len(tasks)) > 1:
        yield from _run_in_processes(tasks, recipe, min(workers, len(tasks)))
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker, so that both ways give the same bytes
    try:
        for task in tasks:
            yield _prepare(task, recipe)
    finally:
        torch.set_num_threads(threads)


def _prepare(task: Task, recipe: Recipe) -> tuple[Path, ClipError | None]:
    clip, part = task
    try:
        write_part(clip, part, recipe)
    except ClipError as error:
        return part, error
    return part, None


def _run_in_processes(tasks: Iterable[Task], recipe: Recipe, workers: int) -> Iterator[tuple[Path, ClipError | None]]:
    # Not fork: a forked child of a process with running torch threads can wait for a lock for ever. The fork
    # server has no such threads, imports torch once (3 s of CPU time) and lends it to every worker of every later call.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    running: dict[Future[tuple[Path, ClipError | None]], Path] = {}
    try:
        for task in tasks:
            with _interrupts_kept_from_workers():
                running[pool.submit(_prepare, task, recipe)] = task[0]
            if len(running) >= workers * WAITING_PER_WORKER:
                yield from _finished(running)
        while running:
            yield from _finished(running)
    except BrokenProcessPool as error:
        names = ", ".join(sorted(path.name for path in running.values()))
        raise PreparationError(
            f"a worker process died while clips were prepared (one of: {names}). Out of memory is the usual reason: "
            f"try fewer workers (now {workers}), or 1 to see which clip it is. Finished parts are kept."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finished(
    running: dict[Future[tuple[Path, ClipError | None]], Path],
) -> Iterator[tuple[Path, ClipError | None]]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        result = future.result()
        del running[future]
        yield result


@contextmanager
def _interrupts_kept_from_workers() -> Iterator[None]:
    """Ctrl-C reaches the whole process group; the parent alone answers it, and the clips in work are finished.

    Workers start within `submit` and inherit the blocked signal, so that they are deaf to it even while they import.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next clip for ever: it holds both ends of its queue."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
