"""The emotion classifier: LanguageBind embeddings of an utterance's video, audio and text, and a head."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trimood.config.experiment_settings import LINEAR_HEAD, HeadParams, LoraParams, Train
from trimood.emotions import MODALITIES, Modality, Source
from trimood.model.adapters import add_lora, base_name, initialise_adapters, is_adapter
from trimood.model.checkpoints import read_strictly
from trimood.model.config import CheckpointError, EncoderConfig, TowerConfig, read_config
from trimood.model.encoders import TextEncoder, load_encoder
from trimood.model.heads import build_head, classify, initialise_head, with_mask
from trimood.model.towers import LanguageBind, TowerPart

SOURCES: tuple[Source, ...] = get_args(Source)

# CLIP's normalisation of red, green and blue, for pixels from 0 to 1 (github.com/openai/CLIP, clip.py).
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class EmotionClassifier(nn.Module):
    """Embeds video, audio and text, and classifies the embeddings, or the states of tokens and frames, with a head.

    `towers` has a LanguageBind for each checkpoint in use. The text tower is that of the audio checkpoint if audio is
    used, else that of the video checkpoint; the other is not built. With a configuration for the source text, a
    TextEncoder takes its place. `build_classifier` also selects what is trained.
    """

    def __init__(
        self,
        modalities: Collection[Modality],
        configs: Mapping[Source, TowerConfig],
        seed: int = 42,
        head: HeadParams = LINEAR_HEAD,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.modalities = tuple(modality for modality in MODALITIES if modality in modalities)
        self.text_source = _text_source(self.modalities, configs)
        seen = [modality for modality in self.modalities if modality != "text"]
        self.sources = tuple(source for source in SOURCES if source in seen or source == self.text_source)
        self.towers = nn.ModuleDict()
        for source in self.sources:
            config = configs[source]
            if isinstance(config, EncoderConfig):
                self.towers[source] = TextEncoder(config)
                continue
            parts: dict[TowerPart, bool] = {"text": source == self.text_source, "vision": source in seen}
            self.towers[source] = LanguageBind(config, [part for part, is_used in parts.items() if is_used])
        self.reads_states = head.reads_states
        self.head = build_head(head, {modality: self.embedding_size(modality) for modality in self.modalities})

    def forward(
        self,
        input_ids: Tensor | None = None,
        frames: Tensor | None = None,
        mel: Tensor | None = None,
        labels: Tensor | None = None,
        present: Tensor | None = None,
        video_embedding: Tensor | None = None,
        audio_embedding: Tensor | None = None,
        text_embedding: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Logits, [utterance, 7] float32, and with `labels` ([utterance] int64) also their mean cross entropy `loss`.

        The other arguments are those of `embed`.
        """
        known = (video_embedding, audio_embedding, text_embedding)
        logits = classify(self.embed(input_ids, frames, mel, present, *known), self.head)
        if labels is None:
            return {"logits": logits}
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    def embed(
        self,
        input_ids: Tensor | None = None,
        frames: Tensor | None = None,
        mel: Tensor | None = None,
        present: Tensor | None = None,
        video_embedding: Tensor | None = None,
        audio_embedding: Tensor | None = None,
        text_embedding: Tensor | None = None,
    ) -> dict[Modality, Tensor]:
        """Embeds each of the model's modalities, [utterance, projection_dim] float32.

        For a head that reads states, these are [utterance, state, projection_dim + 1], as `model.heads` defines them.
        Inputs are `input_ids` [utterance, token] (77 for LanguageBind), `frames` [utterance, frame, 3, height, width]
        uint8 and `mel` [utterance, 3, mel, time] normalised; those of other modalities are ignored. `present`
        [utterance, 3] bool says which of video, audio, text an utterance has, by default all. An absent input is
        ignored and has the embedding zero. An embedding that is known already (of `embed_input`) replaces its input and
        its tower's pass. Raises ValueError if an input is missing, or `present` has another shape or type.
        """
        if present is not None and (present.shape[1:] != (len(MODALITIES),) or present.dtype != torch.bool):
            raise ValueError(
                f"`present` is {list(present.shape)} {present.dtype}; it must be [utterance, {len(MODALITIES)}] bool, "
                f"in the order {', '.join(MODALITIES)}."
            )
        inputs = {"video": ("frames", frames), "audio": ("mel", mel), "text": ("input_ids", input_ids)}
        known = {"video": video_embedding, "audio": audio_embedding, "text": text_embedding}
        embeddings: dict[Modality, Tensor] = {}
        for modality in self.modalities:
            absent = None if present is None else ~present[:, MODALITIES.index(modality)]
            embedding = known[modality]
            if embedding is None:
                name, value = inputs[modality]
                if value is None:
                    raise ValueError(f"a classifier of {', '.join(self.modalities)} needs `{name}` and got none.")
                embedding = self.embed_input(modality, _zeroed(value, absent))
            embeddings[modality] = _zeroed(embedding, absent)
        return embeddings

    def embed_input(self, modality: Modality, value: Tensor) -> Tensor:
        """Embeds inputs of one modality, as `embed` takes them, with its tower: [utterance, projection_dim] float32.

        Text of LanguageBind has length 1, as published; that of an encoder keeps the length that it was trained with.
        For a head that reads states, these are [utterance, state, projection_dim + 1].
        """
        if self.reads_states:
            return self._states(modality, value)
        if modality == "text" and (encoder := self.encoder):
            return encoder.embed_text(value).float()
        tower = self.tower(modality)
        if modality == "text":
            return F.normalize(tower.embed_text(value).float(), dim=-1)  # [utterance, projection_dim]
        pixels = normalise_frames(value) if modality == "video" else value
        return F.normalize(tower.embed_vision(pixels).float(), dim=-1) * tower.logit_scale.float().exp()

    def _states(self, modality: Modality, value: Tensor) -> Tensor:
        if modality == "text":
            states, is_real = (self.encoder or self.tower("text")).text_states(value)
        else:
            pixels = normalise_frames(value) if modality == "video" else value
            states, is_real = self.tower(modality).vision_states(pixels)
        return with_mask(states.float(), is_real)

    def source(self, modality: Modality) -> Source:
        """The name of the checkpoint that embeds a modality."""
        source = self.text_source if modality == "text" else modality
        assert source is not None  # noqa: S101 - for mypy: a classifier of text has a text tower
        return source

    @property
    def encoder(self) -> TextEncoder | None:
        """The text encoder, if there is one instead of LanguageBind's text tower."""
        return next((tower for tower in self.towers.values() if isinstance(tower, TextEncoder)), None)

    def tower(self, modality: Modality) -> LanguageBind:
        """The LanguageBind towers that embed a modality; KeyError if it is not used."""
        tower = self.towers[self.source(modality)]
        assert isinstance(tower, LanguageBind)  # noqa: S101 - for mypy
        return tower

    def train(self, mode: bool = True) -> Self:
        """As nn.Module, but only if the mode changes: Trainer calls it for every micro-batch, and modules are many."""
        return self if mode == self.training else super().train(mode)

    def checkpoint_layers(self) -> None:
        """From now on, training computes each layer again in the backward pass, with the same dropout.

        Needs less memory and a third more time (https://arxiv.org/abs/1604.06174); gradients are the same.
        """
        for source in self.sources:
            tower = self.towers[source]
            assert isinstance(tower, LanguageBind | TextEncoder)  # noqa: S101 - for mypy
            tower.checkpoint_layers()

    def no_embeddings(self, modality: Modality) -> Tensor:
        """What `embed` returns of a modality for no utterance."""
        size = self.embedding_size(modality)
        return torch.empty(0, 1, size + 1) if self.reads_states else torch.empty(0, size)

    def compile_layers(self, backend: str = "inductor") -> None:
        """From now on, `torch.compile` joins the operations of each encoder layer; the first passes compile them.

        Sums are rounded in another order, and dropout draws other numbers than without it. A TextEncoder, which may be
        of any family, stays as it is.
        """
        for tower in self.towers.children():
            if isinstance(tower, LanguageBind):
                tower.compile_layers(backend)

    def embedding_size(self, modality: Modality) -> int:
        """Length of an embedding or a state, projection_dim, for one of the model's modalities."""
        tower = self.towers[self.source(modality)]
        assert isinstance(tower, LanguageBind | TextEncoder)  # noqa: S101 - for mypy
        return tower.config.projection_dim


