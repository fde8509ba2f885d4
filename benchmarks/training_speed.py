"""Measures how fast full-size experiments train on this device, and how close that is to its limit.

    python benchmarks/training_speed.py --experiment exp1 [exp4 …] [--batch 4] [--steps 6] [--torch-compile]

Uses the training loop and arguments of the experiments, towers of the published size with random weights, and random
clips in parts on disk; trains one epoch of `--steps` optimiser steps. `--batch` is the number of utterances on the
device at a time; an optimiser step always has 64. "Before" is the time until the first step is done, which is where
layers are compiled. "Weights kept" is the time to write the checkpoint of an epoch, read
the best one, and copy the trained weights to the CPU. The limit is the rate of one large bf16 matrix product (float32
on a CPU) measured in the same run; torch counts the operations of a step. What does not fit the device's memory is said
and left out. On a GPU, writes measured/gpu.json, or measured/gpu-compiled.json.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from full_size_step import FULL_SIZE, read_settings
from measured_figures import store
from safetensors.torch import save_file
from sklearn.metrics import f1_score
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from trimood.config.experiment_settings import AugmentationParams, Settings
from trimood.emotions import EMOTIONS, Modality
from trimood.learning.batches import AudioInput, Examples, collate
from trimood.learning.device import forget_peak_memory, peak_memory_gib
from trimood.learning.trainer import fit
from trimood.media.video import VideoRecipe
from trimood.model.classifier import EmotionClassifier, build_classifier
from trimood.model.memory import OutOfMemory

UTTERANCES_A_STEP = 64
VALIDATION_UTTERANCES = 256
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", nargs="+", required=True)
    parser.add_argument("--batch", type=int, nargs="+", default=[4], help="utterances at a time; a divisor of 64")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--torch-compile", action="store_true", help="compile each encoder layer")
    arguments = parser.parse_args()
    if arguments.steps < 2 or any(UTTERANCES_A_STEP % batch for batch in arguments.batch):
        parser.error(
            f"--steps must be at least 2 (the first is not timed), and --batch a divisor of {UTTERANCES_A_STEP}"
        )
    limit = matrix_rate()
    card = torch.cuda.get_device_name() if CUDA else f"CPU, {torch.get_num_threads()} threads"
    print(f"{card}: one large matrix product at {limit / 1e12:.1f} TFLOP/s\n")
    print(
        "| experiment | batch | seconds per step of 64, median (lowest to highest) | utterances per second | "
        "share of the limit | before, s | predicted per second | weights kept, s | peak GiB |\n"
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        parts = made_parts(Path(folder) / "parts", UTTERANCES_A_STEP)
        for experiment, batch in itertools.product(arguments.experiment, arguments.batch):
            try:
                run = Path(folder) / f"{experiment}-{batch}"
                row = measured(experiment, batch, arguments.torch_compile, arguments.steps, parts, run)
            except (OutOfMemory, torch.OutOfMemoryError):
                print(f"| {experiment} | {batch} | does not fit |", flush=True)
                continue
            rows.append({"experiment": experiment, "batch": batch, **row})
            steps, operations = row["steps"], row["operations"]
            median = statistics.median(steps)
            print(
                f"| {experiment} | {batch} | {median:.2f} ({min(steps):.2f} to {max(steps):.2f}) "
                f"| {UTTERANCES_A_STEP / median:.1f} | {operations / median / limit:.0%} | {row['before']:.1f} "
                f"| {row['predicted']:.1f} | {row['checkpoint']:.1f} | {row['peak']:.1f} |",
                flush=True,
            )
            if CUDA:
                name = "gpu-compiled" if arguments.torch_compile else "gpu"
                figures = {"card": card, "rate": limit, "utterances": UTTERANCES_A_STEP, "rows": rows}
                store(name, figures, threads=None)


def measured(experiment: str, batch: int, compiled: bool, steps: int, parts: Path, folder: Path) -> dict[str, Any]:
    """Seconds until the first optimiser step is done and of each other one, operations, predictions, memory."""
    settings = read_settings(
        experiment,
        num_train_epochs=1,
        logging_steps=1,
        micro_batch=batch,
        per_device_eval_batch_size=batch,
        torch_compile=compiled,
    )
    model = random_model(settings)
    train = examples(steps * UTTERANCES_A_STEP, parts, settings.modalities, settings.training.augmentation)
    validation = examples(VALIDATION_UTTERANCES, parts, settings.modalities)
    operations = operations_of(model, collate([train[number] for number in range(batch)]))
    forget_peak_memory()
    moments: list[tuple[float, bool]] = []

    def report(numbers: dict[str, float], step: int) -> None:
        moments.append((time.perf_counter(), "step/loss" in numbers))

    def score(labels: Any, predictions: Any) -> dict[str, float]:
        return {"macro_f1": float(f1_score(labels, predictions, average="macro", zero_division=0))}

    start = time.perf_counter()
    fit(model, train, validation, settings.training, folder, score, report)
    end = time.perf_counter()
    logged = [moment for moment, is_step in moments if is_step]
    scored = next(moment for moment, is_step in moments if not is_step)
    return {
        "before": logged[0] - start,
        "steps": [after - before for before, after in itertools.pairwise(logged)],
        "operations": operations * UTTERANCES_A_STEP // batch,
        "predicted": VALIDATION_UTTERANCES / (scored - logged[-1]),
        "checkpoint": end - scored,
        "peak": peak_memory_gib(),
    }


def random_model(settings: Settings) -> EmotionClassifier:
    with torch.device("meta"):
        model = build_classifier(settings.modalities, FULL_SIZE, settings.train, head=settings.head, lora=settings.lora)
    model.to_empty(device=DEVICE)
    generator = torch.Generator(DEVICE).manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("logit_scale"):
                tensor.fill_(2.6592)
            elif tensor.is_floating_point():
                tensor.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.02, generator=generator)
            else:  # the text tower's position numbers
                tensor.copy_(torch.arange(tensor.shape[-1]).expand_as(tensor))
    return model


def made_parts(folder: Path, count: int) -> Path:
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for number in range(count):
        frames = torch.randint(0, 256, (8, 3, 224, 224), generator=generator, dtype=torch.uint8)
        log_mel = torch.randn(300, 112, generator=generator)  # 3 s
        save_file({"frames": frames, "log_mel": log_mel}, folder / f"{number}.safetensors")
    return folder


def examples(
    count: int, parts: Path, modalities: Sequence[Modality], augmentation: AugmentationParams | None = None
) -> Examples:
    table = pd.DataFrame(
        {
            "text": ["Oh, no!"] * count,
            "label": [number % len(EMOTIONS) for number in range(count)],
            "part": [f"{number % UTTERANCES_A_STEP}.safetensors" for number in range(count)],
        }
    )
    words = torch.randint(1, 40_000, (count, 77), generator=torch.Generator().manual_seed(0))
    words[:, 12:] = FULL_SIZE["video"].text.vocab_size - 1  # the end token, which also pads
    vision = FULL_SIZE["audio"].vision
    video = VideoRecipe(FULL_SIZE["video"].vision.num_frames, FULL_SIZE["video"].vision.image_size)
    audio = AudioInput(vision.num_mel_bins, vision.target_length, vision.audio_mean, vision.audio_std)
    return Examples(table, words, parts, modalities, video, audio, augmentation)


def operations_of(model: EmotionClassifier, batch: dict[str, Tensor]) -> int:
    """Floating-point operations of one forward and backward pass, as counted by torch."""
    model.train()
    with FlopCounterMode(display=False) as counter, torch.autocast(DEVICE.type, torch.bfloat16, enabled=CUDA):
        model(**{name: tensor.to(DEVICE) for name, tensor in batch.items()})["loss"].backward()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def matrix_rate() -> float:
    """Operations per second of a large matrix product, the best of ten."""
    size, kind = (8192, torch.bfloat16) if CUDA else (2048, torch.float32)
    one, other = (torch.randn(size, size, device=DEVICE, dtype=kind) for _ in range(2))
    return 2 * size**3 / min(seconds(lambda: one @ other) for _ in range(10))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
