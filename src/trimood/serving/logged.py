"""Puts a trained experiment into MLflow as a model: code, weights, calibration, signature, example, requirements."""

import base64
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import trimood
from trimood.emotions import EMOTIONS
from trimood.parameters import ServingParams
from trimood.serving.example import example_clip

MODEL = "model"
"""What the model is called within its run: runs:/RUN_ID/model."""

REQUIREMENTS = (
    *("av", "fsspec", "huggingface_hub", "mlflow", "numpy", "pandas", "pebble", "peft", "pydantic", "safetensors"),
    *("scipy", "torch", "torchaudio", "tqdm", "transformers", "universal-pathlib"),
)
"""What the model's code imports, pinned to the versions that it was trained with."""


def log_model(weights: Path, calibration: Path) -> str:
    """Logs the model into the active run. Nothing is loaded, so it takes no longer than to copy the files.

    Returns its URI.
    """
    import pandas as pd
    from mlflow.models import Model

    example = pd.DataFrame({"clip": [base64.b64encode(example_clip()).decode()], "text": ["What?!"]})
    with _quietly():
        logged = Model.log(
            None,
            sys.modules[__name__],
            name=MODEL,
            python_model=str(Path(__file__).with_name("mlflow_model.py")),
            artifacts={"weights": str(weights), "calibration": str(calibration)},
            code_paths=[str(Path(trimood.__file__).parent)],
            model_config=ServingParams().model_dump(),
            signature=_signature(),
            input_example=example,
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            validate_serving_input=False,
        )
    return str(logged.model_uri)


def save_model(path: str, mlflow_model: Any, validate_serving_input: bool, **arguments: Any) -> None:
    """MLflow's `pyfunc`, for `Model.log`, which itself reads that the example is not to be tried.

    To try it is to load the checkpoints, two gigabytes each, at the end of every run. The tests try it.
    """
    import mlflow

    mlflow.pyfunc.save_model(path=path, mlflow_model=mlflow_model, **arguments)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without MLflow's bars for files that are copied in no time, and without warnings about its own insides."""
    from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR as BARS

    before = os.environ.get(BARS.name)
    BARS.set(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            BARS.unset()
        else:
            os.environ[BARS.name] = before


def _signature():  # type: ignore[no-untyped-def]
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs = [ColSpec(DataType.string, name, required=False) for name in ("clip", "text")]
    numbers = [f"{kind}_{emotion}" for kind in ("p", "calibrated") for emotion in EMOTIONS]
    outputs = [
        ColSpec(DataType.string, "emotion"),
        *(ColSpec(DataType.double, name) for name in numbers),
        ColSpec(DataType.string, "absent"),
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