def build_classifier(
    modalities: Collection[Modality],
    configs: Mapping[Source, TowerConfig],
    train: Train,
    *,
    head: HeadParams = LINEAR_HEAD,
    lora: LoraParams | None = None,
    seed: int = 42,
) -> EmotionClassifier:
    """Builds the classifier of these modalities and selects what is trained: everything, the head, or LoRA.

    The initial values of the head and the adapters depend on the seed alone; a frozen head keeps them. Under
    `torch.device("meta")` nothing is allocated, which suffices for `parameter_counts`; `load_towers` then loads the
    towers. Raises ValueError for settings that contradict each other, or for a missing checkpoint configuration, and
    HeadError for a head that does not fit the modalities and towers.
    """
    if (lora is not None) != (train == "lora"):
        raise ValueError(
            f"train is {train!r} and lora is {lora}: give LoRA's settings if, and only if, train is 'lora'."
        )
    if train == "head" and not head.trained:
        raise ValueError("train 'head' with a frozen head trains nothing: set the head's `trained` to true.")
    classifier = EmotionClassifier(modalities, configs, seed, head)
    classifier.towers.requires_grad_(train == "everything")
    if lora is not None:
        _add_lora(classifier, lora)
    classifier.head.requires_grad_(head.trained)
    if not next(classifier.parameters()).is_meta:
        _initialise_new_weights(classifier)
    return classifier


