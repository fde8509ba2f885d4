from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.text import TextDataset

from trimood.pipelines import reporting
from trimood.pipelines.reporting.nodes import NoRuns, tabulate_results

CORPUS = {"train": {"sha256": "0a1b2c3d4e5f"}, "official_test": {"sha256": None}}


def made_run(experiment: str, macro_f1: float, seed: int = 42, start: str = "2026-01-01", **different: Any) -> dict:
    """A row of `mlflow.search_runs`; test macro F1 is `macro_f1`, validation macro F1 a tenth more."""
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


def table_of(*runs: dict[str, Any]) -> list[dict[str, str]]:
    """The Markdown table as rows by column."""
    head, rule, *rows = tabulate_results(pd.DataFrame(runs), CORPUS).splitlines()
    names = [cell.strip() for cell in head.strip("|").split("|")]
    assert len(rule.strip("|").split("|")) == len(names)
    return [dict(zip(names, (cell.strip() for cell in row.strip("|").split("|")), strict=True)) for row in rows]


def test_a_row_says_what_was_trained_and_what_it_reached() -> None:
    assert table_of(made_run("exp4", 0.2), made_run("exp3", 0.1234)) == [
        {
            "experiment": "exp3",
            "modalities": "text, video",
            "trained": "head",
            "head": "trained",
            "trainable": "10,752",
            "validation macro F1": "0.223",
            "test macro F1": "0.123",
            "seeds": "1",
        },
        {
            "experiment": "exp4",
            "modalities": "text, video",
            "trained": "LoRA: q_proj, v_proj",
            "head": "frozen",
            "trainable": "7,968,512",
            "validation macro F1": "0.300",
            "test macro F1": "0.200",
            "seeds": "1",
        },
    ]


def test_over_seeds_stand_mean_and_standard_deviation() -> None:
    (row,) = table_of(made_run("exp4", 0.2, 1), made_run("exp4", 0.3, 2), made_run("exp4", 0.4, 3))
    # Sample standard deviation of 0.2, 0.3, 0.4: sqrt((0.01 + 0 + 0.01) / 2) = 0.1.
    assert (row["test macro F1"], row["validation macro F1"], row["seeds"]) == ("0.300 ± 0.100", "0.400 ± 0.100", "3")


def test_of_an_experiment_and_seed_the_latest_run_counts_wherever_it_stands() -> None:
    later, earlier = made_run("exp4", 0.9, start="2026-01-02"), made_run("exp4", 0.1, start="2026-01-01")
    for runs in ([later, earlier], [earlier, later]):
        (row,) = table_of(*runs)
        assert (row["test macro F1"], row["seeds"]) == ("0.900", "1")


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
    (row,) = table_of(made_run("exp4", 0.1), left_out)
    assert row["test macro F1"] == "0.100"
    with pytest.raises(NoRuns, match="1 runs were looked at"):
        tabulate_results(pd.DataFrame([left_out]), CORPUS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("params.data.split.seed", "1 earlier runs of exp3, with other values of data.split.seed"),
        ("params.checkpoint.video", "1 earlier runs of exp3, with other values of checkpoint.video"),
        ("params.training.learning_rate", "1 earlier runs of exp3, with other values of training.learning_rate"),
    ],
)
def test_an_experiments_row_never_mixes_runs_that_differ_in_more_than_the_seed(
    caplog: pytest.LogCaptureFixture, name: str, words: str
) -> None:
    earlier = made_run("exp3", 0.9, seed=1, start="2026-01-01", **{name: "another"})
    (row,) = table_of(made_run("exp3", 0.2, seed=2, start="2026-01-03"), earlier)
    assert (row["test macro F1"], row["seeds"]) == ("0.200", "1")
    assert f"left out: {words}" in caplog.text


def test_experiments_of_another_split_or_checkpoint_do_not_stand_beside_the_latest() -> None:
    on_another_split = made_run("exp3", 0.9, **{"params.data.split.unit": "utterance"})
    later = made_run("exp4", 0.2, start="2026-01-02", **{"params.data.split.unit": "conversation"})
    assert [row["experiment"] for row in table_of(later, on_another_split)] == ["exp4"]


def test_experiments_may_differ_in_their_settings_and_in_the_checkpoints_that_they_use() -> None:
    slower = made_run("exp6", 0.2, **{"params.training.learning_rate": "1e-05"})
    assert [row["experiment"] for row in table_of(slower, made_run("exp3", 0.1))] == ["exp3", "exp6"]


def test_a_store_where_no_run_was_ever_partial_has_no_such_column() -> None:
    runs = pd.DataFrame([made_run("exp3", 0.1)]).drop(columns=["tags.partial"])
    assert "| exp3 |" in tabulate_results(runs, CORPUS)


@pytest.mark.parametrize("runs", [pd.DataFrame(), pd.DataFrame([{"status": "FINISHED"}])], ids=["none", "foreign"])
def test_without_a_run_the_error_says_what_to_do(runs: pd.DataFrame) -> None:
    with pytest.raises(NoRuns, match=r"no finished run on the corpus 0a1b2c3d4e5f.*Run experiments first: kedro run"):
        tabulate_results(runs, CORPUS)


def test_head_only_runs_need_no_column_of_adapters() -> None:
    runs = pd.DataFrame([made_run("exp3", 0.1)]).drop(columns=["params.lora.targets"])
    assert "| head |" in tabulate_results(runs, CORPUS)


def test_the_stage_writes_the_table_as_markdown(tmp_path: Path) -> None:
    catalog = DataCatalog(
        {
            "mlflow_runs": MemoryDataset(pd.DataFrame([made_run("exp3", 0.1)])),
            "corpus_description": MemoryDataset(CORPUS),
            "results_table": TextDataset(filepath=str(tmp_path / "results.md")),
        }
    )
    SequentialRunner().run(reporting.create_pipeline(), catalog)
    assert (tmp_path / "results.md").read_text().startswith("| experiment | modalities |")
