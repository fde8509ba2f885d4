"""Training learns, keeps what it should, goes on where it stopped, and stops where it must."""

import logging
import math
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import TrainingArguments

from support.learning_examples import TRAINING, example_table, tiny_model, training
from support.trainings import Stopped, assert_same, run
from trimood.config.experiment_settings import AugmentationParams
from trimood.disk import DiskFull
from trimood.learning.batches import collate
from trimood.learning.epochs import best_weights, last_whole
from trimood.learning.loop import TrainingDiverged
from trimood.learning.prediction import probabilities
from trimood.learning.trainer import Fitted, _training_arguments, fit
from trimood.model.trained import load_trained_state
from trimood.scoring.metrics import summary_scores


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


@pytest.mark.slow
def test_training_learns_what_is_in_the_examples(trained) -> None:
    _, _, fitted, _ = trained
    first, best = fitted.history[0], max(row["validation/macro_f1"] for row in fitted.history)
    assert first["validation/macro_f1"] < 0.5
    assert best > 0.7


@pytest.mark.slow
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


@pytest.mark.slow
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
    (tmp_path / "cut" / "writing" / "checkpoint-21").mkdir(parents=True, exist_ok=True)  # when the power went
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


@pytest.mark.slow
def test_a_training_that_was_finished_is_given_again_without_training(sources, prepared_clips, tmp_path) -> None:
    """Its results may not have been stored: a full disk, a stopped command."""
    _, _, once = run(sources, prepared_clips, tmp_path)
    steps: list[dict] = []
    _, _, again = run(sources, prepared_clips, tmp_path, lambda numbers, step: steps.append(numbers))
    assert_same(once, again)
    assert again.history == once.history
    assert not any("step/loss" in numbers for numbers in steps)


@pytest.mark.slow
def test_a_training_whose_folder_was_moved_gives_the_last_epoch_too(sources, prepared_clips, tmp_path) -> None:
    _, _, once = run(sources, prepared_clips, tmp_path / "here" / "digest")
    (tmp_path / "here").rename(tmp_path / "there")
    _, _, again = run(sources, prepared_clips, tmp_path / "there" / "digest")
    assert again.last.keys() == once.last.keys() > set()
    assert_same(once, again)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FILES = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trained.safetensors", "trainer_state.json", "digests.json")
DAMAGES = {
    "missing": Path.unlink,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "empty": lambda path: path.write_bytes(b""),
    "a flipped bit": flip_a_bit,
}


@pytest.fixture(scope="module")
def interrupted(sources, prepared_clips, tmp_path_factory) -> tuple[Path, Fitted]:
    """A training of adapters that was stopped in its third epoch, and how it ends without that."""
    folder = tmp_path_factory.mktemp("interrupted") / "digest"
    _, _, whole = run(sources, prepared_clips, tmp_path_factory.mktemp("whole"), train="lora", dropout=0.1)

    def crash(numbers: dict[str, float], step: int) -> None:
        if "validation/loss" in numbers and step == 3:
            raise Stopped

    with pytest.raises(Stopped):
        run(sources, prepared_clips, folder, crash, train="lora", dropout=0.1)
    return folder, whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage"), [*((name, "missing") for name in FILES), *((FILES[3], damage) for damage in DAMAGES)]
)
def test_a_damaged_epoch_is_set_aside_and_the_one_before_it_is_used(
    interrupted, sources, prepared_clips, tmp_path, caplog, name: str, damage: str
) -> None:
    folder, whole = interrupted
    copied = shutil.copytree(folder, tmp_path / folder.name)
    assert [path.name for path in sorted(copied.glob("checkpoint-*"))] == ["checkpoint-14", "checkpoint-7"]
    DAMAGES[damage](copied / "checkpoint-14" / name)
    epochs: list[int] = []
    with caplog.at_level(logging.WARNING):
        _, _, resumed = run(
            sources, prepared_clips, copied, lambda numbers, step: epochs.append(step), train="lora", dropout=0.1
        )
    assert "checkpoint-14 is damaged" in caplog.text
    assert (copied / "checkpoint-14.damaged").is_dir()
    assert_same(resumed, whole)


