"""Loads the model, weights, tokenizer and inputs of a plan, for training, evaluation and prediction."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from trimood.config.experiment_settings import AugmentationParams, Settings
from trimood.config.plan import Plan
from trimood.emotions import MODALITIES, Modality, Source
from trimood.learning.batches import AudioInput, Examples, presence
from trimood.learning.context import TextReader
from trimood.media.parts import Location
from trimood.media.recipes import VideoRecipe
from trimood.model.checkpoints import (
    check_checkpoints,
    check_strictly,
    locate,
    locate_encoder,
    state_dict_shapes,
    tokenizer,
)
from trimood.model.classifier import EmotionClassifier, build_classifier, load_towers
from trimood.model.config import EncoderConfig, LanguageBindConfig, TowerConfig, read_config
from trimood.model.encoders import check_encoder, read_encoder
from trimood.model.stored import TrainedWeights
from trimood.model.towers import LanguageBind
from trimood.model.trained import load_trained_state, parameter_counts

log = logging.getLogger(__name__)

DEFAULT_THREADS = torch.get_num_threads()
"""Torch's default number of CPU threads, read at import, before any setting changes it."""


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights, the reader of its words, and the recipes for its other inputs."""

    model: EmotionClassifier
    modalities: Sequence[Modality]
    words: TextReader | None
    video: VideoRecipe | None
    audio: AudioInput | None

    def examples(
        self, table: pd.DataFrame, prepared_clips: Location, augmentation: AugmentationParams | None = None
    ) -> Examples:
        """Converts the rows of a table to tensors; logs how many utterances lack each modality."""
        _log_absences(table, self.modalities)
        input_ids = self.words.ids(table) if self.words and len(table) else None
        padding = self.words.padding if self.words else None
        return Examples(
            table, input_ids, prepared_clips, self.modalities, self.video, self.audio, augmentation, padding
        )


def used_checkpoints(
    modalities: Sequence[Modality], sources: Mapping[Source, str], encoder: str | None = None
) -> dict[Source, str]:
    """Selects the checkpoints that these modalities need; text alone uses the video checkpoint's text tower.

    `encoder` is the place of the text encoder that is used instead of LanguageBind's text tower.
    """
    used: list[Source] = [source for source in ("video", "audio") if source in modalities]
    if encoder and "text" in modalities:
        return {**{source: sources[source] for source in used}, "text": encoder}
    return {source: sources[source] for source in used or ["video"]}


def count_parameters(settings: Settings, sources: Mapping[Source, str]) -> dict[str, tuple[int, int]]:
    """Counts trainable and all parameters per tower, without allocating them.

    Also checks that the checkpoints exist, and their kind, keys, shapes and tokenizer. Raises CheckpointError or
    AdapterError.
    """
    folders = _folders(sources)
    configs, _ = _read(settings, folders)
    with torch.device("meta"):
        model = _build(settings, configs)
    for source, config in configs.items():
        if isinstance(config, EncoderConfig):
            check_encoder(folders[source], config)
            continue
        with torch.device("meta"):
            check_strictly(folders[source], LanguageBind(config), state_dict_shapes(folders[source]))
    return parameter_counts(model)


def load_model(settings: Settings, sources: Mapping[Source, str]) -> LoadedModel:
    """Builds the model and loads its towers; head and adapters get their seeded initial values.

    Sets torch's number of CPU threads to `training.cpu_threads`, or to torch's default if that is 0.
    """
    torch.set_num_threads(settings.training.cpu_threads or DEFAULT_THREADS)
    folders = _folders(sources)
    configs, words = _read(settings, folders)
    with torch.device("meta"):
        model = _build(settings, configs)
    load_towers(model, folders)
    languagebind = {source: config for source, config in configs.items() if isinstance(config, LanguageBindConfig)}
    video, audio = (
        languagebind[source].vision if source in settings.modalities else None for source in ("video", "audio")
    )
    return LoadedModel(
        model,
        settings.modalities,
        words,
        VideoRecipe(video.num_frames, video.image_size) if video else None,
        AudioInput(audio.num_mel_bins, audio.target_length, audio.audio_mean, audio.audio_std) if audio else None,
    )


def _folders(sources: Mapping[Source, str]) -> dict[Source, Path]:
    return {source: locate_encoder(name) if source == "text" else locate(name) for source, name in sources.items()}


def _read(settings: Settings, folders: Mapping[Source, Path]) -> tuple[dict[Source, TowerConfig], TextReader | None]:
    """The configuration of each checkpoint, and the reader of the words with the tokenizer of the text tower."""
    configs: dict[Source, TowerConfig] = {
        source: read_config(folder) for source, folder in folders.items() if source != "text"
    }
    if "text" in folders:
        encoder, words = read_encoder(folders["text"], settings.text_pooling)
        return {**configs, "text": encoder}, TextReader(words, settings.context, encoder)
    if "text" not in settings.modalities:
        return configs, None
    last: list[Source] = [source for source in ("audio", "video") if source in folders]
    return configs, TextReader(tokenizer(folders[last[0]]), settings.context)


def load_for_plan(plan: Plan, weights: TrainedWeights) -> LoadedModel:
    """Loads the model with the checkpoints' towers and the trained weights.

    Raises CheckpointError, also if the checkpoints' files have changed since the training.
    """
    identity = weights.about.identity
    check_checkpoints(plan.checkpoints, identity.checkpoints, identity.experiment)
    loaded = load_model(plan.settings, plan.checkpoints)
    load_trained_state(loaded.model, weights.tensors)
    return loaded


def _log_absences(table: pd.DataFrame, modalities: Sequence[Modality]) -> None:
    own = [modality for modality in MODALITIES if modality in modalities]
    present = presence(table)[:, [MODALITIES.index(modality) for modality in own]]
    for modality, count in zip(own, (~present).sum(dim=0).tolist(), strict=True):
        if count:
            log.info("%d of %d utterances have no %s", count, len(table), modality)
    if nothing := int((~present.any(dim=1)).sum()):
        log.warning(
            "%d of %d utterances lack every modality this model uses (%s); their predictions are uniform",
            nothing,
            len(table),
            ", ".join(own),
        )


def _build(settings: Settings, configs: Mapping[Source, TowerConfig]) -> EmotionClassifier:
    seed, head, lora = settings.training.seed, settings.head, settings.lora
    return build_classifier(settings.modalities, configs, settings.train, head=head, lora=lora, seed=seed)
