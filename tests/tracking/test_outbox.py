"""What MLflow cannot take is kept in order and sent later, and nothing is sent twice in a way that shows."""

import logging
import math
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from support.tracked_project import STORE, locked, new_outbox, runs_in
from trimood.tracking import outbox as outbox_module
from trimood.tracking import store as store_module
from trimood.tracking.live import current_run, set_current_run
from trimood.tracking.outbox import Outbox, TrackedRun
from trimood.tracking.records import Model, is_alive, this_process
from trimood.tracking.runs import finished_run
from trimood.tracking.store import OutOfReach, use_experiments

CONF = {"tracking_uri": "sqlite:///mlflow.db", "artifacts": "mlruns", "experiment": "trimood"}
IDENTITY = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(store_module, "PATIENCE_SECONDS", 0.05)
    yield
    outbox_module._at_work.clear()
    set_current_run(None)
    mlflow.set_tracking_uri(None)


@pytest.fixture
def folder(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copy(empty_store, tmp_path)
    return tmp_path


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "unsent").glob("*/[0-9]*.json"))


def history(folder: Path, run: Run, metric: str) -> list[tuple[int, float]]:
    points = MlflowClient(STORE.format(folder)).get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in points]


def log_training(run: TrackedRun, folder: Path, name: str = "scores.json") -> None:
    """Logs a param, tags, a curve of three epochs, and a file that is replaced afterwards."""
    run.log(params={"train": "lora"}, tags={"seed": 1})
    for epoch in (1, 2, 3):
        run.log({"curves/loss": 1 / epoch}, step=epoch)
    path = folder / name
    path.write_text("first")
    run.log_file(path, "results")
    path.write_text("of a later command")


def file_of(folder: Path, run: Run, name: str = "scores.json") -> str:
    (path,) = (folder / "mlruns" / run.info.run_id).rglob(name)
    return path.read_text()


