"""The settings of an experiment: of its file, of the shared blocks, and both resolved. Type, bounds and meaning."""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from trimood.config.parameters import Parameters, Seed, listed, merged
from trimood.emotions import MODALITIES, Modality


class AugmentationParams(Parameters):
    """Random changes in training only: mirrored frames, and the starts of the three chunks of long sounds."""

    flip_probability: Annotated[float, Field(ge=0, le=1)]
    random_mel_chunks: bool


Optimiser = Literal["adamw_torch_fused", "adamw_torch", "adamw_bnb_8bit", "adamw_torch_8bit", "adafactor"]
"""The optimisers of Hugging Face's Trainer that are offered; the 8-bit ones need bitsandbytes or torchao."""


def _steps(value: int) -> int:
    if value != -1 and value < 1:
        raise ValueError("give a number of optimiser steps from 1, or -1: the epochs decide")
    return value


def _divisors(number: int) -> list[str]:
    return [str(size) for size in range(1, number + 1) if not number % size]


def _micro_batch(value: Any) -> Any:
    if value not in ("auto", None) and not (type(value) is int and value >= 1):
        raise ValueError("give a number of utterances from 1, auto (the most that fit), or null")
    return value


class TrainingParams(Parameters):
    """Hugging Face's `TrainingArguments` by their names, the number of CPU threads (0: torch's default), augmentation.

    `processes` train together, each on a device of its own, and share the utterances of each optimiser step.
    `micro_batch` is the number of utterances on a device at a time (`auto`: the most that fit), if that is not
    `per_device_train_batch_size`; an optimiser step has the same utterances. `max_steps` -1 means that the epochs
    decide, `early_stopping_patience` 0 that all epochs are trained. `torch_compile` compiles each encoder layer; `auto`
    does so only on a GPU, in trainings that are long enough. What has a default here is absent from weights of earlier
    versions, which were trained so.
    """

    num_train_epochs: Annotated[int, Field(ge=1)]
    max_steps: Annotated[int, AfterValidator(_steps)] = -1
    early_stopping_patience: Annotated[int, Field(ge=0)] = 0
    per_device_train_batch_size: Annotated[int, Field(ge=1)]
    per_device_eval_batch_size: Annotated[int, Field(ge=1)]
    gradient_accumulation_steps: Annotated[int, Field(ge=1)]
    processes: Annotated[int, Field(ge=1)] = 1
    micro_batch: Annotated[Literal["auto"] | int | None, BeforeValidator(_micro_batch)] = None
    gradient_checkpointing: bool = False
    torch_compile: bool | Literal["auto"] = False
    optim: Optimiser = "adamw_torch_fused"
    learning_rate: Annotated[float, Field(gt=0)]
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    warmup_steps: Annotated[int, Field(ge=0)]
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    logging_steps: Annotated[int, Field(ge=1)]
    dataloader_num_workers: Annotated[int, Field(ge=0)]
    cpu_threads: Annotated[int, Field(ge=0)]
    bf16: bool | Literal["auto"]
    fp16: bool = False
    seed: Seed
    augmentation: AugmentationParams

    @property
    def utterances_a_step(self) -> int:
        """The utterances of an optimiser step; the last step of an epoch may have fewer."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def utterances_a_process(self) -> int:
        """Those of an optimiser step that one of the processes trains on."""
        return self.utterances_a_step // self.processes

    @property
    def published_micro_batch(self) -> int:
        """`per_device_train_batch_size`, or what divides both this and a process's share, if that is less."""
        return math.gcd(self.per_device_train_batch_size, self.utterances_a_process)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.fp16 and self.bf16 is True:
            raise ValueError("fp16 and bf16 are both true; set one to false, or bf16 to auto, which gives way to fp16")
        if self.warmup_ratio and self.warmup_steps:
            raise ValueError(
                f"warmup_ratio is {self.warmup_ratio} and warmup_steps {self.warmup_steps}; set one of them to 0"
            )
        if self.lr_scheduler_type == "constant" and (self.warmup_ratio or self.warmup_steps):
            raise ValueError("lr_scheduler_type constant has no warm-up; give constant_with_warmup, or no warm-up")
        step = "of an optimiser step (per_device_train_batch_size times gradient_accumulation_steps)"
        if self.utterances_a_step % self.processes:
            raise ValueError(
                f"processes {self.processes} does not divide the {self.utterances_a_step} utterances {step}; allowed: "
                f"{listed(_divisors(self.utterances_a_step), 20)}"
            )
        if isinstance(self.micro_batch, int) and self.utterances_a_process % self.micro_batch:
            share = f" in each of {self.processes} processes" if self.processes > 1 else ""
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide the {self.utterances_a_process} utterances {step}"
                f"{share}; allowed: auto, {listed(_divisors(self.utterances_a_process), 20)}"
            )
        return self


