"""config.json is read as upstream reads it, and checkpoints that the towers cannot hold are refused by name."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO, write_config
from trimood.model.config import (
    CheckpointError,
    LanguageBindConfig,
    TextConfig,
    VisionConfig,
    config_as_json,
    read_config,
)


def write(folder: Path, content: object) -> Path:
    (folder / "config.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("config", [TINY_VIDEO, TINY_AUDIO])
def test_what_is_written_is_read_back(config: LanguageBindConfig, tmp_path: Path) -> None:
    assert read_config(write(tmp_path, config_as_json(config))) == config


def test_keys_left_out_take_upstreams_defaults_and_unknown_ones_are_ignored(tmp_path: Path) -> None:
    config = read_config(
        write(tmp_path, {"text_config": {"new": 1}, "vision_config": {"lora_r": 0}, "dtype": "float32"})
    )
    assert config == LanguageBindConfig(TextConfig(), VisionConfig(), projection_dim=512, logit_scale_init_value=2.6592)
    assert (config.text.hidden_size, config.vision.hidden_size, config.vision.patch_size) == (512, 768, 32)
    assert config.vision.hidden_act == "quick_gelu"


def test_a_text_config_dict_wins_over_text_config_as_upstream_has_it(tmp_path: Path) -> None:
    content = {
        "text_config": {"hidden_size": 64},
        "text_config_dict": {"hidden_size": 32},
        "vision_config": {"lora_r": 0},
    }
    assert read_config(write(tmp_path, content)).text.hidden_size == 32


def test_numbers_that_upstream_writes_with_a_point_are_whole(tmp_path: Path) -> None:
    write_config(tmp_path, TINY_VIDEO, num_mel_bins=0.0, target_length=0.0)
    assert read_config(tmp_path) == TINY_VIDEO


def test_the_audio_image_size_that_upstream_overwrites_is_taken_from_the_mel(tmp_path: Path) -> None:
    write_config(tmp_path, TINY_AUDIO, image_size=[16, 24])
    assert read_config(tmp_path).vision.input_size == (16, 24)
    write_config(tmp_path, TINY_VIDEO, image_size=[16, 24])
    with pytest.raises(CheckpointError, match=r"image_size is \[16, 24\]; a whole number is expected"):
        read_config(tmp_path)


def test_published_audio_has_593_positions() -> None:
    assert VisionConfig(patch_size=14, num_mel_bins=112, target_length=1036).position_count == 593
    assert VisionConfig(patch_size=14).position_count == 257


@pytest.mark.parametrize(
    ("config", "vision", "words"),
    [
        (TINY_VIDEO, {"lora_r": 16}, "lora_r is 16.*Use LanguageBind/LanguageBind_Video_FT"),
        (TINY_AUDIO, {"lora_r": 16}, "lora_r is 16.*Use LanguageBind/LanguageBind_Audio_FT"),
        (TINY_VIDEO, {"clip_type": "vl_new"}, "3-D patches.*Use LanguageBind/LanguageBind_Video_FT"),
        (TINY_AUDIO, {"add_time_attn": True}, "audio with temporal attention"),
        (TINY_VIDEO, {"hidden_act": "relu"}, "hidden_act is 'relu'; allowed: gelu, quick_gelu"),
        (TINY_VIDEO, {"num_attention_heads": 3}, "hidden_size 16 is not a multiple of num_attention_heads 3"),
        (TINY_VIDEO, {"hidden_size": "16"}, "vision_config.hidden_size is '16'; a whole number is expected"),
        (TINY_VIDEO, {"patch_size": 17}, "patch_size 17 must be between 1 and"),
    ],
)
def test_checkpoints_that_the_towers_cannot_hold_are_refused(
    config: LanguageBindConfig, vision: dict, words: str, tmp_path: Path
) -> None:
    write_config(tmp_path, config, **vision)
    with pytest.raises(CheckpointError, match=words):
        read_config(tmp_path)


def test_silence_about_lora_means_lora(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="lora_r is 2"):
        read_config(write(tmp_path, {"vision_config": {}}))


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json here.*hf download"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"text_config": ')
    with pytest.raises(CheckpointError, match=r"config\.json: not valid JSON"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"projection_dim": 512, "projection_dim": 768}')
    with pytest.raises(CheckpointError, match="the key 'projection_dim' occurs 2 times in one object"):
        read_config(tmp_path)
    with pytest.raises(CheckpointError, match="text_config is list"):
        read_config(write(tmp_path, {"text_config": [1], "vision_config": {"lora_r": 0}}))


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    loads = json.loads

    def counted(text: str, **settings: Any) -> object:
        reads.append(text)
        return loads(text, **settings)

    monkeypatch.setattr(json, "loads", counted)
    write_config(tmp_path, TINY_VIDEO)
    assert read_config(tmp_path) == read_config(tmp_path) == TINY_VIDEO
    assert len(reads) == 1
    write_config(tmp_path, TINY_VIDEO, num_hidden_layers=3)
    os.utime(tmp_path / "config.json", ns=(1, 1))
    assert read_config(tmp_path).vision.num_hidden_layers == 3
    assert len(reads) == 2
