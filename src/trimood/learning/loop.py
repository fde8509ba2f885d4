"""One training as Hugging Face's Trainer runs it: steps, scores of each epoch, and stored epochs."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import SeedableRandomSampler
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import (
    EvalPrediction,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import EvalLoopOutput

from trimood.learning.batches import IGNORED, Examples, Share, ShareLoader, collate, collate_some
from trimood.learning.epochs import WEIGHTS_FILE, folder_for_writing, keep
from trimood.learning.loss import TrainingLoss
from trimood.model.classifier import EmotionClassifier
from trimood.model.trained import load_trained_state, trained_state

ScoreFunction = Callable[[Any, Any], Mapping[str, float]]
ReportFunction = Callable[[dict[str, float], int], None]

_log = logging.getLogger(__name__)


class TrainingDiverged(Exception):
    """The loss is no longer a number."""


def from_all(value: Any) -> list[Any]:
    """What each of the processes has given here, in the order of their ranks."""
    found = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, value)
    return found


class _Bar(ProgressCallback):
    """A progress bar for training steps only; scores are logged as one line per epoch."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Prints nothing."""

    def on_prediction_step(self, *args: Any, **kwargs: Any) -> None:
        """Shows no bar for validation."""


class FirstStep(TrainerCallback):
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


class EpochTrainer(Trainer):
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
            batches = [batch or {**collate([self.train_dataset[0]]), IGNORED: True} for batch in batches]
        self._weight = weight
        return batches, None

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        """Computes the loss; in training, its part in the weighted mean over all utterances of the optimiser step.

        Trainer's own mean of the micro-batches' means would count the utterances of a smaller last one more. In
        training, also collects the predictions for the epoch's training scores. In validation, the model's own loss.
        """
        is_ignored = inputs.pop(IGNORED, False)
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
        """Of several processes, each loads its share of each step; the steps are those of one process.

        Texts of different lengths are sorted within a step that has several batches.
        """
        lengths = self.train_dataset.lengths() if self.args.gradient_accumulation_steps > 1 else []
        if self.args.world_size == 1 and not lengths:
            return super().get_train_dataloader()
        batches = Share(
            # In the order of one process, for which accelerate prepares the same sampler.
            SeedableRandomSampler(self.train_dataset, data_seed=self.args.seed),
            self._a_step,
            self.args.per_device_train_batch_size,
            self.args.world_size,
            self.args.process_index,
            lengths,
        )
        return ShareLoader(
            self.train_dataset,
            batch_sampler=batches,
            collate_fn=collate_some,
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
        in_turn = chain.from_iterable(zip_longest(*from_all(own)))
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
        for row in history_of(self.state)[self._reported :]:  # a resumed training also reports its earlier epochs
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
            self._seen = [seen for of_process in from_all(own) for seen in of_process]
        if self._seen:
            losses, weights, predictions, labels = (
                torch.cat([x.reshape(-1).float() for x in column]) for column in zip(*self._seen, strict=True)
            )
            weights = weights.to(losses.device)
            row["train/loss"] = float((losses * weights).sum() / weights.sum())
            row |= {f"train/{k}": v for k, v in self._score(labels.int().tolist(), predictions.int().tolist()).items()}
            self._seen = []
        now = time.perf_counter()
        row["seconds"] = sum(row["seconds"] for row in history_of(self.state)[-1:]) + now - self._clock
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


def history_of(state: TrainerState) -> list[dict[str, float]]:
    """One row per epoch: epoch, seconds, train/… and validation/… loss and scores."""
    rows = [entry for entry in state.log_history if "validation/loss" in entry]
    return [
        {k: v for k, v in row.items() if k in ("epoch", "seconds") or k.startswith(("train/", "validation/"))}
        for row in rows
    ]
