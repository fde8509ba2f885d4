"""Training learns, keeps what it should, goes on where it stopped, and stops where it must."""

import math
from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments

from support.learning_examples import TRAINING, example_table, tiny_model, training
from trimood.config.parameters import AugmentationParams
from trimood.disk import DiskFull
from trimood.learning.prediction import probabilities
from trimood.learning.trainer import Fitted, TrainingDiverged, _training_arguments, fit
from trimood.model.trained import load_trained_state
from trimood.scoring.metrics import summary_scores


def run(
    sources, prepared_clips, folder: Path, report=lambda numbers, step: None, arguments=TRAINING, **kwargs
) -> tuple:
    augmentation = kwargs.pop("augmentation", None)
    prepared = tiny_model(sources, **kwargs)
    examples = prepared.examples(example_table(28), prepared_clips, augmentation)
    validation = prepared.examples(example_table(14), prepared_clips)
    return prepared, validation, fit(prepared.model, examples, validation, arguments, folder, summary_scores, report)


@pytest.fixture(scope="module")
def trained(sources, prepared_clips, tmp_path_factory) -> tuple:
    heard: list[tuple[dict, int]] = []
    prepared, validation, fitted = run(
        sources,
        prepared_clips,
        tmp_path_factory.mktemp("run"),
        lambda numbers, step: heard.append((numbers, step)),
        training(num_train_epochs=8),
    )
    return prepared, validation, fitted, heard


def test_training_learns_what_is_in_the_examples(trained) -> None:
    _, _, fitted, _ = trained
    first, best = fitted.history[0], max(row["validation/macro_f1"] for row in fitted.history)
    assert first["validation/macro_f1"] < 0.5
    assert best > 0.7


def test_every_epoch_has_training_and_validation_numbers(trained) -> None:
    _, _, fitted, heard = trained
    assert [row["epoch"] for row in fitted.history] == list(range(1, 9))
    measures = {
        f"{split}/{name}"
        for split in ("train", "validation")
        for name in ("loss", "macro_f1", "weighted_f1", "accuracy")
    }
    assert all(set(row) == {"epoch", "seconds", *measures} for row in fitted.history)
    seconds = [row["seconds"] for row in fitted.history]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert not any("seconds" in numbers for numbers, _ in heard)
    assert [step for numbers, step in heard if "validation/loss" in numbers] == list(range(1, 9))
    assert any("step/loss" in numbers for numbers, _ in heard)


def test_the_model_is_left_at_its_best_epoch_and_reloading_gives_the_same_probabilities_to_the_bit(
    trained, sources
) -> None:
    prepared, validation, fitted, _ = trained
    found = probabilities(prepared.model, validation, 8)
    scores = summary_scores(example_table(14)["label"].tolist(), found.argmax(1))
    assert scores["macro_f1"] == max(row["validation/macro_f1"] for row in fitted.history)
    fresh = tiny_model(sources)
    assert (probabilities(fresh.model, validation, 8) != found).any()
    load_trained_state(fresh.model, fitted.best)
    assert (probabilities(fresh.model, validation, 8) == found).all()


@pytest.mark.parametrize("head", [pytest.param("trained", marks=pytest.mark.slow), "frozen"])
def test_adapters_alone_are_kept_and_give_the_same_probabilities_to_the_bit(
    sources, prepared_clips, tmp_path, head: str
) -> None:
    prepared, validation, fitted = run(
        sources, prepared_clips, tmp_path, train="lora", head=head, modalities=("text", "video", "audio")
    )
    stored = sum(tensor.numel() for tensor in fitted.best.values())
    assert stored < 0.5 * sum(parameter.numel() for parameter in prepared.model.parameters())
    fresh = tiny_model(sources, train="lora", head=head, modalities=("text", "video", "audio"))
    load_trained_state(fresh.model, fitted.best)
    assert (probabilities(fresh.model, validation, 8) == probabilities(prepared.model, validation, 8)).all()
    assert ("head.weight" in fitted.best) is True
    assert torch.equal(
        fitted.best["head.weight"],
        tiny_model(sources, train="lora", head=head, modalities=("text", "video", "audio")).model.head.weight,
    ) is (head == "frozen")


@pytest.mark.slow
def test_a_model_trained_in_bf16_is_left_without_it(sources, prepared_clips, tmp_path) -> None:
    arguments = training(bf16=True)
    prepared, validation, fitted = run(sources, prepared_clips, tmp_path, arguments=arguments)
    fresh = tiny_model(sources)
    load_trained_state(fresh.model, fitted.best)
    assert (probabilities(fresh.model, validation, 8) == probabilities(prepared.model, validation, 8)).all()


class Stopped(Exception):
    """Stands for a crash."""


