"""Models exported for ONNX Runtime compute what torch does, and their folder says how to use them."""

import dataclasses
import errno
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from support.learning_examples import lora
from support.made_checkpoints import TINY_AUDIO, TINY_TEXT, TINY_VIDEO
from support.made_encoders import FAMILIES, built, made_encoder
from support.trained_experiments import write_trained
from trimood.config.experiment_settings import HeadParams
from trimood.disk import DiskFull
from trimood.emotions import EMOTIONS, MODALITIES
from trimood.model.classifier import EmotionClassifier, build_classifier
from trimood.model.config import LanguageBindConfig
from trimood.reports.model_card import how_to_run
from trimood.serving import onnx_export
from trimood.serving.onnx_export import ExportError, example_inputs, export_graph, write_onnx
from trimood.serving.predictor import Predictor, Utterance
from trimood.serving.trained_model import TrainedModel, load_trained

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: exports are NOT checked")

TEMPERATURE = 2.0


def of_one_layer(config: LanguageBindConfig) -> LanguageBindConfig:
    """Layers beyond the first are exported like it, and take seconds."""
    vision = dataclasses.replace(config.vision, num_hidden_layers=1)
    return dataclasses.replace(config, text=dataclasses.replace(TINY_TEXT, num_hidden_layers=1), vision=vision)


def small_classifier(head: str, *modalities: str) -> EmotionClassifier:
    configs = {"video": of_one_layer(TINY_VIDEO), "audio": of_one_layer(TINY_AUDIO)}
    options = {"heads": 4} if head == "attention" else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_classifier(modalities, configs, "head", head=HeadParams(kind=head, **options))
        with torch.no_grad():
            for parameter in model.head.parameters():
                parameter.add_(torch.randn_like(parameter))  # biases, too
    return model


def outputs_of(path: Path, inputs: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})


def example_in(readme: str) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    return code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "modalities"), [("mlp", ("text",)), ("gated", ("text", "audio")), ("attention", ("text", "video"))]
)
def test_each_kind_of_head_has_the_logits_of_torch_in_batches_of_any_size(
    head: str, modalities: tuple[str, ...], tmp_path: Path
) -> None:
    model = small_classifier(head, *modalities)
    export_graph(model, TEMPERATURE, tmp_path / "model.onnx")
    for count in (1, 2, 5):
        inputs = example_inputs(model, count)
        if "input_ids" in inputs:
            inputs["input_ids"][0, 9:] = TINY_TEXT.vocab_size - 1
        inputs["present"][-1] = count == 1  # the last has nothing
        expected = model(**inputs)["logits"].detach()
        logits, calibrated = outputs_of(tmp_path / "model.onnx", inputs)
        assert expected.abs().max() > 0.1
        assert logits == pytest.approx(expected.numpy(), abs=1e-4)
        assert calibrated == pytest.approx(torch.softmax(expected / TEMPERATURE, dim=-1).numpy(), abs=1e-5)
        if count > 1:
            assert not logits[-1].any()


@pytest.fixture(scope="module")
def exported(sources, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Path]:
    """The folder of a model of words, video and sound with LoRA adapters, and the README that goes with it."""
    models, folder = tmp_path_factory.mktemp("06_models"), tmp_path_factory.mktemp("onnx")
    write_trained(models / "exp6", sources, ("text", "video", "audio"), train="lora")
    trained = load_trained("exp6", models)
    recipe = write_onnx(folder, trained)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    (folder / "README.md").write_text(how_to_run(recipe, sizes))
    return trained, folder


@pytest.mark.slow
def test_the_example_of_the_readme_predicts_what_trimood_does(exported, clips: Path) -> None:
    trained, folder = exported
    readme = (folder / "README.md").read_text()
    for words in (
        "opset 20",
        "| `frames` | [utterance, 2, 3, 16, 16] uint8 |",
        "| `mel` | [utterance, 3, 16, 24] float32 |",
    ):
        assert words in readme
    example = example_in(readme)
    with_clip = re.sub(r"^# (from|video|inputs|audio|sound)", r"\1", example, flags=re.MULTILINE)
    predictor = Predictor(trained)
    for code, clip in ((example, None), (with_clip.replace("CLIP.mp4", str(clips / "whole.mp4")), clips / "whole.mp4")):
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (predicted,) = predictor.predict([Utterance(clip, "Oh , no !")])
        assert eval(done.stdout) == pytest.approx(predicted.calibrated, abs=6e-4)  # noqa: S307 - rounded to 3 digits


