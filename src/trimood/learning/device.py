"""What the device of this machine can train: precision, optimisers, and how many utterances at a time."""

import gc
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import torch

from trimood.config.experiment_settings import Optimiser, Settings, TrainingParams
from trimood.config.plan import ParameterCount
from trimood.emotions import Source
from trimood.learning.batches import Examples, collate
from trimood.model.checkpoints import locate, locate_encoder
from trimood.model.classifier import EmotionClassifier
from trimood.model.config import TowerConfig, read_config
from trimood.model.encoders import read_encoder
from trimood.model.memory import (
    FULL,
    HALF,
    OPTIMISER_BYTES,
    USABLE_SHARE,
    lacks_memory,
    memory_explained,
    micro_batches,
    setting_that_fits,
    training_memory,
    training_remedy,
)

LIBRARIES: Mapping[Optimiser, str] = {"adamw_bnb_8bit": "bitsandbytes", "adamw_torch_8bit": "torchao"}
"""The libraries that optimisers need; they are not installed with trimood."""

_PROCESS = Path("/proc/self")

EXCHANGED_BYTES = 4
"""Bytes for each trained parameter in which several processes add up their gradients: a second float32 copy."""

STEPS_WORTH_COMPILING = 200
"""Optimiser steps from which `torch_compile: auto` compiles. An assumption: compiling costs about a minute."""

_log = logging.getLogger(__name__)


class DeviceError(Exception):
    """This machine cannot train with these settings."""


def check_device(training: TrainingParams, at_once: int = 1) -> None:
    """Raises DeviceError for fp16 without a GPU, fewer GPUs than processes, or an optimiser that is not installed.

    `at_once` trainings share the GPUs.
    """
    if training.fp16 and not torch.cuda.is_available():
        raise DeviceError(
            "training.fp16 is true, but PyTorch finds no CUDA device here: fp16 trains on a GPU only. Set it to false."
        )
    needed = training.processes * at_once
    if training.processes > 1 and torch.cuda.is_available() and needed > torch.cuda.device_count():
        together = f", {at_once} trainings run at once" if at_once > 1 else ""
        raise DeviceError(
            f"training.processes is {training.processes}{together}, and PyTorch finds {torch.cuda.device_count()} CUDA "
            "devices here; each process needs one of its own. Use fewer, or look at CUDA_VISIBLE_DEVICES."
        )
    library = LIBRARIES.get(training.optim)
    if library and find_spec(library) is None:
        raise DeviceError(
            f"training.optim is {training.optim}, but {library} is not installed: pip install {library}, or choose "
            "adafactor, which needs no other package."
        )


