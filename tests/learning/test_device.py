"""What this machine cannot train is said before anything is loaded; the largest micro-batch is found, or kept."""

import logging

import pytest
import torch

from support.learning_examples import example_table, settings, tiny_model, tiny_plan, training
from support.made_checkpoints import TINY_VIDEO
from trimood.learning import device
from trimood.learning.device import (
    DeviceError,
    check_device,
    chosen_micro_batch,
    compiles,
    half_precision,
    largest_that_fits,
    memory_warning,
    shared_out,
)
from trimood.learning.experiment import plan_experiment


def test_fp16_without_a_gpu_is_refused_when_the_experiment_is_planned(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    wanted = settings().model_copy(update={"training": training(fp16=True)})
    with pytest.raises(DeviceError, match=r"training\.fp16 is true, but PyTorch finds no CUDA device here.*to false"):
        plan_experiment(wanted, {"video": "no such checkpoint"}, "pyav", "mean")


@pytest.mark.parametrize(("optim", "library"), [("adamw_bnb_8bit", "bitsandbytes"), ("adamw_torch_8bit", "torchao")])
def test_an_optimiser_whose_library_is_missing_is_refused_with_the_command_that_installs_it(
    optim: str, library: str, monkeypatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(device, "find_spec", asked.append)  # which returns None
    with pytest.raises(DeviceError, match=rf"{optim}, but {library} is not installed: pip install {library}, or"):
        check_device(training(optim=optim))
    assert asked == [library]
    monkeypatch.setattr(device, "find_spec", lambda name: "found")
    check_device(training(optim=optim))


def test_fp16_stands_over_bf16_auto() -> None:
    assert half_precision(training(fp16=True, bf16="auto")) == torch.float16
    assert half_precision(training(bf16=True)) == torch.bfloat16
    assert half_precision(training(bf16=False)) is None


def test_a_plan_that_will_not_fit_names_the_settings_that_do(sources, monkeypatch, caplog) -> None:
    wanted = settings().model_copy(
        update={"training": training(per_device_train_batch_size=64, per_device_eval_batch_size=1)}
    )
    plan = tiny_plan(sources)
    configs = {"video": TINY_VIDEO}
    words = memory_warning(wanted, configs, plan.parameters, 8_000_000)
    assert words
    assert "with 64 utterances at a time" in words
    assert "what fits: training.micro_batch=16" in words or "what fits: training.micro_batch=32" in words
    assert "no micro-batch fits" in (memory_warning(wanted, configs, plan.parameters, 100_000) or "")
    assert memory_warning(wanted, configs, plan.parameters, 2**30) is None
    by_itself = wanted.model_copy(update={"training": wanted.training.model_copy(update={"micro_batch": "auto"})})
    assert memory_warning(by_itself, configs, plan.parameters, 8_000_000) is None

    # Several processes add up their gradients in a second copy.
    alone = wanted.model_copy(update={"training": training(micro_batch=8, gradient_accumulation_steps=16)})
    several = alone.model_copy(update={"training": alone.training.model_copy(update={"processes": 2})})
    enough = next(
        size for size in range(10**6, 10**8, 10**5) if memory_warning(alone, configs, plan.parameters, size) is None
    )
    assert memory_warning(several, configs, plan.parameters, enough)
    assert memory_warning(several, configs, plan.parameters, 2**30) is None

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 8_000_000))
    with caplog.at_level(logging.WARNING):
        plan_experiment(wanted, sources, "pyav", "mean")
    assert words in caplog.text


def test_the_largest_size_that_fits_is_found_and_other_errors_are_raised() -> None:
    tried: list[int] = []

    def attempt(size: int) -> None:
        tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    def fail(size: int) -> None:
        raise RuntimeError("another")

    limit = 4
    assert largest_that_fits([16, 8, 4, 2, 1], attempt) == 4
    assert tried == [16, 8, 4]
    limit = 0
    with pytest.raises(torch.OutOfMemoryError):
        largest_that_fits([2, 1], attempt)
    with pytest.raises(RuntimeError, match="another"):
        largest_that_fits([2, 1], fail)


def test_without_a_gpu_auto_keeps_the_published_number_and_an_earlier_one_is_kept_anywhere(
    sources, prepared_clips, monkeypatch
) -> None:
    loaded = tiny_model(sources)
    examples = loaded.examples(example_table(4), prepared_clips)
    auto = training(micro_batch="auto", gradient_accumulation_steps=4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_micro_batch(loaded.model, examples, auto, None) == 4
    assert chosen_micro_batch(loaded.model, examples, auto, 2) == 2
    assert chosen_micro_batch(loaded.model, examples, training(micro_batch=8), 2) == 8


@pytest.mark.gpu
def test_on_a_gpu_trying_leaves_no_gradients_and_the_random_numbers_as_they_were(sources, prepared_clips) -> None:
    loaded = tiny_model(sources)
    examples = loaded.examples(example_table(4), prepared_clips)
    torch.manual_seed(1)
    wanted = torch.rand(1), torch.rand(1, device="cuda")
    torch.manual_seed(1)
    auto = training(micro_batch="auto", gradient_accumulation_steps=4)
    assert chosen_micro_batch(loaded.model, examples, auto, None) == 16
    assert torch.equal(torch.rand(1), wanted[0])
    assert torch.equal(torch.rand(1, device="cuda"), wanted[1])
    assert all(parameter.grad is None for parameter in loaded.model.parameters())


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_fewer_gpus_than_processes_are_refused(monkeypatch) -> None:
    gpus(monkeypatch, 2)
    check_device(training(processes=2))
    with pytest.raises(DeviceError, match=r"training\.processes is 4, and PyTorch finds 2 CUDA devices"):
        check_device(training(processes=4))
    gpus(monkeypatch, 0)
    check_device(training(processes=4))


@pytest.mark.parametrize(
    ("visible", "count", "shares"),
    [
        (None, 2, ["0,2", "1"]),
        (None, 3, ["0", "1", "2"]),
        ("5,7,GPU-8a", 3, ["5", "7", "GPU-8a"]),
    ],
)
def test_each_job_has_gpus_of_its_own(monkeypatch, visible: str | None, count: int, shares: list[str]) -> None:
    gpus(monkeypatch, 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shared_out(count)] == shares
    with pytest.raises(DeviceError, match=r"jobs is 4, and there are CUDA devices .*; each training needs one"):
        shared_out(4)


def test_without_a_gpu_jobs_share_the_threads(monkeypatch) -> None:
    gpus(monkeypatch, 0)
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert shared_out(3) == [{"OMP_NUM_THREADS": "2"}] * 3
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert shared_out(2) == [{"OMP_NUM_THREADS": "1"}] * 2
    with pytest.raises(DeviceError, match="jobs is 9, and there are 8 CPU cores, and no GPU"):
        shared_out(9)


@pytest.mark.parametrize(
    ("wanted", "has_gpu", "utterances", "max_steps", "expected"),
    [
        (False, True, 12_530, -1, False),
        (True, False, 64, 1, True),
        ("auto", False, 12_530, -1, False),
        ("auto", True, 12_530, -1, True),  # 1,960 steps
        ("auto", True, 12_530, 50, False),
        ("auto", True, 640, -1, False),  # 100 steps
        ("auto", True, 640, 5_000, True),
    ],
)
def test_layers_are_compiled_if_that_is_asked_or_pays(
    monkeypatch, wanted: bool | str, has_gpu: bool, utterances: int, max_steps: int, expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    arguments = training(torch_compile=wanted, max_steps=max_steps, num_train_epochs=10, gradient_accumulation_steps=16)
    assert compiles(arguments, utterances) is expected
