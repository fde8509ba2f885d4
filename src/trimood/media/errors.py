"""What can go wrong with a clip, with the prepared clips, and with the processes that prepare them."""

import errno
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar, get_args

Problem = Literal["missing", "unreadable", "no audio track", "silent", "too short", "timed out", "crashed"]

PROBLEMS: tuple[Problem, ...] = get_args(Problem)
"""Everything that can be wrong with a clip, in the order in which it is looked for."""

_PASSING = {errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EACCES, errno.EMFILE, errno.ENFILE}


class ClipError(Exception):
    """One clip cannot be used: `problem` says which of PROBLEMS it is, the message starts with the file's name."""

    def __init__(self, path: Path, problem: Problem, detail: str) -> None:
        # All three reach Exception.args, so that the error survives the way back from a worker process.
        super().__init__(path, problem, detail)
        self.path = path
        self.problem: Problem = problem
        self.detail = detail

    @property
    def message(self) -> str:
        """The whole sentence: file name, problem, and what was found."""
        return f"{self.path.name}: {self.problem}: {self.detail}"

    def __str__(self) -> str:
        return self.message


def reason(error: Exception) -> str:
    """What a library says is wrong, without the path that it may name: clips of the same bytes share their part."""
    return getattr(error, "strerror", None) or str(error)


def may_pass(error: Exception) -> bool:
    """Whether it may be gone at the next try, as it lies with the machine or the network and not with the bytes."""
    if isinstance(error, ClipError):
        cause = error.__cause__
        passing = error.problem in ("missing", "timed out", "crashed")
        return passing or (isinstance(cause, Exception) and may_pass(cause))
    return isinstance(error, MemoryError) or getattr(error, "errno", None) in _PASSING


class PreparationError(Exception):
    """The work stopped for a reason that no single clip explains, such as a killed worker process."""


class PartError(Exception):
    """A prepared part is not there or is not whole."""


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