@pytest.mark.slow
def test_the_folder_has_the_recipe_and_the_graph_names_its_axes(exported) -> None:
    trained, folder = exported
    recipe = json.loads((folder / "recipe.json").read_text())
    assert (recipe["emotions"], recipe["temperature"], recipe["opset"]) == (list(EMOTIONS), TEMPERATURE, 20)
    assert recipe["identity"] == trained.weights.about.identity.digest
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    shapes = {of.name: of.shape for of in (*session.get_inputs(), *session.get_outputs())}
    assert shapes["present"] == ["utterance", 3]
    assert (shapes["input_ids"], shapes["logits"]) == (["utterance", 77], ["utterance", 7])


@pytest.mark.slow
@pytest.mark.parametrize("config", FAMILIES)
def test_each_family_of_text_encoders_is_exported_with_its_adapters(
    config, encoder_folder: Path, tmp_path: Path
) -> None:
    config.vocab_size = len((encoder_folder / "vocab.txt").read_text().splitlines())
    folder = made_encoder(tmp_path / "encoder", config, encoder_folder)
    model = built(folder, train="lora", lora=lora("all-linear"))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))  # else adapters change nothing
    export_graph(model, TEMPERATURE, tmp_path / "model.onnx")
    inputs = example_inputs(model, 3, text_share=0.1)
    logits, _ = outputs_of(tmp_path / "model.onnx", inputs)
    assert logits == pytest.approx(model(**inputs)["logits"].detach().numpy(), abs=1e-4)


@pytest.mark.slow
def test_an_export_that_computes_something_else_is_refused(exported) -> None:
    _, folder = exported
    other = small_classifier("linear", "text", "video", "audio")
    with pytest.raises(
        ExportError, match=r"exp6: the logits .* differ from torch's by .*; allowed is 0\.00\d+\. .*format"
    ):
        onnx_export._compare(other, folder / "model.onnx", "exp6")


@pytest.mark.slow
def test_a_text_encoder_reads_texts_of_any_length_and_its_readme_says_that_it_knew_the_conversation(
    reader_of_conversations: Path, tmp_path: Path
) -> None:
    trained = load_trained("exp13", reader_of_conversations)
    recipe = write_onnx(tmp_path, trained)
    readme = how_to_run(recipe, {"model.onnx": 1})
    assert "trained with context: 1 utterances before, 0 after" in readme
    done = subprocess.run(
        [sys.executable, "-c", example_in(readme)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (predicted,) = Predictor(trained).predict([Utterance(None, "Oh , no !")])
    assert eval(done.stdout) == pytest.approx(predicted.calibrated, abs=6e-4)  # noqa: S307 - as above


def test_a_full_disk_is_not_called_a_model_that_cannot_be_exported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    exported = SimpleNamespace(
        model=SimpleNamespace(graph=SimpleNamespace(all_nodes=list, inputs=(), outputs=())), save=full
    )
    monkeypatch.setattr(torch.export, "export", lambda *_, **__: None)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: exported)
    with pytest.raises(DiskFull, match=r"model\.onnx: it could not be written"):
        export_graph(small_classifier("linear", "video"), 1.0, tmp_path / "model.onnx")


@pytest.mark.parametrize("modalities", [("text", "video"), ("text", "video", "audio")])
def test_each_modality_is_absent_once_among_the_inputs_of_the_comparison(modalities: tuple[str, ...]) -> None:
    inputs = example_inputs(small_classifier("linear", *modalities), max(onnx_export._TRIED))
    absent = {name for name, there in zip(MODALITIES, inputs["present"].T, strict=True) if not there.all()}
    assert absent == set(modalities)
    assert inputs["present"][0].all()


def test_what_torch_cannot_export_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no operator for aten::strange\nmore")

    monkeypatch.setattr(torch.export, "export", fails)
    model = small_classifier("linear", "video")
    with pytest.raises(ExportError, match=r"exp1: torch cannot export .*RuntimeError: no operator .*format=original$"):
        export_graph(model, 1.0, tmp_path / "model.onnx", "exp1")
    assert model.training
