"""The MLflow model of an experiment: logging it, and the code that is loaded and served.

MLflow copies this file into the model and runs it there (models from code), so nothing is pickled. The model contains
the trained weights and the names of the checkpoints, but not the checkpoints.
"""

import base64
import os
import sys
import tempfile
import warnings
import zipfile
from functools import partial
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types import ColSpec, Schema

import trimood
from trimood.config.parameters import ServingParams
from trimood.emotions import CALIBRATED, PROBABILITIES
from trimood.serving.decoding import Busy, Decoder
from trimood.serving.guard import RequestGuard, read_limits
from trimood.serving.predictor import Predictor, Refusal
from trimood.serving.requests import CONTEXT_COLUMNS, REQUEST_COLUMNS, BadRequest, check_body, read_request
from trimood.serving.trained_model import read_trained

MODEL = "model"
"""The name of the model within its run: runs:/RUN_ID/model."""

CODE = "trimood.zip"
"""The package's source as one file, from which Python imports: it has 170 files, which slow stores take one by one."""

REQUIREMENTS = (
    *("av", "filelock", "fsspec", "ftfy", "huggingface_hub", "mlflow", "numpy", "pandas", "pebble", "peft", "pydantic"),
    *("safetensors", "scipy", "torch", "torchaudio", "tqdm", "transformers", "universal-pathlib"),
)
"""The packages that the model's code imports; logging a model pins them to the installed versions."""


def log_model(weights: Path, calibration: Path, run: str) -> str:
    """Logs the model to the run with this id and returns its URI. Copies the files without loading their tensors.

    Raises ModelError if the calibration does not belong to the weights.
    """
    plan = read_trained(weights.parent.name, weights, calibration).plan
    reader = ["decord"] if plan.reader == "decord" else []
    asked, counted = (
        (REQUEST_COLUMNS, [])
        if plan.settings.context.is_none
        else (
            (*REQUEST_COLUMNS, *CONTEXT_COLUMNS),
            [ColSpec("long", "context")],
        )
    )
    example = pd.DataFrame({"clip": [base64.b64encode(example_clip()).decode()], "text": ["What?!"]})
    answer = [*(ColSpec("double", name) for name in (*PROBABILITIES, *CALIBRATED)), ColSpec("string", "absent")]
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # the files are small
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # of MLflow, about its own internals
        logged = Model.log(
            None,
            sys.modules[__name__],
            name=MODEL,
            run_id=run,
            python_model=__file__,
            artifacts={"weights": str(weights), "calibration": str(calibration)},
            code_paths=[str(write_source(Path(folder) / CODE))],
            model_config=ServingParams().model_dump(),
            signature=ModelSignature(
                Schema([ColSpec("string", name, required=False) for name in asked]),
                Schema([ColSpec("string", "emotion"), *answer, *counted]),
            ),
            input_example=example,
            pip_requirements=[f"{name}=={version(name)}" for name in (*REQUIREMENTS, *reader)],
            validate_serving_input=False,
        )
    return str(logged.model_uri)


def save_model(path: str, mlflow_model: Model, validate_serving_input: bool, **arguments: Any) -> None:
    """Calls MLflow's `pyfunc.save_model` for `Model.log`, without predicting the input example.

    That would load the checkpoints, two gigabytes each, at the end of every run. A test predicts it instead.
    """
    mlflow.pyfunc.save_model(path=path, mlflow_model=mlflow_model, **arguments)
    # What MLflow puts on sys.path before it loads the model: the zip itself, not the folder that it lies in.
    mlflow_model.flavors[mlflow.pyfunc.FLAVOR_NAME][mlflow.pyfunc.CODE] += f"/{CODE}"
    mlflow_model.save(str(Path(path) / MLMODEL_FILE_NAME))


def write_source(target: Path) -> Path:
    """Writes this package's source into a zip file that can be on sys.path; the same source gives the same bytes."""
    package = Path(trimood.__file__).parent
    files = sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(package.parent).as_posix())  # with a fixed time
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return target


def example_clip() -> bytes:
    """Generates the clip of the input example: half a second of a moving bar with a tone, as MP4."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=16, width=64, height=64, pix_fmt="yuv420p")
        audio = container.add_stream("aac", rate=16_000, layout="mono")
        for left in range(0, 64, 8):
            picture = np.full((64, 64, 3), 40, dtype=np.uint8)
            picture[:, left : left + 8] = 220
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        tone = 0.3 * np.sin(2 * np.pi * 440 / 16_000 * np.arange(8_000))
        sound = av.AudioFrame.from_ndarray(tone.astype(np.float32)[None], format="fltp", layout="mono")
        sound.sample_rate = 16_000
        for packets in (video.encode(None), audio.encode(sound), audio.encode(None)):
            container.mux(packets)
    return file.getvalue()


def guard_next_server(limits: ServingParams) -> None:
    """Puts a RequestGuard around every FastAPI app that is made later in this process.

    `mlflow models serve` loads the model and then makes its app, and has no setting for the size of requests.
    """
    import fastapi

    check = partial(check_body, limits=limits)

    class GuardedFastAPI(fastapi.FastAPI):
        def build_middleware_stack(self) -> Any:
            return RequestGuard(super().build_middleware_stack(), limits, limits.largest_request_megabytes, check, {})

    fastapi.FastAPI = GuardedFastAPI  # type: ignore[misc]


class EmotionModel(PythonModel):
    """Predicts rows of clip (content) and text; returns rows of emotion, probabilities, and absent modalities.

    A model that reads the conversation also takes CONTEXT_COLUMNS, and returns how many other utterances it read.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Loads checkpoints and weights with the settings in `model_config` and in the environment.

        In the process of `mlflow models serve`, also guards the server that MLflow makes next.
        """
        self.limits = read_limits(context.model_config)
        trained = read_trained("the model", *(Path(context.artifacts[name]) for name in ("weights", "calibration")))
        others = {
            "video": self.limits.video_checkpoint,
            "audio": self.limits.audio_checkpoint,
            "text": self.limits.text_checkpoint,
        }
        self.predictor = Predictor(trained.with_checkpoints(others))
        self.decoder = Decoder(self.limits)
        if "mlflow.pyfunc.scoring_server.app" in sys.modules:
            self.decoder.start()
            guard_next_server(self.limits)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Returns a row for each input row, in order.

        Raises MlflowException for a bad request (HTTP status 400) or when the server is busy (503).
        """
        try:
            with tempfile.TemporaryDirectory(prefix="trimood-request-") as folder:
                utterances = read_request(model_input, Path(folder), self.limits)
                results = self.decoder.predict(self.predictor, utterances)
            refused = [f"{r.name}: {r.reason}" for r in results if isinstance(r, Refusal)]
            if refused:
                raise BadRequest("\n".join(refused))
        except Busy as error:
            raise MlflowException(str(error), TEMPORARILY_UNAVAILABLE) from None
        except BadRequest as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return pd.DataFrame(
            {
                "emotion": result.emotion,
                **dict(zip(PROBABILITIES, result.probabilities.values(), strict=True)),
                **dict(zip(CALIBRATED, result.calibrated.values(), strict=True)),
                "absent": ", ".join(result.absent),
                **({} if self.predictor.context.is_none else {"context": result.context}),
            }
            for result in results
            if not isinstance(result, Refusal)
        )


if __name__ != "trimood.serving.mlflow_model":  # MLflow runs its copy of this file
    mlflow.models.set_model(EmotionModel())
