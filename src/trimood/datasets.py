"""Catalog datasets that Kedro's collection lacks: folders, checkpoints, trained weights, MLflow runs and artifacts."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from pydantic import BaseModel, ValidationError
from upath import UPath

from trimood.disk import written_whole
from trimood.model.stored import (
    Embeddings,
    TrainedWeights,
    read_embeddings,
    read_weights,
    write_embeddings,
    write_weights,
)
from trimood.tracking.store import SQLITE, tracking_uri, use_store

Fill = Callable[[Path], None]

GENERATED = ".generated-by-trimood"
"""A file that marks a folder as written here: no other folder is ever replaced."""


class RawDataError(DatasetError):
    """A folder of raw data is not there, or is somebody's own."""


class FolderDataset(AbstractDataset[Fill, Path | UPath]):
    """A folder: loads as its path; is saved by a function that fills an empty one, and appears whole or not at all."""

    def __init__(self, *, filepath: str, create: bool = False, metadata: dict[str, Any] | None = None) -> None:
        """With `create`, loading a folder that is not there makes it: for caches that fill themselves.

        Such a cache may lie on any file system that fsspec knows, where folders come to be with their first file.
        """
        self._elsewhere = UPath(filepath) if create and "://" in filepath else None
        self._filepath = Path(filepath).expanduser()
        self._create = create
        self.metadata = metadata

    def load(self) -> Path | UPath:
        """The folder's path. Raises RawDataError where there is none."""
        if self._elsewhere is not None:
            return self._elsewhere
        if self._create:
            self._filepath.mkdir(parents=True, exist_ok=True)
        if not self._filepath.is_dir():
            raise RawDataError(
                f"{self._filepath}: no such folder. Give the right one with --params or in conf/*/globals.yml, as "
                "corpus_dir, meld_dir, episodes_dir, video_checkpoint or audio_checkpoint (see 'Real data' in "
                "README.md)."
            )
        return self._filepath

    def save(self, data: Fill) -> None:
        """Fills a folder beside the target and renames it into place; an earlier one is replaced if it was made here.

        Raises RawDataError for a folder that is somebody's own, and where the catalog does not say that it is
        generated (`metadata.made_by`): made-up data must not stand where real data is expected.
        """
        if "made_by" not in (self.metadata or {}):
            raise RawDataError(
                f"{self._filepath}: nothing is generated here, as this environment works on your own data. The demo's "
                "data is made in the default environment: run without --env."
            )
        if self._filepath.exists() and not (self._filepath / GENERATED).exists():
            raise RawDataError(
                f"{self._filepath}: this folder was not made by trimood, so it is not replaced. Move it away, or let "
                "generated data go elsewhere: corpus_dir, video_checkpoint and audio_checkpoint say where."
            )
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{self._filepath.name}.", dir=self._filepath.parent) as scratch:
            filled = Path(scratch) / "filled"
            filled.mkdir()
            data(filled)
            (filled / GENERATED).touch()
            if self._filepath.exists():
                os.replace(self._filepath, Path(scratch) / "replaced")
            os.replace(filled, self._filepath)

    def _exists(self) -> bool:
        return self._filepath.is_dir() if self._elsewhere is None else self._elsewhere.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._elsewhere or self._filepath)}


class CheckpointDataset(FolderDataset):
    """A LanguageBind checkpoint: a local folder, or a name on the Hugging Face hub; loads as text, a path or a name."""

    def __init__(self, *, filepath: str, source: str, metadata: dict[str, Any] | None = None) -> None:
        """`source`: a folder or `organisation/name`; `filepath`: the same, taken from the project's root by Kedro."""
        super().__init__(filepath=filepath, metadata=metadata)
        self._source = source

    def load(self) -> str:  # type: ignore[override]  # a hub's name is no path
        """The folder's path where there is one, else the source as given: a hub name, or a typing error."""
        return str(self._filepath) if self._filepath.is_dir() else self._source

    def _describe(self) -> dict[str, Any]:
        return {"source": self._source}


