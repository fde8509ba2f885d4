"""The comparison stage on made predictions: what it stores, draws and writes, and what it refuses."""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.axes import Axes

from support.demo_project import PROJECT
from support.made_systems import made_run
from trimood.config.parameters import CompareParams
from trimood.emotions import EMOTIONS, PROBABILITIES, WITHOUT
from trimood.pipelines import compare
from trimood.pipelines.compare.nodes import compare_runs, predict_references, write_remarks, write_report
from trimood.reports.comparison import comparison_page, markdown
from trimood.reports.comparison_figures import scores_figure
from trimood.reports.figures import PlainFigure
from trimood.reports.html import PICTURE
from trimood.scoring.comparison import Comparison
from trimood.scoring.metrics import summary_scores
from trimood.scoring.systems import CurvePoint
from trimood.tracking.kinds import words_fingerprint
from trimood.tracking.runs import (
    DROPS,
    CannotCompare,
    WrongRun,
    choose_runs,
    gather_curves,
    gather_modality_ablation,
    gather_predictions,
)

CORPUS = {"train": {"sha256": "0a1b2c3d4e5f"}, "official_test": {"sha256": None}}
HOW = CompareParams(baseline="exp1", resamples=500, confidence=0.95, seed=0, runs=())
RIGHT = {"exp1": 0.85, "exp3": 0.3}
CONVERSATIONS = {"training": range(60), "validation": range(100, 120), "test": range(200, 230)}


def made_utterances(split: str) -> pd.DataFrame:
    """Seven utterances a conversation, each emotion once, its name among the words."""
    rows = [
        (
            f"dia{conversation}utt{number + 1}",
            conversation,
            number + 1,
            "AB"[number % 2],
            f"so {emotion} !",
            emotion,
            number,
        )
        for conversation in CONVERSATIONS[split]
        for number, emotion in enumerate(EMOTIONS)
    ]
    columns = ["utterance", "conversation_id", "utterance_id", "speaker", "text", "emotion", "label"]
    return pd.DataFrame(rows, columns=columns)


def made_predictions(experiment: str, seed: int) -> pd.DataFrame:
    """Right so often, else neutral; surer than right. Disgust is never the answer."""
    generator = np.random.default_rng([seed, len(experiment), int(100 * RIGHT[experiment])])
    tables = []
    for split in ("validation", "test"):
        rows = made_utterances(split)
        right = (generator.random(len(rows)) < RIGHT[experiment]) & (rows["emotion"] != "disgust")
        answers = np.where(right, rows["label"], EMOTIONS.index("neutral"))
        rows.insert(0, "split", split)
        rows["predicted"] = [EMOTIONS[number] for number in answers]
        rows[list(PROBABILITIES)] = 0.96 * np.eye(7)[answers] + 0.04 / 7
        tables.append(rows.sample(frac=1, random_state=seed))  # the order of rows is no matter
    return pd.concat(tables, ignore_index=True)


Whole = tuple[Comparison, dict[str, Any]]

RUNS = pd.DataFrame([made_run(experiment, seed) for experiment in RIGHT for seed in (1, 2)])


def write_artifacts(target: Path) -> Path:
    """A folder for each run; one run has a modality ablation."""
    for run in RUNS["run_id"]:
        folder = target / run
        folder.mkdir(parents=True)
        experiment, seed = run.split("-")
        made_predictions(experiment, int(seed)).to_parquet(folder / "predictions.parquet")
        epochs = [
            {"epoch": 1.0, "train/macro_f1": 0.2, "validation/macro_f1": 0.1 * int(seed)},
            {"epoch": 2.0, "validation/macro_f1": 0.3 * int(seed)},  # resumed: its training score is lost
            {"epoch": 3.0, "train/macro_f1": 0.9, "validation/macro_f1": 0.2 * int(seed)},
        ]
        (folder / "history.json").write_text(json.dumps({"epochs": epochs}))
    changes = (("test", "intact", 0), ("test", "blanked", 0.25), ("validation", "blanked", 0.5))
    ablation = [
        {"split": split, "modality": "video", "change": change, **dict.fromkeys(DROPS, drop)}
        for split, change, drop in changes
    ]
    pd.DataFrame(ablation).to_csv(target / "exp1-1" / "modality_ablation.csv", index=False)
    return target


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return write_artifacts(tmp_path / "artifacts")


