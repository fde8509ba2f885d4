import json
from pathlib import Path
from typing import Any

import pytest

from support.made_corpus import made_conversation, write_ecf
from support.shared_data import SHARED, needs_shared
from trimood.corpus.corpus_files import TRAIN_SPANS, read_spans
from trimood.corpus.ecf import AnnotationError


def test_spans_come_from_the_annotation_and_utterances_without_one_have_no_row(tmp_path: Path) -> None:
    conversation = made_conversation(7, ["joy", "fear"])
    conversation["conversation"][1]["video_source"] = ["S02E03", "01:00:01.500", "01:00:04"]
    spans = read_spans(write_ecf(tmp_path, [conversation]))
    assert spans.to_dict("records") == [
        {"utterance": "dia7utt2", "episode": "S02E03", "start_seconds": 3601.5, "end_seconds": 3604.0}
    ]


def test_spans_come_from_mecpes_file_by_the_name_of_the_clip(tmp_path: Path) -> None:
    path = tmp_path / TRAIN_SPANS
    path.write_text(json.dumps({"dia1utt2.mp4": ["S01E01", "00:01:19.037", "00:01:25.417"]}))
    assert read_spans(path).iloc[0].to_list() == ["dia1utt2", "S01E01", 79.037, 85.417]


@pytest.mark.parametrize("span", [["S01E01", "00:01:19"], ["S01E01", "1:19", "1:20"], "S01E01", [1, 2, 3]])
def test_a_span_that_is_none_is_refused_by_its_utterance(tmp_path: Path, span: Any) -> None:
    path = tmp_path / TRAIN_SPANS
    path.write_text(json.dumps({"dia1utt2.mp4": span}))
    with pytest.raises(AnnotationError, match=r"dia1utt2: got the span .*; expected \[\"S01E01\""):
        read_spans(path)


def test_no_message_prints_more_than_an_excerpt_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / TRAIN_SPANS
    path.write_text(json.dumps({"a" * 9000: ["b" * 9000]}))
    with pytest.raises(AnnotationError) as refused:
        read_spans(path)
    assert len(str(refused.value)) < 400


def test_spans_of_a_key_that_occurs_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / TRAIN_SPANS
    span = json.dumps(["S01E01", "00:01:19.037", "00:01:25.417"])
    path.write_text(f'{{"dia1utt2.mp4": {span}, "dia1utt2.mp4": {span}}}')
    with pytest.raises(AnnotationError, match=r"the key 'dia1utt2\.mp4' occurs 2 times"):
        read_spans(path)


@needs_shared
def test_every_utterance_of_the_published_files_has_a_span() -> None:
    folder = (SHARED or Path()) / "reference" / "ecf2"
    assert len(read_spans(folder / TRAIN_SPANS)) == 13_619
    assert len(read_spans(folder / "Subtask_2_test.json")) == 3_101
    assert read_spans(folder / "Subtask_2_train.json").empty
