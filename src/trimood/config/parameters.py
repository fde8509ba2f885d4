"""Every parameter once: its type, bounds and meaning. Shared values are in conf/base, what differs in experiments."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from trimood.emotions import MODALITIES, Modality

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What NumPy's generators take, which Hugging Face's Trainer seeds beside torch's."""


def did_you_mean(word: str, allowed: list[str]) -> str:
    """Close spellings of `word` among `allowed`, as the end of an error message; empty when there are none."""
    close = get_close_matches(word, allowed, n=2)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def listed(items: Sequence[str], shown: int, separator: str = ", ") -> str:
    """The first `shown` items, and how many there are beyond them: "a, b, and 3 more"."""
    more = [f"and {len(items) - shown:,} more"] if len(items) > shown else []
    return separator.join([*items[:shown], *more])


class Parameters(BaseModel):
    """A frozen block of parameters that refuses keys it does not know, and says which it does."""

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


Number = int | float


class Dimension(Parameters):
    """What a search may choose for one parameter: a range, of whole numbers where both ends are, or some choices."""

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        is_range = self.low is not None and self.high is not None
        if is_range == bool(self.choices) or (self.low is None) != (self.high is None) or (self.choices and self.log):
            raise ValueError("allowed is a range, {low: 1.0e-5, high: 1.0e-3, log: true}, or {choices: [4, 8]}")
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(f"low {self.low} is not below high {self.high}")
            if self.log and self.low <= 0:
                raise ValueError(f"low {self.low} with log: true; on a logarithmic scale low is above 0")
        return self

    def __str__(self) -> str:
        words = ", ".join(map(str, self.choices)) if self.choices else f"{self.low} to {self.high}"
        return f"{words}, logarithmic" if self.log else words


class TuneParams(Parameters):
    """A search over an experiment's parameters, by Optuna: its name (empty: the experiment's), size, space, methods."""

    study: str
    trials: Annotated[int, Field(ge=1)]
    seed: Seed
    sampler: Literal["tpe", "random"]
    pruner: Literal["none", "median"]
    space: Annotated[dict[str, Dimension], Field(min_length=1)]

    @field_validator("space", mode="before")
    @classmethod
    def _name_by_dots(cls, space: Any) -> Any:
        return _dimensions(space) if isinstance(space, dict) else space