Train = Literal["everything", "head", "lora"]
HeadKind = Literal["linear", "mlp", "attention", "gated"]
Bias = Literal["none", "all", "lora_only"]


ALL_LINEAR = "all-linear"
"""A LoRA target that stands for every linear layer, as in PEFT."""


def is_target(name: str, targets: Iterable[str]) -> bool:
    """Whether a linear layer of this name gets an adapter."""
    return any(target == ALL_LINEAR or f".{name}".endswith(f".{target}") for target in targets)


class LoraParams(Parameters):
    """Low-rank adapters. `targets` are suffixes of module names, `bias` says which biases are trained.

    `targets` are those of LanguageBind's towers, `text_targets` those of another text encoder.
    """

    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    text_targets: Annotated[tuple[str, ...], Field(min_length=1)] = (ALL_LINEAR,)
    r: Annotated[int, Field(ge=1)]
    alpha: Annotated[int, Field(ge=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    bias: Bias


_HEAD_DEFAULTS: Mapping[HeadKind, Mapping[str, float]] = {
    "linear": {},
    "mlp": {"hidden": 256, "dropout": 0.0},
    "attention": {"heads": 8, "dropout": 0.0},
    "gated": {"hidden": 256, "dropout": 0.0},
}
"""The options of each kind of head, and their defaults."""


def _head_block(value: Any) -> Any:
    """Reads the words `trained` and `frozen` as those of a linear head, as in plans and experiments of before."""
    if isinstance(value, str) and value in ("trained", "frozen"):
        return {"trained": value == "trained"}
    if not isinstance(value, dict):
        raise ValueError("give a block, such as {kind: mlp, hidden: 256} or {trained: false}")
    return value


class HeadParams(Parameters):
    """What classifies the towers' outputs, and whether it is trained or stays at its random initial values.

    `hidden`: the width of the hidden layer of `mlp` and `gated`. `heads`: of `attention`, which reads tokens and frames
    instead of embeddings. Options that do not belong to the kind are None. `model.heads` has the formulas.
    """

    kind: HeadKind = "linear"
    trained: bool = True
    hidden: Annotated[int, Field(ge=1)] | None = None
    heads: Annotated[int, Field(ge=1)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, values: Any) -> Any:
        block = _head_block(values)
        given = {name: value for name, value in block.items() if value is not None}
        return {**_HEAD_DEFAULTS.get(block.get("kind", "linear"), {}), **given}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        own = _HEAD_DEFAULTS[self.kind]
        for name in ("hidden", "heads", "dropout"):
            if getattr(self, name) is not None and name not in own:
                kinds = [kind for kind, options in _HEAD_DEFAULTS.items() if name in options]
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but a head of kind {self.kind} has no {name}; kinds that have: "
                    f"{', '.join(kinds)}. Leave it out, or change kind"
                )
        return self

    @property
    def reads_states(self) -> bool:
        """Whether it reads the states of tokens and frames instead of one embedding for each modality."""
        return self.kind == "attention"

    @property
    def words(self) -> str:
        """Whether it is trained, and its kind if not linear: "trained", "frozen, attention (heads 8, dropout 0.0)"."""
        options = ", ".join(f"{name} {getattr(self, name)}" for name in _HEAD_DEFAULTS[self.kind])
        kind = "" if self.kind == "linear" else f", {self.kind} ({options})"
        return f"{'trained' if self.trained else 'frozen'}{kind}"


LINEAR_HEAD = HeadParams()
"""The head of the published experiments that train it."""


ClassWeights = Literal["none", "sqrt", "balanced"]


class LossParams(Parameters):
    """What is minimised in training. `corpus.class_balance` and `learning.loss` have the formulas.

    `class_weights`: how much more an utterance of a rare emotion counts. `logit_adjustment`: tau, how strongly the
    emotions' shares are taken out of the logits; 0 for not at all, 1 for completely. `label_smoothing`: the share of
    each label that is spread over all emotions.
    """

    class_weights: ClassWeights = "none"
    logit_adjustment: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.class_weights != "none" and self.logit_adjustment:
            raise ValueError(
                f"class_weights is {self.class_weights} and logit_adjustment {self.logit_adjustment}: both make up for "
                "rare emotions, so together they do it twice. Set class_weights to none, or logit_adjustment to 0"
            )
        return self

    @property
    def title(self) -> str:
        """What differs from cross entropy, in words; empty for cross entropy."""
        words = [f"{self.class_weights} class weights"] if self.class_weights != "none" else []
        words += [f"logit adjustment {self.logit_adjustment:g}"] if self.logit_adjustment else []
        return ", ".join([*words, f"label smoothing {self.label_smoothing:g}"] if self.label_smoothing else words)


CROSS_ENTROPY = LossParams()
"""The published loss."""


LANGUAGEBIND, ENCODER = "languagebind", "encoder"
"""Values of `text_tower`: LanguageBind's own, or the encoder that the path `text_tower` names."""

Pooling = Literal["mean", "first"]
"""How an encoder's tokens become one embedding: their mean, or the first token's."""


class ContextParams(Parameters):
    """What a text tower reads of a conversation: so many utterances before and after, and who speaks."""

    previous: Annotated[int, Field(ge=0, le=50)] = 0
    next: Annotated[int, Field(ge=0, le=50)] = 0
    speakers: bool = False

    @property
    def is_none(self) -> bool:
        """Whether the tower reads the utterance alone."""
        return self == ContextParams()

    def __str__(self) -> str:
        counts = [f"{count} {side}" for side, count in (("before", self.previous), ("after", self.next)) if count]
        return " and ".join([*counts, *(["speakers"] if self.speakers else [])]) or "none"


class ExperimentParams(Parameters):
    """The content of an experiment's file; `lora`, `loss`, `training` contain only differences from shared values.

    `text_tower`: `languagebind`; `encoder`, the text encoder that the path `text_tower` names; or a name on the Hugging
    Face hub or a folder of another one. `text_pooling` belongs to an encoder.
    `head` is what differs from a trained linear head.
    """

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)]
    text_tower: Annotated[str, Field(min_length=1)] = LANGUAGEBIND
    text_pooling: Pooling = "mean"
    context: ContextParams = ContextParams()
    train: Train
    head: Annotated[dict[str, object], BeforeValidator(_head_block)] = Field(default_factory=dict)
    lora: dict[str, object] = Field(default_factory=dict)
    loss: dict[str, object] = Field(default_factory=dict)
    training: dict[str, object] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError(
                f"modalities {list(self.modalities)} name one twice; allowed: any of {list(MODALITIES)}, each once"
            )
        if self.lora and self.train != "lora":
            raise ValueError(f"lora: {self.lora} is given, but train: {self.train} uses no adapters; write train: lora")
        if self.train == "head" and self.head.get("trained") is False:
            raise ValueError("train: head with head: {trained: false} trains nothing; leave trained out")
        self._text_agrees()
        return self

    def _text_agrees(self) -> None:
        given = {"text_tower": self.text_tower != LANGUAGEBIND, "context": not self.context.is_none}
        if "text" not in self.modalities and (unused := [name for name, is_given in given.items() if is_given]):
            raise ValueError(
                f"{' and '.join(unused)} is for the modality text, and modalities are {list(self.modalities)}; add "
                "text, or leave it out"
            )
        if "text_pooling" in self.model_fields_set and self.text_tower == LANGUAGEBIND:
            raise ValueError(
                f"text_pooling: {self.text_pooling} is for a text encoder, and text_tower is {LANGUAGEBIND}, which has "
                f"its own; write text_tower: {ENCODER}, or leave text_pooling out"
            )


