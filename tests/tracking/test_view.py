"""How MLflow shows the runs."""

import json
import shutil
from pathlib import Path

import mlflow
import pytest

from support.tracked_project import PROJECT, STORE, locked, new_outbox, runs_in
from trimood.tracking.view import COLOURS, SAVED_VIEW, colour_of, link


@pytest.fixture
def folder(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copy(empty_store, tmp_path)
    return tmp_path


def test_each_kind_of_run_has_its_own_described_experiment(folder: Path) -> None:
    outbox = new_outbox(folder)
    for name, group in (("exp4 · seed 3", "trainings"), ("tune", "search"), ("compare", "reports")):
        outbox.open(name, {}, group=group).close("FINISHED")
    client = mlflow.MlflowClient(STORE.format(folder))
    of = {experiment.experiment_id: experiment for experiment in client.search_experiments()}
    found = {of[run.info.experiment_id].name: run.info.run_name for run in runs_in(folder)}
    assert found == {"trimood": "exp4 · seed 3", "trimood-search": "tune", "trimood-reports": "compare"}
    for experiment in of.values():
        if experiment.name != "Default":
            assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
            assert experiment.tags["mlflow.note.content"]


def test_the_saved_view_fits_into_a_tag_and_has_what_a_person_compares(folder: Path) -> None:
    outbox = new_outbox(folder)
    outbox.open("exp4 · seed 3", {})
    client = mlflow.MlflowClient(STORE.format(folder))
    text = client.get_experiment(outbox.experiments["trainings"]).tags[SAVED_VIEW]
    assert len(text) < 5000  # MLflow's limit
    view = json.loads(text)
    assert {"metrics.`test/macro_f1`", "tags.`test interval`"} <= set(view["selectedColumns"])
    assert view["compareRunCharts"][0]["metricKey"] == "test/macro_f1"
    assert SAVED_VIEW.rpartition(".")[2] in link("sqlite:///mlflow.db", "1")


def test_a_description_that_a_person_has_written_stays(folder: Path) -> None:
    first = new_outbox(folder)
    first.open("exp4 · seed 1", {})
    client = mlflow.MlflowClient(STORE.format(folder))
    experiment = first.experiments["trainings"]
    client.set_experiment_tag(experiment, "mlflow.note.content", "ours")
    client.set_experiment_tag(experiment, SAVED_VIEW, "{}")
    new_outbox(folder).open("exp4 · seed 2", {})
    tags = client.get_experiment(experiment).tags
    assert tags["mlflow.note.content"] == "ours"
    assert tags[SAVED_VIEW] != "{}"


def test_the_answers_of_the_last_report_stand_above_what_is_written_there(folder: Path) -> None:
    outbox = new_outbox(folder)
    client, experiment = mlflow.MlflowClient(STORE.format(folder)), outbox.experiments["trainings"]

    def note() -> str:
        return str(client.get_experiment(experiment).tags["mlflow.note.content"])

    before = note()
    with locked(folder):  # kept, and sent when the store answers again
        report = outbox.open("compare", {}, group="reports")
        report.log_answers("Which is best? exp4.")
    outbox.retry()
    where = f"#/experiments/{outbox.experiments['reports']}/runs/{report.id}"
    assert note() == f"**The last comparison:** Which is best? exp4. [The report]({where}).\n\n---\n\n{before}"
    client.set_experiment_tag(experiment, "mlflow.note.content", f"first\n\n{note().replace(before, 'ours')}")
    report.log_answers("Which is best? exp5.")
    assert note() == f"**The last comparison:** Which is best? exp5. [The report]({where}).\n\n---\n\nfirst\n\nours"
    client.set_experiment_tag(experiment, "mlflow.note.content", "**The last comparison:** our own words")
    report.log_answers("Which is best? exp6.")
    assert note().endswith("\n\n---\n\n**The last comparison:** our own words")


def test_the_runs_of_an_experiment_have_one_colour_and_others_another() -> None:
    names = sorted(path.stem for path in (PROJECT / "conf" / "base" / "experiments").glob("*.yml"))
    colours = {name: colour_of(name, names) for name in names}
    assert len(set(colours.values())) == len(names)
    assert len(set(COLOURS)) == len(COLOURS)
    assert colour_of("exp3", names) == colour_of("exp3", list(reversed(names)))
    kept = [colour_of(name, [*names, "exp4_tuned"]) == colour for name, colour in colours.items()]
    assert sum(kept) >= len(names) - 3


def test_the_link_names_the_server_without_its_password() -> None:
    assert link("https://me:secret@host.example/mlflow", "7").startswith(
        "https://host.example/mlflow/#/experiments/7/runs?"
    )
