"""Catalog datasets that read what experiments have written into MLflow: models, the table of runs, and artifacts.

pandas and MLflow are imported where they are used: making a dataset needs neither.
"""

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kedro.io import AbstractDataset, DatasetError

from trimood.tracking.store import SQLITE, require_store, tracking_uri, use_store

if TYPE_CHECKING:
    import pandas as pd

    from trimood.serving.trained_model import TrainedModel

Content = TypeVar("Content")


class _ReadOnlyDataset(AbstractDataset[None, Content]):
    """What experiments have written into MLflow, or into it and into this project."""

    def __init__(self, *, tracking_uri: str, path: str, metadata: Mapping[str, object] | None = None) -> None:
        """`tracking_uri` as in globals.yml; the environment variable MLFLOW_TRACKING_URI takes precedence.

        `path` is the folder from which a relative SQLite path starts: `.`, which Kedro resolves to the project root.
        """
        self._tracking_uri, self._folder = tracking_uri, Path(path)
        self.metadata = metadata

    def _uri(self) -> str:
        return tracking_uri(self._tracking_uri, self._folder)

    def save(self, data: None) -> None:
        """Raises DatasetError."""
        raise DatasetError("This dataset is read-only. Run an experiment: it writes the model, the run and its files.")

    def _describe(self) -> dict[str, str]:
        return {"tracking_uri": self._tracking_uri}


class TrainedModelDataset(_ReadOnlyDataset["TrainedModel"]):
    """A trained model by name: an experiment of this project, or a run or model of its MLflow."""

    def __init__(self, *, model: str, filepath: str, checkpoints: dict[str, str] | None = None, **store: Any) -> None:
        """`filepath`: the folder of experiments; `checkpoints`: new paths of the checkpoints, unless empty."""
        super().__init__(**store)
        self._model, self._filepath, self._checkpoints = model, Path(filepath), checkpoints or {}

    def load(self) -> "TrainedModel":
        """Raises ModelError, and OutOfReach for a model of a store that does not answer."""
        from trimood.serving.trained_model import is_run, load_trained

        if is_run(self._model) or self._model.startswith("models:/"):
            require_store(self._uri())
        use_store(self._uri())
        return load_trained(self._model, self._filepath).with_checkpoints(self._checkpoints)

    def _describe(self) -> dict[str, str]:
        return {"model": self._model, "filepath": str(self._filepath)}


class MlflowRunsDataset(_ReadOnlyDataset["pd.DataFrame"]):
    """All runs of one MLflow experiment: the table of `mlflow.search_runs`."""

    def __init__(self, *, experiment: str, **store: Any) -> None:
        super().__init__(**store)
        self._experiment = experiment

    def load(self) -> "pd.DataFrame":
        """Returns an empty table if nothing was tracked yet; reading creates no store. Raises OutOfReach."""
        import mlflow
        import pandas as pd

        uri = self._uri()
        if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
            return pd.DataFrame()
        require_store(uri)
        use_store(uri)
        return mlflow.search_runs(experiment_names=[self._experiment])


class MlflowArtifactsDataset(_ReadOnlyDataset[Callable[[str, str], Path | None]]):
    """The artifacts of all runs, as a function from run id and artifact name to the file, or None if there is none."""

    def load(self) -> Callable[[str, str], Path | None]:
        """Returns the function, which may be called from several threads at once.

        It downloads from a server into a temporary folder; a local file is not copied, and found without MLflow, which
        asks the store twice for each file.
        """
        # Otherwise MLflow shows a progress bar for each small file, even a local one.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        import mlflow
        from mlflow.utils.file_utils import local_file_uri_to_path
        from mlflow.utils.uri import is_local_uri

        use_store(self._uri())
        client = mlflow.MlflowClient()

        @cache
        def place_of(run_id: str) -> str:
            return str(client.get_run(run_id).info.artifact_uri)

        @cache
        def names_in(run_id: str, folder: str | None) -> set[str]:
            return {artifact.path for artifact in client.list_artifacts(run_id, folder)}

        def fetch(run_id: str, name: str) -> Path | None:
            if is_local_uri(place_of(run_id)):
                path = Path(local_file_uri_to_path(place_of(run_id))) / name
                return path if path.exists() else None
            folder = str(Path(name).parent) if "/" in name else None
            return Path(client.download_artifacts(run_id, name)) if name in names_in(run_id, folder) else None

        return fetch
