"""The memory of a training is as measured; a lack of it is recognised in what each library raises, and answered."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from support.learning_examples import encoder_settings, lora, settings, training
from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO
from trimood.config.experiment_settings import ExperimentParams, LoraParams, Settings, Train, TrainingParams, resolve
from trimood.config.plan import ParameterCount
from trimood.emotions import Source
from trimood.model.classifier import build_classifier
from trimood.model.config import FULL_SIZE_AUDIO, FULL_SIZE_VIDEO, LanguageBindConfig
from trimood.model.encoders import read_encoder
from trimood.model.memory import (
    FULL,
    HALF,
    ON_CPU,
    PREDICTION_REMEDY,
    USABLE_SHARE,
    OutOfMemory,
    TrainingMemory,
    lacks_memory,
    memory_explained,
    setting_that_fits,
    training_memory,
    training_remedy,
)

TOO_MUCH = 10**15
BASE = Path(__file__).parents[2] / "conf" / "base"

FULL_SIZE = {
    "exp1": (528_634_624, 528_634_624),
    "exp2": (832_950_272, 832_950_272),
    "exp4": (7_968_512, 536_105_728),
    "exp6": (20_725_504, 852_905_984),
}
"""Trained and all parameters, of docs/experiments.md."""


def counted(trained: int, every: int) -> dict[str, ParameterCount]:
    return {"all": ParameterCount(trainable=trained, all=every, trainable_share=trained / every)}


def full_size(experiment: str, **changes: object) -> dict[str, Any]:
    """The arguments of `training_memory` for an experiment as published, or with other training parameters."""
    shared = yaml.safe_load((BASE / "experiment/parameters.yml").read_text())
    own = yaml.safe_load((BASE / f"experiments/{experiment}.yml").read_text())[experiment]
    published = TrainingParams(**shared["training"] | changes)
    resolved = resolve(ExperimentParams(**own), published, LoraParams(**shared["lora"]))
    configs = {"video": FULL_SIZE_VIDEO} | ({"audio": FULL_SIZE_AUDIO} if "audio" in resolved.modalities else {})
    parameters = counted(*FULL_SIZE[experiment])
    return {"settings": resolved, "configs": configs, "parameters": parameters, "precision": HALF}


@pytest.mark.parametrize(
    ("experiment", "at_a_time", "measured"),
    [
        ("exp1", 4, 20.1),
        ("exp1", 16, 53.5),
        ("exp4", 4, 14.7),
        ("exp4", 16, 49.5),
        ("exp6", 4, 19.5),
        ("exp6", 16, 62.4),
    ],
)
def test_the_peaks_that_were_measured_on_a_gpu_are_met_within_two_percent(
    experiment: str, at_a_time: int, measured: float
) -> None:
    """docs/experiments.md, 2026-11-26: one H200, bf16, peak of torch's allocations."""
    assert training_memory(**full_size(experiment)).peak(at_a_time) / 2**30 == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize(
    ("train", "dropout", "measured"), [("everything", 0.0, 379), ("lora", 0.0, 294), ("lora", 0.1, 521)]
)
def test_what_two_vision_layers_of_full_width_keep_on_a_cpu_is_met_within_four_percent(
    train: Train, dropout: float, measured: int
) -> None:
    """docs/experiments.md, 2026-11-22: MiB of one utterance, counted with saved_tensors_hooks."""
    vision = dataclasses.replace(FULL_SIZE_VIDEO.vision, num_hidden_layers=2)
    configs: dict[Source, LanguageBindConfig] = {"video": dataclasses.replace(FULL_SIZE_VIDEO, vision=vision)}
    adapters = lora(*ATTENTION, dropout=dropout) if train == "lora" else None
    wanted = settings(train, ("video",)).model_copy(update={"lora": adapters})
    memory = training_memory(wanted, configs, counted(1, 1), ON_CPU)
    assert memory.kept / 2**20 == pytest.approx(measured, rel=0.04)


ATTENTION, MLP = ("q_proj", "k_proj", "v_proj", "out_proj"), ("fc1", "fc2")
TINY = {
    "everything": settings("everything", ("text", "video", "audio")),
    "words alone": settings("everything", ("text",)),
    "adapters": settings("lora", ("text", "video")).model_copy(update={"lora": lora(*ATTENTION, *MLP, r=4)}),
    "adapters on half of the attention": settings("lora", ("video",)),
    "adapters with dropout": settings("lora", ("video", "audio")).model_copy(
        update={"lora": lora(*ATTENTION, *MLP, r=4, dropout=0.1)}
    ),
}


def kept_bytes(wanted: Settings, configs: dict[Source, LanguageBindConfig]) -> int:
    """Bytes that torch keeps of one utterance for the backward pass, beside the weights."""
    model = build_classifier(wanted.modalities, configs, wanted.train, head=wanted.head, lora=wanted.lora).train()
    if wanted.training.gradient_checkpointing:
        model.checkpoint_layers()
    video, audio = TINY_VIDEO.vision, TINY_AUDIO.vision
    inputs = {
        "input_ids": torch.arange(TINY_VIDEO.text.max_position_embeddings)[None],  # the end token is the last
        "frames": torch.zeros(1, video.num_frames, 3, video.image_size, video.image_size, dtype=torch.uint8),
        "mel": torch.zeros(1, 3, *audio.input_size),
        "labels": torch.zeros(1, dtype=torch.int64),
    }
    weights = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    found: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor  # alive, so that no other tensor gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(**inputs)
    return sum(tensor.untyped_storage().nbytes() for address, tensor in found.items() if address not in weights)


