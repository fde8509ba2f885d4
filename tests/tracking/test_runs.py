"""Which runs are compared: the latest that are alike in all but the seed, or those that are named."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from trimood.config.parameters import CompareParams
from trimood.tracking import store
from trimood.tracking.runs import (
    CannotCompare,
    NoRuns,
    WrongRun,
    choose_runs,
    finished_run,
    latest_runs,
    latest_whole_run,
    named_runs,
    run_of_identity,
    system_names,
)

CORPUS = {"train": {"sha256": "0a1b2c3d4e5f"}, "official_test": {"sha256": None}}


def made_run(experiment: str, macro_f1: float, seed: int = 42, start: str = "2026-01-01", **different: Any) -> dict:
    """A row of `mlflow.search_runs`, by its test macro F1."""
    lora = experiment in ("exp4", "exp6")
    return {
        "run_id": f"{experiment}-{seed}-{start}",
        "status": "FINISHED",
        "start_time": pd.Timestamp(start, tz="UTC"),
        "tags.experiment": experiment,
        "tags.corpus.train.sha256": "0a1b2c3d4e5f",
        "tags.corpus.official_test.sha256": "None",
        "tags.partial": None,
        "params.data.split.seed": "42",
        "params.checkpoint.video": "LanguageBind/Video",
        "params.checkpoint.audio": "LanguageBind/Audio" if experiment == "exp6" else None,
        "params.training.learning_rate": "5e-05",
        "params.training.seed": str(seed),
        "params.modalities": "text+video",
        "params.train": "lora" if lora else "head",
        "params.head": "frozen" if lora else "trained",
        "params.lora.targets": "q_proj+v_proj" if lora else None,
        "params.parameters.all.trainable": "7968512" if lora else "10752",
        "metrics.test/macro_f1": macro_f1,
        "metrics.validation/macro_f1": macro_f1 + 0.1,
        **different,
    }


def chosen(*runs: dict[str, Any]) -> list[tuple[str, int, float]]:
    """Experiment, seed and test macro F1 of those that are compared."""
    found = latest_runs(pd.DataFrame(runs), CORPUS)
    columns = ("tags.experiment", "params.training.seed", "metrics.test/macro_f1")
    return [(name, int(seed), score) for name, seed, score in zip(*(found[of] for of in columns), strict=True)]


def test_runs_stand_in_order_of_experiment_and_seed() -> None:
    runs = [made_run("exp4", 0.2, 10), made_run("exp4", 0.3, 2), made_run("exp3", 0.1, 7)]
    assert chosen(*runs) == [("exp3", 7, 0.1), ("exp4", 2, 0.3), ("exp4", 10, 0.2)]


def test_of_an_experiment_and_seed_the_latest_run_counts_wherever_it_stands() -> None:
    later, earlier = made_run("exp4", 0.9, start="2026-01-02"), made_run("exp4", 0.1, start="2026-01-01")
    for runs in ([later, earlier], [earlier, later]):
        assert chosen(*runs) == [("exp4", 42, 0.9)]


@pytest.mark.parametrize(
    "different",
    [
        {"status": "FAILED"},
        {"status": "RUNNING"},
        {"tags.partial": "true"},
        {"tags.corpus.train.sha256": "ffffffffffff"},
        {"tags.corpus.train.sha256": None},
        {"tags.corpus.official_test.sha256": "ffffffffffff"},
        {"metrics.test/macro_f1": None},
    ],
    ids=str,
)
def test_runs_that_say_nothing_of_the_whole_experiment_on_this_corpus_are_left_out(different: dict[str, Any]) -> None:
    left_out = made_run("exp4", 0.9, start="2026-01-02", **different)
    assert chosen(made_run("exp4", 0.1), left_out) == [("exp4", 42, 0.1)]
    with pytest.raises(NoRuns, match="among 1 runs"):
        latest_runs(pd.DataFrame([left_out]), CORPUS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("params.data.split.seed", "1 earlier runs of exp3, with different values of data.split.seed"),
        ("params.checkpoint.video", "1 earlier runs of exp3, with different values of checkpoint.video"),
        ("params.training.learning_rate", "1 earlier runs of exp3, with different values of training.learning_rate"),
    ],
)
def test_an_experiments_row_never_mixes_runs_that_differ_in_more_than_the_seed(
    caplog: pytest.LogCaptureFixture, name: str, words: str
) -> None:
    earlier = made_run("exp3", 0.9, seed=1, start="2026-01-01", **{name: "another"})
    assert chosen(made_run("exp3", 0.2, seed=2, start="2026-01-03"), earlier) == [("exp3", 2, 0.2)]
    assert f"left out: {words}" in caplog.text


def test_experiments_of_another_split_or_checkpoint_do_not_stand_beside_the_latest() -> None:
    on_another_split = made_run("exp3", 0.9, **{"params.data.split.unit": "utterance"})
    later = made_run("exp4", 0.2, start="2026-01-02", **{"params.data.split.unit": "conversation"})
    assert chosen(later, on_another_split) == [("exp4", 42, 0.2)]


def test_experiments_may_differ_in_their_settings_and_in_the_checkpoints_that_they_use() -> None:
    slower = made_run("exp6", 0.2, **{"params.training.learning_rate": "1e-05"})
    assert chosen(slower, made_run("exp3", 0.1)) == [("exp3", 42, 0.1), ("exp6", 42, 0.2)]


def test_where_and_how_fast_clips_were_prepared_makes_no_two_runs_different() -> None:
    here = made_run(
        "exp3", 0.1, 1, **{"params.data.clips.executor": "processes", "params.data.clips.on_bad_clip": "drop"}
    )
    there = made_run("exp3", 0.2, 2, "2026-01-02", **{"params.data.clips.executor": "ray"})
    there |= {"params.data.clips.on_bad_clip": "drop"}
    assert chosen(here, there) == [("exp3", 1, 0.1), ("exp3", 2, 0.2)]
    there |= {"params.data.clips.on_bad_clip": "blank"}
    assert chosen(here, there) == [("exp3", 2, 0.2)]


def test_a_store_where_no_run_was_ever_partial_has_no_such_column() -> None:
    runs = pd.DataFrame([made_run("exp3", 0.1)]).drop(columns=["tags.partial"])
    assert len(latest_runs(runs, CORPUS)) == 1


@pytest.mark.parametrize("runs", [pd.DataFrame(), pd.DataFrame([{"status": "FINISHED"}])], ids=["none", "foreign"])
def test_without_a_run_the_error_says_what_to_do(runs: pd.DataFrame) -> None:
    with pytest.raises(NoRuns, match=r"no finished run on the corpus 0a1b2c3d4e5f.*Run experiments first: kedro run"):
        latest_runs(runs, CORPUS)


SLOWER = {"params.training.learning_rate": "1e-05"}


def test_named_runs_may_differ_in_anything_and_are_called_by_what_tells_them_apart() -> None:
    first, second = made_run("exp4", 0.1, 1), made_run("exp4", 0.2, 1, **SLOWER, run_id="slower")
    other = made_run("exp3", 0.3, 5, **{"tags.corpus.train.sha256": "ffffffffffff"})
    runs = named_runs(
        pd.DataFrame([first, second, other, made_run("exp6", 0.9)]),
        [second["run_id"], first["run_id"], other["run_id"]],
    )
    assert runs["run_id"].tolist() == [other["run_id"], "slower", first["run_id"]]
    assert system_names(runs).tolist() == [
        "exp3",
        "exp4 (training.learning_rate=1e-05)",
        "exp4 (training.learning_rate=5e-05)",
    ]


def test_seeds_of_one_experiment_bear_one_name() -> None:
    runs = pd.DataFrame([made_run("exp4", 0.1, 1), made_run("exp4", 0.2, 2)])
    assert system_names(runs).tolist() == ["exp4", "exp4"]


def test_a_run_is_not_counted_twice() -> None:
    runs = pd.DataFrame([made_run("exp4", 0.1, 1), made_run("exp4", 0.2, 1, start="2026-01-02")])
    with pytest.raises(WrongRun, match=r"exp4-1-2026-01-01, exp4-1-2026-01-02 have the same experiment, seed"):
        system_names(runs)


def test_a_named_run_that_is_not_there_or_not_whole_is_refused() -> None:
    runs = pd.DataFrame([made_run("exp4", 0.1), made_run("exp3", 0.2, status="FAILED")])
    with pytest.raises(WrongRun, match=r"compare\.runs: MLflow has no run abc\. Give names .*, or run ids of 32"):
        named_runs(runs, ["exp4-42-2026-01-01", "abc"])
    with pytest.raises(WrongRun, match="MLflow has no run abc"):
        named_runs(pd.DataFrame(), ["abc"])
    with pytest.raises(WrongRun, match=r"compare\.runs: exp3-42-2026-01-01 cannot be compared: not a finished run"):
        named_runs(runs, ["exp4-42-2026-01-01", "exp3-42-2026-01-01"])


def test_the_name_of_an_experiment_is_short_for_its_latest_runs() -> None:
    runs = [made_run(name, 0.1, seed) for name in ("exp1", "exp3", "exp4") for seed in (1, 2)]
    again = made_run("exp4", 0.3, 2, start="2026-01-02")
    table = pd.DataFrame([*runs, again])
    how = CompareParams(baseline="exp3", resamples=100, confidence=0.95, seed=0, runs=("exp4", "exp3-1-2026-01-01"))
    found = choose_runs(table, CORPUS, how)
    assert found["run_id"].tolist() == ["exp3-1-2026-01-01", "exp4-1-2026-01-01", "exp4-2-2026-01-02"]
    assert found["system"].tolist() == ["exp3", "exp4", "exp4"]
    split = made_run("exp3", 0.1, start="2026-01-03", **{"params.data.split.seed": "7"})
    with pytest.raises(WrongRun, match=r"none of the runs of exp4 can be compared with the latest run of exp4, exp3"):
        choose_runs(pd.DataFrame([*runs, split]), CORPUS, how.model_copy(update={"runs": ("exp4", "exp3")}))


OTHER_TEST = {"tags.examples.validation": "1", "tags.examples.test": "other"}
SAME_TEST = {"tags.examples.validation": "1", "tags.examples.test": "2"}


def test_runs_on_other_examples_than_the_latest_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A clip or a text was changed between them, which no parameter tells."""
    before, unknown = made_run("exp4", 0.1, 1, **OTHER_TEST), made_run("exp4", 0.3, 3)
    now = made_run("exp4", 0.2, 2, start="2026-01-02", **SAME_TEST)
    assert chosen(before, now, unknown) == [("exp4", 2, 0.2), ("exp4", 3, 0.3)]
    assert "left out: 1 earlier runs of exp4, with different values of examples.test" in caplog.text


