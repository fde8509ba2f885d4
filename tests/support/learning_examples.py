"""Examples in which the emotion can be read from the words, the frames and the sound, and a tiny model to learn it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO, made_checkpoint
from trimood.config.experiment_settings import (
    ENCODER,
    AugmentationParams,
    Bias,
    ContextParams,
    HeadParams,
    LoraParams,
    Settings,
    Train,
    TrainingParams,
)
from trimood.config.parameters import ClipParams, EmbeddingParams
from trimood.config.plan import Plan
from trimood.emotions import EMOTIONS, Modality, Source
from trimood.learning.experiment import identify_run, plan_experiment
from trimood.learning.setup import LoadedModel, load_model, used_checkpoints
from trimood.media.parts import write_whole
from trimood.model.stored import AboutWeights, RunIdentity, TrainedWeights
from trimood.model.trained import weights_fingerprint

CLIPS = ClipParams(on_bad_clip="fail", executor="serial", workers=1, time_limit_seconds=60)

EMBEDDINGS = EmbeddingParams(cache_gigabytes=1)

TRAINING = TrainingParams(
    num_train_epochs=3,
    per_device_train_batch_size=4,
    per_device_eval_batch_size=8,
    gradient_accumulation_steps=1,
    learning_rate=3e-3,
    lr_scheduler_type="linear",
    warmup_steps=0,
    weight_decay=0.0,
    max_grad_norm=1.0,
    logging_steps=2,
    dataloader_num_workers=0,
    cpu_threads=1,
    bf16=False,  # as on a CPU, so that scores in training and after it are computed from the same numbers
    seed=1,
    augmentation=AugmentationParams(flip_probability=0.0, random_mel_chunks=False),
)


def training(**changes: object) -> TrainingParams:
    """TRAINING with other values, which are not checked: a test may ask for what the parameters refuse."""
    return TRAINING.model_copy(update=changes)


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


def lora(*targets: str, r: int = 16, alpha: int = 16, dropout: float = 0.0, bias: Bias = "all") -> LoraParams:
    """LoRA on these targets, otherwise as published."""
    return LoraParams(targets=targets, r=r, alpha=alpha, dropout=dropout, bias=bias)


def settings(
    train: Train = "everything",
    modalities: tuple[Modality, ...] = ("text", "video"),
    head: str | dict[str, object] = "trained",
    dropout: float = 0.0,
) -> Settings:
    adapters = lora("q_proj", "v_proj", r=4, alpha=4, dropout=dropout) if train == "lora" else None
    own = HeadParams.model_validate(head)
    return Settings(modalities=modalities, train=train, head=own, lora=adapters, training=TRAINING)


def encoder_settings(
    train: Train = "everything", modalities: tuple[Modality, ...] = ("text",), context: ContextParams | None = None
) -> Settings:
    """Settings of a text encoder, the one that the path `text_tower` names."""
    wanted = settings(train, modalities)
    return wanted.model_copy(update={"text_tower": ENCODER, "context": context or ContextParams()})


def tiny_model(sources: dict[Source, str], **kwargs: Any) -> LoadedModel:
    """A model of `settings(**kwargs)` with the tiny checkpoints."""
    wanted = settings(**kwargs)
    return load_model(wanted, used_checkpoints(wanted.modalities, sources))


def tiny_plan(sources: dict[Source, str], **kwargs: Any) -> Plan:
    """The plan that belongs to `tiny_model(sources, **kwargs)`."""
    return plan_experiment(settings(**kwargs), sources, "pyav", "mean")


def tiny_identity(plan: Plan, validation: pd.DataFrame | None = None, test: pd.DataFrame | None = None) -> RunIdentity:
    """The identity of a run by this plan; a table that is not given is empty."""
    none = example_table(0)
    given = {"validation": none if validation is None else validation, "test": none if test is None else test}
    return identify_run("exp3", plan, training=none, **given)


def tiny_weights(
    plan: Plan, tensors: Mapping[str, Tensor], validation: pd.DataFrame | None = None, test: pd.DataFrame | None = None
) -> TrainedWeights:
    """Weights of a training by this plan that belongs to these tables of examples."""
    identity = tiny_identity(plan, validation, test)
    return TrainedWeights(
        AboutWeights(identity=identity, epoch="best", fingerprint=weights_fingerprint(tensors)), tensors
    )
