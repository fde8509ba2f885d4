"""What can go wrong with a clip, with prepared clips, and with the processes that work on them."""

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
        # All three reach Exception.args, so that the error survives the way back from a worker process.
        super().__init__(path, problem, detail)
        self.path = path
        self.problem: ClipProblem = problem
        self.detail = detail

    @property
    def message(self) -> str:
        """The whole sentence: file name, problem, and what was found."""
        return f"{self.path.name}: {in_words(self.problem)}: {self.detail}"

    def __str__(self) -> str:
        return self.message


class PreparationError(Exception):
    """The work stopped for a reason that no single clip explains, such as a killed worker process."""


class PartError(Exception):
    """A prepared part is missing or incomplete."""


def in_words(problem: str) -> str:
    """A problem's identifier as messages say it: "no audio track" for no_audio_track."""
    return problem.replace("_", " ")


def as_identifier(problem: str) -> str:
    """A problem as earlier versions stored it, with spaces, as the identifier of today."""
    return problem.replace(" ", "_")


def reason(error: Exception) -> str:
    """A library's message without the path that it may name: clips with the same bytes share their part."""
    return getattr(error, "strerror", None) or str(error)


def may_pass(error: Exception) -> bool:
    """Whether another try may succeed: the cause is the machine or the network, not the bytes of the clip."""
    if isinstance(error, ClipError):
        cause = error.__cause__
        passing = error.problem in ("missing", "timed_out", "crashed")
        return passing or (isinstance(cause, Exception) and may_pass(cause))
    return isinstance(error, MemoryError) or getattr(error, "errno", None) in _TEMPORARY


def attempt(function: Callable[[Task], Result], task: Task) -> Result | Exception:
    """The result, or the exception as a value: any exception that a worker raises then concerns the worker itself."""
    try:
        return function(task)
    except ClipError as error:
        return error
    except Exception as error:
        error.add_note(traceback.format_exc())
        return error


def timed_out(clip: Path, limit_seconds: float) -> ClipError:
    """The result for a clip that took longer than the limit."""
    raising = "If it is only long, raise the limit: --params data.clips.time_limit_seconds=…"
    return ClipError(clip, "timed_out", f"it was not done after {limit_seconds:g} s. {raising}")


def crashed(clip: Path, how: str) -> ClipError:
    """The result for a clip that ended the process working on it."""
    return ClipError(clip, "crashed", f"the process that worked on it died ({how})")


def how_it_ended(exit_code: int) -> str:
    """The exit code of a process in words; codes below zero are signals."""
    if exit_code == -signal.SIGKILL:
        return "SIGKILL: perhaps it ran out of memory; fewer workers need less"
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
