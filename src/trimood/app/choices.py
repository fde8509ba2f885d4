"""The models and example clips that the page offers, and the models in memory."""

import gc
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from trimood.config.checks import without_passwords
from trimood.corpus.corpus_files import TEST_FILES, clip_folder, first_present
from trimood.corpus.ecf import AnnotationError, labelled, read_ecf
from trimood.emotions import EMOTIONS
from trimood.serving.decoding import Decoder
from trimood.serving.predictor import Predictor, load_predictor
from trimood.serving.trained_model import CALIBRATION, WEIGHTS
from trimood.tracking.store import SQLITE

log = logging.getLogger(__name__)


Example = tuple[str, str, str]
"""Clip, text and emotion of an utterance of the official test file, which is never used for training."""


def corpus_examples(corpus: Path) -> list[Example]:
    """The first utterance of each emotion whose clip exists, in class order; none without such a corpus."""
    if (path := first_present(corpus, TEST_FILES)) is None:
        return []
    try:
        table = labelled(read_ecf(path, clip_folder(corpus, "test")))
    except AnnotationError as error:
        log.warning("the page offers no examples: %s", error)
        return []
    rows = [(str(corpus / clip), text, emotion) for clip, text, emotion in table[["clip", "text", "emotion"]].values]
    first = {emotion: (clip, text, emotion) for clip, text, emotion in reversed(rows) if Path(clip).is_file()}
    return [first[emotion] for emotion in EMOTIONS if emotion in first]


def trained_experiments(models: Path) -> list[str]:
    """Experiments in the folder that have weights and a calibration."""
    return sorted(path.parent.name for path in models.glob(f"*/{WEIGHTS}") if path.with_name(CALIBRATION).is_file())


def registered_models(tracking_uri: str) -> dict[str, str]:
    """Models with an alias in MLflow's registry: "trimood-exp4@champion (version 3)" → "models:/trimood-exp4/3".

    Empty without a store, which is not created. If a store does not respond, a warning is logged.
    """
    import mlflow

    if tracking_uri.startswith(SQLITE) and not Path(tracking_uri.removeprefix(SQLITE)).is_file():
        return {}
    try:
        found = mlflow.MlflowClient(tracking_uri, tracking_uri).search_registered_models()
    except mlflow.exceptions.MlflowException as error:
        reason = without_passwords(f"MLflow at {tracking_uri}: {error}")
        log.warning("the page offers no registered models: %s", reason)
        return {}
    return {
        f"{model.name}@{alias} (version {version})": f"models:/{model.name}/{version}"
        for model in found
        for alias, version in sorted(model.aliases.items())
    }


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
