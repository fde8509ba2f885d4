"""Prepares many clips with parallel workers; content that has been prepared before is not decoded again."""

import logging
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from trimood.disk import remove_leftovers, require_space
from trimood.media.contents import Known, content_names
from trimood.media.errors import ClipError
from trimood.media.execution import Execution, followed, run_each
from trimood.media.parts import TENSORS, Location, Problems, load_part, part_path, problems_in, write_part
from trimood.media.recipes import Recipe, part_bytes

__all__ = ["PreparedClips", "Recipe", "load_part", "prepare_clips"]

log = logging.getLogger(__name__)

REMOTE_READERS = 32
"""Threads that look for parts on a remote file system, whose responses are slow."""


@dataclass(frozen=True)
class PreparedClips:
    """The result for each clip: its part, its problems (only clips that have any), or both.

    `hits` were prepared before, `misses` tried in this run. A clip without a part has problems in both modalities.
    """

    parts: dict[str, Location]
    problems: dict[str, Problems]
    hits: int
    misses: int


Task = tuple[Path, Location, Recipe]
"""A clip, the path of its part, and the recipe."""


def prepare_clips(
    clips: Mapping[str, Path], recipe: Recipe, cache: Location, execution: Execution, known: Known | None = None
) -> PreparedClips:
    """Prepares every clip whose content has no part in `cache` yet.

    A part also stores the problems of a broken clip, which is then a hit too. A clip that is missing, timed out or
    crashed has no part and is tried again in every run, as is a part with a temporary problem. With `known`, only clips
    that are new or have changed are hashed. Raises PreparationError, and DiskFull if there is too little space, before
    the first clip or later. Finished parts stay: the next run continues from them.
    """
    contents = content_names(clips.values(), known)
    parts = {path: part_path(cache, recipe, name) for path, name in contents.items() if isinstance(name, str)}
    clip_of = {part: path for path, part in parts.items()}  # clips with the same bytes are one task
    done: dict[Location, Problems | ClipError] = {**_whole_parts(clip_of)}
    hits = sum(parts.get(path) in done for path in clips.values())
    tasks = [(path, part, recipe) for part, path in clip_of.items() if part not in done]
    if tasks and isinstance(cache, Path):
        remove_leftovers(cache)
        require_space(cache, len(tasks) * part_bytes(recipe), "the clips still to prepare")
    log.info("%d clips: %d prepared before, %d to prepare", len(clips), hits, len(clips) - hits)
    done |= _prepared(tasks, execution)
    became = {path: error if isinstance(error, ClipError) else done[parts[path]] for path, error in contents.items()}
    return PreparedClips(
        parts={key: parts[path] for key, path in clips.items() if not isinstance(became[path], ClipError)},
        problems={key: named for key, path in clips.items() if (named := _named(path, became[path]))},
        hits=hits,
        misses=len(clips) - hits,
    )


def _whole_parts(clip_of: Mapping[Location, Path]) -> dict[Location, Problems]:
    """The complete parts in the cache, with the problems that they store."""
    # Only the asynchronous file systems of fsspec may be used from several threads.
    at_once = any(not isinstance(part, Path) and part.fs.async_impl for part in clip_of)
    with ThreadPoolExecutor(REMOTE_READERS) as pool:
        noted = (pool.map if at_once else map)(problems_in, clip_of, clip_of.values())
        return {part: problems for part, problems in zip(clip_of, noted, strict=True) if problems is not None}


def _prepared(tasks: list[Task], execution: Execution) -> dict[Location, Problems | ClipError]:
    if not tasks:
        return {}
    start = time.monotonic()
    results: Iterable[tuple[Task, Problems | ClipError]] = run_each(_prepare, tasks, execution, lambda task: task[0])
    made = {part: result for (_, part, _), result in followed(results, len(tasks), "preparing clips")}
    seconds = time.monotonic() - start
    log.info("prepared %d clips in %.1f s: %.1f clips a second", len(made), seconds, len(made) / seconds)
    return made


def _prepare(task: Task) -> Problems:
    return write_part(*task)


def _named(path: Path, became: Problems | ClipError) -> Problems:
    """The problems with this clip's path: another clip with the same bytes may have been prepared."""
    problems = dict.fromkeys(TENSORS, became) if isinstance(became, ClipError) else became
    return {modality: ClipError(path, error.problem, error.detail) for modality, error in problems.items()}