@pytest.mark.slow
def test_without_a_whole_epoch_a_training_begins_anew(interrupted, sources, prepared_clips, tmp_path) -> None:
    folder, whole = interrupted
    copied = shutil.copytree(folder, tmp_path / folder.name)
    for epoch in copied.glob("checkpoint-*"):
        flip_a_bit(epoch / "optimizer.pt")
    assert_same(run(sources, prepared_clips, copied, train="lora", dropout=0.1)[2], whole)


def test_an_epoch_of_another_training_is_not_gone_on_with(interrupted, tmp_path) -> None:
    copied = shutil.copytree(interrupted[0], tmp_path / "another digest")
    assert last_whole(copied) is None
    assert sorted(path.name for path in copied.glob("*.damaged")) == ["checkpoint-14.damaged", "checkpoint-7.damaged"]


@pytest.mark.slow
def test_every_epoch_keeps_the_best_weights_up_to_it(sources, prepared_clips, tmp_path) -> None:
    found: dict[int, Tensor] = {}

    def look(numbers: dict[str, float], step: int) -> None:
        for epoch in tmp_path.glob("checkpoint-*"):
            found[int(epoch.name.split("-")[1])] = load_file(best_weights(epoch))["head.weight"]

    # Steps that are far too large: the first epoch is the best, and the last is not.
    arguments = training(num_train_epochs=5, learning_rate=0.5, lr_scheduler_type="constant")
    _, _, fitted = run(sources, prepared_clips, tmp_path, look, arguments)
    curve = [row["validation/macro_f1"] for row in fitted.history]
    assert curve.index(max(curve)) < 3
    assert torch.equal(fitted.best["head.weight"], found[7 * (curve.index(max(curve)) + 1)])
    assert not torch.equal(fitted.best["head.weight"], fitted.last["head.weight"])


@pytest.mark.parametrize(("batch", "steps"), [(4, 3), (9, 1), (2, 5), (3, 3)])
def test_each_utterance_of_a_step_counts_alike(sources, prepared_clips, tmp_path, batch: int, steps: int) -> None:
    """Micro-batches of 4, 4 and 1: the gradient is that of the mean over nine utterances."""
    prepared = tiny_model(sources, train="head")
    examples = prepared.examples(example_table(9), prepared_clips)
    inputs = collate([examples[number] for number in range(9)])
    prepared.model(**inputs)["loss"].backward()
    wanted = prepared.model.head.weight.grad.clone()
    prepared.model.zero_grad()
    found: list[Tensor] = []
    listening = register_optimizer_step_pre_hook(
        lambda optimizer, *_: found.append(optimizer.param_groups[0]["params"][0].grad.clone())
    )
    arguments = training(
        num_train_epochs=1, per_device_train_batch_size=batch, gradient_accumulation_steps=steps, max_grad_norm=1e9
    )
    try:
        fit(prepared.model, examples, examples, arguments, tmp_path, summary_scores, lambda numbers, step: None)
    finally:
        listening.remove()
    (gradient,) = found
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_environment_variables_change_no_setting(sources, prepared_clips, tmp_path, monkeypatch) -> None:
    _, _, plain = run(sources, prepared_clips, tmp_path / "plain")
    given = {
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "7",
        "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "RANK": "0",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    _, _, overridden = run(sources, prepared_clips, tmp_path / "overridden")
    assert_same(plain, overridden)
    assert given.items() <= os.environ.items()  # they are the user's
    assert not [name for name in os.environ if name.startswith("ACCELERATE_") and name not in given]


def test_a_disk_that_fills_up_with_checkpoints_is_said(sources, prepared_clips, small_disk) -> None:
    with pytest.raises(DiskFull, match=r"small: an epoch's checkpoint could not be written"):
        run(sources, prepared_clips, small_disk)


def test_of_several_gpus_one_is_used_so_that_the_batch_is_the_published_one(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: getattr(self, "_n_gpu", 0) or 2))
    arguments = _training_arguments(TRAINING, tmp_path, 4)
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == TRAINING.per_device_train_batch_size


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
    assert _training_arguments(arguments, tmp_path, 4).bf16 == torch.cuda.is_bf16_supported()
    assert max(row["validation/macro_f1"] for row in fitted.history) > fitted.history[0]["validation/macro_f1"]
    assert all(tensor.device.type == "cpu" for tensor in fitted.best.values())
    fresh = tiny_model(sources, train="lora", modalities=modalities)
    load_trained_state(fresh.model, fitted.best)
    assert (probabilities(fresh.model, validation, 8) == probabilities(prepared.model, validation, 8)).all()
