"""The models and example clips that the page offers, the best model first, and the models in memory."""

import gc
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trimood.config.checks import without_passwords
from trimood.config.experiment_settings import ContextParams
from trimood.corpus.corpus_files import TEST_FILES, clip_folder, first_present
from trimood.corpus.ecf import AnnotationError, labelled, read_ecf
from trimood.emotions import EMOTIONS
from trimood.model.config import CheckpointError
from trimood.model.stored import read_weights
from trimood.serving.decoding import Decoder
from trimood.serving.predictor import Predictor, load_predictor
from trimood.serving.trained_model import CALIBRATION, WEIGHTS
from trimood.tracking.store import SQLITE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

log = logging.getLogger(__name__)

_REGISTERED = "models:/"

LINES_AROUND = 10
"""So many lines of its conversation before and after an example are offered; models read fewer."""


@dataclass(frozen=True)
class Example:
    """An utterance of the official test file, which is never used for training, with the lines around it.

    Lines are "Name: words", one after the other.
    """

    clip: str
    text: str
    emotion: str
    speaker: str
    before: str
    after: str


def corpus_examples(corpus: Path) -> list[Example]:
    """The first utterance of each emotion whose clip exists, in class order; none without such a corpus."""
    if (path := first_present(corpus, TEST_FILES)) is None:
        return []
    try:
        table = labelled(read_ecf(path, clip_folder(corpus, "test")))
    except AnnotationError as error:
        log.warning("the page offers no examples: %s", error)
        return []
    found: dict[str, Example] = {}
    for _, conversation in table.groupby("conversation_id", sort=False):
        rows = conversation.sort_values("utterance_id").to_dict("records")
        lines = [f"{row['speaker']}: {row['text']}" for row in rows]
        for at, row in enumerate(rows):
            if row["emotion"] not in found and (clip := corpus / row["clip"]).is_file():
                around = (lines[max(0, at - LINES_AROUND) : at], lines[at + 1 : at + 1 + LINES_AROUND])
                before, after = ("\n".join(side) for side in around)
                found[row["emotion"]] = Example(str(clip), row["text"], row["emotion"], row["speaker"], before, after)
    return [found[emotion] for emotion in EMOTIONS if emotion in found]


@dataclass(frozen=True)
class Choice:
    """A model that the page offers.

    `argument` is that of `load_trained`; `validation` and `test` are macro F1, None if they are not known; `trained`
    says what was trained, and `context` what the model reads of a conversation. `validated_on` is the fingerprint of
    the validation examples, "" if it is not known or the weights were imported, which may have been trained on them.
    """

    argument: str
    name: str
    validation: float | None = None
    test: float | None = None
    trained: str = ""
    context: ContextParams = field(default_factory=ContextParams)
    validated_on: str = ""

    @property
    def label(self) -> str:
        """The name with the test score and what was trained, as a list of models shows it."""
        scored = "" if self.test is None else f"test macro F1 {self.test:.3f}"
        return " · ".join(filter(None, (self.name, scored, self.trained)))


def trained_experiments(models: Path, scores: str) -> list[Choice]:
    """Experiments in the folder that have weights and a calibration; `scores`: scores.json of an {experiment}."""
    names = sorted(path.parent.name for path in models.glob(f"*/{WEIGHTS}") if path.with_name(CALIBRATION).is_file())
    found = []
    for name in names:
        trained, context, validated_on = "", ContextParams(), ""
        with suppress(CheckpointError):  # its message is shown when it is chosen
            identity = read_weights(models / name / WEIGHTS).about.identity
            trained, context = identity.plan.title, identity.plan.settings.context
            validated_on = "" if identity.imported else identity.examples.validation
        macro_f1 = _macro_f1(Path(scores.replace("{experiment}", name)))
        found.append(Choice(name, name, *macro_f1, trained, context, validated_on))
    return found


