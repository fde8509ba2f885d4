"""Processes that train together: what is killed goes on, what fails says so, and nothing outlives the command."""

import logging
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate.data_loader import SeedableRandomSampler

from support.learning_examples import encoder_settings, example_table, tiny_model, training
from support.made_encoders import encoder_folder
from support.process_work import diverge, wait
from trimood.config.experiment_settings import LossParams
from trimood.disk import InUse
from trimood.learning import processes
from trimood.learning.batches import Share
from trimood.learning.processes import ProcessLost, run_together
from trimood.learning.setup import load_model
from trimood.learning.trainer import Fitted, fit
from trimood.model.encoders import TextEncoder
from trimood.scoring.metrics import summary_scores

__all__ = ["encoder_folder"]

Heard = dict[tuple[str, int], float]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_an_error_in_a_process_is_raised_as_it_is_and_nothing_is_started_again(tmp_path, caplog) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(InUse) as raised:
        run_together(diverge, tmp_path / "given.pt", 1, print)
    assert str(raised.value) == "it is in use"
    assert "in diverge" in raised.value.__notes__[0]
    assert caplog.messages == ["it says 1"]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_error_in_hearing_ends_the_processes(tmp_path) -> None:
    """As the pruner of a search does."""
    found: list[int] = []

    def hear(pid: int) -> None:
        found.append(pid)
        raise InterruptedError

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(InterruptedError):
        run_together(wait, tmp_path / "given.pt", 1, hear)
    assert not is_running(found[0])
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.slow
def test_what_is_killed_again_and_again_is_given_up(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(processes, "MOST_RESTARTS", 1)
    found: list[int] = []

    def hear(pid: int) -> None:
        found.append(pid)
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(ProcessLost, match=r"was killed 2 times, .* smaller training\.micro_batch, fewer"):
        run_together(wait, tmp_path / "given.pt", 1, hear)
    assert len(found) == 2
    assert "was lost (SIGKILL): all 1 start again from the last whole epoch" in caplog.text


@pytest.mark.slow
def test_a_signal_ends_the_processes_and_is_handled_as_it_would_be_without_them(tmp_path, ctrl_c) -> None:
    found: list[int] = []

    def hear(pid: int) -> None:
        found.append(pid)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_together(wait, tmp_path / "given.pt", 1, hear)
    assert not is_running(found[0])


@pytest.mark.slow
def test_processes_end_with_a_command_that_is_killed(tmp_path) -> None:
    code = f"""
from pathlib import Path
from support.process_work import wait
from trimood.learning.processes import run_together
if __name__ == "__main__":
    run_together(wait, Path({str(tmp_path)!r}, "given.pt"), 1, lambda pid: print(pid, flush=True))
"""
    (tmp_path / "command.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [sys.executable, str(tmp_path / "command.py")]
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True, env=environment) as command:
        assert command.stdout
        pid = int(command.stdout.readline())
        assert is_running(pid)
        command.kill()
    end = time.monotonic() + 60
    while is_running(pid):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("utterances", [1, 2, 5, 12, 29, 36])
@pytest.mark.parametrize(("count", "micro_batch"), [(2, 3), (2, 6), (3, 1), (4, 3), (6, 2)])
def test_processes_share_each_step_of_one_process(utterances: int, count: int, micro_batch: int) -> None:
    order = list(SeedableRandomSampler(range(utterances), data_seed=3))
    shares = [
        Share(SeedableRandomSampler(range(utterances), data_seed=3), 12, micro_batch, count, process)
        for process in range(count)
    ]
    batches = [list(share) for share in shares]
    assert {len(of) for of in batches} == {len(share) for share in shares} == {len(batches[0])}
    a_step = 12 // (micro_batch * count)
    for number in range(math.ceil(utterances / 12)):
        rows = [row for of in batches for batch in of[number * a_step : (number + 1) * a_step] for row in batch]
        assert sorted(rows) == sorted(order[number * 12 : (number + 1) * 12])
    assert max(len(batch) for of in batches for batch in of) <= micro_batch


def test_texts_of_about_one_length_are_in_a_batch_of_their_step() -> None:
    lengths = [(7 * place) % 29 for place in range(29)]
    order = list(SeedableRandomSampler(range(29), data_seed=3))
    batches = list(Share(SeedableRandomSampler(range(29), data_seed=3), 12, 4, lengths=lengths))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 4, 4, 3, 2]
    for number in range(3):
        rows = [row for batch in batches[3 * number : 3 * number + 3] for row in batch]
        assert sorted(rows) == sorted(order[12 * number : 12 * number + 12])
        assert [lengths[row] for row in rows] == sorted(lengths[row] for row in rows)