def shared_out(count: int) -> list[dict[str, str]]:
    """Shares the devices of this machine out among `count` trainings, as environment variables for their processes.

    Each gets GPUs of its own or, where there are none, as many CPU threads. Raises DeviceError if there are too few.
    """
    if torch.cuda.is_available():
        numbers = map(str, range(torch.cuda.device_count()))
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        found = given.split(",") if given else [*numbers]
        if count <= len(found):
            return [{"CUDA_VISIBLE_DEVICES": ",".join(found[number::count])} for number in range(count)]
        there = f"CUDA devices {', '.join(found)}"
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if count <= cores:
            threads = max(1, min(cores, torch.get_num_threads()) // count)
            return [{"OMP_NUM_THREADS": str(threads)} for _ in range(count)]
        there = f"{cores} CPU cores, and no GPU"
    raise DeviceError(
        f"jobs is {count}, and there are {there} here; each training needs one of its own. Give a smaller number."
    )


def compiles(training: TrainingParams, utterances: int) -> bool:
    """Whether a training with so many utterances compiles the layers: `auto` does so on a GPU, if it is long enough."""
    if training.torch_compile != "auto":
        return training.torch_compile
    steps = training.num_train_epochs * -(-utterances // training.utterances_a_step)
    expected = steps if training.max_steps == -1 else training.max_steps
    return torch.cuda.is_available() and expected >= STEPS_WORTH_COMPILING


@contextmanager
def compilation_explained(is_compiled: bool) -> Iterator[None]:
    """Turns what torch says when it cannot compile the layers into a DeviceError that says what to do."""
    if not is_compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # seconds of imports

    try:
        yield
    except TorchDynamoException as error:
        cause = str(error).split("\n\n")[0].replace("\n", " ")  # after it, torch explains how to debug torch
        raise DeviceError(
            f"training.torch_compile: torch cannot compile the layers on this machine ({cause}). It needs a C++ "
            "compiler, and Triton on a GPU; or set training.torch_compile=false."
        ) from error


def half_precision(training: TrainingParams) -> torch.dtype | None:
    """The type under which the towers train on this device besides float32: float16, bfloat16 or none."""
    if training.fp16:
        return torch.float16
    if training.bf16 == "auto":
        return (
            torch.bfloat16
            if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
            else None
        )
    return torch.bfloat16 if training.bf16 else None


def warn_of_memory(
    settings: Settings, checkpoints: Mapping[Source, str], parameters: Mapping[str, ParameterCount]
) -> None:
    """Logs `memory_warning` for the GPU in use, if there is one; `checkpoints` are those in use."""
    if torch.cuda.is_available():
        configs: dict[Source, TowerConfig] = {
            source: read_config(locate(name, weights=False)) for source, name in checkpoints.items() if source != "text"
        }
        if "text" in checkpoints:
            configs["text"], _ = read_encoder(locate_encoder(checkpoints["text"]), settings.text_pooling)
        _, device_bytes = torch.cuda.mem_get_info()
        if words := memory_warning(settings, configs, parameters, device_bytes):
            _log.warning("%s", words)


def memory_warning(
    settings: Settings,
    configs: Mapping[Source, TowerConfig],
    parameters: Mapping[str, ParameterCount],
    device_bytes: int,
) -> str | None:
    """Says that a training will probably not fit on a GPU of `device_bytes`, and which settings do; None if it fits.

    `configs` are those of the checkpoints in use, `parameters` the counts of the plan.
    """
    training, precision = settings.training, HALF if half_precision(settings.training) else FULL
    size = 1 if training.micro_batch == "auto" else training.micro_batch or training.published_micro_batch
    needed = training_memory(settings, configs, parameters, precision).peak(size)
    exchanged = EXCHANGED_BYTES * parameters["all"].trainable * (training.processes > 1)
    available = USABLE_SHARE * device_bytes - exchanged
    if needed <= available:
        return None
    fitting = setting_that_fits(settings, configs, parameters, precision, available)
    advice = "no micro-batch fits; use train: lora or train: head, or fewer modalities"
    if fitting:
        changed, fitting_size = fitting
        advice = f"what fits: {as_parameters(training, changed, fitting_size)}"
    return (
        f"this training needs about {(needed + exchanged) / 2**30:.1f} GiB with {size} utterances at a time, and the "
        f"GPU has {device_bytes / 2**30:.1f} GiB, of which {USABLE_SHARE * device_bytes / 2**30:.1f} can be used; "
        f"{advice}"
    )


def as_parameters(given: TrainingParams, changed: TrainingParams, micro_batch: int) -> str:
    """The changes as they are written on the command line."""
    words = [f"training.micro_batch={micro_batch}"]
    if changed.gradient_checkpointing and not given.gradient_checkpointing:
        words.append("training.gradient_checkpointing=true")
    if changed.optim != given.optim:
        words.append(f"training.optim={changed.optim}")
    return ",".join(words)


def chosen_micro_batch(
    model: EmotionClassifier, examples: Examples, training: TrainingParams, earlier: int | None
) -> int:
    """The number of utterances at a time; for `auto`, the most that fit on the GPU.

    `earlier` is the number with which an interrupted training began, and is kept. Without a GPU, `auto` means
    `published_micro_batch`: a system that runs out of memory ends the process instead of reporting an error.
    Raises OutOfMemory if not even one fits.
    """
    published = training.published_micro_batch
    if training.micro_batch != "auto":
        return training.micro_batch or published
    if earlier:
        return earlier
    if not torch.cuda.is_available():
        _log.info("training.micro_batch is auto, and there is no GPU: %d utterances at a time", published)
        return published
    with memory_explained(training_remedy(training, 1)):
        found = largest_that_fits(micro_batches(training), lambda size: _try_on_gpu(model, examples, training, size))
    _log.info("training.micro_batch is auto: %d of %d utterances at a time", found, training.utterances_a_process)
    return found


def largest_that_fits(sizes: list[int], attempt: Callable[[int], None]) -> int:
    """The first of `sizes` whose attempt does not lack memory; raises the error of the last.

    Own code, because accelerate's `find_executable_batch_size` leaves gradient accumulation to its caller, and frees
    memory while the error still holds the tensors of the failed attempt.
    """
    for size in sizes[:-1]:
        try:
            attempt(size)
            return size
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
        gc.collect()
        torch.cuda.empty_cache()
    attempt(sizes[-1])
    return sizes[-1]


def _try_on_gpu(model: EmotionClassifier, examples: Examples, training: TrainingParams, size: int) -> None:
    """Two forward and backward passes, the second beside gradients, with the optimiser's memory set aside.

    Raises an error if the memory is not enough. Leaves no gradients, and random numbers as they were.
    """
    device = torch.device("cuda")
    model.to(device).train()
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    _, total = torch.cuda.mem_get_info()
    exchanged = EXCHANGED_BYTES * (training.processes > 1)
    aside = round((OPTIMISER_BYTES[training.optim] + exchanged) * trained + (1 - USABLE_SHARE) * total / 2)
    precision = half_precision(training)
    try:
        with torch.random.fork_rng(devices=[torch.cuda.current_device()]):
            reserved = torch.empty(aside, dtype=torch.uint8, device=device)
            items = [examples[number] for number in _longest_first(examples, size)]
            batch = {name: tensor.to(device) for name, tensor in collate(items).items()}
            for _ in range(2):
                with torch.autocast("cuda", precision, enabled=precision is not None):
                    loss = model(**batch)["loss"]
                loss.backward()
            del reserved
    finally:
        model.zero_grad(set_to_none=True)
        torch.cuda.reset_peak_memory_stats()  # what is stored is the training's own peak


def _longest_first(examples: Examples, size: int) -> list[int]:
    """The numbers of `size` utterances, those with the longest texts first; as often as needed, if there are fewer."""
    lengths = examples.text_lengths() or [0] * len(examples)
    order = sorted(range(len(examples)), key=lambda number: -lengths[number])
    return [order[number % len(order)] for number in range(size)]


def forget_peak_memory() -> None:
    """Resets the peak memory, so that it includes only the work that follows."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # a container may forbid it: then the peak is that of the whole process
        (_PROCESS / "clear_refs").write_text("5")  # man 5 proc: "Reset the peak resident set size"


def peak_memory_gib() -> float:
    """Peak memory since `forget_peak_memory`; on a CPU it includes Python and its libraries, about 0.5 GiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**20  # in kB
