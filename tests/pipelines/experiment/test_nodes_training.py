"""An experiment from its plan to its figures, node by node, on a tiny model that learns in a second."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

from support.learning_examples import CLIPS, EMBEDDINGS, TRAINING, example_table, lora
from trimood.config.experiment_settings import CROSS_ENTROPY, ExperimentParams
from trimood.config.plan import Plan
from trimood.corpus.class_balance import AbsentEmotion
from trimood.emotions import CLASS_NUMBERS, EMOTIONS, PROBABILITIES, WITHOUT, Source
from trimood.model.config import CheckpointError
from trimood.model.stored import Embeddings, RunIdentity, TrainedWeights
from trimood.model.trained import weights_fingerprint
from trimood.pipelines.experiment.nodes import (
    History,
    ablate,
    draw_confusion_matrix,
    draw_learning_curves,
    draw_modality_ablation,
    embed,
    identify,
    plan,
    predict,
    score,
    train,
)
from trimood.tracking.live import set_current_run

EXPERIMENT = ExperimentParams(modalities=("text", "video"), train="everything", training={"num_train_epochs": 4})


def utterances(count: int, conversation: int) -> pd.DataFrame:
    keys = {"conversation_id": conversation, "utterance_id": range(1, count + 1), "speaker": "Ross"}
    return example_table(count).assign(**keys)


TRAINING_EXAMPLES, VALIDATION_EXAMPLES, TEST_EXAMPLES = utterances(28, 1), utterances(14, 2), utterances(7, 3)


def planned(sources: dict[Source, str], experiment: ExperimentParams = EXPERIMENT) -> Plan:
    return plan(experiment, TRAINING, lora("q_proj"), CROSS_ENTROPY, CLIPS, sources["video"], sources["audio"], "")


def identified(plan: Plan) -> RunIdentity:
    return identify("exp3", plan, TRAINING_EXAMPLES, VALIDATION_EXAMPLES, TEST_EXAMPLES)


@dataclass(frozen=True)
class Trained:
    """What the node `train` gave, the run that it belongs to, and where its checkpoints are."""

    identity: RunIdentity
    best: TrainedWeights
    last: TrainedWeights
    history: History
    checkpoints: Path


def run_training(plan: Plan, prepared_clips: Path, checkpoints: Path) -> Trained:
    identity = identified(plan)
    examples = (TRAINING_EXAMPLES, VALIDATION_EXAMPLES, prepared_clips)
    return Trained(identity, *train(identity, *examples, checkpoints, checkpoints, EMBEDDINGS), checkpoints)


def embedded(identity: RunIdentity, weights: TrainedWeights, prepared_clips: Path, cache: Path) -> Embeddings:
    return embed(identity, weights, VALIDATION_EXAMPLES, TEST_EXAMPLES, prepared_clips, cache, EMBEDDINGS)


@pytest.fixture(scope="module")
def trained(sources: dict[Source, str], prepared_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return run_training(planned(sources), prepared_clips, tmp_path_factory.mktemp("training_checkpoints"))


@pytest.fixture(scope="module")
def predictions(trained: Trained, prepared_clips: Path) -> pd.DataFrame:
    both = (VALIDATION_EXAMPLES, TEST_EXAMPLES)
    return predict(embedded(trained.identity, trained.best, prepared_clips, trained.checkpoints), trained.best, *both)


def test_the_plan_resolves_the_settings_names_the_used_checkpoints_and_counts_parameters(
    sources: dict[Source, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="trimood"):
        found = planned(sources)
    assert found.settings.training == TRAINING.model_copy(update={"num_train_epochs": 4})
    assert (found.settings.modalities, found.settings.lora) == (("text", "video"), None)
    assert found.checkpoints == {"video": sources["video"]}
    assert found.title == "text + video, full fine-tuning"
    assert set(found.parameters) == {"video", "text", "head", "all"}
    head = 2 * 12 * len(EMOTIONS)  # two projections of 12 numbers, no bias
    assert (found.parameters["head"].trainable, found.parameters["head"].all) == (head, head)
    parts = [count.trainable for name, count in found.parameters.items() if name != "all"]
    assert found.parameters["all"].trainable == sum(parts)
    assert f"{found.parameters['all'].all:,} parameters are trained (100.00 %)" in caplog.text


def test_the_plan_of_adapters_trains_little_and_keeps_what_the_experiment_states(sources: dict[Source, str]) -> None:
    own = ExperimentParams(modalities=("audio",), train="lora", head="frozen", lora={"r": 2, "alpha": 8})
    found = planned(sources, own)
    assert found.settings.lora == lora("q_proj", r=2, alpha=8)
    assert found.checkpoints == {"audio": sources["audio"]}
    assert 0 < found.parameters["all"].trainable_share < 0.5
    assert found.parameters["head"].trainable == 0


def test_class_weights_are_logged_and_need_every_emotion(
    sources: dict[Source, str], prepared_clips: Path, tmp_path: Path
) -> None:
    own = ExperimentParams(
        modalities=("text",), train="head", loss={"class_weights": "sqrt"}, training={"max_steps": 1}
    )
    found, some = planned(sources, own), TRAINING_EXAMPLES[:26]
    assert found.title == "text, head only, sqrt class weights"
    identity = identify("exp3", found, some, VALIDATION_EXAMPLES, TEST_EXAMPLES)
    logged: dict[str, object] = {}

    def keep(*_: object, params: dict[str, object] | None = None, **__: object) -> None:
        logged.update(params or {})

    set_current_run(SimpleNamespace(log=keep, retry=lambda: None))
    try:
        train(identity, some, VALIDATION_EXAMPLES, prepared_clips, tmp_path, tmp_path, EMBEDDINGS)
    finally:
        set_current_run(None)
    assert [*logged] == [f"loss.class_weight.{emotion}" for emotion in EMOTIONS]
    assert logged["loss.class_weight.disgust"] > logged["loss.class_weight.joy"]  # three of 26, four of 26
    without_fear = TRAINING_EXAMPLES[TRAINING_EXAMPLES["emotion"] != "fear"]
    with pytest.raises(AbsentEmotion, match="none of the 24 training utterances is of fear"):
        identify("exp3", found, without_fear, VALIDATION_EXAMPLES, TEST_EXAMPLES)


@pytest.mark.parametrize("kind", [pytest.param("mlp", marks=pytest.mark.slow), "attention"])
def test_a_head_of_another_kind_is_trained_evaluated_and_ablated(
    sources: dict[Source, str], prepared_clips: Path, tmp_path: Path, kind: str
) -> None:
    own = ExperimentParams(
        modalities=("text", "video"),
        train="head",
        head={"kind": kind, **({"heads": 3} if kind == "attention" else {})},
        training={"num_train_epochs": 6, "learning_rate": 0.03},
    )
    found = planned(sources, own)
    assert found.title == f"text + video, head only, {kind} head"
    result = run_training(found, prepared_clips, tmp_path)
    assert {name.partition(".")[0] for name in result.best.tensors} == {"head"}
    known = embedded(result.identity, result.best, prepared_clips, tmp_path)
    rows = predict(known, result.best, VALIDATION_EXAMPLES, TEST_EXAMPLES)
    assert score(rows)["test"]["macro_f1"] == max(row["validation/macro_f1"] for row in result.history["epochs"])
    table = ablate(known, result.best, rows)
    assert table["macro_f1_drop"].abs().max() > 0.1


def test_a_plan_with_a_checkpoint_that_is_not_there_is_refused(sources: dict[Source, str], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        planned({**sources, "video": str(tmp_path / "nowhere")})


@pytest.mark.slow
def test_weights_say_their_plan_their_examples_and_their_epoch(trained: Trained) -> None:
    for epoch, weights in (("best", trained.best), ("last", trained.last)):
        assert weights.about.identity == trained.identity
        assert weights.about.epoch == epoch
        assert weights.about.emotions == EMOTIONS
        assert weights.about.fingerprint == weights_fingerprint(weights.tensors)


def test_the_history_has_a_row_for_each_epoch_and_the_cost(trained: Trained) -> None:
    assert [row["epoch"] for row in trained.history["epochs"]] == [1, 2, 3, 4]
    assert trained.history["seconds"] == trained.history["epochs"][-1]["seconds"] > 0
    assert trained.history["peak_memory_gib"] > 0
    assert (trained.checkpoints / trained.identity.digest).is_dir()


def test_predictions_are_those_of_the_best_epoch(trained: Trained, predictions: pd.DataFrame) -> None:
    curve = [row["validation/macro_f1"] for row in trained.history["epochs"]]
    assert max(curve) > curve[0]  # so the best epoch is not the first
    scores = score(predictions)
    assert scores["validation"]["macro_f1"] == pytest.approx(max(curve), abs=1e-12)
    assert (scores["validation"]["utterances"], scores["test"]["utterances"]) == (14, 7)


def test_predictions_keep_each_utterance_with_its_keys_and_its_most_probable_emotion(predictions: pd.DataFrame) -> None:
    keys = ["split", "utterance", "conversation_id", "utterance_id", "speaker", "text", "emotion", "label"]
    assert list(predictions.columns) == [*keys, "predicted", *PROBABILITIES, WITHOUT["video"], WITHOUT["text"]]
    assert predictions["split"].tolist() == ["validation"] * 14 + ["test"] * 7
    assert predictions["utterance"].tolist() == [*VALIDATION_EXAMPLES["utterance"], *TEST_EXAMPLES["utterance"]]
    probabilities = predictions[list(PROBABILITIES)]
    assert probabilities.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-6)
    likeliest = probabilities.idxmax(axis=1).str.removeprefix("p_")
    assert predictions["predicted"].tolist() == likeliest.tolist()
    assert predictions["label"].tolist() == [CLASS_NUMBERS[emotion] for emotion in predictions["emotion"]]


def test_weights_of_another_plan_are_refused(trained: Trained, sources: dict[Source, str], prepared_clips) -> None:
    other = planned(sources, EXPERIMENT.model_copy(update={"training": {"num_train_epochs": 5}}))
    with pytest.raises(CheckpointError, match=r"another run .*num_train_epochs: 4 and 5"):
        embedded(identified(other), trained.best, prepared_clips, trained.checkpoints)


@pytest.mark.slow
def test_evaluation_embeds_with_frozen_towers_only_what_training_has_not(
    sources: dict[Source, str], prepared_clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = ExperimentParams(modalities=("text",), train="head", training={"num_train_epochs": 1})
    found = run_training(planned(sources, head), prepared_clips, tmp_path)
    others = TEST_EXAMPLES.assign(text=TEST_EXAMPLES["text"] + " No .")
    identity = identify("exp3", found.identity.plan, TRAINING_EXAMPLES, VALIDATION_EXAMPLES, others)
    about = found.best.about.model_copy(update={"identity": identity})
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="trimood"):
        weights = TrainedWeights(about, found.best.tensors)
        embed(identity, weights, VALIDATION_EXAMPLES, others, prepared_clips, tmp_path, EMBEDDINGS)
    assert [message.partition(": ")[2] for message in caplog.messages if "frozen" in message] == [
        "14 utterances, 14 embedded before, 0 to embed",
        "7 utterances, 0 embedded before, 7 to embed",
    ]


@pytest.mark.slow
def test_a_finished_training_whose_results_were_not_stored_is_given_again(
    trained: Trained, predictions: pd.DataFrame, prepared_clips: Path, tmp_path: Path
) -> None:
    kept = shutil.copytree(trained.checkpoints, tmp_path / "training_checkpoints")
    again = run_training(trained.identity.plan, prepared_clips, kept)
    assert again.history["epochs"] == trained.history["epochs"]
    assert again.best.about == trained.best.about
    assert all(torch.equal(tensor, again.best.tensors[name]) for name, tensor in trained.best.tensors.items())
    embeddings = embedded(trained.identity, again.best, prepared_clips, kept)
    pd.testing.assert_frame_equal(
        predict(embeddings, again.best, VALIDATION_EXAMPLES, TEST_EXAMPLES), predictions, check_exact=True
    )


def test_scores_count_each_split_apart_and_name_what_is_never_predicted(caplog: pytest.LogCaptureFixture) -> None:
    rows = [("validation", 4, "joy"), ("validation", 4, "joy"), ("test", 5, "anger"), ("test", 2, "anger")]
    with caplog.at_level(logging.INFO, logger="trimood"):
        scores = score(pd.DataFrame(rows, columns=["split", "label", "predicted"]))
    assert list(scores) == ["validation", "test"]
    assert scores["validation"]["accuracy"] == 1
    assert scores["test"]["accuracy"] == 0.5
    assert set(EMOTIONS) - {"anger"} == set(scores["test"]["never_predicted"])
    (warned,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "test" in r.getMessage()]
    assert "never predicted: surprise, fear, sadness, neutral, joy, disgust" in warned


@pytest.mark.slow
def test_every_figure_bears_the_plans_title_and_none_is_left_open(
    trained: Trained, predictions: pd.DataFrame, prepared_clips: Path
) -> None:
    embeddings = embedded(trained.identity, trained.best, prepared_clips, trained.checkpoints)
    figures = [
        draw_confusion_matrix(score(predictions), trained.identity.plan),
        draw_learning_curves(trained.history, trained.identity.plan),
        draw_modality_ablation(ablate(embeddings, trained.best, predictions), trained.identity.plan),
    ]
    for figure in figures:
        assert isinstance(figure, Figure)
        assert figure.get_suptitle().startswith(trained.identity.plan.title)
    assert [len(figure.axes) >= count for figure, count in zip(figures, (2, 2, 1), strict=True)] == [True] * 3
    assert pyplot.get_fignums() == []
