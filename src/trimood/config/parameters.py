"""All parameters: type, bounds and meaning. conf/base has the shared values, an experiment's file the differences."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from trimood.emotions import MODALITIES, Modality

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""The range that NumPy accepts; Hugging Face's Trainer seeds NumPy and torch."""


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """A suggestion for the end of an error message: words of `allowed` that are spelt like `word`, or nothing."""
    names = list(allowed)
    close = get_close_matches(word, names, n=2) or [name for name in names if name.endswith(f".{word}")][:2]
    return f" Did you mean {' or '.join(close)}?" if close else ""


def listed(items: Sequence[str], shown: int, separator: str = ", ") -> str:
    """Joins the first `shown` items and the number of the others: "a, b, and 3 more"."""
    more = [f"and {len(items) - shown:,} more"] if len(items) > shown else []
    return separator.join([*items[:shown], *more])


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads(…, object_pairs_hook=unique_keys)`: an object of JSON; raises ValueError if a key occurs twice.

    Python's own reader keeps the last of such values and silently drops the others.
    """
    unique = dict(pairs)
    if len(unique) < len(pairs):
        key, count = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {key[:60]!r} occurs {count} times in one object; keep one")
    return unique


class Parameters(BaseModel):
    """An immutable block of parameters; rejects unknown keys and lists the allowed ones."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, dict):
            allowed = [field.alias or name for name, field in cls.model_fields.items()]
            for key in values:
                if key not in allowed:
                    hint = did_you_mean(str(key), allowed)
                    raise ValueError(f"unknown key {key!r}; allowed here: {', '.join(allowed)}.{hint}")
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_true_as_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float, type(None)}.issuperset(get_args(kind) or (kind,)):
            raise ValueError("give a number; true, yes and on are not read as 1")  # YAML reads all three as true
        return value


class Dimension(Parameters):
    """The search space of one parameter: a range (of integers if both ends are integers) or a list of choices."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        is_range = self.low is not None and self.high is not None
        if is_range == bool(self.choices) or (self.low is None) != (self.high is None) or (self.choices and self.log):
            raise ValueError("give either a range, {low: 1.0e-5, high: 1.0e-3, log: true}, or {choices: [4, 8]}")
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(f"low {self.low} is not below high {self.high}")
            if self.log and self.low <= 0:
                raise ValueError(f"low {self.low} with log: true; a logarithmic scale needs low above 0")
        return self

    def __str__(self) -> str:
        words = ", ".join(map(str, self.choices)) if self.choices else f"{self.low} to {self.high}"
        return f"{words}, logarithmic" if self.log else words


def _by_dots(space: object, prefix: str = "") -> Any:
    """Flattens nested blocks to {"training.learning_rate": {low, high}}, without those that are null."""
    found: dict[str, object] = {}
    for key, value in space.items() if isinstance(space, dict) else ():
        nested = isinstance(value, dict) and not value.keys() & Dimension.model_fields.keys()
        # A file may use dotted names and the command line nested blocks, so the same dimension may occur twice.
        found = _merged(found, _by_dots(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value})
    return {path: dimension for path, dimension in found.items() if dimension is not None} if found else space


class TuneParams(Parameters):
    """An Optuna search over an experiment's parameters. An empty `study` means the name of the experiment.

    `jobs` trials are trained at the same time, each in a process and on a device of its own.
    """

    study: str
    trials: Annotated[int, Field(ge=1)]
    jobs: Annotated[int, Field(ge=1)] = 1
    seed: Seed
    sampler: Literal["tpe", "random"]
    pruner: Literal["none", "median"]
    space: Annotated[dict[str, Dimension], BeforeValidator(_by_dots), Field(min_length=1)]


Unit = Literal["conversation", "utterance"]


class SplitParams(Parameters):
    """How utterances are split; `test_fraction` is used only if no labelled official test file exists."""

    unit: Unit
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed


Policy = Literal["fail", "drop", "blank"]

ClipProblem = Literal["missing", "unreadable", "no_audio_track", "silent", "too_short", "timed_out", "crashed"]
"""The problems of a clip, in the order in which they are checked."""

Executor = Literal["serial", "processes", "ray"]

Reader = Literal["pyav", "decord"]
"""The library that reads the frames of a clip; `decord` reads them as LanguageBind does, including its errors."""


Stereo = Literal["mean", "first"]
"""What is heard of several channels: their mean, or the first one alone, as in LanguageBind."""


class WorkParams(Parameters):
    """How work on clips is distributed. `workers` 0 means one for each core; the time limit is for one clip."""

    executor: Executor
    workers: Annotated[int, Field(ge=0)]
    time_limit_seconds: Annotated[float, Field(gt=0)]


class ClipParams(WorkParams):
    """How clips become tensors. `on_bad_clip`: a policy for all problems, or for each problem (default: `fail`).

    `hash_again`: read every clip to see whether it has changed, not only those whose size or times have. `in_use`
    false: no clip is looked for, and only experiments on text alone run.
    """

    on_bad_clip: Policy | dict[ClipProblem, Policy]
    reader: Reader = "pyav"
    stereo: Stereo = "mean"
    hash_again: bool = False
    in_use: bool = True

    @field_validator("on_bad_clip", mode="before")
    @classmethod
    def _say_what_is_allowed(cls, value: Any) -> Any:
        policies, problems = get_args(Policy), list(get_args(ClipProblem))
        by_problem = value if isinstance(value, dict) else dict.fromkeys(problems, value)
        for problem, policy in by_problem.items():
            if problem not in problems:
                hint = did_you_mean(str(problem), problems)
                raise ValueError(f"unknown problem {problem!r}; allowed here: {', '.join(problems)}.{hint}")
            if policy not in policies:
                raise ValueError(
                    f"Input should be {', '.join(map(repr, policies))}, or one of them for each problem, as in "
                    f"data.clips.on_bad_clip.no_audio_track=blank. Problems: {', '.join(problems)}"
                )
        return value

    def policy_for(self, problem: ClipProblem) -> Policy:
        """The policy for clips with this problem."""
        return self.on_bad_clip if isinstance(self.on_bad_clip, str) else self.on_bad_clip.get(problem, "fail")


Corpus = Literal["ecf", "meld"]
"""The corpora whose annotation files can be read."""


class DataParams(Parameters):
    """How the corpus becomes examples; the same for all experiments. `corpus` says whose annotation files are read."""

    corpus: Corpus = "ecf"
    split: SplitParams
    clips: ClipParams


class CuttingParams(WorkParams):
    """How clips are cut from episodes, and for which splits.

    `crf` and `preset` are x264's quality and speed, `audio_language` is an ISO 639-2 code. `overwrite` also replaces
    clips that this command did not cut.
    """

    splits: Annotated[tuple[Literal["train", "test"], ...], Field(min_length=1)]
    crf: Annotated[int, Field(ge=0, le=51)]
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
    audio_language: Annotated[str, Field(pattern=r"^[a-z]{3}$")]
    overwrite: bool


class DemoParams(Parameters):
    """The seed of the generated corpus and the tiny checkpoints."""

    seed: Seed


class CompareParams(Parameters):
    """How runs are compared. Without `runs` (MLflow ids), the latest run of each experiment and seed is compared."""

    baseline: str
    resamples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    seed: Seed
    runs: tuple[str, ...]


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


class EmbeddingParams(Parameters):
    """The embeddings of frozen towers, of which the folder 04_feature/embeddings keeps at most `cache_gigabytes`."""

    cache_gigabytes: Annotated[float, Field(ge=0)]


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
    adapters = LoraParams.model_validate(_merged(lora.model_dump(), experiment.lora))
    shared = TrainingParams.model_validate(_merged(training.model_dump(), experiment.training))
    minimised = LossParams.model_validate(_merged(loss.model_dump(), experiment.loss))
    if experiment.modalities == ("text",) and experiment.text_tower != LANGUAGEBIND:
        adapters = adapters.model_copy(update={"targets": adapters.text_targets})  # no layer has the others
    used = adapters if experiment.train == "lora" else None
    return Settings.model_validate({**dict(experiment), "lora": used, "loss": minimised, "training": shared})


def _merged(shared: object, different: object) -> Any:
    """Overrides values of `shared` by those of `different`, also within nested blocks."""
    if not (isinstance(shared, dict) and isinstance(different, dict)):
        return different
    return shared | {key: _merged(shared.get(key), value) for key, value in different.items()}


class TrackingParams(Parameters):
    """MLflow's store, its folder of artifacts, and the name of the MLflow experiment."""

    tracking_uri: str
    artifacts: str
    experiment: str


def _an_alias(value: str) -> str:
    """Raises ValueError for an alias that MLflow would reject, which it does only after registering a version."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", value) or re.fullmatch(r"latest|v\d+", value, re.IGNORECASE):
        raise ValueError("allowed are letters, digits, _ and -, except latest and names such as v1")
    return value


Alias = Annotated[str, AfterValidator(_an_alias)]


class PredictionParams(Parameters):
    """The number of utterances in the picture of predictions."""

    shown_utterances: Annotated[int, Field(ge=1)]


class ServingParams(Parameters):
    """Settings and limits of a served model and of the page.

    An empty checkpoint means the one that training used; `text_checkpoint` is a text encoder. MLflow logs these values
    beside those of a plan, so none may have a name that a plan has, too.

    A request may have `largest_request_megabytes` in all (the page's requests are small), `most_rows` rows, and in each
    row a clip and text within the limits. `decoding_megabytes` is the memory of the process that opens clips,
    `time_limit_seconds` the time of a request, and of waiting for its turn. `allowed_hosts`: names separated by
    commas under which the server may be addressed, besides localhost and IP addresses; * allows all.
    """

    video_checkpoint: str = ""
    audio_checkpoint: str = ""
    text_checkpoint: str = ""
    largest_request_megabytes: Annotated[float, Field(gt=0)] = 70
    largest_clip_megabytes: Annotated[float, Field(gt=0)] = 50
    most_rows: Annotated[int, Field(ge=1)] = 32
    longest_text_characters: Annotated[int, Field(ge=1)] = 10_000
    largest_frame_megapixels: Annotated[float, Field(gt=0)] = 9
    most_frames: Annotated[int, Field(ge=1)] = 7_200
    longest_seconds: Annotated[float, Field(gt=0)] = 120
    decoding_megabytes: Annotated[int, Field(ge=1)] = 1_000
    time_limit_seconds: Annotated[float, Field(gt=0)] = 30
    allowed_hosts: str = ""


class Paths(Parameters):
    """Paths of data and checkpoints, from conf/*/globals.yml or from --params, which takes precedence.

    The catalog reads them as `${path:NAME}`. Relative paths start from the project folder, `~` is the home folder.
    """

    data_root: str
    corpus_dir: str
    meld_dir: str | None = None
    episodes_dir: str
    video_checkpoint: str
    audio_checkpoint: str
    text_tower: str
    prepared_clips: str | None = None


class GlobalParams(Paths):
    """The content of conf/*/globals.yml: paths, the experiment that some stages use, and MLflow's settings."""

    experiment: str
    mlflow: TrackingParams


def flatten(value: object, prefix: str = "") -> dict[str, object]:
    """Flattens nested mappings and pydantic objects to {"training.learning_rate": 5e-05}; joins lists by '+'."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: "+".join(map(str, value)) if isinstance(value, list | tuple) else value}
