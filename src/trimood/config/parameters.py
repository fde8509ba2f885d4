"""All parameters: type, bounds and meaning. conf/base has the values."""

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


def merged(shared: object, different: object) -> Any:
    """Overrides values of `shared` by those of `different`, also within nested blocks."""
    if not (isinstance(shared, dict) and isinstance(different, dict)):
        return different
    return shared | {key: merged(shared.get(key), value) for key, value in different.items()}


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
        found = merged(found, _by_dots(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value})
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
    """How runs are compared. Without `runs` (MLflow ids, or names of experiments), the latest of each are compared."""

    baseline: str
    resamples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    seed: Seed
    runs: tuple[str, ...]


class EmbeddingParams(Parameters):
    """The embeddings of frozen towers, of which the folder 04_feature/embeddings keeps at most `cache_gigabytes`."""

    cache_gigabytes: Annotated[float, Field(ge=0)]


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


ExportFormat = Literal["original", "onnx"]
"""What `export_weights` writes: weights as the original's code saves them, or a graph for ONNX Runtime."""


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
