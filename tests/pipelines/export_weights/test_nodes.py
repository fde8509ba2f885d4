"""The export stage on a tiny model: a folder with weights and a card whose numbers are those of its run."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from support.learning_examples import example_table, tiny_model, tiny_plan, tiny_weights
from trimood.config.parameters import CompareParams
from trimood.emotions import EMOTIONS, MODALITIES
from trimood.model.stored import Imported, TrainedWeights
from trimood.model.trained import trained_state
from trimood.model.upstream import read_published
from trimood.pipelines.export_weights.nodes import NotEvaluated, describe, export
from trimood.scoring.metrics import summary_scores
from trimood.serving import onnx_export
from trimood.serving.trained_model import TrainedModel

HOW = CompareParams(baseline="exp1", resamples=200, confidence=0.95, seed=0, runs=())


def trained_model(sources, train: str = "lora") -> TrainedModel:
    model = tiny_model(sources, train=train).model
    plan = tiny_plan(sources, train=train)
    weights = tiny_weights(plan, {name: of.clone() for name, of in trained_state(model).items()})
    return TrainedModel("exp3", plan, weights, 1.0)


def predictions_of(weights: TrainedWeights, path: Path) -> pd.DataFrame:
    """Every third utterance is wrong, in five conversations."""
    rows = example_table(35).assign(conversation_id=[number // 7 for number in range(35)])
    wrong = rows.index % 3 == 0
    rows["predicted"] = rows["emotion"].where(~wrong, EMOTIONS[3])
    tables = [rows.assign(split=split) for split in ("validation", "test")]
    predictions = pd.concat(tables, ignore_index=True)
    predictions.attrs["weights"] = weights.about.fingerprint
    predictions.to_parquet(path)
    return rows


def runs_of(model: TrainedModel, **different: object) -> pd.DataFrame:
    row = {
        "run_id": "a1" * 16,
        "status": "FINISHED",
        "start_time": pd.Timestamp("2026-01-01", tz="UTC"),
        "tags.experiment": "exp3",
        "tags.identity": model.weights.about.identity.digest,
        "tags.env": "ecf",
        "params.data.split.unit": "conversation",
    }
    return pd.DataFrame([row | different])


@pytest.mark.slow
def test_the_card_has_the_scores_of_the_weights_own_run_with_intervals(sources, tmp_path: Path) -> None:
    model = trained_model(sources)
    rows = predictions_of(model.weights, tmp_path / "predictions.parquet")
    asked = []

    def fetch(run: str, name: str) -> Path:
        asked.append((run, name))
        return tmp_path / name

    card = describe(model, runs_of(model), fetch, HOW, "original")
    assert asked == [("a1" * 16, "predictions.parquet")]
    scores = summary_scores(rows["label"].astype(int), rows["predicted"].map(EMOTIONS.index))
    (line,) = [line for line in card.splitlines() if line.startswith("| test | 35")]
    assert line.startswith(f"| test | 35 | 5 | {scores['macro_f1']:.3f} [")
    low, high = (float(of) for of in line.split("[")[1].split("]")[0].split(" to "))
    assert low < scores["macro_f1"] < high
    _, head, body = card.split("---\n", 2)
    metadata = yaml.safe_load(head)
    (results,) = metadata["model-index"][0]["results"]
    found = {of["name"]: of["value"] for of in results["metrics"]}
    assert found["macro F1, test split"] == pytest.approx(scores["macro_f1"], abs=1e-4)
    assert (metadata["library_name"], metadata["license"]) == ("peft", "other")
    for words in (
        "GPL-3.0",
        "--pipelines=import_weights --params experiment=exp3",
        "by conversation;",
        "acted, of one series",
    ):
        assert words in body
    assert sources["video"] not in card  # a path of this machine


def test_the_card_of_imported_weights_says_that_they_were_trained_elsewhere(sources, tmp_path: Path) -> None:
    model = trained_model(sources)
    about = model.weights.about
    origin = Imported(source="organisation/name", digest="0" * 16, head="given")
    about = about.model_copy(update={"identity": about.identity.model_copy(update={"imported": origin})})
    model = TrainedModel("exp3", model.plan, TrainedWeights(about, model.weights.tensors), 1.0)
    predictions_of(model.weights, tmp_path / "predictions.parquet")
    card = describe(model, runs_of(model), lambda _, name: tmp_path / name, HOW, "original")
    assert "trained elsewhere and imported from organisation/name" in card


def test_weights_that_no_run_has_scored_are_not_exported(sources, tmp_path: Path) -> None:
    model = trained_model(sources)
    predictions_of(model.weights, tmp_path / "predictions.parquet")
    for runs in (
        pd.DataFrame(),
        runs_of(model, **{"tags.identity": "another"}),
        runs_of(model, status="FAILED"),
        runs_of(model, **{"tags.partial": "true"}),
    ):
        with pytest.raises(NotEvaluated, match=r"model=exp3: none of the \d runs .*kedro run --pipelines=exp3"):
            describe(model, runs, lambda _, name: tmp_path / name, HOW, "original")
    with pytest.raises(NotEvaluated):
        describe(model, runs_of(model), lambda *_: None, HOW, "original")


@pytest.mark.parametrize(("train", "file"), [("lora", "adapter_model.safetensors"), ("head", "model.safetensors")])
def test_the_folder_has_the_weights_and_the_card(sources, train: str, file: str, tmp_path: Path) -> None:
    model = trained_model(sources, train)
    export(model, "# the card", "original")(tmp_path)
    assert {"README.md", file} <= {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "README.md").read_text() == "# the card"
    published = read_published(str(tmp_path))
    assert torch.equal(published.tensors["linear.weight"], model.weights.head["weight"])
    assert published.facts is not None
    assert (published.facts.experiment, published.facts.checkpoints) == (
        "exp3",
        model.weights.about.identity.checkpoints,
    )
    if train == "lora":
        assert json.loads((tmp_path / "adapter_config.json").read_text())["modules_to_save"] == ["linear"]


def test_the_card_and_the_folder_of_a_graph_say_how_it_is_run(sources, tmp_path: Path, monkeypatch) -> None:
    """What is in the graph: tests/serving/test_onnx_export.py."""
    model = trained_model(sources)
    predictions_of(model.weights, tmp_path / "predictions.parquet")
    card = describe(model, runs_of(model), lambda _, name: tmp_path / name, HOW, "onnx")
    assert "library_name: onnx" in card
    assert "With ONNX Runtime, as the end of this page shows" in card
    assert "import_weights" not in card

    def write_onnx(folder: Path, trained: TrainedModel) -> dict[str, object]:
        assert trained is model
        (folder / "model.onnx").write_bytes(b"12345")
        return {"opset": 20, "present": [*MODALITIES], "emotions": [*EMOTIONS], "temperature": 1.5}

    monkeypatch.setattr(onnx_export, "write_onnx", write_onnx)
    folder = tmp_path / "to"
    folder.mkdir()
    export(model, card, "onnx")(folder)
    readme = (folder / "README.md").read_text()
    assert readme.startswith(card)
    assert "| `model.onnx` | 5 | the graph |" in readme
