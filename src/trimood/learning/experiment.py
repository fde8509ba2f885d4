"""One experiment planned and trained: the same for the training stage and for each trial of a search."""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from trimood.disk import require_space
from trimood.learning.batches import Augmentation
from trimood.learning.setup import count_parameters, set_up, used_checkpoints
from trimood.learning.trainer import Fitted, ReportFunction, ScoreFunction, fit
from trimood.model.checkpoints import locate, weight_files

_PROCESS = Path("/proc/self")


def forget_peak_memory() -> None:
    """Starts the count anew, so that it is of the work that follows and not of what this process did before."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # a container may forbid it: then the peak is that of the process's whole life
        (_PROCESS / "clear_refs").write_text("5")  # man 5 proc: "Reset the peak resident set size"


def peak_memory_gib() -> float:
    """Highest use since `forget_peak_memory`; on a CPU it includes Python and its libraries, some 0.5 GiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    found = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
    assert found  # noqa: S101 - Linux has had this line since 2.6
    return int(found[1]) / 2**20


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training leaves, what it cost, and the folder that its checkpoints lie in until that is stored."""

    fitted: Fitted
    seconds: float
    peak_memory_gib: float
    folder: Path


def plan_experiment(settings: dict[str, Any], video_checkpoint: str, audio_checkpoint: str) -> dict[str, Any]:
    """What resolved settings will do: a title, the checkpoints they use, trainable and all parameters per tower.

    Builds the model without weights and holds the checkpoints' names and shapes against it.
    Raises CheckpointError or AdapterError.
    """
    sources = used_checkpoints(settings["modalities"], {"video": video_checkpoint, "audio": audio_checkpoint})
    table = {
        tower: {"trainable": trainable, "all": total, "trainable_share": round(trainable / total, 6)}
        for tower, (trainable, total) in count_parameters(settings, sources).items()
    }
    return {"title": _title(settings), "settings": settings, "checkpoints": sources, "parameters": table}


def _title(settings: dict[str, Any]) -> str:
    parts = [" + ".join(settings["modalities"])]
    if settings["lora"]:
        parts.append(f"LoRA r={settings['lora']['r']} on {', '.join(settings['lora']['targets'])}")
    else:
        parts.append({"everything": "full fine-tuning", "head": "head only"}[settings["train"]])
    return ", ".join([*parts, f"head {settings['head']}"] if settings["train"] == "lora" else parts)


def train_experiment(
    plan: dict[str, Any],
    training_examples: pd.DataFrame,
    validation_examples: pd.DataFrame,
    prepared_clips: Path,
    training_checkpoints: Path,
    score: ScoreFunction,
    report: ReportFunction,
) -> TrainingOutcome:
    """Trains what is planned, below `training_checkpoints` in a folder named by all that decides the training.

    So an interrupted one goes on from its last epoch when it is started again with the same plan and examples.
    """
    _require_space(plan, training_checkpoints)
    forget_peak_memory()
    ready = set_up(plan["settings"], plan["checkpoints"])
    arguments = dict(plan["settings"]["training"])
    augmentation = Augmentation(**arguments.pop("augmentation"))
    arguments.pop("cpu_threads")
    _log.info("training on %s: %s", "cuda" if torch.cuda.is_available() else "cpu", plan["title"])
    folder = training_checkpoints / training_fingerprint(plan, training_examples, validation_examples)
    fitted = fit(
        ready.model,
        ready.examples(training_examples, prepared_clips, augmentation),
        ready.examples(validation_examples, prepared_clips),
        arguments,
        folder,
        score,
        report,
    )
    return TrainingOutcome(fitted, fitted.history[-1]["seconds"], peak_memory_gib(), folder)


def remove_checkpoints(folder: Path) -> None:
    """Frees the disk of what an interrupted training would need."""
    shutil.rmtree(folder, ignore_errors=True)


def _require_space(plan: dict[str, Any], training_checkpoints: Path) -> None:
    """At most three checkpoints lie there at once, each with AdamW's two numbers for each weight, then the results."""
    trained_bytes = 4 * plan["parameters"]["all"]["trainable"]
    require_space(training_checkpoints, 10 * trained_bytes, "this training's checkpoints and weights")


def training_fingerprint(plan: Mapping[str, Any], *tables: pd.DataFrame) -> str:
    """Names a training by all that decides it: with another plan, checkpoint or corpus it starts anew."""
    files = [file.stat() for source in plan["checkpoints"].values() for file in weight_files(locate(source))]
    weights = [(file.st_size, file.st_mtime_ns) for file in files]
    decisive = ("utterance", "text", "label", "part", "has_video", "has_audio")
    rows = [table[[name for name in decisive if name in table]].values.tolist() for table in tables]
    content = json.dumps([plan, weights, *rows], default=int)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