@pytest.mark.slow
def test_what_a_locked_store_cannot_take_is_sent_in_order_when_it_answers(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = new_outbox(folder)
    run = outbox.open("exp4", {"experiment": "exp4"})
    run.log({"curves/loss": 2.0}, step=0)
    with locked(folder):
        log_training(run, folder)
        outbox.retry()
        assert len(kept(folder)) == 5
    run.log({"curves/loss": 0.25}, step=4)  # the store answers, but what is kept goes first
    assert len(kept(folder)) == 6
    outbox.retry()
    run.close("FINISHED")
    assert outbox.end() == 0
    (found,) = runs_in(folder)
    assert history(folder, found, "curves/loss") == [(0, 2.0), (1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]
    assert (found.info.status, found.data.params["train"], found.data.tags["seed"]) == ("FINISHED", "lora", "1")
    assert file_of(folder, found) == "first"
    assert list((folder / "unsent").iterdir()) == []
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "is out of reach (database is locked)" in warning.getMessage()
    assert "at the latest by the next kedro run" in warning.getMessage()


@pytest.mark.slow
def test_a_dataset_is_sent_when_the_store_answers_and_a_resumed_run_has_it_once(folder: Path) -> None:
    first = new_outbox(folder)
    run = first.open("exp4", {"experiment": "exp4"}, IDENTITY)
    with locked(folder):
        run.log_table("training", "0a1b2c3d", folder / "training_examples.parquet", 302)
        assert len(kept(folder)) == 1
    first.retry()
    run.close("KILLED", partial=True)
    again = new_outbox(folder).open("exp4", {"experiment": "exp4"}, IDENTITY)
    again.log_table("training", "0a1b2c3d", folder / "training_examples.parquet", 302)
    again.log_table("test", "4e5f6a7b", folder / "test_examples.parquet", 87)
    (found,) = runs_in(folder)
    inputs = found.inputs.dataset_inputs
    assert sorted((of.dataset.name, of.dataset.digest, of.dataset.profile) for of in inputs) == [
        ("test examples", "4e5f6a7b", '{"num_rows": 87}'),
        ("training examples", "0a1b2c3d", '{"num_rows": 302}'),
    ]
    assert {of.tags[0].key: of.tags[0].value for of in inputs}.keys() == {"mlflow.data.context"}


@pytest.mark.slow
def test_a_run_that_could_not_even_be_opened_is_sent_by_the_next_command(folder: Path) -> None:
    with locked(folder):
        outbox = new_outbox(folder)
        run = outbox.open("exp4", {"experiment": "exp4"})
        log_training(run, folder)
        run.close("FINISHED")
        assert run.id is None
        assert outbox.end() == 7
    before = time.time() * 1000
    new_outbox(folder)
    (found,) = runs_in(folder)
    assert (found.info.status, found.info.run_name, found.data.tags["experiment"]) == ("FINISHED", "exp4", "exp4")
    assert found.info.start_time <= found.info.end_time < before  # when it ran, not when it was sent
    assert history(folder, found, "curves/loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert file_of(folder, found) == "first"
    assert list((folder / "unsent").iterdir()) == []
    new_outbox(folder)
    assert len(runs_in(folder)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("step", range(9))
def test_a_kill_in_the_middle_of_sending_sends_nothing_twice(
    folder: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command dies after the store has taken a record, before the record is removed."""
    with locked(folder):
        outbox = new_outbox(folder)
        log_training(outbox.open("exp4", {"experiment": "exp4"}), folder)
        outbox.open("exp5", {"experiment": "exp5"}).log({"curves/loss": 9.0}, step=1)
        outbox.end()
    removed = []

    def die(path: Path, *args: object, **how: object) -> None:
        if path.suffix == ".json":
            removed.append(path)
            if len(removed) == step:
                raise KeyboardInterrupt
        unlink(path, *args, **how)  # type: ignore[arg-type]

    def die_first(run: TrackedRun) -> None:
        raise KeyboardInterrupt

    unlink = Path.unlink
    with monkeypatch.context() as patched:
        if step == 0:  # the run was created, and nothing on disk says so
            patched.setattr(TrackedRun, "_store_opening", die_first)
        patched.setattr(Path, "unlink", die)
        with pytest.raises(KeyboardInterrupt):
            new_outbox(folder)
    new_outbox(folder)
    exp4, exp5 = runs_in(folder)
    assert [exp4.info.run_name, exp5.info.run_name] == ["exp4", "exp5"]
    assert history(folder, exp4, "curves/loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert history(folder, exp5, "curves/loss") == [(1, 9.0)]
    assert file_of(folder, exp4) == "first"
    assert kept(folder) == []


@pytest.mark.slow
def test_weights_are_linked_and_survive_the_next_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged = []

    def send(run: TrackedRun, client: MlflowClient, model: Model) -> None:
        logged.append((model.weights.read_bytes(), model.calibration.read_bytes()))

    monkeypatch.setitem(outbox_module._SEND, Model, send)
    weights, calibration = folder / "best.safetensors", folder / "calibration.json"
    weights.write_bytes(b"first")
    calibration.write_text("first")
    with locked(folder):
        outbox = new_outbox(folder)
        outbox.open("exp4", {}).log_model(weights, calibration)
        (linked,) = (folder / "unsent").rglob("best.safetensors")
        assert os.path.samefile(linked, weights)
        outbox.end()
    (folder / "next").write_bytes(b"second")
    os.replace(folder / "next", weights)
    calibration.write_text("second")
    new_outbox(folder)
    assert logged == [(b"first", b"first")]


def test_what_a_command_at_work_has_kept_is_left_to_it(folder: Path) -> None:
    with locked(folder):
        at_work = new_outbox(folder)
        at_work.open("exp4", {}).log({"curves/loss": 1.0})
    new_outbox(folder)
    assert runs_in_or_none(folder) == []
    assert len(kept(folder)) == 2
    at_work.end()
    assert [run.info.run_name for run in runs_in(folder)] == ["exp4"]


def runs_in_or_none(folder: Path) -> list[Run]:
    client = MlflowClient(STORE.format(folder))
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def gone(folder: Path, run: TrackedRun) -> str:
    """Makes the run one of a process that was killed; returns its id."""
    assert run.id
    MlflowClient(STORE.format(folder)).set_tag(run.id, "process", f"{os.getpid()} 12345")
    return run.id


def test_runs_whose_process_is_gone_are_closed_as_killed(folder: Path) -> None:
    outbox = new_outbox(folder)
    dead, alive = outbox.open("exp4", {}), outbox.open("exp5", {})
    gone(folder, dead)
    elsewhere = outbox.open("exp6", {})
    gone(folder, elsewhere)
    MlflowClient(STORE.format(folder)).set_tag(elsewhere.id, "host", "another")
    new_outbox(folder)
    statuses = {run.info.run_name: (run.info.status, run.data.tags.get("partial")) for run in runs_in(folder)}
    assert statuses == {"exp4": ("KILLED", "true"), "exp5": ("RUNNING", None), "exp6": ("RUNNING", None)}
    assert alive.id


def test_a_shared_store_keeps_the_runs_of_other_checkouts(folder: Path) -> None:
    run = new_outbox(folder, "it's a").open("exp4", {}, IDENTITY)
    gone(folder, run)
    other = new_outbox(folder, "b").open("exp4", {}, IDENTITY)
    assert other.id != run.id
    assert [found.info.status for found in runs_in(folder)] == ["RUNNING", "RUNNING"]
    assert new_outbox(folder, "it's a").open("exp4", {}, IDENTITY).id == run.id


@pytest.mark.parametrize("end", ["killed", "FAILED", "while the store is locked"])
def test_an_unfinished_training_goes_on_in_its_run(folder: Path, end: str) -> None:
    outbox = new_outbox(folder)
    first = outbox.open("exp4", {"session": "1"}, IDENTITY)
    first.log({"curves/loss": 1.0}, 1, params={"data.clips.workers": 0})
    first.log({"curves/loss": 0.5}, 2)
    if end == "FAILED":
        first.close("FAILED", partial=True)
    else:
        gone(folder, first)
    if end == "while the store is locked":
        with locked(folder):
            second_command = new_outbox(folder)
            second = second_command.open("exp4", {"session": "2"}, IDENTITY)
            resume(second)
        second_command.retry()
    else:
        second = new_outbox(folder).open("exp4", {"session": "2"}, IDENTITY)
        resume(second)
    assert second.id == first.id
    (found,) = runs_in(folder)
    assert found.info.status == "RUNNING"
    assert "partial" not in found.data.tags
    assert found.data.tags["session"] == "2"
    assert found.data.params["data.clips.workers"] == "0"  # as it was opened: a param cannot change
    assert history(folder, found, "curves/loss") == [(1, 1.0), (2, 0.5), (3, 0.25)]
    second.close("FINISHED")
    assert new_outbox(folder).open("exp4", {}, IDENTITY).id != first.id  # a finished run is left alone


def resume(run: TrackedRun) -> None:
    """Logs what a resumed training logs: its earlier epochs again, then its own."""
    run.log(params={"data.clips.workers": 4, "train": "lora"})
    for epoch, loss in ((1, 1.0), (2, 0.5), (3, 0.25)):
        run.log({"curves/loss": loss}, epoch)


def test_a_training_that_is_alive_elsewhere_keeps_its_run(folder: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        first = new_outbox(folder).open("exp4", {}, IDENTITY)
        tag = f"{other.pid} {psutil.Process(other.pid).create_time():.0f}"
        MlflowClient(STORE.format(folder)).set_tag(first.id, "process", tag)
        assert new_outbox(folder).open("exp4", {}, IDENTITY).id != first.id
    finally:
        other.kill()
        other.wait()
    assert not is_alive({"process": tag, "host": "another"})
    assert not is_alive({})
    assert this_process().startswith(f"{os.getpid()} ")


def test_a_run_that_was_deleted_meanwhile_stops_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    outbox = new_outbox(folder)
    run = outbox.open("exp4", {})
    MlflowClient(STORE.format(folder)).delete_run(run.id)
    log_training(run, folder)
    run.close("FINISHED")
    assert outbox.end() == 0
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "MLflow refuses what run" in warning.getMessage()
    assert outbox.open("exp5", {}).id


def test_one_value_that_mlflow_refuses_costs_nothing_else(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    outbox = new_outbox(folder)
    run = outbox.open("compare", {})
    run.log({"exp4 (training.learning_rate=1e-05)/macro_f1": 0.5})
    run.log(tags={"long": "x" * 10_000})
    run.log({"a//b": 0.5})  # no unique name
    log_training(run, folder)
    run.close("FINISHED")
    (found,) = runs_in(folder)
    assert found.data.metrics["exp4  training.learning_rate 1e-05 /macro_f1"] == 0.5
    assert (found.info.status, found.data.params["train"]) == ("FINISHED", "lora")
    refused = [record.getMessage() for record in caplog.records if "MLflow refuses" in record.getMessage()]
    assert any("a//b" in words for words in refused)
    assert outbox.end() == 0


@pytest.mark.parametrize("is_hung", [False, True], ids=["gone", "hung"])
def test_a_server_that_does_not_answer_is_not_waited_for(tmp_path: Path, is_hung: bool) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if is_hung:
            server.listen()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        outbox = Outbox(tmp_path / "unsent", lambda: use_experiments(CONF | {"tracking_uri": uri}, tmp_path), uri, None)
        outbox.begin()
        log_training(outbox.open("exp4", {}), tmp_path)
        assert outbox.end() == 6
        assert time.monotonic() - began < 60  # MLflow's own requests would wait for minutes
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_a_record_that_cannot_be_read_stops_nobody(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with locked(folder):
        outbox = new_outbox(folder)
        run = outbox.open("a study/with a slash trial 0", {})
        run.log({"curves/loss": math.nan, "curves/gradient": math.inf}, step=1)
        log_training(run, folder)
        outbox.end()
    files = kept(folder)
    assert len(files) == 7
    files[2].write_text('{"kind": "of another version"}')
    shutil.rmtree(files[-1].with_suffix(""))
    new_outbox(folder)
    (found,) = runs_in(folder)
    assert history(folder, found, "curves/loss")[1:] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert math.isnan(history(folder, found, "curves/loss")[0][1])
    assert "train" not in found.data.params
    assert "MLflow does not get this record of a study/with a slash trial 0" in caplog.text
    assert list((folder / "unsent").iterdir()) == []


def test_a_process_that_nobody_has_waited_for_is_gone() -> None:
    killed = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    tags = {"process": f"{killed.pid} {psutil.Process(killed.pid).create_time():.0f}", "host": platform.node()}
    assert is_alive(tags)
    killed.kill()
    for _ in range(100):
        if not is_alive(tags):
            break
        time.sleep(0.1)
    assert not is_alive(tags)
    killed.wait()


def test_nothing_is_current_outside_a_node() -> None:
    assert current_run() is None


def test_a_killed_process_that_nobody_has_waited_for_is_not_alive() -> None:
    """As in a container without an init process."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        tags = {"host": platform.node(), "process": f"{process.pid} {psutil.Process(process.pid).create_time():.0f}"}
        assert is_alive(tags)
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert not is_alive(tags)


@pytest.mark.slow
def test_records_of_another_store_are_kept_until_a_command_uses_it(
    tmp_path: Path, empty_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        shutil.copy(empty_store, folder)
    first = outbox_of(here, here)
    run = first.open("exp4", {})
    with locked(here):
        log_training(run, here)
        first.end()
    files = kept(here)
    assert len(files) == 5
    second = outbox_of(here, there)
    second.open("exp5", {}).close("FINISHED")
    assert second.end() == 0
    assert kept(here) == files
    assert [found.info.run_name for found in runs_in(there)] == ["exp5"]
    assert f"5 records for the MLflow store sqlite:///{here}/mlflow.db, which this command does not use" in caplog.text
    here.rename(tmp_path / "moved")
    new_outbox(tmp_path / "moved")
    (found,) = runs_in(tmp_path / "moved")
    assert len(history(tmp_path / "moved", found, "curves/loss")) == 3
    assert kept(tmp_path / "moved") == []


def outbox_of(project: Path, store: Path) -> Outbox:
    """The outbox of a command in `project` that uses the store in another folder."""
    outbox = Outbox(project / "unsent", lambda: use_experiments(CONF, store), STORE.format(store), None)
    outbox.begin()
    return outbox


def test_no_password_is_kept_or_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    uri = "http://me:secret@127.0.0.1:1"
    outbox = Outbox(tmp_path / "unsent", lambda: {"trainings": "0"}, uri, None)
    outbox.open("exp4", {})
    (opening,) = (tmp_path / "unsent").rglob("opening.json")
    assert '"http://127.0.0.1:1"' in opening.read_text()
    assert outbox.end() == 1
    assert "MLflow at http://127.0.0.1:1 is out of reach" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.slow
def test_records_whose_opening_is_damaged_are_not_promised_to_be_sent(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(folder):
        outbox = new_outbox(folder)
        outbox.open("exp4", {})
        outbox.end()
    (opening,) = (folder / "unsent").rglob("opening.json")
    opening.write_text("{")
    outbox = new_outbox(folder)
    outbox.begin()
    assert outbox.end() == 0
    assert f"{opening} is damaged, missing or unreadable, so the 1 records beside it cannot be sent." in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("is_kept_first", [False, True])
def test_a_record_that_can_never_be_sent_is_set_aside(
    folder: Path, is_kept_first: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(client: MlflowClient, run: str, path: str, artifact_path: str | None = None) -> None:
        raise RuntimeError("Unable to locate credentials")

    monkeypatch.setattr(MlflowClient, "log_artifact", refuse)
    outbox = new_outbox(folder)
    run = outbox.open("exp4", {})
    if is_kept_first:
        with locked(folder):
            log_training(run, folder)
        outbox.end()
        outbox = new_outbox(folder)
    else:
        log_training(run, folder)
        run.log({"curves/loss": 0.1}, step=4)
        run.close("FINISHED")
    other = outbox.open("exp5", {})
    other.close("FINISHED")
    assert outbox.end() == 0
    exp4, exp5 = runs_in(folder)
    assert len(history(folder, exp4, "curves/loss")) == (3 if is_kept_first else 4)
    assert exp5.info.status == "FINISHED"
    (aside,) = (folder / "unsent").glob("*/aside-*.json")
    (warning,) = [words for words in caplog.messages if "does not take a record of exp4" in words]
    assert "Unable to locate credentials" in warning
    assert str(aside) in warning
    monkeypatch.undo()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    new_outbox(folder)
    assert aside.exists()
    aside.rename(aside.with_name(aside.name.removeprefix("aside-")))
    new_outbox(folder)
    assert file_of(folder, exp4) == "first"
    assert list((folder / "unsent").iterdir()) == []


def test_a_run_that_cannot_be_opened_stops_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(folder):
        outbox = new_outbox(folder)
        for name in ("exp4", "exp5"):
            outbox.open(name, {}).close("FINISHED")
        outbox.end()

    def create(client: MlflowClient, experiment: str, start: int, tags: dict[str, str], name: str) -> Run:
        if name == "exp4":
            raise PermissionError("you may not")
        return create_run(client, experiment, start, tags, name)

    create_run = MlflowClient.create_run
    monkeypatch.setattr(MlflowClient, "create_run", create)
    outbox = new_outbox(folder)
    assert [run.info.run_name for run in runs_in(folder)] == ["exp5"]
    assert not outbox.is_silent
    assert outbox.end() == 2


@pytest.mark.parametrize("error", [RuntimeError, TimeoutError])
def test_what_the_store_has_although_it_did_not_answer_is_not_sent_twice(
    folder: Path, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def log_and_time_out(client: MlflowClient, *arguments: object) -> None:
        log_batch(client, *arguments)
        calls.append(arguments)
        if len(calls) == 1:
            raise MlflowException("no answer in time") from error()

    calls: list[object] = []
    outbox = new_outbox(folder)
    run = outbox.open("exp4", {})
    log_batch = MlflowClient.log_batch
    monkeypatch.setattr(MlflowClient, "log_batch", log_and_time_out)
    run.log({"curves/loss": 1.0}, step=1)
    run.log({"curves/loss": 0.5}, step=2)
    outbox.retry()
    run.close("FINISHED")
    assert outbox.end() == 0
    assert history(folder, runs_in(folder)[0], "curves/loss") == [(1, 1.0), (2, 0.5)]


@pytest.mark.slow
def test_a_finished_run_that_was_taken_for_interrupted_is_whole_when_its_end_is_sent(folder: Path) -> None:
    outbox = new_outbox(folder)
    run, partial = outbox.open("exp4", {}), outbox.open("exp5", {"partial": "true"})
    for of in (run, partial):
        gone(folder, of)
    with locked(folder):
        run.close("FINISHED")
        partial.close("FINISHED")
        outbox.end()
    (folder / "unsent").rename(folder / "elsewhere")
    new_outbox(folder)  # with another data_root
    assert [found.info.status for found in runs_in(folder)] == ["KILLED", "KILLED"]
    (folder / "elsewhere").rename(folder / "unsent")
    new_outbox(folder)
    found = {run.info.run_name: (run.info.status, run.data.tags.get("partial")) for run in runs_in(folder)}
    assert found == {"exp4": ("FINISHED", None), "exp5": ("FINISHED", "true")}


@pytest.mark.slow
@pytest.mark.parametrize("is_answering", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_a_training_whose_end_is_not_sent_is_finished(folder: Path, is_answering: bool, partial: bool) -> None:
    outbox = new_outbox(folder)
    run = outbox.open("exp4", {"experiment": "exp4"}, IDENTITY)
    with locked(folder):
        run.close("FINISHED", partial)
        outbox.end()
        second = new_outbox(folder)
        if not is_answering:
            for identity in ("another", IDENTITY) if partial else ("another",):
                with pytest.raises(OutOfReach):
                    finished_run(identity)
            if not partial:
                assert finished_run(IDENTITY) == run.id
    if is_answering:
        assert finished_run(IDENTITY) == (None if partial else run.id)
        assert kept(folder) == []
    second.end()


def test_a_running_training_of_another_host_keeps_its_run(folder: Path) -> None:
    first = new_outbox(folder, "of a shared disk").open("exp4", {}, IDENTITY)
    MlflowClient(STORE.format(folder)).set_tag(first.id, "host", "another")
    second = new_outbox(folder, "of a shared disk").open("exp4", {}, IDENTITY)
    assert second.id != first.id
    gone(folder, second)
    first.close("KILLED")
    assert new_outbox(folder, "of a shared disk").open("exp4", {}, IDENTITY).id == second.id
