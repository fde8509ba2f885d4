"""The notes' own training loop, written anew from docs/experiments.md: the upstream side of beside_upstream.py.

Runs in the environment of `make reference` (languagebind 0.1.0, transformers 4.44.2, PEFT). As in the notes: clips are
decoded in the forward pass, every epoch again; attention is upstream's own, "eager"; every tower runs in every epoch;
a checkpoint has all weights. Two things differ: float32 instead of bf16, since this is for a CPU; and the sound is read
with PyAV, because torchaudio 2.11 reads no MP4.
"""

import importlib
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "model"))

import av
import decord
import numpy as np
import torch
import torch.distributed.tensor  # PEFT 0.21.2 uses it without importing it
import torch.nn.functional as F
from make_reference import import_past_init
from peft import LoraConfig, inject_adapter_in_model
from sizes import CLASSES, HIDDEN_ACT, LOGIT_SCALE, MEL_MEAN, MEL_STD, SAMPLE_RATE_HZ, SEED, SIZES, TOKENS
from torch import Tensor, nn
from torchaudio.compliance import kaldi
from torchaudio.functional import resample
from transformers import CLIPTokenizer, Trainer, TrainingArguments
from worker import serve

import_past_init("languagebind")
CLASSES_OF = {
    source: (
        getattr(importlib.import_module(f"languagebind.{source}.configuration_{source}"), f"{name}Config"),
        getattr(importlib.import_module(f"languagebind.{source}.modeling_{source}"), name),
    )
    for source, name in (("video", "LanguageBindVideo"), ("audio", "LanguageBindAudio"))
}
ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "exp1": {"sources": ["video"], "train": "everything"},
    "exp2": {"sources": ["video", "audio"], "train": "everything"},
    "exp3": {"sources": ["video"], "train": "head"},
    "exp4": {"sources": ["video"], "train": "lora", "targets": ATTENTION, "dropout": 0.1},
    "exp5": {"sources": ["video"], "train": "lora", "targets": [*ATTENTION, "fc1", "fc2"], "dropout": 0.1},
    "exp6": {"sources": ["video", "audio"], "train": "lora", "targets": [*ATTENTION, "fc1", "fc2"], "dropout": 0.0},
}
# CLIP's, by channel: github.com/openai/CLIP, clip.py.
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None, None]

decord.bridge.set_bridge("torch")
torch.set_num_threads(1)


class Classifier(nn.Module):
    """The towers of each source, the text tower of the last, and a linear head; takes texts and paths of clips."""

    def __init__(self, experiment: str, size: str, tokenizer: CLIPTokenizer | None = None) -> None:
        super().__init__()
        own, self.size, self.tokenizer = EXPERIMENTS[experiment], SIZES[size], tokenizer
        self.sources = own["sources"]
        self.towers = nn.ModuleDict({source: tower(source, self.size) for source in self.sources})
        for source in self.sources[:-1]:
            del self.towers[source].text_model, self.towers[source].text_projection
        self.head = nn.Linear(self.size["projection"] * (len(self.sources) + 1), CLASSES, bias=False)
        if own["train"] == "head":
            self.towers.requires_grad_(False)
        if own["train"] == "lora":  # freezes everything else but biases, the head included
            lora = LoraConfig(
                r=16, lora_alpha=16, lora_dropout=own["dropout"], bias="all", target_modules=own["targets"]
            )
            inject_adapter_in_model(lora, self)
        for loaded in self.towers.values():
            loaded.logit_scale.requires_grad_(False)

    def forward(self, text: list[str], video_name: list[str], label: Tensor) -> dict[str, Tensor]:
        """The notes' batch: decodes each clip, then the loss and the logits."""
        if self.tokenizer is None:
            raise ValueError("a classifier without a tokenizer takes inputs in memory only")
        words = self.tokenizer(text, max_length=TOKENS, padding="max_length", truncation=True, return_tensors="pt")
        inputs = {"video": torch.stack([read_frames(name, self.size) for name in video_name])}
        if "audio" in self.sources:
            inputs["audio"] = torch.stack([read_mel(name, self.size) for name in video_name])
        return self.classify(words["input_ids"], inputs, label)

    def classify(self, input_ids: Tensor, inputs: dict[str, Tensor], label: Tensor) -> dict[str, Tensor]:
        embeddings = []
        for source in self.sources:
            one = self.towers[source]
            found = F.normalize(one.get_image_features(pixel_values=inputs[source]), dim=-1)
            embeddings.append(found * one.logit_scale.exp())
        embeddings.append(F.normalize(self.towers[self.sources[-1]].get_text_features(input_ids=input_ids), dim=-1))
        logits = self.head(torch.cat(embeddings, dim=-1))
        return {"loss": F.cross_entropy(logits, label), "logits": logits}


def tower(source: str, size: dict[str, Any]) -> nn.Module:
    config_class, model_class = CLASSES_OF[source]
    act = {"hidden_act": HIDDEN_ACT[source]}
    vision = {**size["vision"], **size[source], **act, "lora_r": 0, "add_time_attn": source == "video"}
    config = config_class(
        text_config={**size["text"], "vocab_size": size["vocabulary"], **act},
        vision_config=vision,
        projection_dim=size["projection"],
        logit_scale_init_value=LOGIT_SCALE,
    )
    config._attn_implementation = "eager"
    return model_class(config)


