import io
import logging
import re
import sys

import pytest

from trimood.media.execution import duration, followed


def test_a_log_file_is_told_now_and_then_and_not_of_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trimood")
    assert list(followed("abcd", 4, "preparing clips", line_seconds=0)) == [*"abcd"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    for number, line in enumerate(lines, 1):
        words = rf"preparing clips: {number} of 4, [\d.]+ clips a second, about \d+ s left"
        assert re.fullmatch(words, line), line
    caplog.clear()
    assert list(followed("abcd", 4, "preparing clips", line_seconds=1000)) == [*"abcd"]
    assert caplog.records == []


def test_a_terminal_is_shown_a_bar_and_no_lines(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "trimood")
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(followed(range(3), 3, "preparing clips", line_seconds=0)) == [0, 1, 2]
    assert caplog.records == []
    assert "preparing clips: 100%" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_lengths_of_time_are_said_as_a_person_says_them() -> None:
    assert [duration(seconds) for seconds in (0.4, 99, 100, 3000, 11000)] == [
        "0 s",
        "99 s",
        "2 min",
        "50 min",
        "3 h 3 min",
    ]