def test_named_runs_on_other_examples_are_refused_unless_a_parameter_says_why() -> None:
    first, second = made_run("exp3", 0.1, **SAME_TEST), made_run("exp4", 0.2, **OTHER_TEST)
    names = [first["run_id"], second["run_id"]]
    with pytest.raises(CannotCompare, match=r"other test examples, although .*exp3-42-2026-01-01; other: exp4-42"):
        named_runs(pd.DataFrame([first, second]), names)
    second["params.data.clips.reader"] = "decord"
    assert len(named_runs(pd.DataFrame([first, second]), names)) == 2
    assert len(named_runs(pd.DataFrame([first, {**second, **SAME_TEST}]), names)) == 2


def test_a_checkpoint_that_was_moved_is_the_same_checkpoint() -> None:
    digest = {"tags.checkpoint_files.video": "0a1b"}
    here = made_run("exp4", 0.1, 1, **digest, **{"params.checkpoint.video": "/a/video"})
    there = made_run("exp4", 0.2, 2, "2026-01-02", **digest, **{"params.checkpoint.video": "/b/video"})
    compared = CompareParams(baseline="exp4", resamples=100, confidence=0.95, seed=1, runs=())
    assert list(choose_runs(pd.DataFrame([here, there]), CORPUS, compared)["seed"]) == [1, 2]
    there["tags.checkpoint_files.video"] = "of other weights"
    assert list(choose_runs(pd.DataFrame([here, there]), CORPUS, compared)["seed"]) == [2]


