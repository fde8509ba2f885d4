"""Examples in which the emotion can be read from the words, the frames and the sound, and a tiny model to learn it."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save

from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO, made_checkpoint
from trimood.emotions import EMOTIONS
from trimood.learning.setup import LoadedModel, set_up
from trimood.media.parts import write_whole

ARGUMENTS = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "learning_rate": 3e-3,
    "logging_steps": 2,
    "bf16": False,  # as on a CPU, so that scores in training and after it are of the same numbers
    "seed": 1,
}


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "video": str(made_checkpoint(folder / "video", TINY_VIDEO)),
        "audio": str(made_checkpoint(folder / "audio", TINY_AUDIO, file="safetensors")),
    }


@pytest.fixture(scope="session")
def prepared_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One part for each emotion: brightness and loudness rise with the class number."""
    folder = tmp_path_factory.mktemp("prepared")
    size, frames = TINY_VIDEO.vision.image_size, TINY_VIDEO.vision.num_frames
    for number, emotion in enumerate(EMOTIONS):
        part = {
            "frames": torch.full((frames, 3, size, size), 30 * number, dtype=torch.uint8),
            "log_mel": torch.linspace(-8, 2 * number, 40)[:, None]
            .expand(40, TINY_AUDIO.vision.num_mel_bins)
            .contiguous(),
        }
        write_whole(folder / f"{emotion}.safetensors", save(part))
    return folder


def example_table(count: int) -> pd.DataFrame:
    """`count` utterances, classes in turn, words and part saying which."""
    emotions = [EMOTIONS[number % len(EMOTIONS)] for number in range(count)]
    return pd.DataFrame(
        {
            "utterance": [f"dia1utt{number}" for number in range(1, count + 1)],
            "text": [f"so much {emotion} !" for emotion in emotions],
            "emotion": emotions,
            "label": pd.Series([EMOTIONS.index(emotion) for emotion in emotions], dtype="Int8"),
            "part": [f"{emotion}.safetensors" for emotion in emotions],
        }
    )


def settings(
    train: str = "everything",
    modalities: tuple[str, ...] = ("text", "video"),
    head: str = "trained",
    dropout: float = 0.0,
) -> dict:
    lora = (
        {"targets": ["q_proj", "v_proj"], "r": 4, "alpha": 4, "dropout": dropout, "bias": "all"}
        if train == "lora"
        else None
    )
    return {
        "modalities": list(modalities),
        "train": train,
        "head": head,
        "lora": lora,
        "training": {"seed": 1, "cpu_threads": 1},
    }


def ready(sources: dict[str, str], **kwargs: object) -> LoadedModel:
    wanted = settings(**kwargs)  # type: ignore[arg-type]
    used = {name: sources[name] for name in ("video", "audio") if name in wanted["modalities"]} or {
        "video": sources["video"]
    }
    return set_up(wanted, used)  # type: ignore[arg-type]