def fetching(artifacts: Path) -> Any:
    return lambda run, name: path if (path := artifacts / run / name).exists() else None


def compared(artifacts: Path, of: pd.DataFrame = RUNS, corpus: str | None = None, **different: Any) -> Whole:
    """The comparison and its numbers for MLflow, with some parameters different."""
    how = HOW.model_copy(update=different)
    runs = choose_runs(of, CORPUS, how)
    fetch = fetching(artifacts)
    predictions = gather_predictions(runs, fetch)
    references = predict_references(runs, predictions, made_utterances("training"))
    curves, ablation = gather_curves(runs, fetch), gather_modality_ablation(runs, fetch)
    description: Any = {**CORPUS, "corpus": corpus} if corpus else CORPUS
    return compare_runs(runs, predictions, references, curves, ablation, description, how)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return compared(write_artifacts(tmp_path_factory.mktemp("artifacts")))


Written = tuple[str, str, Mapping[str, Any], Mapping[str, Any]]


def written(comparison: Comparison, artifacts: Path) -> Written:
    """The report, whose utterances have no clips."""
    runs = choose_runs(RUNS, CORPUS, HOW)
    predictions = gather_predictions(runs, fetching(artifacts))
    references = predict_references(runs, predictions, made_utterances("training"))
    examples = made_utterances("test").assign(part="", has_video=True, has_audio=False)
    return write_report(comparison, predictions, references, examples, artifacts)


