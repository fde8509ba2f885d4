"""Settings that need less memory or end a training early: the same gradients, the same bits after an interruption."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from support.learning_examples import example_table, tiny_model, training
from support.trainings import Stopped, assert_same, run
from trimood.config.experiment_settings import CROSS_ENTROPY, LossParams
from trimood.learning import device
from trimood.learning.device import DeviceError
from trimood.learning.epochs import last_whole
from trimood.learning.loss import TrainingLoss
from trimood.learning.prediction import probabilities
from trimood.learning.trainer import fit
from trimood.model.classifier import EmotionClassifier
from trimood.model.memory import OutOfMemory
from trimood.scoring.metrics import summary_scores


def crash_after(epoch: int) -> Callable[[dict[str, float], int], None]:
    def report(numbers: dict[str, float], step: int) -> None:
        if "validation/loss" in numbers and step == epoch:
            raise Stopped

    return report


def gradient_of_a_step(
    sources,
    prepared_clips,
    folder: Path,
    loss: LossParams = CROSS_ENTROPY,
    count: int = 64,
    train="everything",
    **changes,
) -> dict[str, Tensor]:
    """The gradients of the one optimiser step of an epoch of 64 utterances, in float64."""
    loaded = tiny_model(sources, train=train)
    loaded.model.double()
    examples = loaded.examples(example_table(count), prepared_clips)
    found: list[dict[str, Tensor]] = []
    listening = register_optimizer_step_pre_hook(
        lambda *_: found.append({k: p.grad.clone() for k, p in loaded.model.named_parameters() if p.grad is not None})
    )
    once = {"num_train_epochs": 1, "gradient_accumulation_steps": 16, "max_grad_norm": 1e9}
    try:
        fit(loaded.model, examples, examples, training(**once | changes), folder, summary_scores, lambda *_: None, loss)
    finally:
        listening.remove()
    (gradients,) = found
    return gradients


@pytest.mark.slow
def test_16_at_a_time_give_the_gradients_of_4_at_a_time(sources, prepared_clips, tmp_path) -> None:
    published = gradient_of_a_step(sources, prepared_clips, tmp_path / "4")
    larger = gradient_of_a_step(sources, prepared_clips, tmp_path / "16", micro_batch=16)
    assert published.keys() == larger.keys()
    assert len(published) == 100
    assert any(not torch.equal(published[name], larger[name]) for name in published)  # they were added up differently
    for name, gradient in published.items():
        torch.testing.assert_close(larger[name], gradient, rtol=1e-9, atol=1e-12)


def test_with_class_weights_the_gradients_do_not_depend_on_the_micro_batch_either(
    sources, prepared_clips, tmp_path
) -> None:
    """The last of 58 utterances make a smaller micro-batch, and 58 are no multiple of the seven emotions."""
    weighted = {"loss": LossParams(class_weights="balanced", label_smoothing=0.1), "count": 58, "train": "head"}
    four, sixteen, whole = (
        gradient_of_a_step(sources, prepared_clips, tmp_path / str(size), **weighted, micro_batch=size)
        for size in (4, 16, 64)
    )
    for name, gradient in whole.items():
        torch.testing.assert_close(four[name], gradient, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(sixteen[name], gradient, rtol=1e-9, atol=1e-12)
    plain = gradient_of_a_step(sources, prepared_clips, tmp_path / "plain", count=58, train="head")
    assert not torch.allclose(plain["head.weight"], whole["head.weight"], rtol=1e-3)


def test_the_training_loss_is_the_one_that_is_minimised_and_the_validation_loss_is_cross_entropy(
    sources, prepared_clips, tmp_path, caplog
) -> None:
    loaded = tiny_model(sources, train="head")
    examples = loaded.examples(example_table(26), prepared_clips)
    loss = LossParams(class_weights="balanced", label_smoothing=0.1)
    arguments = training(num_train_epochs=1, learning_rate=1e-12)
    with caplog.at_level(logging.INFO):
        fitted = fit(loaded.model, examples, examples, arguments, tmp_path, summary_scores, lambda *_: None, loss)
    assert "loss, by 26 training utterances: balanced class weights, label smoothing 0.1; class_weight.surprise" in (
        caplog.text
    )
    chances = torch.from_numpy(probabilities(loaded.model, examples, 8)).log()
    labels = torch.tensor(examples.labels)
    (row,) = fitted.history
    assert row["train/loss"] == pytest.approx(
        float(TrainingLoss(loss, examples.labels).mean(chances, labels)), rel=1e-5
    )
    assert row["validation/loss"] == pytest.approx(float(-chances[range(26), labels].mean()), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("train", ["everything", "lora", "head"])
def test_checkpointing_trains_the_same_to_the_bit(sources, prepared_clips, tmp_path, train: str) -> None:
    kwargs = {"train": train, "dropout": 0.1, "modalities": ("text", "video", "audio")}
    once = {"num_train_epochs": 1}
    _, _, plain = run(sources, prepared_clips, tmp_path / "plain", arguments=training(**once), **kwargs)
    arguments = training(**once, gradient_checkpointing=True)
    prepared, _, again = run(sources, prepared_clips, tmp_path / "again", arguments=arguments, **kwargs)
    assert_same(plain, again)
    assert prepared.model.tower("video").vision_model.encoder.checkpoints_layers


@pytest.mark.slow
def test_auto_trains_as_the_number_that_it_finds_and_keeps_it_after_an_interruption(
    sources, prepared_clips, tmp_path, monkeypatch
) -> None:
    """A GPU is played by a function that allows seven, and fewer when the training is taken up again."""
    fits = 7

    def attempt(model, examples, training, size: int) -> None:
        if size > fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    gpu = SimpleNamespace(
        is_available=lambda: True,
        empty_cache=lambda: None,
        reset_peak_memory_stats=lambda: None,
        max_memory_allocated=lambda: 0,
    )
    kwargs = {"train": "lora", "dropout": 0.1}
    known = training(micro_batch=4, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    _, _, plain = run(sources, prepared_clips, tmp_path / "plain", arguments=known, **kwargs)
    auto = known.model_copy(update={"micro_batch": "auto"})
    monkeypatch.setattr(device, "_try_on_gpu", attempt)
    monkeypatch.setattr(device, "torch", SimpleNamespace(cuda=gpu, bfloat16=torch.bfloat16))
    with pytest.raises(Stopped):
        run(sources, prepared_clips, tmp_path / "auto", crash_after(2), auto, **kwargs)
    fits = 1
    _, _, resumed = run(sources, prepared_clips, tmp_path / "auto", arguments=auto, **kwargs)
    assert_same(plain, resumed)
    fits = 0
    with pytest.raises(OutOfMemory, match="had 1 of the 8 utterances"):
        run(sources, prepared_clips, tmp_path / "none", arguments=auto, **kwargs)


def test_a_lack_of_memory_names_the_micro_batch_that_was_used(sources, prepared_clips, tmp_path, monkeypatch) -> None:
    loaded = tiny_model(sources)
    examples = loaded.examples(example_table(8), prepared_clips)

    def fail(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(loaded.model, "embed", fail)
    arguments = training(micro_batch=2, gradient_accumulation_steps=2)
    with pytest.raises(OutOfMemory, match=r"(?s)Tried to allocate.*had 2 of the 8 utterances.*training\.micro_batch=1"):
        fit(loaded.model, examples, examples, arguments, tmp_path, summary_scores, lambda *_: None)


@pytest.mark.slow
@pytest.mark.parametrize("optim", ["adamw_torch", "adafactor"])
def test_each_optimiser_goes_on_to_the_same_bits(sources, prepared_clips, tmp_path, optim: str) -> None:
    arguments = training(optim=optim, num_train_epochs=2)
    _, _, whole = run(sources, prepared_clips, tmp_path / "whole", arguments=arguments, train="lora")
    with pytest.raises(Stopped):
        run(sources, prepared_clips, tmp_path / "cut", crash_after(2), arguments, train="lora")
    _, _, resumed = run(sources, prepared_clips, tmp_path / "cut", arguments=arguments, train="lora")
    assert_same(resumed, whole)
    _, _, default = run(
        sources, prepared_clips, tmp_path / "other", arguments=training(num_train_epochs=2), train="lora"
    )
    assert any(not torch.equal(default.last[name], whole.last[name]) for name in whole.last)


@pytest.mark.slow
def test_warmup_as_a_share_is_that_number_of_steps(sources, prepared_clips, tmp_path) -> None:
    """Three epochs of seven steps: a share of 0.2 is rounded up to five steps."""
    arguments = training(warmup_ratio=0.2)
    _, _, share = run(sources, prepared_clips, tmp_path / "share", arguments=arguments, train="head")
    _, _, steps = run(sources, prepared_clips, tmp_path / "steps", arguments=training(warmup_steps=5), train="head")
    _, _, none = run(sources, prepared_clips, tmp_path / "none", train="head")
    assert_same(share, steps)
    assert not torch.equal(share.last["head.weight"], none.last["head.weight"])


@pytest.mark.slow
def test_the_last_step_may_be_in_the_middle_of_an_epoch_which_is_validated_and_kept(
    sources, prepared_clips, tmp_path, caplog
) -> None:
    heard: list[int] = []

    def report(numbers: dict[str, float], step: int) -> None:
        if "validation/loss" in numbers:
            heard.append(step)

    arguments = training(max_steps=10)
    with caplog.at_level(logging.INFO):
        _, _, fitted = run(sources, prepared_clips, tmp_path / "run", report, arguments, train="lora", dropout=0.1)
    assert [row["epoch"] for row in fitted.history] == [1, pytest.approx(1 + 3 / 7)]
    assert heard == [1, 2]
    assert "epoch 2 of 2: training loss" in caplog.text
    assert (tmp_path / "run" / "checkpoint-10").is_dir()
    steps: list[dict] = []
    _, _, again = run(
        sources,
        prepared_clips,
        tmp_path / "run",
        lambda numbers, _: steps.append(numbers),
        arguments,
        train="lora",
        dropout=0.1,
    )
    assert_same(again, fitted)
    assert len(steps) == 2  # the two epochs, and no further step
    assert (tmp_path / "run" / "checkpoint-10").is_dir()


@pytest.fixture(scope="module")
def patience(sources, prepared_clips, tmp_path_factory) -> tuple:
    """A training whose steps are too large to get better for long, with a patience of two epochs."""
    arguments = training(num_train_epochs=12, early_stopping_patience=2, learning_rate=0.1)
    folder = tmp_path_factory.mktemp("patience") / "digest"
    return arguments, folder, run(sources, prepared_clips, folder, arguments=arguments, train="head")[2]


@pytest.mark.slow
def test_a_training_stops_when_validation_does_not_get_better(patience) -> None:
    _, folder, fitted = patience
    curve = [row["validation/macro_f1"] for row in fitted.history]
    assert len(curve) < 12
    assert curve.index(max(curve)) == len(curve) - 3
    assert last_whole(folder).name == f"checkpoint-{7 * len(curve)}"


def test_a_training_that_stopped_early_is_given_again_without_training(sources, prepared_clips, patience) -> None:
    arguments, folder, fitted = patience
    steps: list[dict] = []
    again = run(sources, prepared_clips, folder, lambda numbers, _: steps.append(numbers), arguments, train="head")[2]
    assert_same(again, fitted)
    assert len(steps) == len(fitted.history)


@pytest.mark.slow
def test_patience_goes_on_counting_after_an_interruption(sources, prepared_clips, tmp_path, patience) -> None:
    arguments, _, fitted = patience
    before_the_last = len(fitted.history) - 1
    with pytest.raises(Stopped):  # in the report of an epoch, before it is kept
        run(sources, prepared_clips, tmp_path / "cut", crash_after(len(fitted.history)), arguments, train="head")
    state = TrainerState.load_from_json(str(last_whole(tmp_path / "cut") / TRAINER_STATE_NAME))
    assert state.global_step == 7 * before_the_last
    assert_same(run(sources, prepared_clips, tmp_path / "cut", arguments=arguments, train="head")[2], fitted)


# Dynamo looks at `.grad` of the tensors that a checkpointed layer gets; torch warns of that.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.slow
def test_compiled_layers_train_the_same_and_a_compiler_that_fails_is_explained(
    sources, prepared_clips, tmp_path, monkeypatch, caplog
) -> None:
    """With adapters and gradient checkpointing. A backend that only traces the layers needs no compiler."""
    kwargs = {"train": "lora"}
    compile_layers = EmotionClassifier.compile_layers
    monkeypatch.setattr(EmotionClassifier, "compile_layers", lambda model: compile_layers(model, "aot_eager"))
    once = {"num_train_epochs": 1, "gradient_checkpointing": True, "logging_steps": 1}
    plain, compiled = (
        run(sources, prepared_clips, tmp_path / str(is_on), arguments=training(**once, torch_compile=is_on), **kwargs)
        for is_on in (False, True)
    )
    for measure in ("train/loss", "validation/loss"):
        assert compiled[2].history[0][measure] == pytest.approx(plain[2].history[0][measure], abs=1e-5)
    assert list(compiled[0].model.state_dict()) == list(plain[0].model.state_dict())
    assert compiled[2].best.keys() == plain[2].best.keys()
    assert "with compilation" in caplog.text

    def fails(*args: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(EmotionClassifier, "compile_layers", lambda model: compile_layers(model, fails))
    with pytest.raises(DeviceError, match=r"(?s)training\.torch_compile:.*no compiler here.*torch_compile=false"):
        run(sources, prepared_clips, tmp_path / "fails", arguments=training(**once, torch_compile=True), **kwargs)
