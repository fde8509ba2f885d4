"""What a run leaves of an experiment, made without one: weights, calibration, and clips to predict."""

import json
from pathlib import Path

import pytest
import torch

from support.learning_examples import encoder_settings, tiny_model, tiny_plan, tiny_weights
from support.made_media import make_clip
from trimood.config.experiment_settings import ContextParams
from trimood.learning.experiment import plan_experiment
from trimood.learning.setup import load_model
from trimood.model.stored import write_weights
from trimood.model.trained import trained_state

TEMPERATURE = 2.0


def write_trained(
    folder: Path, sources: dict[str, str], modalities: tuple[str, ...], train: str = "head", head: object = "trained"
) -> Path:
    """An experiment's folder with best.safetensors and calibration.json; its head tells utterances well apart."""
    model = tiny_model(sources, train=train, modalities=modalities, head=head).model
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(5)
    tensors = {name: tensor.clone() for name, tensor in trained_state(model).items()}
    weights = tiny_weights(tiny_plan(sources, train=train, modalities=modalities, head=head), tensors)
    write_weights(folder / "best.safetensors", weights)
    calibration = {"temperature": TEMPERATURE, "weights": weights.about.fingerprint}
    (folder / "calibration.json").write_text(json.dumps(calibration))
    return folder


@pytest.fixture(scope="session")
def trained_folder(sources: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """06_models with exp6_head of all three modalities and exp3 of words and video."""
    folder = tmp_path_factory.mktemp("06_models")
    write_trained(folder / "exp6_head", sources, ("text", "video", "audio"))
    write_trained(folder / "exp3", sources, ("text", "video"))
    return folder


@pytest.fixture(scope="session")
def reader_of_conversations(
    sources: dict[str, str], encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """06_models with exp13 of words and video, whose text encoder reads the utterance before and who speaks."""
    settings = encoder_settings("head", ("text", "video"), ContextParams(previous=1, speakers=True))
    plan = plan_experiment(settings, {**sources, "text": str(encoder_folder)}, "pyav", "mean")
    model = load_model(plan.settings, plan.checkpoints).model
    tensors = {name: tensor.clone() for name, tensor in trained_state(model).items()}
    weights = tiny_weights(plan, tensors)
    folder = tmp_path_factory.mktemp("conversations") / "exp13"
    write_weights(folder / "best.safetensors", weights)
    calibration = {"temperature": TEMPERATURE, "weights": weights.about.fingerprint}
    (folder / "calibration.json").write_text(json.dumps(calibration))
    return folder.parent


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole clip, one without sound, and one that is cut off."""
    folder = tmp_path_factory.mktemp("clips")
    make_clip(folder / "whole.mp4", seconds=1.0)
    make_clip(folder / "mute.mp4", audio="none", seed=1)
    (folder / "broken.mp4").write_bytes((folder / "whole.mp4").read_bytes()[:2000])
    return folder
