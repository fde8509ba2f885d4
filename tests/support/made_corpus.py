"""Writes small annotation files in ECF's and MELD's formats for tests."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trimood.emotions import EMOTIONS


def made_conversation(conversation_id: int, emotions: Sequence[str | None], video_names: bool = True) -> dict[str, Any]:
    """A conversation with one utterance per emotion; None leaves the emotion out, as the unlabelled release does."""
    utterances: list[dict[str, Any]] = []
    for number, emotion in enumerate(emotions, start=1):
        utterance: dict[str, Any] = {
            "utterance_ID": number,
            "text": f"I feel {emotion or 'something'} , number {number} !",
            "speaker": ("Monica", "Ross")[number % 2],
        }
        if emotion is not None:
            utterance["emotion"] = emotion
        if video_names:
            utterance["video_name"] = f"dia{conversation_id}utt{number}.mp4"
        utterances.append(utterance)
    return {"conversation_ID": conversation_id, "conversation": utterances, "emotion-cause_pairs": []}


def drawn_conversations(count: int, seed: int, first_id: int = 1) -> list[dict[str, Any]]:
    """Conversations of 1 to 12 utterances with classes about as uneven as ECF's, in no order of their ids."""
    draws = np.random.default_rng(seed)
    shares = [0.135, 0.03, 0.085, 0.43, 0.17, 0.12, 0.03]  # in the order of EMOTIONS
    return [
        made_conversation(
            int(number) + first_id,
            [str(emotion) for emotion in draws.choice(EMOTIONS, size=draws.integers(1, 13), p=shares)],
        )
        for number in draws.permutation(count)
    ]


def write_ecf(
    folder: Path,
    conversations: Sequence[Mapping[str, Any]] | Mapping[int, Sequence[str | None]],
    name: str = "Subtask_2_train.json",
) -> Path:
    """Write an annotation file: whole conversations, or {conversation_ID: emotions} to be filled with words."""
    if isinstance(conversations, Mapping):
        conversations = [made_conversation(number, emotions) for number, emotions in conversations.items()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(list(conversations), ensure_ascii=False, indent=4), encoding="utf-8")
    return path


MELD_COLUMNS = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"


def write_meld(folder: Path, **splits: Mapping[int, Sequence[str]]) -> Path:
    """Writes MELD's annotation file of each split, {Dialogue_ID: emotions}; each dialogue is an episode of season 3.

    Utterance n of a dialogue lasts from second 10 n to 10 n + 2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, dialogues in splits.items():
        with (folder / f"{split}_sent_emo.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(MELD_COLUMNS.split(","))
            for dialogue, emotions in dialogues.items():
                for number, emotion in enumerate(emotions):
                    text = f"It\x92s {emotion} of {split}, dialogue {dialogue}, number {number}!"
                    times = [f"0:{10 * number // 60:02}:{10 * number % 60 + more:02},500" for more in (0, 2)]
                    table.writerow([1, text, "Ross", emotion, "neutral", dialogue, number, 3, dialogue, *times])
    return folder
