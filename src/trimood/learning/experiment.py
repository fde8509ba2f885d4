"""Plans and trains one experiment, for the experiment's own stage and for each trial of a search."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from torch import Tensor

from trimood.config.experiment_settings import ENCODER, Settings
from trimood.config.parameters import Reader, Stereo
from trimood.config.plan import ExampleFingerprints, ParameterCount, Plan
from trimood.corpus.class_balance import loss_terms
from trimood.disk import require_space
from trimood.emotions import Source
from trimood.learning.device import check_device, half_precision, warn_of_memory
from trimood.learning.embeddings import EmbeddingCache, embed_frozen
from trimood.learning.loop import ReportFunction, ScoreFunction
from trimood.learning.setup import count_parameters, load_model, used_checkpoints
from trimood.learning.trainer import Fitted, fit
from trimood.media.parts import Location
from trimood.media.recipes import recipe_name
from trimood.model.checkpoints import check_checkpoints, checkpoint_digest, clip_recipe
from trimood.model.stored import Imported, RunIdentity, code_version, conversations_fingerprint, examples_fingerprint
from trimood.model.upstream import HEAD, check_kind, check_origin, read_published, state_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingOutcome:
    """The result of a training and its cost; its checkpoints are kept until all is stored."""

    fitted: Fitted
    seconds: float
    peak_memory_gib: float


def plan_experiment(settings: Settings, places: Mapping[Source, str], reader: Reader, stereo: Stereo) -> Plan:
    """Plans resolved settings: title, checkpoints in use, trainable and all parameters per tower.

    `places` are those of all checkpoints; that for text is the encoder which `text_tower: encoder` means. Builds the
    model without weights and checks names and shapes in the checkpoints. Logs a warning if the training will not fit
    on the GPU. Raises CheckpointError, AdapterError or DeviceError.
    """
    check_device(settings.training)
    named = places.get("text", "") if settings.text_tower == ENCODER else settings.text_tower
    sources = used_checkpoints(settings.modalities, places, named if settings.has_encoder else None)
    counts = {
        tower: ParameterCount(trainable=trainable, all=total, trainable_share=round(trainable / total, 6))
        for tower, (trainable, total) in count_parameters(settings, sources).items()
    }
    warn_of_memory(settings, sources, counts)
    return Plan(
        title=_title(settings),
        settings=settings,
        checkpoints=sources,
        parameters=counts,
        reader=reader,
        stereo=stereo,
    )


def _title(settings: Settings) -> str:
    parts = [" + ".join(settings.modalities)]
    if settings.has_encoder:
        parts.append("text encoder")  # not its name, as the title is part of a run's identity
    if not settings.context.is_none:
        parts.append(f"context {settings.context}")
    if settings.lora:
        words = settings.lora.text_targets if settings.has_encoder else ()
        targets = dict.fromkeys([*settings.lora.targets, *words])
        parts.append(f"LoRA r={settings.lora.r} on {', '.join(targets)}")
    else:
        parts.append({"everything": "full fine-tuning", "head": "head only"}[settings.train])
    if settings.train == "lora":
        parts.append("head trained" if settings.head.trained else "head frozen")
    if settings.head.kind != "linear":
        parts.append(f"{settings.head.kind} head")
    return ", ".join([*parts, settings.loss.title] if settings.loss.title else parts)


def identify_run(
    experiment: str, plan: Plan, imported: Imported | None = None, **examples: pd.DataFrame
) -> RunIdentity:
    """Returns the identity of a run of an experiment; `examples` are its `training`, `validation` and `test` table.

    Imported weights were not trained here, so they have no `training` table. Reads the checkpoints' files. Raises
    CheckpointError, and AbsentEmotion if the loss lacks one of the emotions.
    """
    if imported is None:
        loss_terms(plan.settings.loss, examples["training"]["label"])
    context = plan.settings.context
    conversations = {split: conversations_fingerprint(table, context) for split, table in examples.items()}
    return RunIdentity(
        experiment=experiment,
        plan=plan,
        examples=ExampleFingerprints(**{split: examples_fingerprint(table) for split, table in examples.items()}),
        checkpoints={source: checkpoint_digest(name, source) for source, name in plan.checkpoints.items()},
        recipe=recipe_name(clip_recipe(plan.checkpoints, plan.reader, plan.stereo)),
        code=code_version(),
        imported=imported,
        conversations={split: found for split, found in conversations.items() if found},
    )


def import_published(source: str, plan: Plan) -> tuple[Mapping[str, Tensor], Imported]:
    """Reads weights with the original's names for a planned experiment: a folder or hub name, as `read_published`.

    Returns the trained tensors by the classifier's names, and their origin. An absent frozen head has the initial
    values of the plan's seed. Raises CheckpointError for weights that do not belong to the plan or its checkpoints.
    """
    published = read_published(source)
    check_kind(published, plan.settings)
    digests = {of: checkpoint_digest(place, of) for of, place in plan.checkpoints.items()}
    check_origin(published, digests, plan.checkpoints)
    tensors = state_of(published, load_model(plan.settings, plan.checkpoints).model, plan.settings)
    head: Literal["given", "seeded"] = "given" if any(name.startswith(HEAD) for name in published.tensors) else "seeded"
    _log.info("%s: all %d tensors fit the experiment", source, len(published.tensors))
    if head == "seeded":
        _log.warning(
            "%s has no head: it has its initial values for training.seed %d, which are not those of another program, "
            "so predictions differ from those of the original",
            source,
            plan.settings.training.seed,
        )
    return tensors, Imported(source=source, digest=published.digest, head=head)


def train_experiment(
    identity: RunIdentity,
    training_examples: pd.DataFrame,
    validation_examples: pd.DataFrame,
    prepared_clips: Location,
    training_checkpoints: Path,
    embedding_cache: EmbeddingCache,
    score: ScoreFunction,
    report: ReportFunction,
) -> TrainingOutcome:
    """Trains a plan; its checkpoints are in `training_checkpoints`, in a folder named by the digest of its identity.

    Frozen towers embed each utterance once, for all trainings that use `embedding_cache`. An interrupted training
    continues from its last epoch if it is started again with the same identity. Raises CheckpointError if the tables
    are not those of the identity, and OutOfMemory.
    """
    plan = identity.plan
    identity.check_examples(training=training_examples, validation=validation_examples)
    check_checkpoints(plan.checkpoints, identity.checkpoints, identity.experiment)
    _require_space(plan, training_checkpoints)
    loaded = load_model(plan.settings, plan.checkpoints)
    _log.info("training on %s: %s", "cuda" if torch.cuda.is_available() else "cpu", plan.title)
    settings, folder = plan.settings.training, training_checkpoints / identity.digest
    training, validation = (
        embed_frozen(
            loaded,
            loaded.examples(table, prepared_clips, augmentation),
            identity.checkpoints,
            embedding_cache,
            settings.per_device_eval_batch_size,
            half_precision(settings),
        )
        for table, augmentation in ((training_examples, settings.augmentation), (validation_examples, None))
    )
    fitted = fit(loaded.model, training, validation, settings, folder, score, report, plan.settings.loss)
    return TrainingOutcome(fitted, fitted.history[-1]["seconds"], fitted.peak_memory_gib)


def remove_checkpoints(folder: Path) -> None:
    """Removes the checkpoints of a training."""
    shutil.rmtree(folder, ignore_errors=True)


def _require_space(plan: Plan, training_checkpoints: Path) -> None:
    """Raises DiskFull if three epochs (weights, AdamW's two numbers for each, best weights) and results do not fit.

    With several processes, the model is handed to them in a file.
    """
    count = plan.parameters["all"]
    handed_over = 4 * count.all * (plan.settings.training.processes > 1)
    needed = 14 * 4 * count.trainable + handed_over
    require_space(training_checkpoints, needed, "this training's checkpoints and weights")
