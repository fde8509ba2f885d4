"""Clips to be clicked: of the official test file, one for each emotion."""

import logging
from pathlib import Path

import pytest

from support.made_corpus import write_ecf
from trimood.app.choices import Example, corpus_examples


def test_examples_are_the_first_utterance_of_each_emotion_whose_clip_is_there(tmp_path: Path) -> None:
    write_ecf(tmp_path, {5: ["joy", "anger", "joy", "fear"]}, "Subtask_2_test.json")
    (tmp_path / "test").mkdir()
    for number in (2, 3):
        (tmp_path / "test" / f"dia5utt{number}.mp4").touch()
    clips = tmp_path / "test"
    joy, anger = corpus_examples(tmp_path)
    assert joy == Example(
        f"{clips}/dia5utt3.mp4",
        "I feel joy , number 3 !",
        "joy",
        "Ross",
        "Ross: I feel joy , number 1 !\nMonica: I feel anger , number 2 !",
        "Monica: I feel fear , number 4 !",
    )
    assert (anger.clip, anger.emotion) == (f"{clips}/dia5utt2.mp4", "anger")


def test_without_a_test_file_there_are_none(tmp_path: Path) -> None:
    write_ecf(tmp_path, {5: ["joy"]})
    assert corpus_examples(tmp_path) == []
    assert corpus_examples(tmp_path / "nowhere") == []


def test_a_test_file_that_cannot_be_read_is_told_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "Subtask_2_test.json").write_text("[")
    with caplog.at_level(logging.WARNING, logger="trimood"):
        assert corpus_examples(tmp_path) == []
    assert "the page offers no examples: Subtask_2_test.json" in caplog.text
