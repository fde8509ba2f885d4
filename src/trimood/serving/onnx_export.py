"""Exports a trained model for ONNX Runtime: towers and head as one graph, with its tokenizer and how inputs are made.

onnx, onnxscript and onnxruntime are the extra `onnx`; they are imported where they are used.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimood.disk import DiskFull, says_disk_full
from trimood.emotions import EMOTIONS, MODALITIES
from trimood.media.recipes import SHIFT_MS, WINDOW_MS
from trimood.model.checkpoints import TOKEN_COUNT
from trimood.serving.trained_model import TrainedModel

if TYPE_CHECKING:
    from torch import Tensor

    from trimood.learning.setup import LoadedModel
    from trimood.model.classifier import EmotionClassifier

OPSET = 20
"""The first version of ONNX's operators that has GELU, and the one that torch's exporter is written for."""

TOLERANCE = 1e-4
"""How far logits may be from torch's, on a CPU; relative to the largest logit if that is above 1."""

GRAPH, RECIPE = "model.onnx", "recipe.json"
"""The weights are in a file beside the graph, model.onnx.data: a graph with more than 2 GB cannot hold them."""

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_TEXT_TOKENS = 77
_TRIED = {1: 0.5, 1 + len(MODALITIES): 1.0}
"""Batches with which an export is compared with torch, and how much of the longest text of an encoder they have."""


class ExportError(Exception):
    """A model cannot be exported, or its export does not compute what torch does."""


def require_packages() -> None:
    """Raises ExportError without the packages of the extra."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise ExportError(
            f"format=onnx needs packages that are not installed ({', '.join(missing)}): pip install 'trimood[onnx]'"
        )


def write_onnx(folder: Path, trained: TrainedModel) -> dict[str, Any]:
    """Fills a folder with the graph, its weights, the tokenizer's files and recipe.json; returns the recipe.

    Raises ExportError, and CheckpointError if the checkpoints have changed since the training.
    """
    from trimood.learning.setup import load_for_plan

    require_packages()
    loaded = load_for_plan(trained.plan, trained.weights)
    export_graph(loaded.model, trained.temperature, folder / GRAPH, trained.name)
    if loaded.words:
        loaded.words.tokenizer.save_pretrained(str(folder))
    recipe = _recipe(trained, loaded)
    (folder / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
    return recipe


def export_graph(classifier: "EmotionClassifier", temperature: float, path: Path, name: str = "the model") -> None:
    """Writes a classifier as an ONNX graph, and compares it with torch in batches of two sizes.

    Inputs are those of `example_inputs`, for any number of utterances; outputs are `logits` and `calibrated`, the
    probabilities at the temperature, [utterance, 7] float32. LoRA adapters stay as they are: merged into the weights,
    they would be rounded. Raises ExportError if torch has no ONNX operators for a layer, or if logits differ; and
    DiskFull.
    """
    import torch

    class Deployed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = classifier

        def forward(
            self,
            present: "Tensor",
            input_ids: "Tensor | None" = None,
            frames: "Tensor | None" = None,
            mel: "Tensor | None" = None,
        ) -> tuple["Tensor", "Tensor"]:
            logits = self.classifier(input_ids, frames, mel, present=present)["logits"]
            return logits, torch.softmax(logits / temperature, dim=-1)

    inputs = example_inputs(classifier, 3)
    of_any_size = torch.export.Dim.DYNAMIC
    axes: dict[str, dict[int, Any]] = {field: {0: of_any_size} for field in inputs}
    if classifier.encoder:
        axes["input_ids"][1] = of_any_size
    was_training = classifier.training
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(Deployed().eval(), (), inputs, dynamic_shapes=axes, strict=False)
            exported = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, output_names=["logits", "calibrated"], verbose=False
            )
            assert exported is not None  # noqa: S101 - for mypy: it is None only with a path
            graph = exported.model.graph
            for node in graph.all_nodes():
                node.metadata_props.clear()  # torch's stack traces, five times the size of the graph
            for value in (*graph.inputs, *graph.outputs):
                for axis, size in enumerate(value.shape or ()):
                    if not isinstance(size, int):
                        value.shape[axis] = ("utterance", "token")[axis]  # type: ignore[index]  # there is one, as it has a size
    except Exception as error:  # torch's exporter has a dozen kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ExportError(
            f"{name}: torch cannot export this model for ONNX ({type(error).__name__}: {reason}). Export its weights "
            "for PyTorch instead: format=original"
        ) from error
    finally:
        classifier.train(was_training)
    try:
        with _quiet():
            exported.save(path, external_data=True)
    except Exception as error:
        if says_disk_full(error):
            raise DiskFull(path) from error
        raise
    _compare(classifier, path, name)


def example_inputs(classifier: "EmotionClassifier", count: int, text_share: float = 1.0) -> "dict[str, Tensor]":
    """Random inputs of `count` utterances, as the graph takes them; all but the first lack a modality, each in turn.

    `present` [utterance, 3] bool, `input_ids` [utterance, token] int64, `frames` [utterance, frame, 3, height, width]
    uint8, `mel` [utterance, 3, mel, time] float32, those of the model's modalities. `text_share`: how much of the
    longest text of an encoder there is; LanguageBind's have 77 tokens.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    present = torch.ones(count, len(MODALITIES), dtype=torch.bool)
    for number in range(1, count):
        present[number, MODALITIES.index(classifier.modalities[(number - 1) % len(classifier.modalities)])] = False
    inputs = {"present": present}
    if "text" in classifier.modalities:
        encoder = classifier.encoder
        tokens = max(2, int(encoder.config.most_tokens * text_share)) if encoder else TOKEN_COUNT
        vocabulary = (
            encoder.config.transformers.vocab_size if encoder else classifier.tower("text").config.text.vocab_size
        )
        inputs["input_ids"] = torch.randint(0, vocabulary, (count, tokens), generator=generator)
    if "video" in classifier.modalities:
        vision = classifier.tower("video").config.vision
        shape = (count, vision.num_frames, 3, vision.image_size, vision.image_size)
        inputs["frames"] = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    if "audio" in classifier.modalities:
        vision = classifier.tower("audio").config.vision
        inputs["mel"] = torch.randn(count, 3, vision.num_mel_bins, vision.target_length, generator=generator)
    return inputs


