"""Training with Hugging Face's Trainer: published arguments, curves per epoch, stores only trained tensors."""

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import SeedableRandomSampler
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from tqdm.contrib.logging import logging_redirect_tqdm
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import EvalLoopOutput
from transformers.utils import logging as transformers_logging

from trimood.config.parameters import CROSS_ENTROPY, LossParams, TrainingParams
from trimood.disk import DiskFull, says_disk_full, written_whole
from trimood.learning.batches import Examples, collate
from trimood.learning.device import (
    chosen_micro_batch,
    compilation_explained,
    compiles,
    forget_peak_memory,
    half_precision,
    peak_memory_gib,
)
from trimood.learning.epochs import WEIGHTS_FILE, best_weights, folder_for_writing, keep, last_whole
from trimood.learning.loss import TrainingLoss
from trimood.learning.processes import join_others, run_together
from trimood.model.classifier import EmotionClassifier
from trimood.model.memory import memory_explained, training_remedy
from trimood.model.trained import load_trained_state, trained_state

ScoreFunction = Callable[[Any, Any], Mapping[str, float]]
ReportFunction = Callable[[dict[str, float], int], None]

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


class TrainingDiverged(Exception):
    """The loss is no longer a number."""


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
    if training.processes == 1:
        epoch, peak = _train(model, train, validation, training, folder, minimised, score, report), peak_memory_gib()
    else:
        epoch, peak = _train_in_processes(model, train, validation, training, folder, minimised, score, report)
    state = TrainerState.load_from_json(str(epoch / TRAINER_STATE_NAME))
    if state.global_step < state.max_steps:
        _log.info("stopped early: no better validation macro F1 for %d epochs", training.early_stopping_patience)
    last, best = load_file(epoch / WEIGHTS_FILE), load_file(best_weights(epoch))
    load_trained_state(model, best)
    return Fitted(best, last, _history(state), peak)


def _train_in_processes(
    model: EmotionClassifier,
    train: Examples,
    validation: Examples,
    training: TrainingParams,
    folder: Path,
    minimised: TrainingLoss,
    score: ScoreFunction,
    report: ReportFunction,
) -> tuple[Path, float]:
    """As `_train`, in `training.processes` new processes; also returns the peak memory of the one that needed most."""
    ends: list[tuple[Path, float]] = []

    def hear(message: tuple[Any, Any]) -> None:
        if isinstance(message[0], Path):
            ends.append(message)
        else:
            report(*message)

    threads = max(1, torch.get_num_threads() // training.processes)
    given = folder / "given.pt"
    _log.info("%d processes train together, with %d CPU threads each", training.processes, threads)
    try:
        with written_whole(given, outlasts_power=False) as beside:
            torch.save((threads, partial(_train, model, train, validation, training, folder, minimised, score)), beside)
        with _without_overrides():
            run_together(_train_together, given, training.processes, hear)
    finally:
        given.unlink(missing_ok=True)
    return max(ends, key=lambda end: end[1])


def _train_together(given: Path, say: Callable[[Any], None]) -> None:
    """The work of one of several processes. Only the first says how the training goes."""
    # Mapped privately: what is trained is copied page by page when it is written, what is frozen is never copied.
    threads, train = torch.load(given, mmap=True, weights_only=False)
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    rank = join_others("nccl" if torch.cuda.is_available() else "gloo")
    forget_peak_memory()
    epoch = train(lambda numbers, step: say((numbers, step)) if rank == 0 else None)
    say((epoch, peak_memory_gib()))
    torch.distributed.destroy_process_group()


def _train(
    model: EmotionClassifier,
    train: Examples,
    validation: Examples,
    training: TrainingParams,
    folder: Path,
    minimised: TrainingLoss,
    score: ScoreFunction,
    report: ReportFunction,
) -> Path:
    """Trains in this process, alone or as one of several; keeps the epochs in `folder`, and returns the last one."""
    transformers_logging.set_verbosity_error()  # its warnings are about hub models
    if training.gradient_checkpointing:
        model.checkpoint_layers()
    if is_compiled := compiles(training, len(train)):
        model.compile_layers()
        _log.info("training.torch_compile: the layers are compiled in the first step, which may take minutes")
    whole = last_whole(folder)
    earlier = TrainerState.load_from_json(str(whole / TRAINER_STATE_NAME)) if whole else None
    with _without_overrides() if training.processes == 1 else nullcontext():
        micro_batch = chosen_micro_batch(model, train, training, earlier.train_batch_size if earlier else None)
        if training.processes > 1:
            micro_batch = min(_from_all(micro_batch))
        arguments = _training_arguments(training, folder, micro_batch)
        with memory_explained(training_remedy(training, micro_batch)), compilation_explained(is_compiled):
            trainer = _Trainer(model, arguments, train, validation, minimised, score, report)
            if is_compiled:
                trainer.add_callback(_FirstStep)
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


def _from_all(value: Any) -> list[Any]:
    """What each of the processes has given here, in the order of their ranks."""
    found = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, value)
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