def _dimensions(space: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Blocks within blocks as {"training.learning_rate": {low, high}}; what is null is left out."""
    found: dict[str, Any] = {}
    for key, value in space.items():
        name = f"{prefix}{key}"
        inner = {name: value}
        if isinstance(value, dict) and not set(value) & set(Dimension.model_fields):
            inner = _dimensions(value, f"{name}.")
        for path, dimension in inner.items():
            earlier = found.get(path)  # written with dots in a file, and with blocks on the command line
            if isinstance(earlier, dict) and isinstance(dimension, dict):
                found[path] = {**earlier, **dimension}
            else:
                found[path] = dimension
    return {path: dimension for path, dimension in found.items() if dimension is not None}


Fraction = Annotated[float, Field(ge=0, lt=1)]


Unit = Literal["conversation", "utterance"]
"""What a split keeps together."""


class SplitParams(Parameters):
    """How utterances are divided; without a labelled official test file, `test_fraction` is held out too."""

    unit: Unit
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed


Policy = Literal["fail", "drop", "blank"]

ClipProblem = Literal["missing", "unreadable", "no_audio_track", "silent", "too_short", "timed_out", "crashed"]
"""Everything that can be wrong with a clip, in the order in which it is checked."""

Executor = Literal["serial", "processes", "ray"]
"""Where work on clips is done."""

Reader = Literal["pyav", "decord"]
"""What reads the frames of a clip; `decord` is what LanguageBind uses, with its errors."""


class ClipParams(Parameters):
    """How clips become tensors: what a bad clip means, where the work is done, by how many (0: one for each core).

    `on_bad_clip` is one policy for all problems, or one for each; problems that such a list leaves out mean `fail`.
    """

    on_bad_clip: Policy | dict[ClipProblem, Policy]
    reader: Reader = "pyav"
    executor: Executor
    workers: Annotated[int, Field(ge=0)]
    time_limit_seconds: Annotated[float, Field(gt=0)]

    @field_validator("on_bad_clip", mode="before")
    @classmethod
    def _say_what_is_allowed(cls, value: Any) -> Any:
        policies, problems = list(get_args(Policy)), list(get_args(ClipProblem))
        for problem in value if isinstance(value, dict) else ():
            if problem not in problems:
                hint = did_you_mean(str(problem), problems)
                raise ValueError(f"unknown problem {problem!r}; allowed here: {', '.join(problems)}.{hint}")
        for policy in value.values() if isinstance(value, dict) else [value]:
            if policy not in policies:
                raise ValueError(
                    f"Input should be {', '.join(map(repr, policies))}, or one of them for each problem, as in "
                    f"data.clips.on_bad_clip.no_audio_track=blank. Problems: {', '.join(problems)}"
                )
        return value

    def policy_for(self, problem: ClipProblem) -> Policy:
        """The policy for clips with this problem."""
        return self.on_bad_clip if isinstance(self.on_bad_clip, str) else self.on_bad_clip.get(problem, "fail")


class DataParams(Parameters):
    """Everything between the corpus and the examples; the same for all experiments."""

    split: SplitParams
    clips: ClipParams


class CuttingParams(Parameters):
    """How clips are cut from episodes, and of which splits.

    x264's quality (`crf`) and speed (`preset`); the language of the sound (ISO 639-2); whether clips that this command
    did not cut may be replaced; where the work is done, on how many workers, and for how long at most on one clip.
    """

    splits: Annotated[tuple[Literal["train", "test"], ...], Field(min_length=1)]
    crf: Annotated[int, Field(ge=0, le=51)]
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
    audio_language: Annotated[str, Field(pattern=r"^[a-z]{3}$")]
    overwrite: bool
    executor: Executor
    workers: Annotated[int, Field(ge=0)]
    time_limit_seconds: Annotated[float, Field(gt=0)]


class DemoParams(Parameters):
    """The generated corpus and the tiny checkpoints, both from one seed."""

    seed: Seed


class CompareParams(Parameters):
    """What is compared (run ids; none: the latest of each experiment and seed), with which baseline, how surely."""

    baseline: str
    resamples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    seed: Seed
    runs: tuple[str, ...]


class AugmentationParams(Parameters):
    """What is changed at random in training only: mirrored frames, and where the three chunks of long sounds start."""

    flip_probability: Annotated[float, Field(ge=0, le=1)]
    random_mel_chunks: bool


class TrainingParams(Parameters):
    """Hugging Face `TrainingArguments` by their own names; threads on a CPU (0: torch's own choice); augmentation."""

    num_train_epochs: Annotated[int, Field(ge=1)]
    per_device_train_batch_size: Annotated[int, Field(ge=1)]
    per_device_eval_batch_size: Annotated[int, Field(ge=1)]
    gradient_accumulation_steps: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    logging_steps: Annotated[int, Field(ge=1)]
    dataloader_num_workers: Annotated[int, Field(ge=0)]
    cpu_threads: Annotated[int, Field(ge=0)]
    bf16: bool | Literal["auto"]
    seed: Seed
    augmentation: AugmentationParams


Train = Literal["everything", "head", "lora"]
HeadTraining = Literal["trained", "frozen"]
Bias = Literal["none", "all", "lora_only"]


class LoraParams(Parameters):
    """Low-rank adapters: on which layers (by the end of a module's name), rank, scale, dropout, and which biases."""

    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    r: Annotated[int, Field(ge=1)]
    alpha: Annotated[int, Field(ge=1)]
    dropout: Fraction
    bias: Bias


class ExperimentParams(Parameters):
    """What one experiment's file may say; `lora` and `training` hold only what differs from the shared values."""

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)]
    train: Train
    head: HeadTraining = "trained"
    lora: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError(
                f"modalities {list(self.modalities)} name one twice; allowed: any of {list(MODALITIES)}, each once"
            )
        if self.lora and self.train != "lora":
            raise ValueError(f"lora: {self.lora} is given, but train: {self.train} uses no adapters; write train: lora")
        if self.train == "head" and self.head == "frozen":
            raise ValueError("train: head with head: frozen trains nothing; write head: trained")
        return self