@pytest.fixture(scope="module")
def report(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return written(whole[0], write_artifacts(tmp_path_factory.mktemp("reported")))


@pytest.mark.slow
def test_the_corpus_of_the_runs_decides_which_published_figures_are_shown(whole: Whole, artifacts: Path) -> None:
    meld, _ = compared(artifacts, corpus="meld")
    of_ecf, of_meld = ((comparison_page(found, {}), markdown(found)) for found in (whole[0], meld))
    for page in of_ecf:
        assert "third-ranked, 3 modalities" in page
        assert "TelME" not in page
    drawn = [label.get_text() for label in scores_figure(meld).axes[0].get_yticklabels()]
    assert "DialogueMMT, text and video (MELD test)" in drawn
    assert not any("TelME" in label for label in drawn)  # its macro F1 is not published
    for page in of_meld:
        assert "TelME, 3 modalities" in page
        assert "third-ranked" not in page
    assert "2,610 utterances in 280 conversations" in of_meld[0]
    rows = [row for row in of_meld[1].splitlines() if "TelME" in row]
    assert [cell.strip() for cell in rows[0].split("|")][5:8] == ["–", "", "0.674"]


@pytest.mark.slow
def test_a_figure_is_on_the_page_and_in_its_file_but_drawn_once(
    report: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draws_again(*_: object) -> None:
        raise AssertionError("drawn again")

    page, _, pictures, drawings = report
    with monkeypatch.context() as patched:
        patched.setattr(PlainFigure, "draw", draws_again)
        for name, figure in pictures.items():
            file = BytesIO()
            figure.savefig(file, format="png", dpi=110)  # as the catalog says
            assert base64.b64encode(file.getvalue()).decode() in page, name
        with pytest.raises(AssertionError, match="drawn again"):
            drawings["scores.svg"].savefig(BytesIO(), format="svg")
    catalog = yaml.safe_load((PROJECT / "conf/base/compare/catalog.yml").read_text())
    assert catalog["comparison_pictures"]["save_args"] == PICTURE == {"format": "png", "dpi": 110}


def test_scores_are_those_of_the_stored_predictions(whole: Whole) -> None:
    found, _ = whole
    assert (found.test_utterances, found.test_conversations) == (210, 30)
    assert list(found.systems) == ["exp1", "exp3", "all neutral", "majority", "TF-IDF", "TF-IDF sqrt"]
    for experiment in RIGHT:
        expected = []
        for seed in (1, 2):
            test = made_predictions(experiment, seed).query("split == 'test'")
            expected.append(summary_scores(test["label"], test["predicted"].map(EMOTIONS.index)))
        system = found.systems[experiment]
        for name, score in {"macro_f1": system.macro_f1, "weighted_f1": system.weighted_f1}.items():
            values = [of[name] for of in expected]
            assert score.of_seeds == pytest.approx(values)
            assert score.value == pytest.approx(np.mean(values))
            assert score.sd_over_seeds == pytest.approx(np.std(values, ddof=1))
            assert score.low < score.value < score.high
        assert np.mean(list(system.f1_of_classes.values())) == pytest.approx(system.macro_f1.value)
        assert np.sum(system.confusion_matrix) == 2 * 210
        assert system.never_predicted == {"disgust": 2}
        training = system.training
        assert training is not None
        assert (system.seeds, training.run_ids) == ((1, 2), (f"{experiment}-1", f"{experiment}-2"))
        assert (training.trainable_parameters, training.seconds, training.peak_memory_gib) == (10752, 15, 1.5)


def test_references_are_scored_on_the_same_utterances(whole: Whole) -> None:
    systems = whole[0].systems
    share = 1 / 7
    assert systems["all neutral"].macro_f1.value == pytest.approx(2 * share / (share + 1) / 7)
    assert systems["all neutral"].calibration is None
    assert systems["TF-IDF"].macro_f1.value == 1  # the emotion's name is among the words
    assert [name for name, of in systems.items() if of.training is None] == [
        "all neutral",
        "majority",
        "TF-IDF",
        "TF-IDF sqrt",
    ]


@pytest.mark.slow
def test_differences_are_to_the_chosen_baseline(whole: Whole, artifacts: Path) -> None:
    systems = whole[0].systems
    assert systems["exp1"].difference is None
    found = {name: of.difference for name, of in systems.items() if of.difference}
    expected = systems["exp3"].macro_f1.value - systems["exp1"].macro_f1.value
    assert found["exp3"].estimate.value == pytest.approx(expected)
    outcomes = {name: of.outcome for name, of in found.items()}
    assert outcomes == {
        **dict.fromkeys(("exp3", "all neutral", "majority"), "worse"),
        **dict.fromkeys(("TF-IDF", "TF-IDF sqrt"), "better"),
    }
    for baseline, outcome in (("exp3", "better"), ("TF-IDF", "worse")):
        difference = compared(artifacts, baseline=baseline)[0].systems["exp1"].difference
        assert difference is not None
        assert difference.outcome == outcome


def test_too_sure_a_model_is_cooled_down_by_what_validation_says(whole: Whole) -> None:
    calibration = whole[0].systems["exp3"].calibration
    assert calibration is not None
    before, after = calibration.before, calibration.after
    assert min(calibration.temperature_of_seeds) > 1
    assert after.negative_log_likelihood < before.negative_log_likelihood
    assert after.expected_calibration_error < before.expected_calibration_error / 2
    assert sum(row.utterances for row in before.reliability) == 2 * 210


def test_curves_are_means_over_seeds_and_a_lost_score_is_none(whole: Whole) -> None:
    first, second, third = whole[0].systems["exp1"].curves
    assert first == CurvePoint(epoch=1, train=0.2, validation=0.15, gap=0.05)
    assert (second.train, second.gap) == (None, None)
    assert third.gap == pytest.approx(0.6)


def test_the_modality_ablation_is_shown_where_a_run_has_measured_it(whole: Whole) -> None:
    systems = whole[0].systems
    (row,) = systems["exp1"].modality_ablation
    assert (row.modality, row.change, row.macro_f1_drop) == ("video", "blanked", 0.25)
    assert row.f1_drops == dict.fromkeys(EMOTIONS, 0.25)
    assert systems["exp3"].modality_ablation == ()
    assert "Modality ablation" in comparison_page(whole[0], {})
    nowhere = {name: of.model_copy(update={"modality_ablation": ()}) for name, of in systems.items()}
    assert "Modality ablation" not in comparison_page(whole[0].model_copy(update={"systems": nowhere}), {})


@pytest.mark.slow
def test_the_page_the_table_and_the_figures_say_the_same(whole: Whole, report: Written) -> None:
    score = f"{whole[0].systems['exp3'].macro_f1.value:.3f}"
    shown, table, pictures, drawings = report
    rows = {line.split("|")[1].strip(): line for line in table.splitlines()}
    assert score in rows["exp3"]
    assert "| worse |" in rows["exp3"]
    assert "| the baseline |" in rows["exp1"]
    assert "0.365" in rows["exp1 as published (split not known)"]
    assert len({line.count("|") for line in table.splitlines()}) == 1
    assert f'<td class="number">{score}</td>' in shown
    for words in ("Worse than exp1: exp3, all neutral, majority.", "15 bins", "third-ranked, 3 modalities", "exp3-2"):
        assert words in shown
    assert shown.count('src="data:image/png;base64,') == 6
    names = {"scores", "differences", "classes", "confusion", "calibration", "gap"}
    assert set(pictures) == {f"{name}.png" for name in names}
    assert set(drawings) == {f"{name}.svg" for name in names}


def drawn_at(ax: Axes) -> dict[str, float]:
    """Where the dot of each row stands."""
    rows = {place: label.get_text() for place, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)}
    dots = [line for line in ax.lines if line.get_marker() in ("o", "D") and len(line.get_xdata()) == 1]
    return {rows[line.get_ydata()[0]]: float(line.get_xdata()[0]) for line in dots}


def test_scores_are_drawn_where_they_are_beside_the_published_ones(whole: Whole, report: Written) -> None:
    (ax,) = report[2]["scores.png"].axes
    places = drawn_at(ax)
    for name, of in whole[0].systems.items():
        assert places[name] == of.macro_f1.value
    assert places["third-ranked, 3 modalities (official test)"] == 0.468
    bars = {tuple(line.get_xdata()) for line in ax.lines}
    exp3 = whole[0].systems["exp3"]
    assert (exp3.macro_f1.low, exp3.macro_f1.high) in bars
    (ax,) = report[2]["differences.png"].axes
    places = drawn_at(ax)
    assert set(places) == set(whole[0].systems) - {"exp1"}
    assert exp3.difference is not None
    assert places["exp3"] == exp3.difference.estimate.value


def test_each_experiment_has_its_curves_and_each_calibrated_system_its_bins(report: Written) -> None:
    titles = {name: [ax.get_title() for ax in figure.axes if ax.get_visible()] for name, figure in report[2].items()}
    assert titles["gap.png"] == ["exp1, 2 seeds", "exp3, 2 seeds"]
    assert [title.split(",")[0] for title in titles["calibration.png"]] == [
        "exp1",
        "exp3",
        "majority",
        "TF-IDF",
        "TF-IDF sqrt",
    ]
    assert [title.split(",")[0] for title in titles["confusion.png"]] == [
        *("exp1", "exp3", "all neutral", "majority", "TF-IDF", "TF-IDF sqrt")
    ]
    cells = [text.get_text() for text in report[2]["classes.png"].axes[0].texts]
    assert len(cells) == 6 * 7
    assert cells[-7:] == ["1.00"] * 7  # TF-IDF


def test_all_numbers_are_json_and_those_for_mlflow_are_few(whole: Whole) -> None:
    stored = whole[0].model_dump_json(indent=2)
    assert json.loads(stored)["settings"] == HOW.model_dump(mode="json")
    assert Comparison.model_validate_json(stored) == whole[0]
    assert set(whole[1]["exp3"]) == {"macro_f1", "weighted_f1", "difference"}
    assert set(whole[1]["exp1"]) == {"macro_f1", "weighted_f1"}


@pytest.mark.slow
def test_the_same_seed_draws_the_same(whole: Whole, artifacts: Path) -> None:
    first, again, other = (
        of.systems["exp3"].macro_f1 for of in (whole[0], compared(artifacts)[0], compared(artifacts, seed=1)[0])
    )
    assert first == again != other


@pytest.mark.slow
def test_a_single_experiment_of_one_seed_is_compared_with_the_references(artifacts: Path) -> None:
    found, _ = compared(artifacts, runs=("exp1-1",))
    assert found.systems["exp1"].macro_f1.sd_over_seeds is None
    assert re.search(r"\| exp1 \| text, video: the head only \| 1 \|", markdown(found))
    assert (found.verdict.best, found.verdict.runner_up, found.verdict.settled_by) == ("exp1", None, None)
    for text in (comparison_page(found, {}), write_remarks(found)):
        assert "It is the only experiment." in text
        assert "seeds=[2,3]" in text


def test_a_baseline_that_is_not_compared_is_refused_before_anything_is_read() -> None:
    with pytest.raises(
        CannotCompare, match=r"baseline: exp11 is not among.*exp1, exp3, all neutral.*mean exp1.*--pipel"
    ):
        choose_runs(RUNS, CORPUS, HOW.model_copy(update={"baseline": "exp11"}))
    with pytest.raises(WrongRun, match="MLflow has no run nope"):
        choose_runs(RUNS, CORPUS, HOW.model_copy(update={"runs": ("nope",)}))


@pytest.mark.parametrize("what", ["fewer", "another emotion"])
def test_runs_that_were_scored_on_other_utterances_are_refused(artifacts: Path, what: str) -> None:
    path = artifacts / "exp3-2" / "predictions.parquet"
    rows = pd.read_parquet(path)
    if what == "fewer":
        rows = rows.drop(rows.index[rows["split"] == "test"][0])
    else:
        rows.loc[rows.index[rows["split"] == "test"][0], "emotion"] = "no emotion"
    rows.to_parquet(path)
    words = (
        rf"run exp3-2 \(exp3, seed 2\) was scored on {209 if what == 'fewer' else 210} test utterances, run exp1-1 on"
    )
    with pytest.raises(CannotCompare, match=words):
        gather_predictions(choose_runs(RUNS, CORPUS, HOW), fetching(artifacts))


def test_a_run_without_its_predictions_is_named(artifacts: Path) -> None:
    runs = choose_runs(RUNS, CORPUS, HOW)
    (artifacts / "exp3-1" / "predictions.parquet").unlink()
    (artifacts / "exp3-1" / "history.json").unlink()
    with pytest.raises(CannotCompare, match=r"run exp3-1 has no artifact predictions\.parquet"):
        gather_predictions(runs, fetching(artifacts))
    with pytest.raises(CannotCompare, match=r"run exp3-1 has no artifact history\.json"):
        gather_curves(runs, fetching(artifacts))
    assert len(gather_modality_ablation(runs, fetching(artifacts))) == 1


def test_the_ablation_of_a_run_of_an_earlier_version_is_read_by_its_earlier_name(artifacts: Path) -> None:
    runs = choose_runs(RUNS, CORPUS, HOW)
    named_now = gather_modality_ablation(runs, fetching(artifacts))
    (artifacts / "exp1-1" / "modality_ablation.csv").rename(artifacts / "exp1-1" / "modality_worth.csv")
    pd.testing.assert_frame_equal(gather_modality_ablation(runs, fetching(artifacts)), named_now)
    assert len(named_now) == 1


def test_references_are_not_trained_on_what_they_answer(artifacts: Path) -> None:
    runs = choose_runs(RUNS, CORPUS, HOW)
    predictions = gather_predictions(runs, fetching(artifacts))
    split_anew = pd.concat([made_utterances("training"), made_utterances("validation")])
    with pytest.raises(CannotCompare, match=r"140 of the runs' validation and test utterances, such as dia100utt1"):
        predict_references(runs, predictions, split_anew)


def test_references_are_trained_on_what_the_runs_were(artifacts: Path) -> None:
    training = made_utterances("training")
    tagged = RUNS.assign(**{"tags.training_examples": words_fingerprint(training)})
    tagged.loc[0, "tags.training_examples"] = None  # from before runs told theirs
    runs = choose_runs(tagged, CORPUS, HOW)
    predictions = gather_predictions(runs, fetching(artifacts))
    predict_references(runs, predictions, training)
    with pytest.raises(
        CannotCompare, match=r"419 current training examples, but these runs used others: exp1 \(seed 2\), exp3"
    ):
        predict_references(runs, predictions, training.iloc[1:])
    tagged.loc[3, "tags.training_examples"] = "another"
    with pytest.raises(CannotCompare, match=r"used others: exp3 \(seed 2\)\. .*Run the experiments again"):
        predict_references(choose_runs(tagged, CORPUS, HOW), predictions, training)
    reworded = training.assign(text=training["text"].str.upper())
    assert len({words_fingerprint(table) for table in (training, reworded, training.iloc[::-1])}) == 3


@pytest.mark.slow
def test_nothing_of_it_needs_torch() -> None:
    code = (
        "import sys, trimood.pipelines.compare.nodes, trimood.tracking.runs, trimood.reports.comparison\n"
        "import trimood.scoring.comparison, trimood.reports.comparison_figures, sklearn, statsmodels.stats.multitest\n"
        "import trimood.reports.mistakes\n"
        "print('torch' in sys.modules)"
    )
    environment = {"PYTHONPATH": str(Path(compare.__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"


def test_a_baseline_that_a_later_run_has_put_aside_is_told_apart_from_one_that_never_ran() -> None:
    trial = {**made_run("exp3", 9), "start_time": pd.Timestamp("2026-02-01", tz="UTC"), "params.data.split.seed": "7"}
    with pytest.raises(
        CannotCompare, match=r"none of the 2 runs of exp1 can be .* exp3-9 \(exp3\)\..*same parameters.*compare\.runs"
    ):
        choose_runs(pd.concat([RUNS, pd.DataFrame([trial])], ignore_index=True), CORPUS, HOW)


def test_systems_that_were_not_trained_alike_are_named(caplog: pytest.LogCaptureFixture) -> None:
    choose_runs(RUNS, CORPUS, HOW)
    assert "training settings differ" not in caplog.text
    epochs = {"exp1": "20", "exp3": "1"}
    choose_runs(RUNS.assign(**{"params.training.num_train_epochs": RUNS["tags.experiment"].map(epochs)}), CORPUS, HOW)
    assert "training settings differ" in caplog.text
    assert "training.num_train_epochs: exp1 20, exp3 1" in caplog.text


def with_another_seed(artifacts: Path) -> pd.DataFrame:
    """The runs, and a third of exp1, with seed 42."""
    shutil.copytree(artifacts / "exp1-1", artifacts / "exp1-42")
    made_predictions("exp1", 42).to_parquet(artifacts / "exp1-42" / "predictions.parquet")
    return pd.concat([RUNS, pd.DataFrame([made_run("exp1", 42)])], ignore_index=True)


@pytest.mark.slow
def test_experiments_with_different_numbers_of_seeds_are_compared_by_their_common_seeds(
    artifacts: Path, whole: Whole, caplog: pytest.LogCaptureFixture
) -> None:
    found, scores = compared(artifacts, with_another_seed(artifacts))
    assert found.systems["exp1"].seeds == (1, 2)
    assert found.systems == whole[0].systems
    every = pd.DataFrame([("exp1", 1), ("exp1", 42), ("exp3", 2)], columns=["system", "seed"])
    assert found.only_compared(every)["seed"].tolist() == [1, 2]
    assert scores == whole[1]
    remark, looks = found.remarks
    assert "only the seeds that every experiment has are compared: 1, 2. Left out are the seeds exp1 42." in remark
    assert remark in caplog.text
    assert looks.startswith("5 finished trainings were scored on the test split, and 4 of them are compared")


@pytest.mark.slow
def test_runs_that_were_named_are_all_compared_and_their_numbers_are_remarked(artifacts: Path) -> None:
    runs = with_another_seed(artifacts)
    found, _ = compared(artifacts, runs, runs=tuple(runs["run_id"]))
    assert found.systems["exp1"].seeds == (1, 2, 42)
    assert "different numbers of seeds" in found.remarks[0]
    assert "exp1 1, 2, 42; exp3 1, 2" in found.remarks[0]


@pytest.mark.slow
def test_what_makes_experiments_unlike_stands_on_top_of_page_table_json_and_run(artifacts: Path) -> None:
    epochs = {"exp1": "20", "exp3": "1"}
    runs = with_another_seed(artifacts)
    runs = runs.assign(**{"params.training.num_train_epochs": runs["tags.experiment"].map(epochs)})
    found, _ = compared(artifacts, runs)
    page, table = comparison_page(found, {}), markdown(found)
    first, second = "Only the seeds that every experiment has are compared: 1, 2.", "num_train_epochs: exp1 20, exp3 1."
    for text, below in (
        (page, "<h2>Macro and weighted F1</h2>"),
        (table, "|  | trained |"),
        (write_remarks(found), ""),
    ):
        assert -1 < text.index(first) < text.index(second)
        assert text.index(second) < text.rindex(below)
    assert list(found.model_dump())[:2] == ["settings", "remarks"]
    assert len(found.remarks) == 3  # and that the left-out training was scored on the test split
    assert {line.count("|") for line in table.splitlines() if not line.startswith(">")} == {0, 11}


def test_experiments_that_are_alike_have_nothing_on_top(whole: Whole, report: Written) -> None:
    assert whole[0].remarks == ()
    assert "Before you compare" not in report[0]
    assert report[1].startswith("|  | trained |")
    assert write_remarks(whole[0]).endswith("All experiments have the same seeds and training settings.")


def test_five_answers_stand_on_top_of_the_page_and_of_the_run(whole: Whole, report: Written) -> None:
    verdict = whole[0].verdict
    validation = {name: of.validation_macro_f1 for name, of in whole[0].systems.items() if of.training}
    assert verdict.best == max(validation, key=validation.__getitem__) == "exp1"
    assert verdict.differences["TF-IDF"].outcome == "worse"
    assert verdict.differences["exp3"].estimate.value == -whole[0].systems["exp3"].difference.estimate.value
    for text in (report[0], write_remarks(whole[0])):
        trust = f"Can I trust {whole[0].systems['exp1'].macro_f1.value:.2f}?"
        places = [text.index(words) for words in ("Which is best?", "words alone?", trust, "run next?")]
        assert places == sorted(places)
    assert report[0].index("run next?") < report[0].index("<h2>Macro and weighted F1</h2>")
    assert whole[0].shortcomings == (
        "2 of 2 experiments never predict an emotion: exp1 disgust (2 of 2 seeds); exp3 disgust (2 of 2 seeds)",
    )


def test_a_reference_has_nothing_of_what_the_first_experiments_modalities_change(artifacts: Path) -> None:
    runs = choose_runs(RUNS, CORPUS, HOW)
    predictions = gather_predictions(runs, fetching(artifacts)).assign(**dict.fromkeys(WITHOUT.values(), 0.5))
    references = predict_references(runs, predictions, made_utterances("training"))
    assert set(predictions) - set(references) == set(WITHOUT.values())


def test_mistakes_and_groups_are_those_of_the_compared_runs(report: Written) -> None:
    page = report[0]
    assert page.count('<article class="shown"') == 4 + 2 * 3
    assert page.count("It has no clip.") == len(set(re.findall(r'aria-label="(dia\d+utt\d), ', page)))
    assert "not shown for exp1, exp3: their runs have not stored it" in page
    groups = page[page.index("<h2>Where errors are</h2>") :]
    assert re.findall(r"<tr><td>([AB](?: \(small\))?)</td><td class=\"number\">(\d+)<", groups)[:2] == [
        ("A", "120"),
        ("B", "90"),
    ]
    assert re.search(r"<td>2 to 3</td><td class=\"number\">60</td>", groups)
    assert "By presence of audio, all 210 utterances are in one group: absent." in groups


def test_the_page_is_fit_for_phones_printers_and_readers_who_do_not_see_it(report: Written) -> None:
    page = report[0]
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    for rule in ("@media (prefers-color-scheme: dark)", "@media print", "@media (max-width: 40rem)"):
        assert rule in page
    pictures = re.findall(r"<img [^>]*?alt=\"([^\"]*)\"", page)
    assert len(pictures) == page.count("<img ") == 6
    assert min(map(len, pictures)) > 40
    assert page.count("<main>") == page.count("<h1>") == 1
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert all(lower - upper <= 1 for upper, lower in pairwise(levels))
    assert page.count("<table>") == len(re.findall(r'<div class="scroll" tabindex="0">\s*<table>', page))


@pytest.mark.slow
def test_a_temperature_that_makes_the_test_worse_is_shown_as_worse(artifacts: Path) -> None:
    """On validation the answers are less often right than on test: cooled down by that, test confidence is too low."""
    for seed in (1, 2):
        rows = made_predictions("exp3", seed)
        right = (rows["split"] == "test") & (rows["conversation_id"] < 227)
        rows.loc[right, "predicted"] = rows.loc[right, "emotion"]
        rows.loc[right, list(PROBABILITIES)] = 0.96 * np.eye(7)[rows.loc[right, "label"]] + 0.04 / 7
        rows.to_parquet(artifacts / f"exp3-{seed}" / "predictions.parquet")
    found, _ = compared(artifacts)
    (remark,) = found.remarks
    assert re.fullmatch(r"temperatures make the test split worse: exp3 ECE 0.0\d\d to 0.\d+, NLL .* to .*", remark)
    page = comparison_page(found, {})
    assert "<p>Temperatures make the test split worse: exp3 ECE" in page
    assert re.search(r"<td>exp3</td>.*<td>worse: ECE 0.0\d\d to 0.\d+, NLL", page)
    assert re.search(r"<td>exp1</td>.*<td>better or equal</td>", page)


@pytest.mark.slow
def test_a_temperature_that_cannot_be_fitted_is_one_and_said(artifacts: Path) -> None:
    for seed in (1, 2):
        rows = made_predictions("exp3", seed)
        rows["predicted"] = rows["emotion"]
        rows[list(PROBABILITIES)] = 0.7 * np.eye(7)[rows["label"]] + 0.3 / 7
        rows.to_parquet(artifacts / f"exp3-{seed}" / "predictions.parquet")
    found, _ = compared(artifacts)
    calibration = found.systems["exp3"].calibration
    assert calibration is not None
    assert calibration.temperature == 1
    assert calibration.before == calibration.after
    assert found.remarks == (
        "the temperature is 1, which changes nothing, because all answers are right, so more confidence would always "
        "fit better: exp3 seeds 1, 2",
    )
    assert re.search(r"<td>exp3</td>.*<td>not fitted</td>", comparison_page(found, {}))


@pytest.mark.slow
def test_one_test_conversation_is_compared_and_says_nothing_of_others(artifacts: Path) -> None:
    for run in RUNS["run_id"]:
        rows = pd.read_parquet(artifacts / run / "predictions.parquet")
        rows = rows[(rows["split"] == "validation") | (rows["conversation_id"] == 205)]
        rows.to_parquet(artifacts / run / "predictions.parquet")
    found, _ = compared(artifacts)
    assert (found.test_conversations, found.test_utterances) == (1, 7)
    for name, of in found.systems.items():
        assert (of.macro_f1.low, of.macro_f1.high, of.weighted_f1.low, of.weighted_f1.high) == (0, 1, 0, 1)
        if name != "exp1":
            assert of.difference is not None
            assert (of.difference.estimate.low, of.difference.estimate.high) == (-1, 1)
            assert of.difference.outcome == "not_significant"


def test_names_of_experiments_stay_in_their_cell(whole: Whole) -> None:
    name = "exp|3\n<script>"
    systems = {name if key == "exp3" else key: of for key, of in whole[0].systems.items()}
    differences = {name if key == "exp3" else key: of for key, of in whole[0].verdict.differences.items()}
    verdict = whole[0].verdict.model_copy(update={"runner_up": name, "differences": differences})
    renamed = whole[0].model_copy(update={"systems": systems, "verdict": verdict})
    assert "<script>" not in comparison_page(renamed, {})
    table = markdown(renamed)
    assert "| exp\\|3 &lt;script&gt; |" in table
    assert "The runner-up is exp\\|3 &lt;script&gt; (" in write_remarks(renamed)
    assert len(table.splitlines()) == len(markdown(whole[0]).splitlines())


def test_imported_weights_are_compared_without_curves_and_with_a_remark(artifacts: Path) -> None:
    """They take no seed away from the others, and are scored on the same draws."""
    name = "exp3 (imported 0123456789abcdef)"
    unknown = {"tags.imported.digest": "0123456789abcdef", "metrics.training cost/seconds": None}
    row = made_run("exp3", 42) | unknown | {"metrics.cost/peak_memory_gib": None}
    folder = artifacts / "exp3-42"
    folder.mkdir()
    made_predictions("exp3", 42).to_parquet(folder / "predictions.parquet")
    (folder / "history.json").write_text(json.dumps({"epochs": []}))
    comparison = compared(artifacts, pd.concat([RUNS, pd.DataFrame([row])], ignore_index=True))[0]
    assert comparison.systems["exp1"].seeds == comparison.systems["exp3"].seeds == (1, 2)
    assert comparison.systems[name].seeds == (42,)
    assert comparison.systems[name].curves == ()
    assert comparison.systems[name].difference is not None
    imported = {key for key, of in comparison.systems.items() if of.training and of.training.imported}
    assert imported == {name}
    assert name not in (comparison.verdict.best, comparison.verdict.runner_up)
    (remark,) = [remark for remark in comparison.remarks if name in remark]
    assert remark.startswith(f"{name} was trained elsewhere: ")
    assert "imported 0123456789abcdef" in markdown(comparison)