class _Bar(ProgressCallback):
    """A progress bar for training steps only; scores are logged as one line per epoch."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Prints nothing."""

    def on_prediction_step(self, *args: Any, **kwargs: Any) -> None:
        """Shows no bar for validation."""


_IGNORED = "is_ignored"
"""In a batch that does not count, because another process has the last utterances of the step."""


def _collate_some(items: Sequence[dict[str, Tensor]]) -> dict[str, Tensor] | None:
    return collate(items) if items else None


class _Share(Sampler[list[int]]):
    """The batches of one of several processes: of each step, as many as the others have, and some may be empty."""

    def __init__(
        self, order: SeedableRandomSampler, a_step: int, batch_size: int, processes: int, process: int
    ) -> None:
        self._order, self._a_step, self._batch_size = order, a_step, batch_size
        self._processes, self._process = processes, process

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of this epoch."""
        self._order.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self._order)
        for start in range(0, len(order), self._a_step):
            step = order[start : start + self._a_step]
            batches = np.array_split(step, self._processes * self._batches_of(len(step)))
            yield from (batch.tolist() for batch in batches[self._process :: self._processes])

    def __len__(self) -> int:
        whole, rest = divmod(len(self._order), self._a_step)
        return whole * self._batches_of(self._a_step) + self._batches_of(rest)

    def _batches_of(self, utterances: int) -> int:
        return math.ceil(utterances / (self._batch_size * self._processes))


class _ShareLoader(DataLoader[Any]):
    """Passes the epoch on, as the loaders of accelerate do."""

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of this epoch."""
        assert isinstance(self.batch_sampler, _Share)  # noqa: S101 - for mypy
        self.batch_sampler.set_epoch(epoch)


