"""Writes small annotation files in ECF's format for tests."""

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
