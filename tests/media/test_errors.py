"""What is wrong with a clip keeps its name and its words on every way, and what may pass is told from what lasts."""

import errno
import pickle
from pathlib import Path

import pytest

from trimood.config.parameters import ClipProblem
from trimood.media.errors import ClipError, attempt, how_it_ended, may_pass, reason

CLIP = Path("train/dia1utt1.mp4")


def test_a_message_starts_with_the_name_of_the_file_and_comes_back_from_a_worker() -> None:
    error = ClipError(CLIP, "no_audio_track", "its sound is needed")
    for one in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 - made here
        assert str(one) == "dia1utt1.mp4: no audio track: its sound is needed"
        assert (one.path, one.problem, one.detail) == (CLIP, "no_audio_track", "its sound is needed")


@pytest.mark.parametrize(
    ("problem", "cause", "passes"),
    [
        ("timed_out", None, True),
        ("crashed", None, True),
        ("missing", None, True),
        ("silent", None, False),
        ("unreadable", None, False),
        ("unreadable", ValueError("no frame"), False),
        ("unreadable", OSError(errno.EIO, "Input/output error"), True),
        ("unreadable", OSError(errno.EISDIR, "Is a directory"), False),
        ("unreadable", MemoryError(), True),
    ],
)
def test_what_the_machine_or_the_network_did_may_pass_and_what_the_bytes_say_does_not(
    problem: ClipProblem, cause: Exception | None, passes: bool
) -> None:
    error = ClipError(CLIP, problem, "")
    error.__cause__ = cause
    assert may_pass(error) is passes


def test_a_reason_names_no_path() -> None:
    assert reason(OSError(errno.EACCES, "Permission denied", str(CLIP))) == "Permission denied"
    assert reason(ValueError("no frame")) == "no frame"


def test_an_attempt_gives_the_result_or_the_error_as_a_value_and_any_other_error_with_its_place() -> None:
    def fail(error: Exception) -> None:
        raise error

    assert attempt(len, [1, 2]) == 2
    clip_error, other = ClipError(CLIP, "silent", ""), ValueError("a wrong number")
    assert attempt(fail, clip_error) is clip_error
    assert attempt(fail, other) is other
    assert not hasattr(clip_error, "__notes__")
    assert "in fail" in other.__notes__[0]


@pytest.mark.parametrize(("code", "words"), [(3, "exit code 3"), (-11, "SIGSEGV"), (-9, "SIGKILL: ")])
def test_the_end_of_a_process_is_said_in_words(code: int, words: str) -> None:
    assert how_it_ended(code).startswith(words)