class WeightsDataset(AbstractDataset[TrainedWeights, TrainedWeights]):
    """Trained weights and what they belong to, as one safetensors file; tensors are read when they are asked for."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """`filepath`: a .safetensors file."""
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> TrainedWeights:
        """Reads the header only. Raises CheckpointError."""
        return read_weights(self._filepath)

    def save(self, data: TrainedWeights) -> None:
        """The whole file or nothing. Raises DiskFull."""
        write_weights(self._filepath, data)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class ModelDataset(AbstractDataset[BaseModel, BaseModel]):
    """An instance of a pydantic class as a JSON file: saved as it is, loaded with validation."""

    def __init__(self, *, filepath: str, model: str, command: str, metadata: dict[str, Any] | None = None) -> None:
        """`model`: the import path of the class; `command`: what writes the file again, for the error messages.

        Raises DatasetError where the path does not lead to a pydantic class.
        """
        self._filepath = Path(filepath)
        try:
            self._model = resolve_name(model)
        except (ImportError, AttributeError, ValueError) as error:
            raise DatasetError(f"{filepath}: the class {model!r} cannot be imported: {error}") from error
        if not (isinstance(self._model, type) and issubclass(self._model, BaseModel)):
            raise DatasetError(f"{filepath}: {model!r} is not a pydantic class")
        self._command = command
        self.metadata = metadata

    def load(self) -> BaseModel:
        """Raises DatasetError for a file that is missing, or whose content does not fit the class."""
        if not self._exists():
            raise DatasetError(f"{self._filepath}: no such file. Run this first: {self._command}")
        try:
            found: BaseModel = self._model.model_validate_json(self._filepath.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise DatasetError(
                f"{self._filepath}: {where}: {first['msg']} ({error.error_count()} such errors). The file does not fit "
                f"{self._model.__name__}: another version of trimood wrote it, or it was edited. Write it again with: "
                f"{self._command}"
            ) from error
        return found

    def save(self, data: BaseModel) -> None:
        """The whole file or nothing. Raises DatasetError for an instance of another class, and DiskFull."""
        if not isinstance(data, self._model):
            raise DatasetError(f"{self._filepath}: got {type(data).__name__}, expected {self._model.__name__}")
        with written_whole(self._filepath) as beside:
            beside.write_text(data.model_dump_json(indent=2), encoding="utf-8")

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "model": f"{self._model.__module__}.{self._model.__qualname__}"}


class EmbeddingsDataset(AbstractDataset[Embeddings, Embeddings]):
    """Embeddings of whole splits, as one safetensors file."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """`filepath`: a .safetensors file."""
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Embeddings:
        """All of them. Raises CheckpointError."""
        return read_embeddings(self._filepath)

    def save(self, data: Embeddings) -> None:
        """The whole file or nothing. Raises DiskFull."""
        write_embeddings(self._filepath, data)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class TrainedModelDataset(AbstractDataset[None, Any]):
    """What a training left, by name: an experiment of this project's folders, or a model of its MLflow; read-only."""

    def __init__(
        self,
        *,
        model: str,
        filepath: str,
        tracking_uri: str,
        path: str,
        checkpoints: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """`filepath`: the folder of experiments; `checkpoints`: other places than training had, where not empty.

        `tracking_uri` and `path` as for MlflowRunsDataset.
        """
        self._model, self._filepath, self._checkpoints = model, Path(filepath), checkpoints or {}
        self._uri, self._folder = tracking_uri, Path(path)
        self.metadata = metadata

    def load(self) -> Any:
        """A `trimood.serving.trained_model.Trained`. Raises ModelError."""
        from trimood.serving.trained_model import load_trained

        use_store(tracking_uri(self._uri, self._folder))
        return load_trained(self._model, self._filepath).with_checkpoints(self._checkpoints)

    def save(self, data: None) -> None:
        """Not possible: models are made by running experiments."""
        raise DatasetError(f"{self._model}: models are read here, not written. Run an experiment instead.")

    def _describe(self) -> dict[str, Any]:
        return {"model": self._model, "filepath": str(self._filepath)}


class MlflowRunsDataset(AbstractDataset[None, Any]):
    """All runs of one MLflow experiment as `mlflow.search_runs` gives them, a pandas table; read-only."""

    def __init__(
        self, *, tracking_uri: str, path: str, experiment: str, metadata: dict[str, Any] | None = None
    ) -> None:
        """`tracking_uri` as in globals.yml; the environment variable MLFLOW_TRACKING_URI takes precedence.

        `path` is the folder that a relative SQLite file lies in: `.`, which Kedro takes from the project's root.
        """
        self._uri, self._folder, self._experiment = tracking_uri, Path(path), experiment
        self.metadata = metadata

    def load(self) -> Any:
        """An empty table where nothing was tracked yet: reading makes no store."""
        import mlflow
        import pandas as pd

        uri = tracking_uri(self._uri, self._folder)
        if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
            return pd.DataFrame()
        use_store(uri)
        return mlflow.search_runs(experiment_names=[self._experiment])

    def save(self, data: None) -> None:
        """Not possible: runs are made by running experiments."""
        raise DatasetError(f"{self._experiment}: MLflow runs are read here, not written. Run an experiment instead.")

    def _describe(self) -> dict[str, Any]:
        return {"tracking_uri": self._uri, "experiment": self._experiment}


class MlflowArtifactsDataset(AbstractDataset[None, Callable[[str, str], Path | None]]):
    """The artifacts of all runs: loads as a function from a run's id and an artifact's name to the file, or to None."""

    def __init__(self, *, tracking_uri: str, path: str, metadata: dict[str, Any] | None = None) -> None:
        """As for `MlflowRunsDataset`."""
        self._uri, self._folder = tracking_uri, Path(path)
        self.metadata = metadata

    def load(self) -> Callable[[str, str], Path | None]:
        """A file of a store in reach is given where it lies, one of a server is fetched into a temporary folder."""
        # MLflow would draw a bar of progress for each small file, also for one that lies on this machine.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        import mlflow

        use_store(tracking_uri(self._uri, self._folder))
        client = mlflow.MlflowClient()

        def fetch(run_id: str, name: str) -> Path | None:
            folder = str(Path(name).parent) if "/" in name else None
            there = {artifact.path for artifact in client.list_artifacts(run_id, folder)}
            return Path(client.download_artifacts(run_id, name)) if name in there else None

        return fetch

    def save(self, data: None) -> None:
        """Not possible: artifacts are logged by running experiments."""
        raise DatasetError("Artifacts of MLflow runs are read here, not written. Run an experiment instead.")

    def _describe(self) -> dict[str, Any]:
        return {"tracking_uri": self._uri}
