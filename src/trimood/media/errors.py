"""Errors of clips, of prepared clips, and of the processes that prepare them."""

import errno
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from trimood.config.parameters import ClipProblem

_TEMPORARY = {errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EACCES, errno.EMFILE, errno.ENFILE}

Task = TypeVar("Task")
Result = TypeVar("Result")


class ClipError(Exception):
    """One clip cannot be used: `problem` is an identifier, the message starts with the file's name."""

    def __init__(self, path: Path, problem: ClipProblem, detail: str) -> None:
        # All three are passed to Exception.args, so that the error can be pickled in a worker process.
        super().__init__(path, problem, detail)
        self.path = path
        self.problem: ClipProblem = problem
        self.detail = detail

    @property
    def message(self) -> str:
        """File name, problem and detail."""
        return f"{self.path.name}: {in_words(self.problem)}: {self.detail}"

    def __str__(self) -> str:
        return self.message


def require_file(path: Path) -> None:
    """Raises ClipError if the file does not exist or cannot be accessed."""
    try:
        if path.is_file():
            return
    except OSError as error:  # such as a name that is too long, or a folder without permission
        raise ClipError(path, "unreadable", f"the file cannot be read ({error.strerror})") from error
    raise ClipError(path, "missing", f"no such file in {path.parent}")


class PreparationError(Exception):
    """The preparation stopped for a reason other than a single clip, such as a killed worker process."""


class PartError(Exception):
    """A prepared part is missing or incomplete."""


def in_words(problem: str) -> str:
    """A problem's identifier as shown in messages: "no audio track" for no_audio_track."""
    return problem.replace("_", " ")


def reason(error: Exception) -> str:
    """A library's message without the path of the file, because clips with the same bytes share a part."""
    return getattr(error, "strerror", None) or str(error)


def may_pass(error: Exception) -> bool:
    """Whether the problem is temporary: caused by the machine or the network, not by the bytes of the clip."""
    if isinstance(error, ClipError):
        cause = error.__cause__
        passing = error.problem in ("missing", "timed_out", "crashed")
        return passing or (isinstance(cause, Exception) and may_pass(cause))
    return isinstance(error, MemoryError) or getattr(error, "errno", None) in _TEMPORARY


def attempt(function: Callable[[Task], Result], task: Task) -> Result | Exception:
    """The result, or the exception as a value, so that any exception raised by a worker concerns the worker itself."""
    try:
        return function(task)
    except ClipError as error:
        return error
    except Exception as error:
        error.add_note(traceback.format_exc())
        return error


def timed_out(clip: Path, limit_seconds: float) -> ClipError:
    """The result for a clip that took longer than the limit."""
    raising = "If the clip is just long, raise the limit: --params data.clips.time_limit_seconds=…"
    return ClipError(clip, "timed_out", f"not finished after {limit_seconds:g} s. {raising}")


def crashed(clip: Path, how: str) -> ClipError:
    """The result for a clip whose worker process died."""
    return ClipError(clip, "crashed", f"its worker process died ({how})")


def how_it_ended(exit_code: int) -> str:
    """The exit code of a process in words; codes below zero are signals."""
    if exit_code == -signal.SIGKILL:
        return "SIGKILL: possibly out of memory; use fewer workers"
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
