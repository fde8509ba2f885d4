"""The sizes of the published checkpoints LanguageBind_Video_FT and LanguageBind_Audio_FT.

CLIP ViT-L/14 (github.com/openai/CLIP, model-card.md), with the settings of their config.json on the Hugging Face hub.
"""

from typing import Any

from trimood.model.config import LanguageBindConfig, TextConfig, VisionConfig

_TEXT = TextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, hidden_act="gelu")
_VIT_L: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "hidden_act": "gelu",
}
_MEL: dict[str, Any] = {
    "num_mel_bins": 112,
    "target_length": 1036,
    "audio_mean": -4.2677393,
    "audio_std": 4.5689974,
}

VIDEO = LanguageBindConfig(_TEXT, VisionConfig(**_VIT_L, add_time_attn=True, num_frames=8), projection_dim=768)
AUDIO = LanguageBindConfig(_TEXT, VisionConfig(**_VIT_L, **_MEL), projection_dim=768)