def _compare(classifier: "EmotionClassifier", path: Path, name: str) -> None:
    import numpy as np
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count, share in _TRIED.items():
        inputs = example_inputs(classifier, count, share)
        with torch.no_grad():
            expected: np.ndarray = classifier.eval()(
                **{field: inputs.get(field) for field in ("input_ids", "frames", "mel", "present")}
            )["logits"].numpy()
        found = session.run(["logits"], {field: value.numpy() for field, value in inputs.items()})[0]
        differs = float(np.abs(found - expected).max())
        allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
        if not differs <= allowed:
            raise ExportError(
                f"{name}: the logits of the exported graph differ from torch's by {differs:.2g}; allowed is "
                f"{allowed:.2g}. Export its weights for PyTorch instead: format=original"
            )


def _recipe(trained: TrainedModel, loaded: "LoadedModel") -> dict[str, Any]:
    """How inputs are made and outputs read, as values of JSON."""
    clips = trained.recipe
    found: dict[str, Any] = {
        "experiment": trained.weights.about.identity.experiment,
        "identity": trained.weights.about.identity.digest,
        "opset": OPSET,
        "modalities": list(trained.modalities),
        "present": list(MODALITIES),
        "emotions": list(EMOTIONS),
        "temperature": trained.temperature,
    }
    if loaded.words:
        words = loaded.words
        before, after = words.around_alone()
        found["text"] = {
            "before": before,
            "after": after,
            "padding": words.tokenizer.pad_token_id if words.padding is None else words.padding,
            "most_tokens": words.most_tokens,
            "always_padded": words.encoder is None,
            "lower_case": words.encoder is None,
            "context": trained.plan.settings.context.model_dump(),
        }
    if loaded.video:
        found["video"] = {
            "frames": loaded.video.frame_count,
            "side_pixels": loaded.video.frame_size_pixels,
            "reader": clips.video.reader,
        }
    if loaded.audio:
        found["audio"] = {
            "sample_rate_hz": clips.audio.sample_rate_hz,
            "stereo": clips.audio.stereo,
            "window_ms": WINDOW_MS,
            "shift_ms": SHIFT_MS,
            "mel_bins": loaded.audio.mel_bins,
            "time_steps": loaded.audio.target_length,
            "mean": loaded.audio.mean,
            "std": loaded.audio.std,
        }
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Leaves out what torch's exporter says of its own deprecations, and of operators of packages that are not used."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
