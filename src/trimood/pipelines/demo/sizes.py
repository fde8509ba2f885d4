"""How large the demo's towers are: everything that its two config.json files say."""

import math
from typing import Any

from trimood.model.config import LanguageBindConfig, TextConfig, VisionConfig, config_as_json

HIDDEN, MLP, LAYERS, HEADS, PROJECTION = 32, 64, 2, 4, 32
# CLIP's scale before training (github.com/openai/CLIP, model.py); the demo's brief training leaves it there.
LOGIT_SCALE = math.log(1 / 0.07)

VIDEO = VisionConfig(
    HIDDEN,
    MLP,
    LAYERS,
    HEADS,
    image_size=48,
    patch_size=16,
    hidden_act="quick_gelu",
    add_time_attn=True,
    num_frames=8,
)
# Mean and deviation of the log-mel are those of LanguageBind_Audio_FT.
AUDIO = VisionConfig(
    HIDDEN,
    MLP,
    LAYERS,
    HEADS,
    image_size=48,
    patch_size=16,
    hidden_act="gelu",
    num_mel_bins=32,
    target_length=128,
    audio_mean=-4.2677393,
    audio_std=4.5689974,
)


def languagebind_config(vision: VisionConfig, vocabulary_size: int) -> LanguageBindConfig:
    """A whole checkpoint's sizes: this vision tower and a narrow text tower over CLIP's 77 positions."""
    text = TextConfig(vocabulary_size, HIDDEN, MLP, LAYERS, HEADS)
    return LanguageBindConfig(text, vision, PROJECTION, LOGIT_SCALE)


def config_json(config: LanguageBindConfig) -> dict[str, Any]:
    """config.json with every key of upstream's configuration classes (languagebind 0.1.0), the unused ones too."""
    content = config_as_json(config)
    shared = {"projection_dim": config.projection_dim, "initializer_range": 0.02, "initializer_factor": 1.0}
    lora = {"lora_r": 0, "lora_alpha": 16, "lora_dropout": 0.1}
    # The ids 0, 1 and 2 are what the published files hold; with them upstream, too, reads at the highest id.
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    text = {**content["text_config"], **shared, **ids, "model_type": "clip_text_model"}
    vision = {**content["vision_config"], **shared, **lora, "video_decode_backend": "decord"}
    return {
        **content,
        "architectures": [content["model_type"]],
        "initializer_factor": 1.0,
        "text_config": text,
        "vision_config": {**vision, "model_type": "clip_vision_model"},
    }
