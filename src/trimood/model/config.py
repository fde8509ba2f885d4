"""Reads the config.json of a checkpoint, and defines the sizes of LanguageBind_Video_FT and LanguageBind_Audio_FT.

Both are CLIP ViT-L/14 (github.com/openai/CLIP, model-card.md) with the settings of config.json on the Hugging Face hub.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from trimood.config.experiment_settings import Pooling
from trimood.config.parameters import unique_keys

HIDDEN_ACTS = ("gelu", "quick_gelu")

_UPSTREAM_DEFAULT_LORA_R = 2  # upstream's CLIPVisionConfig: a config.json without lora_r means built-in LoRA
_UPSTREAM_DEFAULT_PATCH_SIZE = 32

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}

Json = Mapping[str, object]
_Config = TypeVar("_Config", "TextConfig", "VisionConfig")


class CheckpointError(Exception):
    """A checkpoint cannot be found or read, is not supported, or does not fit the towers."""


@dataclass(frozen=True)
class TextConfig:
    """Sizes of the text tower; the defaults are upstream's (`CLIPTextConfig` of languagebind 0.1.0)."""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0

    @property
    def has_dropout(self) -> bool:
        """Whether the tower draws at random in training, even if it is frozen."""
        return self.attention_dropout > 0


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of a vision tower, of video or audio; the defaults are upstream's (`CLIPVisionConfig`).

    `num_mel_bins` and `target_length` (frames of the log-mel) are both 0 for video. The audio_* fields describe the
    preprocessing that the weights expect: hertz, and the mean and deviation of the log-mel.
    """

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = _UPSTREAM_DEFAULT_PATCH_SIZE
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    force_patch_dropout: float = 0.0
    add_time_attn: bool = False
    num_frames: int = 1
    num_mel_bins: int = 0
    target_length: int = 0
    audio_sample_rate: int = 16000
    audio_mean: float = 0.5
    audio_std: float = 0.5

    @property
    def has_dropout(self) -> bool:
        """Whether the tower draws at random in training, even if it is frozen."""
        return self.attention_dropout > 0 or self.force_patch_dropout > 0

    @property
    def is_audio(self) -> bool:
        """Whether the tower reads a log-mel as a rectangular image instead of frames."""
        return bool(self.num_mel_bins and self.target_length)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the input: pixels for video, mel bins × log-mel frames for audio."""
        return (self.num_mel_bins, self.target_length) if self.is_audio else (self.image_size, self.image_size)

    @property
    def position_count(self) -> int:
        """Learnt positions: one per whole patch, and one for the class token."""
        height, width = self.input_size
        return (height // self.patch_size) * (width // self.patch_size) + 1


@dataclass(frozen=True)
class LanguageBindConfig:
    """One checkpoint: a text tower and a vision tower with embeddings of length `projection_dim`."""

    text: TextConfig
    vision: VisionConfig
    projection_dim: int = 512
    logit_scale_init_value: float = 2.6592


@dataclass(frozen=True)
class EncoderConfig:
    """What defines an encoder besides its weights; `settings` is the content of its config.json.

    `padding` is the id of the token that fills a batch, `most_tokens` the longest text with its special tokens.
    `separator` is the id of the token between utterances; None if the tokenizer has none.
    """

    settings: str
    pooling: Pooling
    padding: int
    most_tokens: int
    separator: int | None = None

    @property
    def transformers(self) -> Any:
        """The configuration as transformers' own class."""
        from transformers import CONFIG_MAPPING

        content = json.loads(self.settings)
        return CONFIG_MAPPING[content["model_type"]].from_dict(content)

    @property
    def projection_dim(self) -> int:
        """The length of an embedding: no projection is learnt, as embeddings are concatenated, whatever their sizes."""
        return int(self.transformers.hidden_size)


TowerConfig = LanguageBindConfig | EncoderConfig
"""The configuration of a checkpoint: an encoder's for the source text, LanguageBind's for the others."""


def read_config(folder: Path) -> LanguageBindConfig:
    """Reads the folder's config.json; missing keys take upstream's class defaults, unknown keys are ignored.

    Raises CheckpointError if the file is missing or not valid, and for unsupported kinds of checkpoint: built-in LoRA
    (lora_r), 3-D patches (clip_type vl_new), and audio with temporal attention.
    """
    path = folder / "config.json"
    try:
        state = path.stat()
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder}: no config.json here. A checkpoint folder contains config.json beside model.safetensors or "
            "pytorch_model.bin: give the folder that `hf download` made."
        ) from None
    return _read_config(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _read_config(path: Path, mtime_ns: int, size: int) -> LanguageBindConfig:
    """Reads each version of a file once, because several nodes of a run need it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}). Download the file again.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: an object with text_config and vision_config is expected.")
    text, vision = _part(path, content, "text_config"), _part(path, content, "vision_config")
    _refuse_unsupported(path, content, vision)
    config = LanguageBindConfig(
        text=_fill(TextConfig, path, "text_config", text),
        vision=_fill(VisionConfig, path, "vision_config", _with_one_image_size(vision)),
        projection_dim=int(content.get("projection_dim", 512)),
        logit_scale_init_value=float(content.get("logit_scale_init_value", 2.6592)),
    )
    _check_sizes(path, config)
    return config


def config_as_json(config: LanguageBindConfig) -> dict[str, Any]:
    """Returns the content of a config.json in the hub's format; `read_config` reads it back as the same `config`."""
    return {
        "model_type": "LanguageBindAudio" if config.vision.is_audio else "LanguageBindVideo",
        "projection_dim": config.projection_dim,
        "logit_scale_init_value": config.logit_scale_init_value,
        "text_config": asdict(config.text),
        "vision_config": {**asdict(config.vision), "lora_r": 0},
    }


def _part(path: Path, content: Json, name: str) -> Json:
    # Old CLIP configs contain both; in upstream, `text_config_dict` takes precedence over `text_config`.
    part = content.get(f"{name}_dict") or content.get(name) or {}
    if not isinstance(part, dict):
        raise CheckpointError(f"{path}: {name} is {type(part).__name__}, an object is expected.")
    return part


def _refuse_unsupported(path: Path, content: Json, vision: Json) -> None:
    lora_r = vision.get("lora_r", _UPSTREAM_DEFAULT_LORA_R)
    if lora_r != 0:
        kind = "Audio" if vision.get("num_mel_bins") else "Video"
        raise CheckpointError(
            f"{path}: lora_r is {lora_r}: this checkpoint has built-in LoRA; only fully tuned ones (lora_r 0) are "
            f"supported. Use LanguageBind/LanguageBind_{kind}_FT."
        )
    clip_type = vision.get("clip_type", content.get("clip_type", "vl"))
    if clip_type == "vl_new":
        raise CheckpointError(
            f"{path}: clip_type is vl_new: this checkpoint (V1.5 or Huge) has 3-D patches, which are not supported. "
            "Use LanguageBind/LanguageBind_Video_FT."
        )
    if vision.get("add_time_attn") and vision.get("num_mel_bins"):
        raise CheckpointError(
            f"{path}: audio with temporal attention (add_time_attn true, num_mel_bins {vision['num_mel_bins']}) is not "
            "supported. Use LanguageBind/LanguageBind_Audio_FT."
        )


def _with_one_image_size(vision: Json) -> Json:
    # Upstream's audio code overwrites image_size by [num_mel_bins, target_length], and saves that.
    sides = vision.get("image_size")
    if not isinstance(sides, list):
        return vision
    if vision.get("num_mel_bins"):
        return {key: value for key, value in vision.items() if key != "image_size"}
    return {**vision, "image_size": sides[0] if len(set(sides)) == 1 else sides}


def _fill(kind: type[_Config], path: Path, part: str, content: Json) -> _Config:
    values = {}
    for field in fields(kind):
        wanted: type[Any] = type(field.default)
        value: Any = content.get(field.name, field.default)
        # Upstream writes num_mel_bins as 0.0 in some files, so a float without a fraction is an integer.
        right = isinstance(value, wanted if wanted in (bool, str) else int | float)
        if not right or (wanted is int and value != int(value)):
            raise CheckpointError(f"{path}: {part}.{field.name} is {value!r}; {_KINDS[wanted]} is expected.")
        values[field.name] = wanted(value)
    return kind(**values)


def _check_sizes(path: Path, config: LanguageBindConfig) -> None:
    for part, tower in (("text_config", config.text), ("vision_config", config.vision)):
        if tower.hidden_act not in HIDDEN_ACTS:
            raise CheckpointError(
                f"{path}: {part}.hidden_act is {tower.hidden_act!r}; allowed: {', '.join(HIDDEN_ACTS)}."
            )
        if tower.num_attention_heads < 1 or tower.hidden_size % tower.num_attention_heads:
            raise CheckpointError(
                f"{path}: {part}.hidden_size {tower.hidden_size} is not a multiple of num_attention_heads "
                f"{tower.num_attention_heads}."
            )
    if config.vision.patch_size < 1 or min(config.vision.input_size) < config.vision.patch_size:
        raise CheckpointError(
            f"{path}: vision_config.patch_size {config.vision.patch_size} must be between 1 and the input's shorter "
            f"side ({min(config.vision.input_size)})."
        )


_TEXT = TextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, hidden_act="gelu")
_VIT_L = VisionConfig(1024, 4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14, hidden_act="gelu")
_MEL = replace(_VIT_L, num_mel_bins=112, target_length=1036, audio_mean=-4.2677393, audio_std=4.5689974)

FULL_SIZE_VIDEO = LanguageBindConfig(_TEXT, replace(_VIT_L, add_time_attn=True, num_frames=8), projection_dim=768)
FULL_SIZE_AUDIO = LanguageBindConfig(_TEXT, _MEL, projection_dim=768)
