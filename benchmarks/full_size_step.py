"""Measures memory and time of one optimiser step of a full-size experiment on the CPU.

    python benchmarks/full_size_step.py --experiment exp1|exp4|exp6 [--folder build/full_size]

Writes checkpoint folders of the published size with random weights (2.1 and 1.7 GB, in the hub's format, without a
tokenizer) if they do not exist, loads them strictly, and takes one AdamW step on one random utterance. Weights are
memory-mapped, so the disk is read in the first forward pass rather than in `load`.
"""

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from trimood.config.experiment_settings import ExperimentParams, LoraParams, Settings, TrainingParams, resolve
from trimood.emotions import EMOTIONS, Source
from trimood.learning.setup import used_checkpoints
from trimood.model.checkpoints import locate
from trimood.model.classifier import build_classifier, load_towers
from trimood.model.config import FULL_SIZE_AUDIO, FULL_SIZE_VIDEO, LanguageBindConfig, config_as_json, read_config
from trimood.model.towers import LanguageBind
from trimood.model.trained import parameter_counts

CONFIGURATION = Path(__file__).parents[1] / "conf/base"
FULL_SIZE: dict[Source, LanguageBindConfig] = {"video": FULL_SIZE_VIDEO, "audio": FULL_SIZE_AUDIO}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    experiments = sorted(path.stem for path in CONFIGURATION.glob("experiments/*"))
    parser.add_argument("--experiment", required=True, choices=experiments)
    parser.add_argument("--folder", type=Path, default=Path("build/full_size"))
    arguments = parser.parse_args()
    settings = read_settings(arguments.experiment)
    wanted = {source: str(arguments.folder / source) for source in FULL_SIZE}
    folders = {source: Path(name) for source, name in used_checkpoints(settings.modalities, wanted).items()}
    for source, folder in folders.items():
        with timed(f"write {source}"):  # in a separate process, so that its memory is not counted below
            writer = multiprocessing.get_context("spawn").Process(target=write_checkpoint, args=(folder, source))
            writer.start()
            writer.join()

    with timed("load"):
        with torch.device("meta"):
            configs = {source: read_config(locate(str(folder))) for source, folder in folders.items()}
            model = build_classifier(
                settings.modalities, configs, settings.train, head=settings.head, lora=settings.lora
            )
        load_towers(model, folders)
    for part, (trained, total) in parameter_counts(model).items():
        print(f"{part:<12} {trained:>12,} of {total:>12,} parameters trained")

    model.train()
    inputs = made_inputs()
    optimiser = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=settings.training.learning_rate,
        weight_decay=settings.training.weight_decay,
    )
    with timed("forward"):
        loss = model(**inputs)["loss"]
    with timed("backward"):
        loss.backward()
    with timed("step"):
        optimiser.step()
    print(f"loss         {loss.item():.4f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    print(f"peak memory  {peak:.2f} GiB, mapped checkpoint files included; {torch.get_num_threads()} threads")


def read_settings(experiment: str, **training: Any) -> Settings:
    """The settings of an experiment as published, or with other training parameters."""
    own = yaml.safe_load((CONFIGURATION / f"experiments/{experiment}.yml").read_text())[experiment]
    shared = yaml.safe_load((CONFIGURATION / "experiment/parameters.yml").read_text())
    published = TrainingParams(**shared["training"] | training)
    return resolve(ExperimentParams(**own), published, LoraParams(**shared["lora"]))


@contextmanager
def timed(phase: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    print(f"{phase:<12} {time.perf_counter() - start:6.1f} s", flush=True)


def write_checkpoint(folder: Path, source: Source) -> None:
    """Writes a folder in the hub's format with random weights; existing weights are kept."""
    if (folder / "pytorch_model.bin").is_file():
        return
    config = FULL_SIZE[source]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_as_json(config), indent=2))
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in LanguageBind(config).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    unfinished = folder / "pytorch_model.bin.unfinished"
    torch.save({name: random_weight(name, shape, generator) for name, shape in shapes.items()}, unfinished)
    unfinished.rename(folder / "pytorch_model.bin")


def random_weight(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if name == "logit_scale":
        return torch.tensor(2.6592)
    centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
    return torch.empty(shape).normal_(centre, 0.02, generator=generator)


def made_inputs() -> dict[str, Tensor]:
    """One random utterance with all modalities; a classifier without audio ignores `mel`."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(1, 40_000, (1, 77), generator=generator)
    words[:, 12:] = FULL_SIZE["video"].text.vocab_size - 1  # the end token, which also pads
    return {
        "input_ids": words,
        "frames": torch.randint(0, 256, (1, 8, 3, 224, 224), generator=generator, dtype=torch.uint8),
        "mel": torch.randn(1, 3, 112, 1036, generator=generator),
        "labels": torch.tensor([EMOTIONS.index("surprise")]),
    }


if __name__ == "__main__":
    main()
