"""The demo's corpus as a folder, laid out as ECF 2.0 is."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trimood.pipelines.demo.clips import write_clip
from trimood.pipelines.demo.dialogues import (
    CONVERSATIONS,
    Conversation,
    official_test_record,
    train_record,
    write_dialogues,
)


def write_corpus(folder: Path, seed: int, conversation_count: int = CONVERSATIONS, threads: int = 2) -> None:
    """Fills `folder` with Subtask_2_train.json, Subtask_2_test.json and the clips of both in train/ and test/."""
    train, test = write_dialogues(seed, conversation_count)
    _write_split(folder, "train", train, train_record, threads)
    _write_split(folder, "test", test, official_test_record, threads)


def _write_split(
    folder: Path,
    split: str,
    conversations: list[Conversation],
    as_record: Callable[[Conversation], dict[str, object]],
    threads: int,
) -> None:
    clips = folder / split
    clips.mkdir()
    records = [as_record(conversation) for conversation in conversations]
    # ECF's own files are indented by four and hold curly quotes unescaped.
    content = json.dumps(records, indent=4, ensure_ascii=False)
    (folder / f"Subtask_2_{split}.json").write_text(content, encoding="utf-8")
    utterances = [utterance for conversation in conversations for utterance in conversation]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(write_clip, utterances, [clips] * len(utterances)):
            pass