class _FirstStep(TrainerCallback):
    """Logs how long the first step took, in which the layers were compiled."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._is_over = False

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Starts the clock."""
        self._start = self._start or time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Logs the time of the first step."""
        if self._start is not None and not self._is_over:
            _log.info("the first step took %.1f s, with compilation", time.perf_counter() - self._start)
            self._is_over = True


class _Trainer(Trainer):
    """Trainer that also computes training scores, stops at a NaN, and stores only trained tensors."""

    def __init__(
        self,
        model: EmotionClassifier,
        arguments: TrainingArguments,
        train: Examples,
        validation: Examples,
        minimised: TrainingLoss,
        score: ScoreFunction,
        report: ReportFunction,
    ) -> None:
        def scores(prediction: EvalPrediction) -> dict[str, float]:
            return dict(score(prediction.label_ids, prediction.predictions.argmax(-1)))

        super().__init__(
            model=model,
            args=arguments,
            data_collator=collate,
            train_dataset=train,
            eval_dataset=validation,
            compute_metrics=scores,
        )
        for callback in (ProgressCallback, PrinterCallback):
            self.remove_callback(callback)
        if not arguments.disable_tqdm:
            self.add_callback(_Bar)
        self._minimised, self._score, self._report = minimised, score, report
        self._seen: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        self._reported = 0
        self._clock = time.perf_counter()
        self._writing = Path(str(arguments.output_dir))
        self._weight: Tensor | int = 0
        self._a_step = (
            arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
        )
        if arguments.world_size > 1:  # each draws its own dropout and augmentation
            own = np.random.SeedSequence([arguments.seed, arguments.process_index])
            torch.manual_seed(int(own.generate_state(1)[0]))
        self.loss_is_scaled_for_ga = True  # by compute_loss

    def go_on(self, epoch: Path | None, state: TrainerState | None) -> None:
        """Trains from the beginning, or from an epoch with its `state`; a finished training only reports its epochs."""
        if epoch is None or state is None:
            self.train()
            return
        done = (math.ceil(state.epoch), state.num_train_epochs)
        if not state.stateful_callbacks["TrainerControl"]["args"]["should_training_stop"]:
            _log.info("the training continues after epoch %d of %d", *done)
            self.train(resume_from_checkpoint=str(epoch))
            return
        _log.info("the training had finished after epoch %d of %d: no epoch is trained again", *done)
        # Trainer would train on: it knows neither an early stop nor a last epoch that `max_steps` has cut short.
        self.state = state
        self._load_from_checkpoint(str(epoch))
        self._report_epochs()

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[dict[str, Tensor]], None]:
        """Adds up the weights of the utterances of the next optimiser step."""
        batches, _ = super().get_batch_samples(*args, **kwargs)
        weight = sum(self._minimised.weight(batch["labels"]) for batch in batches if batch)
        if self.args.world_size > 1:
            weight = torch.as_tensor(weight, dtype=torch.float32, device=self.args.device).clone()
            torch.distributed.all_reduce(weight)
            # Each process passes as many batches, because all wait for the gradients of all.
            batches = [batch or {**collate([self.train_dataset[0]]), _IGNORED: True} for batch in batches]
        self._weight = weight
        return batches, None

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        """Computes the loss; in training, its part in the weighted mean over all utterances of the optimiser step.

        Trainer's own mean of the micro-batches' means would count the utterances of a smaller last one more. In
        training, also collects the predictions for the epoch's training scores. In validation, the model's own loss.
        """
        is_ignored = inputs.pop(_IGNORED, False)
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        if is_ignored:
            loss = loss * 0
        elif model.training:
            labels, logits = inputs["labels"], outputs["logits"]
            if not self._minimised.is_plain:
                loss = self._minimised.mean(logits, labels)
            weight = self._minimised.weight(labels)
            # Stays on the device: reading a number for each micro-batch would make the GPU wait for the CPU.
            self._seen.append((loss.detach(), torch.as_tensor(weight), logits.detach().argmax(-1), labels))
            # Of several processes, the gradients' mean is taken.
            loss = loss / (self._weight / weight) * self.args.world_size
        return (loss, outputs) if return_outputs else loss

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Of several processes, each loads its share of each step; the steps are those of one process."""
        if self.args.world_size == 1:
            return super().get_train_dataloader()
        batches = _Share(
            # In the order of one process, for which accelerate prepares the same sampler.
            SeedableRandomSampler(self.train_dataset, data_seed=self.args.seed),
            self._a_step,
            self.args.per_device_train_batch_size,
            self.args.world_size,
            self.args.process_index,
        )
        return _ShareLoader(
            self.train_dataset,
            batch_sampler=batches,
            collate_fn=_collate_some,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Of several processes, each loads every so many batches of those of one process."""
        if self.args.world_size == 1:
            return super().get_eval_dataloader(eval_dataset)
        rows, size = list(range(len(self.eval_dataset))), self.args.per_device_eval_batch_size
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        return DataLoader(
            self.eval_dataset,
            batch_sampler=batches[self.args.process_index :: self.args.world_size],
            collate_fn=collate,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def evaluation_loop(self, dataloader: DataLoader[Any], *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Of several processes, each evaluates its batches, and gets the numbers of all utterances, each once.

        Trainer's own fills up the last batches with doubled utterances, which would count in the loss.
        """
        if self.args.world_size == 1:
            return super().evaluation_loop(dataloader, *args, **kwargs)
        self.model.eval()
        own = []
        for inputs in dataloader:
            loss, logits, labels = self.prediction_step(self.model, inputs, prediction_loss_only=False)
            assert loss is not None  # noqa: S101 - all utterances have labels
            own.append((loss.repeat(len(labels)).cpu().numpy(), logits.cpu().numpy(), labels.cpu().numpy()))
        in_turn = chain.from_iterable(zip_longest(*_from_all(own)))
        losses, logits, labels = map(np.concatenate, zip(*filter(None, in_turn), strict=True))
        assert self.compute_metrics  # noqa: S101 - for mypy
        found = {**self.compute_metrics(EvalPrediction(logits, labels)), "loss": float(losses.mean())}
        metrics = {f"eval_{name}": value for name, value in found.items()}
        return EvalLoopOutput(logits, labels, metrics, len(labels))

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Checks the loss, renames the numbers, and passes them to `report`. Raises TrainingDiverged."""
        for name in ("loss", "eval_loss"):
            if name in logs and not math.isfinite(logs[name]):
                raise TrainingDiverged(
                    f"{name.replace('eval_', 'validation ')} is {logs[name]} in epoch {self.state.epoch:.2f}, "
                    f"step {self.state.global_step}, at learning rate {self._get_learning_rate():.2e}. "
                    "Lower training.learning_rate or training.max_grad_norm; if only runs in half precision "
                    "do this, try training.bf16=false and training.fp16=false."
                )
        if "eval_loss" in logs:
            logs.update(self._epoch_row(logs))
        super().log(logs, *args, **kwargs)
        if "loss" in logs:
            self._report(
                {f"step/{k}": float(logs[k]) for k in ("loss", "learning_rate", "grad_norm") if k in logs},
                self.state.global_step,
            )
        self._report_epochs()

    def _report_epochs(self) -> None:
        for row in _history(self.state)[self._reported :]:  # a resumed training also reports its earlier epochs
            epoch = math.ceil(row["epoch"])  # `max_steps` may end in the middle of an epoch
            self._report({k: v for k, v in row.items() if "/" in k}, epoch)
            self._reported += 1
            _log.info(
                "epoch %d of %d: training loss %.3f, macro F1 %.3f; validation loss %.3f, macro F1 %.3f",
                epoch,
                self.state.num_train_epochs,
                *(
                    row.get(f"{split}/{measure}", math.nan)
                    for split in ("train", "validation")
                    for measure in ("loss", "macro_f1")
                ),
            )

    def _epoch_row(self, logs: dict[str, float]) -> dict[str, float]:
        """Training scores come from the forward passes of training: before each update, with dropout."""
        row = {k.replace("eval_", "validation/"): v for k, v in logs.items() if k.startswith("eval_")}
        row = {k: v for k, v in row.items() if not k.endswith(("_per_second", "/runtime"))}
        if self.args.world_size > 1:
            own = [tuple(tensor.cpu() for tensor in seen) for seen in self._seen]
            self._seen = [seen for of_process in _from_all(own) for seen in of_process]
        if self._seen:
            losses, weights, predictions, labels = (
                torch.cat([x.reshape(-1).float() for x in column]) for column in zip(*self._seen, strict=True)
            )
            weights = weights.to(losses.device)
            row["train/loss"] = float((losses * weights).sum() / weights.sum())
            row |= {f"train/{k}": v for k, v in self._score(labels.int().tolist(), predictions.int().tolist()).items()}
            self._seen = []
        now = time.perf_counter()
        row["seconds"] = sum(row["seconds"] for row in _history(self.state)[-1:]) + now - self._clock
        self._clock = now
        return row

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in trained_state(self.model).items()}, folder / WEIGHTS_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_trained_state(self.model, load_file(Path(resume_from_checkpoint) / WEIGHTS_FILE))

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._writing)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes an epoch beside the others, then keeps it."""
        folder, is_first = Path(str(self.args.output_dir)), self.args.process_index == 0
        self._writing = folder_for_writing(folder, is_new=is_first)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        step = self.state.global_step
        if is_first:
            keep(folder, self._writing / f"checkpoint-{step}", is_best=self.state.best_global_step == step)


def _history(state: TrainerState) -> list[dict[str, float]]:
    """One row per epoch: epoch, seconds, train/… and validation/… loss and scores."""
    rows = [entry for entry in state.log_history if "validation/loss" in entry]
    return [
        {k: v for k, v in row.items() if k in ("epoch", "seconds") or k.startswith(("train/", "validation/"))}
        for row in rows
    ]