def _add_lora(classifier: EmotionClassifier, lora: LoraParams) -> None:
    """Adds adapters to LanguageBind's towers and to a text encoder, each with its own targets."""
    encoder = classifier.encoder
    languagebind = nn.ModuleDict({name: tower for name, tower in classifier.towers.items() if tower is not encoder})
    if len(languagebind):
        add_lora(languagebind, lora)
    if encoder:
        add_lora(encoder, lora, "text_targets")


def load_towers(classifier: EmotionClassifier, folders: Mapping[Source, Path]) -> None:
    """Loads the towers from checkpoint folders onto the CPU, in place, and initialises head and adapters.

    Only the parts that the classifier uses are loaded. Raises CheckpointError if any key or shape of a checkpoint
    does not fit its config.json, or if the classifier was built with another configuration. The weights are
    memory-mapped, so they are not copied.
    """
    for source in classifier.sources:
        if source not in folders:
            raise CheckpointError(f"no checkpoint folder for {source}; got: {', '.join(folders) or 'none'}.")
        tower, folder = classifier.towers[source], folders[source]
        if isinstance(tower, TextEncoder):
            load_encoder(tower, folder)
            continue
        assert isinstance(tower, LanguageBind)  # noqa: S101 - for mypy
        config = tower.config
        if read_config(folder) != config:
            raise CheckpointError(
                f"{folder}: config.json does not describe the {source} towers that were built. "
                "Build the classifier with read_config of this folder."
            )
        weights = read_strictly(folder, config)
        own = {name: weights[base_name(name)] for name in tower.state_dict() if not is_adapter(name)}
        tower.load_state_dict(own, strict=False, assign=True)  # only the adapters' keys are missing
        tower.materialise_position_ids()
    _initialise_new_weights(classifier)


def normalise_frames(frames: Tensor) -> Tensor:
    """Normalises as CLIP does: [utterance, frame, 3, height, width] uint8 to [utterance, 3, frame, height, width]."""
    mean = torch.tensor(CLIP_MEAN, device=frames.device).view(3, 1, 1)
    std = torch.tensor(CLIP_STD, device=frames.device).view(3, 1, 1)
    pixels = frames.to(torch.float32, copy=True)
    return pixels.div_(255).sub_(mean).div_(std).transpose(1, 2)  # in place: memory for three copies costs more time


def _zeroed(value: Tensor, absent: Tensor | None) -> Tensor:
    """Sets the rows of `absent` [utterance] to zero; other rows and their gradients stay bit-identical."""
    return value if absent is None else value.masked_fill(absent.view(-1, *[1] * (value.ndim - 1)), 0)


def _text_source(modalities: Collection[Modality], configs: Mapping[Source, TowerConfig]) -> Source | None:
    """Selects the checkpoint of the text tower: that of the last other modality, or of any given one for text alone."""
    if not modalities:
        raise ValueError(f"a classifier needs at least one modality of {', '.join(MODALITIES)}.")
    listed: list[Source] = [source for source in SOURCES if source in modalities and source != "text"]
    for source in listed:
        if source not in configs:
            raise ValueError(f"the modality {source} needs the {source} checkpoint's configuration; none was given.")
    if "text" not in modalities:
        return None
    if "text" in configs:
        return "text"
    candidates = listed[-1:] or [source for source in SOURCES if source in configs]
    if not candidates:
        raise ValueError("text needs the text tower of the video or the audio checkpoint; no configuration was given.")
    return candidates[0]


def _initialise_new_weights(classifier: EmotionClassifier) -> None:
    initialise_head(classifier.head, classifier.seed)
    initialise_adapters(classifier.towers, classifier.seed)