class Settings(Parameters):
    """The resolved settings of one experiment, which are run, logged and stored with its weights.

    What has a default here is absent from weights of earlier versions, which were trained so.
    """

    modalities: tuple[Modality, ...]
    text_tower: str = LANGUAGEBIND
    text_pooling: Pooling = "mean"
    context: ContextParams = ContextParams()
    train: Train
    head: HeadParams
    lora: LoraParams | None
    loss: LossParams = CROSS_ENTROPY
    training: TrainingParams

    @property
    def has_encoder(self) -> bool:
        """Whether the words are read by an encoder of `text_tower` instead of LanguageBind's text tower."""
        return "text" in self.modalities and self.text_tower != LANGUAGEBIND


def resolve(
    experiment: ExperimentParams, training: TrainingParams, lora: LoraParams, loss: LossParams = CROSS_ENTROPY
) -> Settings:
    """Overrides the shared values by those of an experiment. Raises ValidationError for a wrong key or value."""
    adapters = LoraParams.model_validate(merged(lora.model_dump(), experiment.lora))
    shared = TrainingParams.model_validate(merged(training.model_dump(), experiment.training))
    minimised = LossParams.model_validate(merged(loss.model_dump(), experiment.loss))
    if experiment.modalities == ("text",) and experiment.text_tower != LANGUAGEBIND:
        adapters = adapters.model_copy(update={"targets": adapters.text_targets})  # no layer has the others
    if experiment.text_tower == LANGUAGEBIND:
        adapters = adapters.model_copy(update={"text_targets": LoraParams.model_fields["text_targets"].default})
    used = adapters if experiment.train == "lora" else None
    return Settings.model_validate({**dict(experiment), "lora": used, "loss": minimised, "training": shared})