def _macro_f1(path: Path) -> tuple[float | None, float | None]:
    """Macro F1 on validation and test, as far as the file has them."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return stored["validation"]["macro_f1"], stored.get("test", {}).get("macro_f1")
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


def best_first(choices: Sequence[Choice]) -> list[Choice]:
    """The choices by macro F1 on validation, the best first; those without it follow in their order.

    Only scores of the same validation examples are compared, those of most experiments trained here: models that were
    validated on others, and imported ones, come last, in their order. Never by the test score: the best of many test
    scores is better than the model is.
    """
    own = Counter(of.validated_on for of in choices if of.validated_on and not of.argument.startswith(_REGISTERED))
    known = own or Counter(of.validated_on for of in choices)
    here = known.most_common(1)[0][0] if known else ""

    def rank(choice: Choice) -> tuple[bool, float]:
        is_elsewhere = choice.validated_on != here
        return is_elsewhere, math.inf if is_elsewhere or choice.validation is None else -choice.validation

    return sorted(choices, key=rank)


def registered_models(tracking_uri: str) -> list[Choice]:
    """Models with an alias in MLflow's registry, "trimood-exp4@champion (version 3)", with the scores of their runs.

    Empty without a store, which is not created. If a store does not respond, a warning is logged; also for a version
    whose run is missing, which is offered without scores.
    """
    import mlflow

    if tracking_uri.startswith(SQLITE) and not Path(tracking_uri.removeprefix(SQLITE)).is_file():
        return []
    client, found = mlflow.MlflowClient(tracking_uri, tracking_uri), []
    try:
        for model in _all_registered(client):
            for alias, version in sorted(model.aliases.items()):
                metrics, params, tags = _of_its_run(client, model.name, version)
                given = {name: params.get(f"context.{name}", "") for name in ("previous", "next")}
                read = {name: int(number) for name, number in given.items() if number.isdecimal()}
                found.append(
                    Choice(
                        f"{_REGISTERED}{model.name}/{version}",
                        f"{model.name}@{alias} (version {version})",
                        metrics.get("validation/macro_f1"),
                        metrics.get("test/macro_f1"),
                        params.get("modalities", "").replace("+", ", "),
                        ContextParams(**read, speakers=params.get("context.speakers") == "True"),
                        "" if "imported.digest" in tags else tags.get("examples.validation", ""),
                    )
                )
    except mlflow.exceptions.MlflowException as error:
        reason = without_passwords(f"MLflow at {tracking_uri}: {error}")
        log.warning("the page offers no registered models: %s", reason)
        return []
    return found


def _all_registered(client: "MlflowClient") -> "Iterator[RegisteredModel]":
    """The registered models of all pages of the list."""
    page = client.search_registered_models()
    yield from page
    while page.token:
        page = client.search_registered_models(page_token=page.token)
        yield from page


def _of_its_run(
    client: "MlflowClient", model: str, version: str
) -> tuple[Mapping[str, float], Mapping[str, str], Mapping[str, str]]:
    """Metrics, parameters and tags of the run of a version; none if the version has no run, or one that is gone."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_model_version(model, version).run_id
        data = client.get_run(run).data if run else None
    except MlflowException as error:
        log.warning("%s, version %s: its scores are not known: %s", model, version, without_passwords(str(error)))
        data = None
    return (data.metrics, data.params, data.tags) if data else ({}, {}, {})


class ModelsInMemory:
    """Loads models on request and drops those no longer requested: at full size each takes gigabytes."""

    def __init__(self, models: Path, checkpoints: Mapping[str, str | None], decoder: Decoder) -> None:
        """`models`: the folder of experiments; `checkpoints` as for `load_predictor`; `decoder`: opens clips."""
        self._models, self._checkpoints, self.decoder = models, checkpoints, decoder
        self._loaded: dict[tuple[str, int], Predictor] = {}

    @property
    def names(self) -> list[str]:
        """The names of the models in memory."""
        return sorted(name for name, _ in self._loaded)

    def keep(self, names: Sequence[str]) -> None:
        """Drops all other models, and those that were retrained after loading."""
        wanted = {self._key(name) for name in names}
        if self._loaded.keys() - wanted:
            self._loaded = {key: predictor for key, predictor in self._loaded.items() if key in wanted}
            gc.collect()  # modules have reference cycles: free their memory now

    def load(self, name: str) -> Predictor:
        """The model, from memory if possible. Raises ModelError, CheckpointError."""
        key = self._key(name)
        if key not in self._loaded:
            log.info("loading %s", name)
            self._loaded[key] = load_predictor(name, self._models, self._checkpoints)
        return self._loaded[key]

    def _key(self, name: str) -> tuple[str, int]:
        weights = self._models / name / WEIGHTS
        return name, weights.stat().st_mtime_ns if weights.is_file() else 0
