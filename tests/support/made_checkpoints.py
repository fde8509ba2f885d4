"""Writes tiny LanguageBind checkpoint folders in the hub's format for tests."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from trimood.model.checkpoints import read_strictly
from trimood.model.config import LanguageBindConfig, TextConfig, VisionConfig, config_as_json, read_config
from trimood.model.towers import LanguageBind

TINY_TEXT = TextConfig(
    vocab_size=514,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    hidden_act="gelu",
)
TINY_VISION = VisionConfig(
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=16,
    patch_size=8,
    hidden_act="gelu",
)
TINY_VIDEO = LanguageBindConfig(
    TINY_TEXT, dataclasses.replace(TINY_VISION, add_time_attn=True, num_frames=2), projection_dim=12
)
TINY_AUDIO = LanguageBindConfig(
    TINY_TEXT, dataclasses.replace(TINY_VISION, num_mel_bins=16, target_length=24), projection_dim=12
)

WeightFormat = Literal["safetensors", "bin"]


def made_weights(config: LanguageBindConfig, seed: int) -> dict[str, Tensor]:
    """Random weights, none of them at a value that could hide a mistake (biases are not 0, scales not 1)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = {
            name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in LanguageBind(config).state_dict().items()
        }
    return weights


def made_checkpoint(folder: Path, config: LanguageBindConfig, seed: int = 0, file: WeightFormat = "bin") -> Path:
    """A checkpoint folder with config.json, weights as the hub has them (position_ids included) and a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, config)
    position_ids = torch.arange(config.vision.position_count).expand(1, -1).clone()
    weights = {**made_weights(config, seed), "vision_model.embeddings.position_ids": position_ids}
    if file == "bin":
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors")
    made_tokenizer(folder)
    return folder


def write_config(folder: Path, config: LanguageBindConfig, **vision: Any) -> None:
    """Write config.json; `vision` replaces or adds keys of its vision_config."""
    content = config_as_json(config)
    content["vision_config"] |= vision
    (folder / "config.json").write_text(json.dumps(content))


def made_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer without a merge: every byte, within a word and at its end, and the two special tokens."""
    characters = byte_characters()
    tokens = [*characters, *(f"{character}</w>" for character in characters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def byte_characters() -> list[str]:
    """The printable character that stands for each of the 256 bytes in GPT-2's and CLIP's byte-level vocabularies."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]


def load_whole(folder: Path) -> LanguageBind:
    """Both towers of a checkpoint, as its config.json describes them, with its weights; strictly."""
    config = read_config(folder)
    with torch.device("meta"):
        model = LanguageBind(config)
    model.load_state_dict(read_strictly(folder, config), assign=True)
    model.materialise_position_ids()
    return model
