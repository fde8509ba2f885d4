"""The demo's two checkpoints: pre-trained here, and written as LanguageBind's lie on the Hugging Face hub."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from trimood.model.checkpoints import tokenize, tokenizer
from trimood.model.config import LanguageBindConfig
from trimood.pipelines.demo.pretraining import pretrain
from trimood.pipelines.demo.scenes import collect_sentences, play_voices, show_faces
from trimood.pipelines.demo.sizes import config_json
from trimood.pipelines.demo.tokens import Pair, learn_vocabulary, write_tokenizer

SCENES = 512
TIMES = 8  # that each template sentence occurs among the texts
MERGES = 450

Format = Literal["bin", "safetensors"]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds."""

    config: LanguageBindConfig
    weights: dict[str, Tensor]
    vocabulary: dict[str, int]
    merges: list[Pair]


def make_pretrained(seed: int, scene_count: int = SCENES) -> tuple[Checkpoint, Checkpoint]:
    """The video and the audio checkpoint; the same seed gives the same weights on the same machine."""
    threads = torch.get_num_threads()
    # Sums depend on the number of threads, and these towers are too small to gain from a second one.
    torch.set_num_threads(1)
    try:
        return _make_pretrained(seed, scene_count)
    finally:
        torch.set_num_threads(threads)


def _make_pretrained(seed: int, scene_count: int) -> tuple[Checkpoint, Checkpoint]:
    faces, voices, sentences = (
        show_faces(scene_count, seed),
        play_voices(scene_count, seed),
        collect_sentences(TIMES, seed),
    )
    vocabulary, merges = learn_vocabulary([*faces.captions, *voices.captions, *sentences], MERGES)
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder), vocabulary, merges)
        clip = tokenizer(Path(folder))

    def to_ids(texts: list[str]) -> Tensor:
        ids = tokenize(clip, texts)
        # Attention is causal and read at the first end token: what follows it costs time and changes nothing.
        return ids[:, : int(ids.argmax(dim=-1).max()) + 1]

    video, audio = pretrain(faces, voices, sentences, to_ids, len(vocabulary), seed)
    return (
        Checkpoint(video.config, video.state_dict(), vocabulary, merges),
        Checkpoint(audio.config, audio.state_dict(), vocabulary, merges),
    )


def write_checkpoint(folder: Path, checkpoint: Checkpoint, weight_format: Format) -> None:
    """Fills `folder` with config.json, tokenizer and weights: pytorch_model.bin, or model.safetensors."""
    (folder / "config.json").write_text(json.dumps(config_json(checkpoint.config), indent=2), encoding="utf-8")
    write_tokenizer(folder, checkpoint.vocabulary, checkpoint.merges)
    positions = torch.arange(checkpoint.config.vision.position_count)[None]  # the published files hold this buffer too
    weights = {name: tensor.detach().clone() for name, tensor in checkpoint.weights.items()}
    weights["vision_model.embeddings.position_ids"] = positions
    if weight_format == "bin":
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
