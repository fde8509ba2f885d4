"""From resolved settings to a model with weights, tokenizer and inputs: the same for training and evaluation."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from trimood.emotions import MODALITIES, Modality
from trimood.learning.batches import AudioInput, Augmentation, Examples, VideoInput, presence
from trimood.media.audio import AudioRecipe
from trimood.media.parts import Location, Recipe
from trimood.media.video import VideoRecipe
from trimood.model.checkpoints import check_strictly, locate, state_dict_shapes, tokenize, tokenizer
from trimood.model.classifier import SOURCES, EmotionClassifier, Lora, Source, build_classifier, load_towers
from trimood.model.config import CheckpointError, LanguageBindConfig, read_config
from trimood.model.towers import LanguageBind
from trimood.model.trained import load_trained_state, parameter_counts

log = logging.getLogger(__name__)

THREADS_OF_TORCHS_CHOICE = torch.get_num_threads()
"""Taken when this module is imported, before any settings change it."""


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights, and what turns examples into its inputs."""

    model: EmotionClassifier
    modalities: Sequence[Modality]
    tokenizer: CLIPTokenizer | None
    video: VideoInput | None
    audio: AudioInput | None

    def examples(
        self, table: pd.DataFrame, prepared_clips: Location, augmentation: Augmentation | None = None
    ) -> Examples:
        """The table's rows as tensors, words tokenised once; the log names how many lack what."""
        _say_what_is_absent(table, self.modalities)
        texts = table["text"].fillna("").tolist()
        input_ids = tokenize(self.tokenizer, texts) if self.tokenizer and len(table) else None
        if input_ids is not None and (cut := int((input_ids[:, -2] != input_ids[:, -1]).sum())):
            log.warning("%d of %d utterances fill all %d tokens: the rest is not read", cut, *input_ids.shape)
        return Examples(table, input_ids, prepared_clips, self.modalities, self.video, self.audio, augmentation)


def clip_recipe(sources: Mapping[Source, str]) -> Recipe:
    """What the checkpoints expect of a clip: frames by the video checkpoint, sound by the audio checkpoint.

    Where one is not used, its half is as of the published checkpoints. Reads no weights.
    """
    visions = {source: read_config(locate(name, weights=False)).vision for source, name in sources.items()}
    video, audio = visions.get("video"), visions.get("audio")
    return Recipe(
        video=VideoRecipe(video.num_frames, video.image_size) if video else VideoRecipe(),
        audio=AudioRecipe(audio.num_mel_bins, audio.audio_sample_rate) if audio else AudioRecipe(),
    )


def used_checkpoints(modalities: Sequence[Modality], sources: Mapping[Source, str]) -> dict[Source, str]:
    """Those of the checkpoints that these modalities need; words alone take the video checkpoint's text tower."""
    used: list[Source] = [source for source in ("video", "audio") if source in modalities]
    return {source: sources[source] for source in used or ["video"]}


def count_parameters(settings: Mapping[str, Any], sources: Mapping[Source, str]) -> dict[str, tuple[int, int]]:
    """Trainable and all parameters per tower, without allocating one.

    What can be known of the checkpoints without reading weights is checked too: reach, kind, keys, shapes, tokenizer.
    """
    folders = {source: locate(name) for source, name in sources.items()}
    configs = {source: read_config(folder) for source, folder in folders.items()}
    with torch.device("meta"):
        model = _build(settings, configs)
        for source, folder in folders.items():
            check_strictly(folder, LanguageBind(configs[source]), state_dict_shapes(folder))
    if model.text_source:
        tokenizer(folders[model.text_source])
    return parameter_counts(model)


def set_up(settings: Mapping[str, Any], sources: Mapping[Source, str]) -> LoadedModel:
    """Builds the model and loads its towers; head and adapters have their seeded first values.

    Sets torch's number of CPU threads to the settings', or to torch's own choice where they leave it.
    """
    torch.set_num_threads(settings["training"]["cpu_threads"] or THREADS_OF_TORCHS_CHOICE)
    folders = {source: locate(name) for source, name in sources.items()}
    configs = {source: read_config(folder) for source, folder in folders.items()}
    with torch.device("meta"):
        model = _build(settings, configs)
    load_towers(model, folders)
    video, audio = (configs[source].vision if source in settings["modalities"] else None for source in SOURCES)
    return LoadedModel(
        model,
        settings["modalities"],
        tokenizer(folders[model.text_source]) if model.text_source else None,
        VideoInput(video.num_frames, video.image_size) if video else None,
        AudioInput(audio.num_mel_bins, audio.target_length, audio.audio_mean, audio.audio_std) if audio else None,
    )


def restore(settings: Mapping[str, Any], sources: Mapping[Source, str], trained: Mapping[str, Tensor]) -> LoadedModel:
    """The model as a training left it: the checkpoints' towers, and what was trained on top. Raises CheckpointError."""
    ready = set_up(settings, sources)
    load_trained_state(ready.model, trained)
    return ready


def load_for_plan(plan: Mapping[str, Any], weights: Mapping[str, Any]) -> LoadedModel:
    """`restore` of weights with what they are stored with. Raises CheckpointError where they are not the plan's.

    A plan is stored before its training: one that was stopped leaves it beside an earlier training's weights, whose
    shapes may well be the same.
    """
    about = weights["about"]
    different = [part for part in ("settings", "checkpoints") if about[part] != plan[part]]
    if different:
        raise CheckpointError(
            f"the stored weights were trained with other {' and '.join(different)} than the stored plan has "
            f"({_first_difference(about, plan)}): the plan's own training was not finished. "
            "Run the experiment to its end, then this again."
        )
    return restore(about["settings"], about["checkpoints"], weights["tensors"])


def _first_difference(stored: Any, planned: Any, path: str = "") -> str:
    if isinstance(stored, Mapping) and isinstance(planned, Mapping):
        for name in [name for name in stored if name in planned and stored[name] != planned[name]]:
            return _first_difference(stored[name], planned[name], f"{path}.{name}".strip("."))
    return f"{path}: {stored!r} and {planned!r}"


def _say_what_is_absent(table: pd.DataFrame, modalities: Sequence[Modality]) -> None:
    own = [modality for modality in MODALITIES if modality in modalities]
    present = presence(table)[:, [MODALITIES.index(modality) for modality in own]]
    absent = {modality: int(count) for modality, count in zip(own, (~present).sum(dim=0), strict=True) if count}
    if absent:
        counts = ", ".join(f"{modality} in {count}" for modality, count in absent.items())
        log.info("of %d utterances, absent is: %s", len(table), counts)
    if nothing := int((~present.any(dim=1)).sum()):
        log.warning(
            "%d of %d utterances have nothing of %s: to the model all emotions are equally likely there",
            nothing,
            len(table),
            ", ".join(own),
        )


def _build(settings: Mapping[str, Any], configs: Mapping[Source, LanguageBindConfig]) -> EmotionClassifier:
    lora = settings["lora"]
    return build_classifier(
        settings["modalities"],
        configs,
        settings["train"],
        head=settings["head"],
        lora=Lora(**{**lora, "targets": tuple(lora["targets"])}) if lora else None,
        seed=settings["training"]["seed"],
    )