def test_the_head_of_a_run_is_read_as_it_is_logged_now_and_as_it_was_before() -> None:
    block = {"params.head": None, "params.head.kind": "attention", "params.head.trained": "True"}
    frozen = {"params.head": None, "params.head.kind": "linear", "params.head.trained": "False"}
    runs = [made_run("exp4", 0.1), made_run("exp7", 0.2, **block), made_run("exp8", 0.3, **frozen)]
    compared = CompareParams(baseline="exp4", resamples=100, confidence=0.95, seed=0, runs=())
    table = choose_runs(pd.DataFrame(runs), CORPUS, compared)
    assert table["head"].tolist() == ["frozen", "trained", "frozen"]
    assert table["head_kind"].tolist() == ["linear", "attention", "linear"]


@pytest.mark.slow
def test_whether_a_run_is_finished_is_not_known_while_the_store_is_locked(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(store, "PATIENCE_SECONDS", 0.05)
    store.use_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert finished_run("0123456789abcdef") is None
    assert list(tmp_path.iterdir()) == []  # asking makes no store
    shutil.copy(empty_store, tmp_path)
    try:
        assert finished_run("0123456789abcdef") is None
        with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            with pytest.raises(store.OutOfReach, match="locked"):
                finished_run("0123456789abcdef")
    finally:
        mlflow.set_tracking_uri(None)


def imported(experiment: str, macro_f1: float, digest: str, **different: Any) -> dict[str, Any]:
    return made_run(experiment, macro_f1, **{"tags.imported.digest": digest, **different})


def test_imported_weights_are_a_system_of_their_own_beside_the_trainings_of_their_experiment() -> None:
    """Neither its seed nor its settings are those of a training here, even if it is the latest run."""
    runs = [
        made_run("exp1", 0.2, seed=42),
        made_run("exp1", 0.3, seed=1),
        imported("exp1", 0.9, "0a" * 8, start="2026-01-02"),
        imported("exp1", 0.8, "1b" * 8, start="2026-01-03", **{"params.training.learning_rate": "another"}),
    ]
    how = CompareParams(baseline="exp1", resamples=200, confidence=0.95, seed=0, runs=())
    found = choose_runs(pd.DataFrame(runs), CORPUS, how)
    assert list(zip(found["system"], found["seed"], found["imported"].notna(), strict=True)) == [
        ("exp1", 1, False),
        ("exp1", 42, False),
        (f"exp1 (imported {'0a' * 8})", 42, True),
        (f"exp1 (imported {'1b' * 8})", 42, True),
    ]
    named = how.model_copy(update={"runs": tuple(run["run_id"] for run in (runs[0], runs[2]))})
    assert list(choose_runs(pd.DataFrame(runs), CORPUS, named)["system"]) == ["exp1", f"exp1 (imported {'0a' * 8})"]


def test_the_name_of_an_experiment_means_its_trainings_and_an_id_any_run() -> None:
    runs = pd.DataFrame([made_run("exp1", 0.2), imported("exp1", 0.9, "0a" * 8, start="2026-01-02")])
    by_name, by_id = (latest_whole_run(runs, name) for name in ("exp1", "exp1-42-2026-01-02"))
    assert by_name is not None
    assert by_id is not None
    assert (by_name["run_id"], by_id["run_id"]) == ("exp1-42-2026-01-01", "exp1-42-2026-01-02")
    assert latest_whole_run(runs.iloc[1:], "exp1") is None


def test_the_run_of_an_identity_is_the_latest_that_is_whole() -> None:
    rows = [
        made_run("exp1", 0.2, start=f"2026-01-0{day}", **{"tags.identity": identity, **more})
        for day, identity, more in (
            (1, "a", {}),
            (3, "a", {}),
            (4, "b", {}),
            (5, "a", {"tags.partial": "true"}),
            (6, "a", {"status": "KILLED"}),
        )
    ]
    found = run_of_identity(pd.DataFrame(rows), "a")
    assert found is not None
    assert found["run_id"] == "exp1-42-2026-01-03"
    assert run_of_identity(pd.DataFrame(rows), "c") is None
    assert run_of_identity(pd.DataFrame(), "a") is None


def test_experiments_with_different_text_encoders_are_compared_and_all_looks_are_counted() -> None:
    encoders = [made_run("exp12", 0.3, **{"params.checkpoint.text": "MiniLM", "params.checkpoint.video": None})]
    encoders.append(made_run("exp13", 0.4, start="2026-01-03", **{"params.checkpoint.text": "RoBERTa"}))
    earlier = made_run("exp13", 0.2, start="2026-01-02", **{"params.checkpoint.text": "MiniLM"})
    partial = made_run("exp13", 0.9, start="2026-01-04", **{"tags.partial": "true"})
    table = pd.DataFrame([*encoders, earlier, partial])
    assert chosen(*table.to_dict("records")) == [("exp12", 42, 0.3), ("exp13", 42, 0.4)]
    compare = CompareParams(baseline="exp12", resamples=100, confidence=0.95, seed=1, runs=())
    found = choose_runs(table, CORPUS, compare)
    assert found["test_looks"].tolist() == [3, 3]
    assert not [name for name in found if "checkpoint.text" in name]