@pytest.mark.slow
def test_sorted_texts_train_the_same_with_fewer_tokens(encoder_folder, prepared_clips, tmp_path) -> None:
    table = example_table(29).assign(text=[" ".join(["so"] * (1 + (7 * place) % 29)) for place in range(29)])
    tokens, fitted = {}, {}
    for micro_batch in (12, 4):
        loaded = load_model(encoder_settings("everything"), {"text": str(encoder_folder)})
        for layer in loaded.model.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0  # its random numbers depend on the batches
        encoder = next(layer for layer in loaded.model.modules() if isinstance(layer, TextEncoder))
        seen: list[int] = []

        def count(model, args, kwargs, seen=seen) -> None:  # type: ignore[no-untyped-def]
            seen.append(model.training * kwargs["input_ids"].numel())

        encoder.model.register_forward_pre_hook(count, with_kwargs=True)
        arguments = training(
            per_device_train_batch_size=12, gradient_accumulation_steps=1, micro_batch=micro_batch, num_train_epochs=2
        )
        examples, folder = loaded.examples(table, prepared_clips), tmp_path / str(micro_batch)
        fitted[micro_batch] = fit(
            loaded.model,
            examples,
            loaded.examples(table[:13], prepared_clips),
            arguments,
            folder,
            summary_scores,
            lambda numbers, step: None,
        )
        tokens[micro_batch] = sum(seen)
    for name in ("train/loss", "validation/loss"):
        whole, small = ([epoch[name] for epoch in fitted[size].history] for size in (12, 4))
        assert small == pytest.approx(whole, abs=1e-4)
    assert tokens[4] < tokens[12]


def train(sources, prepared_clips, folder: Path, heard: Heard, hear=lambda name, step: None, **changes) -> Fitted:  # type: ignore[no-untyped-def]
    """29 utterances in steps of 12, and 13 for validation: neither can be shared evenly, nor can the weights."""

    def report(numbers: dict[str, float], step: int) -> None:
        for name, number in numbers.items():
            heard[name, step] = number
            hear(name, step)

    loaded = tiny_model(sources, train="lora", modalities=("text", "video", "audio"))
    examples, validation = (loaded.examples(example_table(count), prepared_clips) for count in (29, 13))
    arguments = training(gradient_accumulation_steps=3, num_train_epochs=2, logging_steps=1, **changes)
    loss = LossParams(class_weights="balanced")
    return fit(loaded.model, examples, validation, arguments, folder, summary_scores, report, loss)


@pytest.mark.slow
def test_two_processes_train_as_one_does_although_one_of_them_is_killed(
    sources, prepared_clips, tmp_path, caplog
) -> None:
    alone: Heard = {}
    one = train(sources, prepared_clips, tmp_path / "one", alone)
    killed: list[int] = []

    def kill(name: str, step: int) -> None:
        if (name, step) == ("step/loss", 4) and not killed:  # in the second epoch
            killed.append(multiprocessing.active_children()[1].pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    together: Heard = {}
    with caplog.at_level(logging.INFO):
        two = train(sources, prepared_clips, tmp_path / "two", together, kill, processes=2)
    assert killed
    assert "the training continues after epoch 1 of 2" in caplog.text
    assert together.keys() == alone.keys()
    assert len([name for name, _ in alone if name == "step/loss"]) == 6
    for name, number in alone.items():
        assert together[name] == pytest.approx(number, abs=1e-5), name
    assert len(two.history) == len(one.history) == 2
    # Of other weights, as the biases of keys, the gradient is zero but for rounding, which AdamW scales up.
    torch.testing.assert_close(two.last["head.weight"], one.last["head.weight"], atol=1e-5, rtol=0)
    assert sorted(path.name for path in (tmp_path / "two").glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-6"]
    assert not list((tmp_path / "two").glob("given*"))
    assert not multiprocessing.active_children()
