"""What the two sides of beside_upstream.py share: sizes of towers and inputs, in words of LanguageBind's config.json.

Only the standard library: the upstream side runs in another environment, which has no trimood.
"""

TINY = {
    "text": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    "vision": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    "video": {"image_size": 48, "patch_size": 16, "num_frames": 8},
    "audio": {"image_size": 48, "patch_size": 16, "num_mel_bins": 32, "target_length": 128},
    "projection": 32,
    "vocabulary": 514,
}
"""The demo's: too small for their arithmetic to matter, so that the time is that of everything else."""

MIDDLE = {
    "text": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6, "num_attention_heads": 8},
    "vision": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6, "num_attention_heads": 8},
    "video": {"image_size": 224, "patch_size": 14, "num_frames": 8},
    "audio": {"image_size": 224, "patch_size": 14, "num_mel_bins": 112, "target_length": 1036},
    "projection": 512,
    "vocabulary": 49408,
}

FULL = {
    "text": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "vision": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
    "video": {"image_size": 224, "patch_size": 14, "num_frames": 8},
    "audio": {"image_size": 224, "patch_size": 14, "num_mel_bins": 112, "target_length": 1036},
    "projection": 768,
    "vocabulary": 49408,
}
"""Those of LanguageBind_Video_FT and LanguageBind_Audio_FT."""

SIZES = {"tiny": TINY, "middle": MIDDLE, "full": FULL}

HIDDEN_ACT = {"video": "quick_gelu", "audio": "gelu"}
MEL_MEAN, MEL_STD, SAMPLE_RATE_HZ = -4.2677393, 4.5689974, 16000  # config.json of LanguageBind_Audio_FT
LOGIT_SCALE = 2.6592
TOKENS = 77
CLASSES = 7
SEED = 42
