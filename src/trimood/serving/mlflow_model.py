"""The model as MLflow keeps it: this file, the trained weights, and where the checkpoints are.

MLflow copies the file into the model and runs it there (models from code), so that nothing of it is pickled.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext

from trimood.emotions import EMOTIONS
from trimood.media.execution import Execution
from trimood.parameters import ServingParams
from trimood.serving.predictor import Predictor, Refusal
from trimood.serving.requests import BadRequest, read_request
from trimood.serving.trained import read_trained


class EmotionModel(PythonModel):
    """From rows of clip (content) and text (words) to rows of emotion, probabilities, and what was absent."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads checkpoints and weights, as `model_config` says, and before it the environment.

        TRIMOOD_VIDEO_CHECKPOINT and its like: `mlflow models serve` has no other way to hand anything on.
        """
        self.config = ServingParams.model_validate(
            {name: os.environ.get(f"TRIMOOD_{name.upper()}", default) for name, default in context.model_config.items()}
        )
        weights, calibration = (Path(context.artifacts[name]) for name in ("weights", "calibration"))
        others = {"video": self.config.video_checkpoint, "audio": self.config.audio_checkpoint}
        self.predictor = Predictor(read_trained("the model", weights, calibration).with_checkpoints(others))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """A row for each row, in order. A wrong request raises the MlflowException that a server turns into a 400."""
        execution = Execution(self.config.executor, 0, self.config.time_limit_seconds)
        try:
            with tempfile.TemporaryDirectory(prefix="trimood-request-") as folder:
                utterances = read_request(model_input, Path(folder), self.config.largest_clip_megabytes)
                results = self.predictor.predict(utterances, execution)
            refused = [f"{r.name}: {r.reason}" for r in results if isinstance(r, Refusal)]
            if refused:
                raise BadRequest("\n".join(refused))
        except BadRequest as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return pd.DataFrame(
            {
                "emotion": result.emotion,
                **{f"p_{emotion}": result.probabilities[emotion] for emotion in EMOTIONS},
                **{f"calibrated_{emotion}": result.calibrated[emotion] for emotion in EMOTIONS},
                "absent": ", ".join(result.absent),
            }
            for result in results
            if not isinstance(result, Refusal)
        )


mlflow.models.set_model(EmotionModel())
