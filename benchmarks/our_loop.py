"""Our side of beside_upstream.py: the experiments as they are published, on the clips and inputs of the other side.

Towers have random weights; a training runs in float32 with one thread, as on the other side. Clips are prepared
beforehand, once for each size, and embeddings of frozen towers are kept between trainings unless they are asked anew.
"""

import resource
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from clips import made_clips
from full_size_step import read_settings
from sizes import CLASSES, HIDDEN_ACT, LOGIT_SCALE, MEL_MEAN, MEL_STD, SEED, SIZES, TOKENS
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from worker import serve

from trimood.config.experiment_settings import Settings
from trimood.emotions import Source
from trimood.learning.batches import AudioInput
from trimood.learning.context import TextReader
from trimood.learning.embeddings import EmbeddingCache, embed_frozen
from trimood.learning.setup import LoadedModel
from trimood.learning.trainer import fit
from trimood.media.parts import write_part
from trimood.media.recipes import AudioRecipe, Recipe, VideoRecipe
from trimood.model.checkpoints import tokenizer
from trimood.model.classifier import EmotionClassifier, build_classifier
from trimood.model.config import LanguageBindConfig, TextConfig, VisionConfig
from trimood.scoring.metrics import summary_scores
from trimood.synthetic.checkpoints import learn_vocabulary, write_tokenizer

DIFFERENT_CLIPS = 3  # encoding takes longer than all the rest
LINES = ("Oh, no!", "What?!", "I am so happy for you.", "Get out of here, now.")

torch.set_num_threads(1)


def config(source: Source, size: str) -> LanguageBindConfig:
    of = SIZES[size]
    act = HIDDEN_ACT[source]
    own = {"audio_mean": MEL_MEAN, "audio_std": MEL_STD} if source == "audio" else {"add_time_attn": True}
    return LanguageBindConfig(
        TextConfig(vocab_size=of["vocabulary"], **of["text"], hidden_act=act),
        VisionConfig(**of["vision"], **of[source], **own, hidden_act=act),
        of["projection"],
        LOGIT_SCALE,
    )


def configs(size: str) -> dict[Source, LanguageBindConfig]:
    return {"video": config("video", size), "audio": config("audio", size)}


def prepare(folder: str, count: int) -> dict[str, Any]:
    """Makes clips of 1280x720, most of them copies, and a tokenizer; returns the rows of both sides."""
    root = Path(folder)
    made = made_clips(root, DIFFERENT_CLIPS)
    copies = [root / f"dia2utt{number + 1}.mp4" for number in range(count - len(made))]
    for number, copy in enumerate(copies):
        shutil.copyfile(made[number % len(made)], copy)
    clips = [*made, *copies]
    (root / "tokenizer").mkdir()
    write_tokenizer(root / "tokenizer", *learn_vocabulary(LINES, 0))
    rows = [
        {"clip": str(clip), "text": LINES[number % len(LINES)], "label": number % CLASSES}
        for number, clip in enumerate(clips)
    ]
    return {"rows": rows, "tokenizer": str(root / "tokenizer")}


def prepare_clips(folder: str, size: str, rows: list[dict[str, Any]]) -> dict[str, float]:
    """CPU seconds of preparing each clip once, for towers of this size."""
    target = Path(folder) / f"parts-{size}"
    shutil.rmtree(target, ignore_errors=True)
    video, audio = configs(size)["video"].vision, configs(size)["audio"].vision
    recipe = Recipe(
        VideoRecipe(video.num_frames, video.image_size),
        AudioRecipe(sample_rate_hz=audio.audio_sample_rate, mel_bins=audio.num_mel_bins),
    )
    start = time.process_time()
    for row in rows:
        write_part(Path(row["clip"]), target / f"{Path(row['clip']).stem}.safetensors", recipe)
    return {"seconds": time.process_time() - start}


def settings_of(experiment: str, **training: Any) -> Settings:
    return read_settings(experiment, bf16=False, cpu_threads=1, **training)


def model_of(settings: Settings, size: str) -> EmotionClassifier:
    torch.manual_seed(SEED)
    return build_classifier(
        settings.modalities, configs(size), settings.train, head=settings.head, lora=settings.lora, seed=SEED
    )


