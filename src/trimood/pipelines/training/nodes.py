"""Nodes of the training stage."""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.emotions import EMOTIONS
from trimood.parameters import ExperimentParams, LoraParams, Settings, TrainingParams, resolve

log = logging.getLogger(__name__)


def plan(
    experiment: ExperimentParams,
    training: TrainingParams,
    lora: LoraParams,
    video_checkpoint: str,
    audio_checkpoint: str,
) -> dict[str, Any]:
    """What the experiment will do: resolved settings, checkpoints, trainable and all parameters per tower.

    Builds the model without weights and holds the checkpoints' names and shapes against it.
    Raises CheckpointError or AdapterError.
    """
    from trimood.learning.setup import count_parameters, used_checkpoints

    settings = resolve(experiment, training, lora).model_dump(mode="json")
    sources = used_checkpoints(settings["modalities"], {"video": video_checkpoint, "audio": audio_checkpoint})
    counts = count_parameters(settings, sources)
    table = {
        tower: {"trainable": trainable, "all": total, "trainable_share": round(trainable / total, 6)}
        for tower, (trainable, total) in counts.items()
    }
    for tower, row in table.items():
        log.info(
            "%-6s %12s of %12s parameters trained (%.2f %%)",
            tower,
            f"{row['trainable']:,}",
            f"{row['all']:,}",
            100 * row["trainable_share"],
        )
    return {"title": _title(settings), "settings": settings, "checkpoints": sources, "parameters": table}


def _title(settings: dict[str, Any]) -> str:
    parts = [" + ".join(settings["modalities"])]
    if settings["lora"]:
        parts.append(f"LoRA r={settings['lora']['r']} on {', '.join(settings['lora']['targets'])}")
    else:
        parts.append({"everything": "full fine-tuning", "head": "head only"}[settings["train"]])
    return ", ".join([*parts, f"head {settings['head']}"] if settings["train"] == "lora" else parts)


def train(
    plan: dict[str, Any],
    training_examples: pd.DataFrame,
    validation_examples: pd.DataFrame,
    prepared_clips: Path,
    training_checkpoints: Path,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Trained tensors of the best epoch (by validation macro F1) and of the last one, and the curves.

    An interrupted training goes on from its last epoch when it is started again with the same plan and examples; one
    whose results could not be stored gives them again.
    """
    import torch

    from trimood.learning.batches import Augmentation
    from trimood.learning.memory import forget_peak_memory, peak_memory_gib
    from trimood.learning.setup import set_up
    from trimood.learning.trainer import fit
    from trimood.scoring.metrics import summary_scores

    _require_space(plan, training_checkpoints)
    settings = Settings.model_validate(plan["settings"])
    forget_peak_memory()
    ready = set_up(plan["settings"], plan["checkpoints"])
    augmentation = Augmentation(**settings.training.augmentation.model_dump())
    log.info("training on %s: %s", "cuda" if torch.cuda.is_available() else "cpu", plan["title"])
    folder = _fingerprint(plan, training_examples, validation_examples)
    fitted = fit(
        ready.model,
        ready.examples(training_examples, prepared_clips, augmentation),
        ready.examples(validation_examples, prepared_clips),
        settings.training.model_dump(exclude={"augmentation", "cpu_threads"}),
        training_checkpoints / folder,
        summary_scores,
        _to_mlflow,
    )
    cost = {"seconds": fitted.history[-1]["seconds"], "peak_memory_gib": peak_memory_gib()}
    _to_mlflow({f"cost/{name}": value for name, value in cost.items()}, 0)
    about = {"emotions": list(EMOTIONS), "settings": plan["settings"], "checkpoints": plan["checkpoints"]}
    return (
        {"tensors": fitted.best, "about": {**about, "epoch": "best"}},
        {"tensors": fitted.last, "about": {**about, "epoch": "last"}},
        {"epochs": fitted.history, **cost, "checkpoints": folder},
    )


def _require_space(plan: dict[str, Any], training_checkpoints: Path) -> None:
    """At most three checkpoints lie there at once, each with AdamW's two numbers for each weight, then the results."""
    from trimood.disk import require_space

    trained_bytes = 4 * plan["parameters"]["all"]["trainable"]
    require_space(training_checkpoints, 10 * trained_bytes, "this training's checkpoints and weights")


def remove_checkpoints(history: dict[str, Any], training_checkpoints: Path) -> None:
    """Frees the disk of what an interrupted training would need, once this one's results are stored."""
    shutil.rmtree(training_checkpoints / history["checkpoints"], ignore_errors=True)


def _fingerprint(plan: dict[str, Any], *tables: pd.DataFrame) -> str:
    """Names a training by all that decides it: with another plan, checkpoint or corpus it starts anew."""
    from trimood.model.sources import locate, weight_files

    files = [file.stat() for source in plan["checkpoints"].values() for file in weight_files(locate(source))]
    weights = [(file.st_size, file.st_mtime_ns) for file in files]
    decisive = ("utterance", "text", "label", "part", "has_video", "has_audio")
    rows = [table[[name for name in decisive if name in table]].values.tolist() for table in tables]
    content = json.dumps([plan, weights, *rows], default=int)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _to_mlflow(numbers: dict[str, float], step: int) -> None:
    """Live curves in the run that is open on this thread; nothing where nobody tracks (as in a test)."""
    import mlflow

    if mlflow.active_run():
        # Not the final scores' names: of one name MLflow shows the highest step, the last epoch instead of the best.
        curves = {
            name: f"curves/{name.replace('/', '_')}" for name in numbers if name.startswith(("train/", "validation/"))
        }
        mlflow.log_metrics({curves.get(name, name): value for name, value in numbers.items()}, step=step)
