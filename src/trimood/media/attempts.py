"""One attempt at one clip: its result, what it raised, or that it was not done in time or took its process with it."""

import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from trimood.media.errors import ClipError

Task = TypeVar("Task")
Result = TypeVar("Result")


def attempt(function: Callable[[Task], Result], task: Task) -> Result | Exception:
    """The result, or what was raised, as a value: whatever else comes from a worker then speaks of the worker."""
    try:
        return function(task)
    except ClipError as error:
        return error
    except Exception as error:
        error.add_note(traceback.format_exc())
        return error


def timed_out(clip: Path, limit_seconds: float) -> ClipError:
    """What becomes of a clip whose attempt overran the limit."""
    raising = "If it is only long, raise the limit: --params data.clips.time_limit_seconds=…"
    return ClipError(clip, "timed out", f"it was not done after {limit_seconds:g} s. {raising}")


def crashed(clip: Path, how: str) -> ClipError:
    """What becomes of a clip whose attempt ended the process that made it."""
    return ClipError(clip, "crashed", f"the process that worked on it died ({how})")


def how_it_ended(exit_code: int) -> str:
    """The exit code of a process in words: those below zero are signals."""
    if exit_code == -signal.SIGKILL:
        return "SIGKILL: perhaps for want of memory; fewer workers need less"
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