# Everything that draws at random while it trains: a resumed training must go on with the same draws.
RANDOM = {
    "train": "lora",
    "dropout": 0.1,
    "modalities": ("text", "video", "audio"),
    "augmentation": AugmentationParams(flip_probability=0.5, random_mel_chunks=True),
}


@pytest.mark.slow
def test_an_interrupted_training_goes_on_and_ends_as_if_it_had_not_been_interrupted(
    sources, prepared_clips, tmp_path
) -> None:
    _, _, whole = run(sources, prepared_clips, tmp_path / "whole", **RANDOM)
    _, _, calm = run(sources, prepared_clips, tmp_path / "calm", **{**RANDOM, "augmentation": None})
    assert whole.history[0]["train/loss"] != calm.history[0]["train/loss"]

    def crash(numbers: dict[str, float], step: int) -> None:
        if "validation/loss" in numbers and step == 3:
            raise Stopped

    with pytest.raises(Stopped):
        run(sources, prepared_clips, tmp_path / "cut", crash, **RANDOM)
    # A checkpoint that was being written when the power went: no trainer_state.json yet.
    (tmp_path / "cut" / "checkpoint-999").mkdir()
    epochs: list[int] = []
    _, _, resumed = run(
        sources,
        prepared_clips,
        tmp_path / "cut",
        lambda numbers, step: epochs.append(step) if "validation/loss" in numbers else None,
        **RANDOM,
    )
    assert epochs == [1, 2, 3]  # the curves of the first run are told again
    assert_same(resumed, whole)
    seconds = [row["seconds"] for row in resumed.history]
    assert seconds == sorted(seconds)  # of both pieces together


def test_a_training_that_was_finished_is_given_again_without_training(sources, prepared_clips, tmp_path) -> None:
    """Its results may not have been stored: a full disk, a stopped command."""
    _, _, once = run(sources, prepared_clips, tmp_path)
    steps: list[dict] = []
    _, _, again = run(sources, prepared_clips, tmp_path, lambda numbers, step: steps.append(numbers))
    assert_same(once, again)
    assert again.history == once.history
    assert not any("step/loss" in numbers for numbers in steps)


def test_a_disk_that_fills_up_with_checkpoints_is_said(sources, prepared_clips, small_disk) -> None:
    with pytest.raises(DiskFull, match=r"small: an epoch's checkpoint could not be written"):
        run(sources, prepared_clips, small_disk)


def test_of_several_gpus_one_is_used_so_that_the_batch_is_the_published_one(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: getattr(self, "_n_gpu", 0) or 2))
    arguments = _training_arguments(TRAINING, tmp_path)
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == TRAINING.per_device_train_batch_size


def assert_same(one: Fitted, other: Fitted) -> None:
    assert [{**row, "seconds": 0} for row in one.history] == [{**row, "seconds": 0} for row in other.history]
    assert set(one.best) == set(other.best)
    assert all(torch.equal(one.best[name], other.best[name]) for name in one.best)
    assert all(torch.equal(one.last[name], other.last[name]) for name in one.last)


@pytest.mark.slow
def test_the_same_seed_trains_the_same_and_another_does_not(sources, prepared_clips, tmp_path) -> None:
    _, _, one = run(sources, prepared_clips, tmp_path / "one", train="head")
    _, _, same = run(sources, prepared_clips, tmp_path / "same", train="head")
    _, _, other = run(sources, prepared_clips, tmp_path / "other", train="head", arguments=training(seed=2))
    assert_same(one, same)
    assert not torch.equal(one.last["head.weight"], other.last["head.weight"])


def test_a_loss_that_is_no_number_stops_the_training_and_says_what_to_do(sources, prepared_clips, tmp_path) -> None:
    with pytest.raises(TrainingDiverged, match=r"loss is nan in epoch .*learning rate.*Lower training\.learning_rate"):
        run(sources, prepared_clips, tmp_path, arguments=training(learning_rate=math.inf, logging_steps=1))


@pytest.mark.gpu
def test_on_a_gpu_a_training_in_bf16_learns_and_reloads_to_the_same_probabilities(
    sources, prepared_clips, tmp_path
) -> None:
    arguments = training(num_train_epochs=8, bf16="auto")
    modalities = ("text", "video", "audio")
    prepared, validation, fitted = run(
        sources, prepared_clips, tmp_path, arguments=arguments, train="lora", modalities=modalities
    )
    assert next(prepared.model.parameters()).device.type == "cuda"
    assert _training_arguments(arguments, tmp_path).bf16 == torch.cuda.is_bf16_supported()
    assert max(row["validation/macro_f1"] for row in fitted.history) > fitted.history[0]["validation/macro_f1"]
    assert all(tensor.device.type == "cpu" for tensor in fitted.best.values())
    fresh = tiny_model(sources, train="lora", modalities=modalities)
    load_trained_state(fresh.model, fitted.best)
    assert (probabilities(fresh.model, validation, 8) == probabilities(prepared.model, validation, 8)).all()
