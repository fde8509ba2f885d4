"""Training with Hugging Face's Trainer: published arguments, curves per epoch, stores only trained tensors."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm.contrib.logging import logging_redirect_tqdm
from transformers import (
    EarlyStoppingCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import logging as transformers_logging

from trimood.config.experiment_settings import CROSS_ENTROPY, LossParams, TrainingParams
from trimood.disk import DiskFull, says_disk_full, written_whole
from trimood.learning.batches import Examples
from trimood.learning.device import (
    chosen_micro_batch,
    compilation_explained,
    compiles,
    forget_peak_memory,
    half_precision,
    peak_memory_gib,
)
from trimood.learning.epochs import WEIGHTS_FILE, best_weights, last_whole
from trimood.learning.loop import EpochTrainer, FirstStep, ReportFunction, ScoreFunction, from_all, history_of
from trimood.learning.loss import TrainingLoss
from trimood.learning.processes import join_others, run_together
from trimood.model.classifier import EmotionClassifier
from trimood.model.memory import memory_explained, training_remedy
from trimood.model.trained import load_trained_state

OVERRIDING = ("ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_", "DEEPSPEED_", "MEGATRON_LM_")
LAUNCHED = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "PMI_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_SIZE",
)
"""Environment variables, and beginnings of their names, by which libraries override what the settings say."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """The trained tensors of the best and the last epoch, and a row of numbers per epoch.

    `seconds` in a row counts from the start of the training, without interruptions. `peak_memory_gib` is that of this
    command; of several processes, of the one that needed most.
    """

    best: dict[str, Tensor]
    last: dict[str, Tensor]
    history: list[dict[str, float]]
    peak_memory_gib: float


def fit(
    model: EmotionClassifier,
    train: Examples,
    validation: Examples,
    training: TrainingParams,
    folder: Path,
    score: ScoreFunction,
    report: ReportFunction,
    loss: LossParams = CROSS_ENTROPY,
) -> Fitted:
    """Trains `model` in place, and restores its best epoch by validation macro F1.

    `folder` contains the last two epochs (`learning.epochs`): a training with the same folder continues from the last
    one that is whole, and a finished training returns at once. `score(labels, predictions)` returns `macro_f1` and any
    other scores; `report(numbers, step)` is called at every logged step and epoch. `loss` is minimised, and its mean is
    the training loss; the validation loss is the cross entropy of what the model predicts, whatever `loss` is, so that
    it can be compared between trainings. Environment variables change no setting. With `training.processes`, new
    processes train copies of the model, and `score` must be a function of a module. Raises TrainingDiverged, DiskFull,
    OutOfMemory, AbsentEmotion, ProcessLost, and DeviceError if the layers cannot be compiled.
    """
    minimised = TrainingLoss(loss, train.labels)
    if not minimised.is_plain:
        numbers = ", ".join(f"{name} {number:g}" for name, number in minimised.described.items())
        _log.info("loss, by %d training utterances: %s", len(train), "; ".join(filter(None, (loss.title, numbers))))
    forget_peak_memory()
    work = _Work(model, train, validation, training, folder, minimised, score)
    if training.processes == 1:
        epoch, peak = _train(work, report), peak_memory_gib()
    else:
        epoch, peak = _train_in_processes(work, report)
    state = TrainerState.load_from_json(str(epoch / TRAINER_STATE_NAME))
    if state.global_step < state.max_steps:
        _log.info("stopped early: no better validation macro F1 for %d epochs", training.early_stopping_patience)
    last, best = load_file(epoch / WEIGHTS_FILE), load_file(best_weights(epoch))
    load_trained_state(model, best)
    return Fitted(best, last, history_of(state), peak)


@dataclass(frozen=True)
class _Work:
    """What is trained, and how: all that another process needs."""

    model: EmotionClassifier
    train: Examples
    validation: Examples
    training: TrainingParams
    folder: Path
    minimised: TrainingLoss
    score: ScoreFunction


def _train_in_processes(work: _Work, report: ReportFunction) -> tuple[Path, float]:
    """As `_train`, in `training.processes` new processes; also returns the peak memory of the one that needed most."""
    ends: list[tuple[Path, float]] = []

    def hear(message: tuple[Any, Any]) -> None:
        if isinstance(message[0], Path):
            ends.append(message)
        else:
            report(*message)

    processes = work.training.processes
    threads = max(1, torch.get_num_threads() // processes)
    given = work.folder / "given.pt"
    _log.info("%d processes train together, with %d CPU threads each", processes, threads)
    work.model.cpu()  # from the GPU on which frozen towers have embedded
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        with written_whole(given, outlasts_power=False) as beside:
            torch.save((threads, work), beside)
        with _without_overrides():
            run_together(_train_together, given, processes, hear)
    finally:
        given.unlink(missing_ok=True)
    return max(ends, key=lambda end: end[1])


def _train_together(given: Path, say: Callable[[Any], None]) -> None:
    """The work of one of several processes. Only the first says how the training goes."""
    # Mapped privately: what is trained is copied page by page when it is written, what is frozen is never copied.
    threads, work = torch.load(given, map_location="cpu", mmap=True, weights_only=False)
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    rank = join_others("nccl" if torch.cuda.is_available() else "gloo")
    forget_peak_memory()
    epoch = _train(work, lambda numbers, step: say((numbers, step)) if rank == 0 else None)
    say((epoch, peak_memory_gib()))
    torch.distributed.destroy_process_group()


def _train(work: _Work, report: ReportFunction) -> Path:
    """Trains in this process, alone or as one of several; keeps the epochs in `folder`, and returns the last one."""
    model, training, folder = work.model, work.training, work.folder
    transformers_logging.set_verbosity_error()  # its warnings are about hub models
    if training.gradient_checkpointing:
        model.checkpoint_layers()
    if is_compiled := compiles(training, len(work.train)):
        model.compile_layers()
        _log.info("training.torch_compile: the layers are compiled in the first step, which may take minutes")
    whole = last_whole(folder) if training.processes == 1 else _whole_for_all(folder)
    earlier = TrainerState.load_from_json(str(whole / TRAINER_STATE_NAME)) if whole else None
    with _without_overrides() if training.processes == 1 else nullcontext():
        with compilation_explained(is_compiled):
            micro_batch = chosen_micro_batch(model, work.train, training, earlier.train_batch_size if earlier else None)
        if training.processes > 1:
            micro_batch = min(from_all(micro_batch))
        arguments = _training_arguments(training, folder, micro_batch)
        with memory_explained(training_remedy(training, micro_batch)), compilation_explained(is_compiled):
            trainer = EpochTrainer(model, arguments, work.train, work.validation, work.minimised, work.score, report)
            if is_compiled:
                trainer.add_callback(FirstStep)
            if training.early_stopping_patience:
                trainer.add_callback(_early_stopping(training.early_stopping_patience, earlier))
            try:
                with logging_redirect_tqdm():  # prints log lines above the progress bar
                    trainer.go_on(whole, earlier)
            except Exception as error:
                if says_disk_full(error):
                    raise DiskFull(folder, "an epoch's checkpoint could not be written") from error
                raise
    # Trainer leaves its autocast on the model, which would round later predictions to bf16.
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    return folder / f"checkpoint-{trainer.state.global_step}"


def _whole_for_all(folder: Path) -> Path | None:
    """`last_whole` for all processes: only the first looks, because it sets damaged epochs aside."""
    found: Path | None = from_all(last_whole(folder) if torch.distributed.get_rank() == 0 else None)[0]
    return found


@contextmanager
def _without_overrides() -> Iterator[None]:
    """Hides environment variables that stand over settings: ACCELERATE_MIXED_PRECISION=bf16 over bf16=false."""
    hidden = {name: os.environ.pop(name) for name in _overrides()}
    try:
        yield
    finally:
        for name in _overrides():  # set by the libraries themselves, for the next training of this process
            del os.environ[name]
        os.environ.update(hidden)


def _overrides() -> list[str]:
    return [name for name in os.environ if name.startswith(OVERRIDING) or name in LAUNCHED]


_OURS = {
    "augmentation",
    "cpu_threads",
    "early_stopping_patience",
    "gradient_checkpointing",  # Trainer's own is for models of transformers
    "micro_batch",
    "processes",
    "torch_compile",  # Trainer's own compiles the whole model
    "warmup_ratio",  # a fraction as `warmup_steps`, since transformers 5
}
"""Parameters that are no arguments of Hugging Face."""


def _training_arguments(training: TrainingParams, folder: Path, micro_batch: int) -> TrainingArguments:
    whole = TrainingArguments(
        **{
            **training.model_dump(exclude=_OURS),
            "per_device_train_batch_size": micro_batch,
            "gradient_accumulation_steps": training.utterances_a_process // micro_batch,
            "warmup_steps": training.warmup_ratio or training.warmup_steps,
            "bf16": half_precision(training) == torch.bfloat16,
            "use_cpu": not torch.cuda.is_available(),  # otherwise bf16=true is rejected on a CPU
            "output_dir": str(folder),
            "eval_strategy": "epoch",
            "save_strategy": "epoch",
            "metric_for_best_model": "macro_f1",
            "greater_is_better": True,
            "remove_unused_columns": False,
            "label_names": ["labels"],
            "logging_nan_inf_filter": False,  # the default hides the NaN that must stop the training
            "dataloader_pin_memory": torch.cuda.is_available(),
            "report_to": "none",
            "disable_tqdm": not sys.stderr.isatty(),  # a log file would get a line for each step
        }
    )
    if whole.n_gpu > 1:
        whole._n_gpu = 1  # DataParallel would multiply the published batch size by the number of GPUs
    return whole


def _early_stopping(patience: int, earlier: TrainerState | None) -> EarlyStoppingCallback:
    """Stops after `patience` epochs without a better validation macro F1; goes on counting after an interruption."""
    stored = earlier.stateful_callbacks.get(EarlyStoppingCallback.__name__) if earlier else None
    return EarlyStoppingCallback.from_state(stored) if stored else EarlyStoppingCallback(patience)