def tiny_memory(wanted: Settings) -> tuple[TrainingMemory, int]:
    configs: dict[Source, LanguageBindConfig] = {"video": TINY_VIDEO}
    if "audio" in wanted.modalities:
        configs["audio"] = TINY_AUDIO
    return training_memory(wanted, configs, counted(1, 1), ON_CPU), kept_bytes(wanted, configs)


@pytest.mark.parametrize("name", TINY)
def test_activations_are_those_that_torch_keeps(name: str) -> None:
    memory, kept = tiny_memory(TINY[name])
    assert memory.kept == pytest.approx(kept, rel=0.04)


def test_a_head_that_attends_to_tokens_and_frames_keeps_them() -> None:
    wanted = settings("head", ("text", "video"), head={"kind": "attention", "heads": 3})
    memory, kept = tiny_memory(wanted)
    assert memory.kept == pytest.approx(kept, rel=0.15)  # in a model so tiny, masks are not small
    assert tiny_memory(settings("head", ("text", "video")))[0].kept == 0


def test_with_checkpointing_the_input_of_each_layer_is_kept() -> None:
    wanted = TINY["everything"].model_copy(update={"training": training(gradient_checkpointing=True)})
    memory, kept = tiny_memory(wanted)
    without, _ = tiny_memory(TINY["everything"])
    # In a model so tiny, the numbers of the words, the pooling and the head, which are left out, are 7 %.
    assert memory.kept == pytest.approx(kept, rel=0.08)
    assert memory.kept + memory.recomputed < 0.8 * without.kept
    assert without.recomputed == 0


def test_8_bit_moments_adafactor_and_validation_count() -> None:
    published = training_memory(**full_size("exp1"))
    trained = FULL_SIZE["exp1"][0]
    held = {optim: training_memory(**full_size("exp1", optim=optim)).held for optim in ("adamw_bnb_8bit", "adafactor")}
    assert published.held == 16 * trained
    assert held["adamw_bnb_8bit"] / trained == pytest.approx(10, abs=0.1)
    assert held["adafactor"] / trained == pytest.approx(8, abs=0.1)
    many = training_memory(**full_size("exp4", per_device_eval_batch_size=1024))
    assert many.peak(1) > 45 * 2**30 > training_memory(**full_size("exp4")).peak(1)
    step = training_memory(**full_size("exp1", optim="adamw_torch", gradient_checkpointing=True))
    fused = training_memory(**full_size("exp1", gradient_checkpointing=True))
    assert step.peak(1) > fused.peak(1)


@pytest.mark.parametrize(
    ("experiment", "gigabytes", "expected"),
    [
        ("exp4", 80, (16, False, "adamw_torch_fused")),
        ("exp4", 16, (32, True, "adamw_torch_fused")),
        ("exp2", 16, (8, True, "adamw_bnb_8bit")),
        ("exp2", 8, None),
    ],
)
def test_what_fits_changes_as_little_as_it_can(experiment: str, gigabytes: int, expected: tuple | None) -> None:
    found = setting_that_fits(**full_size(experiment), available=USABLE_SHARE * gigabytes * 2**30)
    assert (found and (found[1], found[0].gradient_checkpointing, found[0].optim)) == expected


def test_the_remedy_names_the_settings_in_use_and_what_needs_less() -> None:
    words = training_remedy(training(per_device_train_batch_size=4, gradient_accumulation_steps=16), 4)
    assert "had 4 of the 64 utterances" in words
    assert "gradient_checkpointing false, optim adamw_torch_fused; validation 8" in words
    order = [
        "training.micro_batch=2, or auto",
        "training.gradient_checkpointing=true",
        "training.optim=",
        "train: lora",
    ]
    assert [words.index(step) for step in order] == sorted(words.index(step) for step in order)
    last = training_remedy(training(gradient_checkpointing=True, optim="adafactor"), 1)
    assert "training.micro_batch=" not in last
    assert "training.optim=" not in last
    assert "training.gradient_checkpointing=true" not in last


def on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 1 GiB")


@pytest.mark.parametrize(
    "allocate", [lambda: torch.empty(TOO_MUCH), lambda: np.ones(TOO_MUCH), lambda: bytearray(TOO_MUCH), on_a_gpu]
)
def test_a_failed_allocation_is_explained_by_the_settings_that_need_less(allocate) -> None:  # type: ignore[no-untyped-def]
    with (
        pytest.raises(OutOfMemory, match=r"(?s)the memory is not enough.*per_device_eval_batch_size"),
        memory_explained(PREDICTION_REMEDY),
    ):
        allocate()


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="size of tensor"), memory_explained(PREDICTION_REMEDY):
        torch.ones(2) + torch.ones(3)
    assert not lacks_memory(ValueError("memory"))
    assert not lacks_memory(KeyboardInterrupt("out of memory"))


def test_a_text_encoder_needs_memory_as_its_layers_are_trained(encoder_folder: Path) -> None:
    config, _ = read_encoder(encoder_folder, "mean")
    published = full_size("exp1")["settings"].training
    kept = {}
    for train in ("head", "lora", "everything"):
        wanted = encoder_settings(train).model_copy(update={"training": published})
        memory = training_memory(wanted, {"text": config}, counted(100, 1000), FULL)
        kept[train] = memory.kept
    assert kept["head"] == 0 < min(kept["lora"], kept["everything"])
    short = dataclasses.replace(config, most_tokens=config.most_tokens // 2)
    wanted = encoder_settings("everything").model_copy(update={"training": published})
    halved = training_memory(wanted, {"text": short}, counted(100, 1000), FULL)
    assert 2 * halved.kept == kept["everything"]