def read_frames(clip: str, size: dict[str, Any]) -> Tensor:
    """[3, frame, height, width]: normalised, the short side scaled, cut in the middle, mirrored half of the time."""
    reader, video = decord.VideoReader(clip, ctx=decord.cpu(0)), size["video"]
    frames = reader.get_batch(np.linspace(0, len(reader) - 1, video["num_frames"], dtype=int))
    pixels = (frames.permute(3, 0, 1, 2) / 255.0 - MEAN) / STD
    height, width = pixels.shape[-2:]
    side = video["image_size"]
    scaled = [side, width * side // height] if height < width else [height * side // width, side]
    pixels = F.interpolate(pixels, size=scaled, mode="bilinear", align_corners=False)
    top, left = (scaled[0] - side) // 2, (scaled[1] - side) // 2
    pixels = pixels[..., top : top + side, left : left + side]
    return pixels.flip(-1) if torch.rand(()) < 0.5 else pixels


def read_mel(clip: str, size: dict[str, Any]) -> Tensor:
    """[3, mel, time] of the first channel: tiled if it is too short, else three chunks at random starts."""
    with av.open(clip) as container:
        stream = container.streams.audio[0]
        rate, pieces = stream.rate, [frame.to_ndarray() for frame in container.decode(stream)]
    waveform = resample(torch.from_numpy(np.concatenate(pieces, axis=1)), rate, SAMPLE_RATE_HZ)
    bins, length = size["audio"]["num_mel_bins"], size["audio"]["target_length"]
    energies = kaldi.fbank(
        waveform - waveform.mean(),
        htk_compat=True,
        sample_frequency=SAMPLE_RATE_HZ,
        window_type="hanning",
        num_mel_bins=bins,
        dither=0.0,
    )
    if len(energies) <= length:
        chunks = [energies.repeat(length // len(energies) + 1, 1)[:length]] * 3
    else:
        starts = np.array_split(np.arange(len(energies) - length + 1), 3)
        firsts = [int(np.random.choice(part)) if len(part) else 0 for part in starts]
        chunks = [energies[first : first + length] for first in firsts]
    return (torch.stack(chunks).transpose(1, 2) - MEL_MEAN) / (2 * MEL_STD)


def batch_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    label = torch.tensor([row["label"] for row in rows])
    return {"text": [row["text"] for row in rows], "video_name": [row["clip"] for row in rows], "label": label}


def macro_f1(prediction: Any) -> dict[str, float]:
    found, true = prediction.predictions.argmax(-1), prediction.label_ids
    scores = []
    for number in range(CLASSES):
        hits, all_of = int(((found == number) & (true == number)).sum()), int((found == number).sum())
        scores.append(2 * hits / max(1, all_of + int((true == number).sum())))
    return {"macro_f1": float(np.mean(scores))}


class Rows(torch.utils.data.Dataset):
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


def epoch(
    experiment: str, size: str, tokenizer: str, training: list[dict], validation: list[dict], epochs: int = 1
) -> dict[str, float]:
    """CPU seconds of a training with these epochs: training, validation and checkpoint."""
    torch.manual_seed(SEED)
    model = Classifier(experiment, size, CLIPTokenizer.from_pretrained(tokenizer))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=4,
            per_device_eval_batch_size=4,
            gradient_accumulation_steps=16,
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=1,
            logging_steps=5,
            remove_unused_columns=False,
            label_names=["label"],
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        )
        start = time.process_time()
        Trainer(
            model=model,
            args=arguments,
            train_dataset=Rows(training),
            eval_dataset=Rows(validation),
            data_collator=batch_of,
            compute_metrics=macro_f1,
        ).train()
        return {"seconds": time.process_time() - start}


_steps: dict[tuple[str, str], tuple[Classifier, torch.optim.Optimizer]] = {}


def step(experiment: str, size: str, batch: int, passes: int) -> dict[str, float]:
    """CPU seconds of one optimiser step of this many forward and backward passes on inputs in memory."""
    if (experiment, size) not in _steps:
        torch.manual_seed(SEED)
        _steps.clear()
        model = Classifier(experiment, size).train()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        _steps[experiment, size] = model, torch.optim.AdamW(trained, lr=5e-5)
    model, optimiser = _steps[experiment, size]
    inputs = made_inputs(size, batch)
    start = time.process_time()
    for _ in range(passes):
        (model.classify(**inputs)["loss"] / passes).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    return {"seconds": time.process_time() - start}


def passes(experiment: str, size: str, batch: int) -> dict[str, float]:
    """CPU seconds of one forward pass, and of the backward pass after it; the peak memory of the process, GiB."""
    torch.manual_seed(SEED)
    model, inputs = Classifier(experiment, size).train(), made_inputs(size, batch)
    start = time.process_time()
    loss = model.classify(**inputs)["loss"]
    middle = time.process_time()
    loss.backward()
    end = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    return {"forward": middle - start, "backward": end - middle, "peak_gib": peak}


def made_inputs(size: str, batch: int) -> dict[str, Any]:
    generator, of = torch.Generator().manual_seed(SEED), SIZES[size]
    words = torch.randint(1, of["vocabulary"] - 2, (batch, TOKENS), generator=generator)
    words[:, 12:] = of["vocabulary"] - 1  # the end token, which also pads
    video, audio = of["video"], of["audio"]
    pixels = (batch, 3, video["num_frames"], video["image_size"], video["image_size"])
    mel = (batch, 3, audio["num_mel_bins"], audio["target_length"])
    inputs = {"video": torch.randn(pixels, generator=generator), "audio": torch.randn(mel, generator=generator)}
    return {"input_ids": words, "inputs": inputs, "label": torch.arange(batch) % CLASSES}


if __name__ == "__main__":
    serve({"epoch": epoch, "step": step, "passes": passes})