def epoch(
    experiment: str,
    size: str,
    folder: str,
    training: list[dict],
    validation: list[dict],
    epochs: int = 1,
    keeps_embeddings: bool = False,
) -> dict[str, float]:
    """CPU seconds of a training with these epochs: training, validation and checkpoint, on prepared clips."""
    root = Path(folder)
    settings = settings_of(experiment, num_train_epochs=epochs)
    model, of = model_of(settings, size), configs(size)
    video, audio = of["video"].vision, of["audio"].vision
    loaded = LoadedModel(
        model,
        settings.modalities,
        TextReader(tokenizer(root / "tokenizer"), settings.context),
        VideoRecipe(video.num_frames, video.image_size),
        AudioInput(audio.num_mel_bins, audio.target_length, audio.audio_mean, audio.audio_std),
    )
    embeddings = root / f"embeddings-{size}"
    if not keeps_embeddings:
        shutil.rmtree(embeddings, ignore_errors=True)
    with tempfile.TemporaryDirectory() as checkpoints:
        start = time.process_time()
        known = [
            embed_frozen(
                loaded,
                loaded.examples(table_of(rows), root / f"parts-{size}", augmentation),
                {"video": size, "audio": size},
                EmbeddingCache(embeddings, 1),
                settings.training.per_device_eval_batch_size,
            )
            for rows, augmentation in ((training, settings.training.augmentation), (validation, None))
        ]
        fit(model, *known, settings.training, Path(checkpoints), summary_scores, lambda numbers, step: None)
        return {"seconds": time.process_time() - start}


def table_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    parts = [f"{Path(row['clip']).stem}.safetensors" for row in rows]
    return pd.DataFrame({"text": [row["text"] for row in rows], "label": [row["label"] for row in rows], "part": parts})


@cache
def _ready(experiment: str, size: str) -> tuple[EmotionClassifier, torch.optim.Optimizer]:
    model = model_of(settings_of(experiment), size).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return model, torch.optim.AdamW(trained, lr=5e-5, fused=True)


def step(experiment: str, size: str, batch: int, passes: int) -> dict[str, float]:
    """CPU seconds of one optimiser step of this many forward and backward passes on inputs in memory."""
    model, optimiser = _ready(experiment, size)
    inputs = made_inputs(size, batch)
    start = time.process_time()
    for _ in range(passes):
        (model(**inputs)["loss"] / passes).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    return {"seconds": time.process_time() - start}


def passes(experiment: str, size: str, batch: int) -> dict[str, float]:
    """CPU seconds of one forward pass, and of the backward pass after it; the peak memory of the process, GiB.

    `forward_share` and `backward_share`: of the rate of a large matrix product, measured right before and after.
    """
    settings = settings_of(experiment)
    operations = operations_of(settings, size, batch)
    model, inputs = model_of(settings, size).train(), made_inputs(size, batch)
    before = matrix_rate()
    start = time.process_time()
    loss = model(**inputs)["loss"]
    middle = time.process_time()
    loss.backward()
    end = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    rate = max(before, matrix_rate())
    return {
        "forward": middle - start,
        "backward": end - middle,
        "peak_gib": peak,
        "matrix_rate": rate,
        "forward_share": operations[0] / (middle - start) / rate,
        "backward_share": operations[1] / (end - middle) / rate,
    }


def operations_of(settings: Settings, size: str, batch: int) -> tuple[int, int]:
    """Floating-point operations of the towers' forward and backward passes, counted by torch without computing them."""
    with torch.device("meta"):
        model = build_classifier(
            settings.modalities, configs(size), settings.train, head=settings.head, lora=settings.lora
        ).train()
    inputs = {name: tensor.to("meta") for name, tensor in made_inputs(size, batch).items() if name != "labels"}
    with FlopCounterMode(display=False) as counter:
        embeddings = torch.cat([*model.embed(**inputs).values()])
        forward = counter.get_total_flops()
        embeddings.sum().backward()
    return forward, counter.get_total_flops() - forward


def matrix_rate() -> float:
    """Operations per CPU second of a product of two large matrices in float32, the best of five."""
    side = 2048
    one, other = torch.randn(side, side), torch.randn(side, side)
    rates = []
    for _ in range(5):
        start = time.process_time()
        torch.mm(one, other)
        rates.append(2 * side**3 / (time.process_time() - start))
    return max(rates)


def made_inputs(size: str, batch: int) -> dict[str, Tensor]:
    """A batch with all modalities; a classifier without audio ignores `mel`."""
    generator, of = torch.Generator().manual_seed(SEED), SIZES[size]
    words = torch.randint(1, of["vocabulary"] - 2, (batch, TOKENS), generator=generator)
    words[:, 12:] = of["vocabulary"] - 1  # the end token, which also pads
    video, audio = of["video"], of["audio"]
    frames = (batch, video["num_frames"], 3, video["image_size"], video["image_size"])
    mel = (batch, 3, audio["num_mel_bins"], audio["target_length"])
    return {
        "input_ids": words,
        "frames": torch.randint(0, 256, frames, generator=generator, dtype=torch.uint8),
        "mel": torch.randn(mel, generator=generator),
        "labels": torch.arange(batch) % CLASSES,
    }


if __name__ == "__main__":
    serve(
        {
            "prepare": prepare,
            "prepare_clips": prepare_clips,
            "epoch": epoch,
            "step": step,
            "passes": passes,
        }
    )