class Settings(Parameters):
    """One experiment with everything resolved: what is run, logged and stored with its weights."""

    modalities: tuple[Modality, ...]
    train: Train
    head: HeadTraining
    lora: LoraParams | None
    training: TrainingParams


def resolve(experiment: ExperimentParams, training: TrainingParams, lora: LoraParams) -> Settings:
    """The shared values, overridden by those of an experiment; a wrong key or value is a ValidationError."""
    return Settings(
        modalities=experiment.modalities,
        train=experiment.train,
        head=experiment.head,
        lora=LoraParams.model_validate(_merged(lora.model_dump(), experiment.lora))
        if experiment.train == "lora"
        else None,
        training=TrainingParams.model_validate(_merged(training.model_dump(), experiment.training)),
    )


def _merged(shared: dict[str, Any], different: dict[str, Any]) -> dict[str, Any]:
    """`different` laid over `shared`, block within block."""
    both = {
        k: _merged(shared[k], v)
        for k, v in different.items()
        if isinstance(v, dict) and isinstance(shared.get(k), dict)
    }
    return {**shared, **different, **both}


class TrackingParams(Parameters):
    """Where MLflow keeps runs, its folder of artifacts, and the name under which it lists them."""

    tracking_uri: str
    artifacts: str
    experiment: str


def _in_quotes(value: Any) -> Any:
    """YAML takes No for a truth value, 5 for a number."""
    if not isinstance(value, str):
        raise ValueError("words that YAML reads as something else need double quotes: --params 'text=\"No\"'")
    return value


Words = Annotated[str, BeforeValidator(_in_quotes)]


def _an_alias(value: str) -> str:
    """What MLflow takes for an alias: it would refuse others only after a version is registered."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", value) or re.fullmatch(r"latest|v\d+", value, re.IGNORECASE):
        raise ValueError("allowed are letters, digits, _ and -, but neither latest nor a v with a number")
    return value


Alias = Annotated[str, AfterValidator(_an_alias)]


class PredictionParams(Parameters):
    """How many utterances of one's own the picture shows."""

    shown_utterances: Annotated[int, Field(ge=1)]


class ServingParams(Parameters):
    """What can be said when an MLflow model is loaded; a checkpoint without a place is where training had it.

    `processes` costs each request a second or two, and outlives a clip that crashes the decoder or hangs it.
    """

    video_checkpoint: str = ""
    audio_checkpoint: str = ""
    largest_clip_megabytes: Annotated[float, Field(gt=0)] = 50
    executor: Literal["serial", "processes"] = "serial"
    time_limit_seconds: Annotated[float, Field(gt=0)] = 30


class Paths(Parameters):
    """Where data and checkpoints are. Each can be given in conf/*/globals.yml or with --params, which takes precedence.

    The catalog reads them as `${path:NAME}`. Relative paths start from the project's folder, `~` is the home folder.
    """

    data_root: str
    corpus_dir: str
    meld_dir: str | None = None
    episodes_dir: str
    video_checkpoint: str
    audio_checkpoint: str
    prepared_clips: str | None = None


class GlobalParams(Paths):
    """What conf/*/globals.yml may say: paths, the experiment that some stages are about, and where runs are tracked."""

    experiment: str
    mlflow: TrackingParams


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as {"training.learning_rate": 5e-05}; a list becomes its items joined by '+'.

    A parameter class counts as the mapping it was made from: Kedro puts both into the catalog.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: "+".join(map(str, value)) if isinstance(value, list | tuple) else value}
