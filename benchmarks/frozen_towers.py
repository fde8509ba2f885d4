"""Measures what ten epochs of exp3, whose towers are frozen, cost beside one pass of the towers.

    python benchmarks/frozen_towers.py [--clips 42] [--epochs 10]

Towers are 512 wide with 6 layers and random weights, frames have 224 pixels; a quarter of the clips is for validation.
Prints, and stores in measured/frozen-towers.json, CPU seconds of one thread: of one pass of both towers over all clips,
of a training with an empty cache of embeddings, and of a second training with another seed, which finds all embeddings
there. The first training should cost at most 1.2 passes.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
import yaml
from measured_figures import store
from safetensors.torch import save_file

from trimood.config.experiment_settings import TrainingParams
from trimood.emotions import EMOTIONS, Source
from trimood.learning.batches import Examples
from trimood.learning.embeddings import EmbeddingCache, embed_frozen
from trimood.learning.prediction import embed
from trimood.learning.setup import LoadedModel
from trimood.learning.trainer import fit
from trimood.model.classifier import build_classifier
from trimood.model.config import FULL_SIZE_VIDEO, LanguageBindConfig
from trimood.scoring.metrics import summary_scores

PUBLISHED = Path(__file__).parents[1] / "conf/base/experiment/parameters.yml"

SIZES = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6, "num_attention_heads": 8}
MIDDLE = LanguageBindConfig(
    replace(FULL_SIZE_VIDEO.text, **SIZES), replace(FULL_SIZE_VIDEO.vision, **SIZES), projection_dim=512
)
CONFIGS: dict[Source, LanguageBindConfig] = {"video": MIDDLE}
MODALITIES = ("text", "video")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=42)
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_parts(folder / "parts", arguments.clips)
        measure(folder, arguments.clips, arguments.epochs)


def measure(folder: Path, clips: int, epochs: int) -> None:
    published = yaml.safe_load(PUBLISHED.read_text())["training"]
    cache = EmbeddingCache(folder / "embeddings", 1)
    validation_from = clips - clips // 4

    def train(seed: int) -> None:
        training = TrainingParams.model_validate({**published, "num_train_epochs": epochs, "seed": seed, "bf16": False})
        loaded = random_model(seed)
        splits = (
            examples(folder / "parts", 0, validation_from, training),
            examples(folder / "parts", validation_from, clips),
        )
        batch = training.per_device_eval_batch_size
        known = [embed_frozen(loaded, split, {"video": "random"}, cache, batch) for split in splits]
        fit(loaded.model, *known, training, folder / str(seed), summary_scores, lambda numbers, step: None)

    model = random_model(0).model
    everything = examples(folder / "parts", 0, clips)
    one_pass = cpu_seconds(lambda: embed(model, everything, published["per_device_eval_batch_size"]))
    first, second = (cpu_seconds(lambda seed=seed: train(seed)) for seed in (1, 2))  # type: ignore[misc]
    store("frozen-towers", {"clips": clips, "epochs": epochs, "pass": one_pass, "first": first, "second": second})
    print("| | CPU s | passes |\n|---|--:|--:|")
    print(f"| one pass over {clips} clips | {one_pass:.2f} | 1 |")
    print(f"| {epochs} epochs, empty cache | {first:.2f} | {first / one_pass:.2f} |")
    print(f"| {epochs} epochs with another seed | {second:.2f} | {second / one_pass:.2f} |")


def random_model(seed: int) -> LoadedModel:
    """A classifier whose towers are the same for each seed of the head."""
    torch.manual_seed(0)
    model = build_classifier(MODALITIES, CONFIGS, "head", seed=seed)
    return LoadedModel(model, MODALITIES, None, None, None)


def make_parts(folder: Path, count: int) -> None:
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    size = MIDDLE.vision.image_size
    for number in range(count):
        frames = torch.randint(
            0, 256, (MIDDLE.vision.num_frames, 3, size, size), generator=generator, dtype=torch.uint8
        )
        save_file({"frames": frames}, folder / f"{number}.safetensors")


def examples(parts: Path, start: int, end: int, training: TrainingParams | None = None) -> Examples:
    numbers = range(start, end)
    table = pd.DataFrame({"text": "Oh, no!", "part": [f"{number}.safetensors" for number in numbers]})
    table["label"] = [number % len(EMOTIONS) for number in numbers]
    words = torch.full((len(table), 77), MIDDLE.text.vocab_size - 1)  # the end token, which also pads
    words[:, :12] = torch.tensor(list(numbers))[:, None] + torch.arange(1, 13)
    return Examples(table, words, parts, MODALITIES, augmentation=training.augmentation if training else None)


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
