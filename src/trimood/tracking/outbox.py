"""The one place through which everything is sent to MLflow. What cannot be sent is kept, in order, and sent later."""

import json
import logging
import os
import platform
import re
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from pydantic import ValidationError

from trimood.config.checks import without_passwords
from trimood.disk import written_whole
from trimood.tracking.records import (
    ASIDE,
    LOCK,
    OPENING,
    OPERATION,
    Answers,
    CannotOpen,
    Closing,
    File,
    Model,
    NotTaken,
    Opening,
    Operation,
    Status,
    Table,
    Values,
    is_alive,
    number_of,
    opening_in,
    this_process,
)
from trimood.tracking.store import SQLITE, OutOfReach, check, impatient, use_store
from trimood.tracking.view import NOTE, Group, with_answers

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

REFUSED = ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")
"""MLflow's codes for what it will never take, as for a run that was deleted."""

PASSING = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
"""MLflow's codes for a store that is locked or too busy."""


class TrackedRun:
    """A run. What is logged is sent at once, or kept in `folder` behind what is kept there already; nothing raises."""

    def __init__(self, outbox: "Outbox", opening: Opening, folder: Path) -> None:
        self._outbox, self._opening, self.folder = outbox, opening, folder
        self._kept = len(list(folder.glob("[0-9]*.json")))
        self._lock: FileLock | None = None
        self._continued = folder.exists()
        self._steps: dict[str, set[int]] = {}
        self._is_refused = False
        self.tags, self.params = dict(opening.tags), dict[str, str]()

    @property
    def name(self) -> str:
        """The name of the run."""
        return self._opening.name

    @property
    def _experiment(self) -> str:
        return self._outbox.experiments[self._opening.group]

    @property
    def id(self) -> str | None:
        """The run's id in MLflow; None while it could not be opened there."""
        return self._opening.run

    def log(
        self,
        metrics: Mapping[str, float] | None = None,
        step: int = 0,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> None:
        """Logs metrics of one step, params and tags. What MLflow takes in no name becomes a space."""
        now = time.time_ns() // 10**6
        values = Values(
            params={_name(name): str(value) for name, value in (params or {}).items()},
            tags={_name(name): str(value) for name, value in (tags or {}).items()},
            metrics=[(_name(name), float(value), now, step) for name, value in (metrics or {}).items()],
        )
        self.params |= values.params
        self.tags |= values.tags
        self._do(values)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Logs a file or folder as an artifact."""
        self._do(File(path=path, folder=folder))

    def log_model(self, weights: Path, calibration: Path) -> None:
        """Logs the MLflow model."""
        self._do(Model(weights=weights, calibration=calibration))

    def log_table(self, context: str, digest: str, source: Path, utterances: int) -> None:
        """Logs a table of examples as a dataset that the run reads."""
        self._do(Table(context=context, digest=digest, source=str(source), utterances=utterances))

    def log_answers(self, text: str) -> None:
        """Writes what this run, a report, says of all trainings into their description; replaces the last report's."""
        self._do(Answers(text=text))

    def close(self, status: Status, partial: bool = False) -> None:
        """Closes the run."""
        self._do(Closing(status=status, end_time=time.time_ns() // 10**6, partial=partial))

    def release(self) -> None:
        """Leaves it to the next command to send what is kept."""
        if self._lock:
            self._lock.release()

    def beside(self, name: str, tags: Mapping[str, str]) -> "TrackedRun":
        """Opens another run, as for a trial of the search that this run tracks."""
        return self._outbox.open(name, tags, group=self._opening.group)

    def retry(self) -> None:
        """Sends what is kept, if MLflow was out of reach and answers again."""
        self._outbox.retry()

    def _do(self, operation: Operation) -> None:
        with self._outbox.lock:
            if self._outbox.is_silent or self._kept:
                self._keep(operation)
            else:
                try:
                    self._send(operation)
                except OutOfReach as error:
                    self._outbox.fall_silent(error)
                    self._keep(operation)
                except NotTaken as error:
                    self._set_aside(self._keep(operation), error)

    def _keep(self, operation: Operation) -> Path:
        """Writes the operation, and links or copies its files, which the next run of the experiment replaces."""
        if self._lock is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.folder / LOCK, thread_local=False)
            self._lock.acquire()
            self._store_opening()
        number = f"{max(map(number_of, self.folder.glob('*[0-9].json')), default=0) + 1:08d}"
        paths = {name: value for name, value in operation if isinstance(value, Path)}
        copies = {name: self.folder / number / path.name for name, path in paths.items()}
        for name, path in paths.items():
            copies[name].parent.mkdir(exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, copies[name], dirs_exist_ok=True)
            else:
                _link_or_copy(path, copies[name])
        relative = {name: path.relative_to(self.folder) for name, path in copies.items()}
        with written_whole(self.folder / f"{number}.json") as beside:
            beside.write_text(operation.model_copy(update=relative).model_dump_json(), encoding="utf-8")
        self._kept += 1
        return self.folder / f"{number}.json"

    def _set_aside(self, path: Path, error: NotTaken) -> None:
        """Renames a record that MLflow does not take, so that the later ones can be sent."""
        self._kept -= 1
        path.rename(path.with_name(ASIDE + path.name))
        log.warning(
            "MLflow does not take a record of %s (%s). It is set aside as %s and its files stay beside it. To send it "
            "when the cause is removed, rename it to %s and start a kedro run.",
            self.name,
            error,
            path.with_name(ASIDE + path.name),
            path.name,
        )

    def send_kept(self) -> int:
        """Sends what is kept, and returns how many operations that were. Raises OutOfReach."""
        sent = 0
        for path in sorted(self.folder.glob("[0-9]*.json")):
            try:
                operation = OPERATION.validate_json(path.read_bytes())
            except ValidationError as error:
                log.warning("%s: MLflow does not get this record of %s: %s", path, self.name, error)
            else:
                files = {name: self.folder / value for name, value in operation if isinstance(value, Path)}
                if all(file.exists() for file in files.values()):  # else someone has cleared the folder
                    try:
                        self._send(operation.model_copy(update=files))
                    except NotTaken as error:
                        self._set_aside(path, error)
                        continue
            path.unlink()
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            self._kept -= 1
            sent += 1
        if self.folder.exists() and not list(self.folder.glob(f"{ASIDE}*")):
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock = None
        return sent

    def _send(self, operation: Operation, is_second_try: bool = False) -> None:
        """Sends one operation, after opening the run if need be. Raises OutOfReach, and NotTaken at the second try."""
        if self._is_refused:
            return
        client = self._outbox.client()
        with impatient(is_upload=isinstance(operation, File | Model)):
            try:
                if self._opening.run is None:
                    self._open(client)
                _SEND[type(operation)](self, client, operation)
            except Exception as error:
                self._continued, self._steps = True, {}  # the store may have it although it has not answered
                reason, code = without_passwords(str(error).partition("\n")[0]), getattr(error, "error_code", None)
                is_passing = code in PASSING or isinstance(error.__cause__, OSError)  # the server was too slow
                if is_passing or not self._is_answered(client):
                    raise OutOfReach(reason) from error
                if self._opening.run is None:
                    raise CannotOpen(reason) from error
                if code not in REFUSED:
                    if is_second_try:
                        raise NotTaken(reason) from error
                    return self._send(operation, is_second_try=True)  # a server may have been started again meanwhile
                self._is_refused = not self._is_active(client)
                log.warning("MLflow refuses what run %s of %s logs: %s", self.id, self.name, reason)

    def _is_answered(self, client: "MlflowClient") -> bool:
        """Whether the store answers a plain question, so that a failure is one of the record and not of the store."""
        try:
            check(self._outbox.uri)
            if self._opening.run:
                client.get_run(self._opening.run)
            else:
                client.get_experiment(self._experiment)
        except Exception as error:
            return getattr(error, "error_code", None) in REFUSED
        return True

    def _is_active(self, client: "MlflowClient") -> bool:
        """Whether the run was not deleted in MLflow. One that was gets nothing any more."""
        from mlflow.exceptions import MlflowException

        try:
            return str(client.get_run(self.id).info.lifecycle_stage) == "active"
        except MlflowException:
            return False

    def _open(self, client: "MlflowClient") -> None:
        """Finds the run that was opened before, or creates it."""
        opening, experiment = self._opening, self._experiment
        run = next(iter(client.search_runs([experiment], f"tags.key = '{opening.key}'", max_results=1)), None)
        again = None if run else self._unfinished(client)
        if run is None and again is None:
            run = client.create_run(experiment, opening.start_time, opening.tags | {"key": opening.key}, opening.name)
        self._opening = opening.model_copy(update={"run": (run or again).info.run_id})  # type: ignore[union-attr]
        if again:
            self._continued = True
            client.update_run(self._opening.run, status="RUNNING")
            if "partial" in again.data.tags:
                client.delete_tag(self._opening.run, "partial")
            _send_values(self, client, Values(tags=opening.tags | {"key": opening.key}))
            log.info("%s continues in its MLflow run %s", opening.name, self._opening.run)
        if self.folder.exists():
            self._store_opening()

    def _unfinished(self, client: "MlflowClient"):  # type: ignore[no-untyped-def]
        """The latest unfinished run of the same identity that no living process and no other host is writing."""
        if self._opening.identity is None:
            return None
        wanted = f"tags.identity = '{self._opening.identity}' and attributes.status != 'FINISHED'"
        for run in client.search_runs([self._experiment], wanted, order_by=["attributes.start_time DESC"]):
            is_elsewhere = run.data.tags.get("host") != platform.node()
            is_written = run.info.status == "RUNNING" and (is_elsewhere or is_alive(run.data.tags))
            if self._outbox.is_of_checkout(run.data.tags) and not is_written:
                return run
        return None

    def _store_opening(self) -> None:
        with written_whole(self.folder / OPENING) as beside:
            beside.write_text(self._opening.model_dump_json(), encoding="utf-8")

    def known_steps(self, client: "MlflowClient", metric: str) -> set[int]:
        """The steps of a metric that a continued run has already."""
        if not self._continued:
            return set()
        if metric not in self._steps:
            self._steps[metric] = {point.step for point in client.get_metric_history(self._opening.run, metric)}
        return self._steps[metric]


def _name(name: str) -> str:
    return re.sub(r"[^\w./ :-]+", " ", name)


def _link_or_copy(path: Path, target: Path) -> None:
    if path.suffix == ".safetensors":  # gigabytes, which are never changed in place
        with suppress(OSError):  # another disk
            os.link(path, target)
            return
    shutil.copy2(path, target)


def _send_values(run: TrackedRun, client: "MlflowClient", values: Values) -> None:
    """Sends what the run does not have: a param cannot be changed, and a metric logged twice would be drawn twice."""
    from mlflow.entities import Metric, Param, RunTag

    known = client.get_run(run.id).data.params if values.params else {}
    client.log_batch(
        run.id,
        [Metric(*metric) for metric in values.metrics if metric[3] not in run.known_steps(client, metric[0])],
        [Param(name, value) for name, value in values.params.items() if name not in known],
        [RunTag(name, value) for name, value in values.tags.items()],
    )


def _send_file(run: TrackedRun, client: "MlflowClient", file: File) -> None:
    client.log_artifact(run.id, str(file.path), file.folder)


def _send_model(run: TrackedRun, client: "MlflowClient", model: Model) -> None:
    """Logs the model, unless an earlier attempt has; one that was interrupted is removed."""
    from trimood.serving.mlflow_model import log_model

    use_store(run._outbox.uri)
    for logged in client.search_logged_models([run._experiment], f"source_run_id = '{run.id}'"):
        if str(logged.status) == "READY":
            return
        client.delete_logged_model(logged.model_id)
    log_model(model.weights, model.calibration, str(run.id))


def _send_table(run: TrackedRun, client: "MlflowClient", table: Table) -> None:
    """Logs the dataset; MLflow leaves out one that the run has already."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entity = Dataset(
        f"{table.context} examples",
        table.digest,
        "local",
        json.dumps({"uri": table.source}),
        profile=json.dumps({"num_rows": table.utterances}),
    )
    tag = InputTag("mlflow.data.context", table.context)
    client.log_inputs(run.id, [DatasetInput(entity, [tag])])


def _send_answers(run: TrackedRun, client: "MlflowClient", answers: Answers) -> None:
    trainings = run._outbox.experiments["trainings"]
    note = client.get_experiment(trainings).tags.get(NOTE, "")
    client.set_experiment_tag(trainings, NOTE, with_answers(note, answers.text, f"{run._experiment}/runs/{run.id}"))


def _send_closing(run: TrackedRun, client: "MlflowClient", closing: Closing) -> None:
    if closing.partial:
        client.set_tag(run.id, "partial", "true")
    elif "partial" not in run._opening.tags and "partial" in client.get_run(run.id).data.tags:
        client.delete_tag(run.id, "partial")  # of a command that took this run for an interrupted one
    client.set_terminated(run.id, closing.status, closing.end_time)


_SEND: dict[type[Operation], Callable[..., None]] = {
    Values: _send_values,
    File: _send_file,
    Model: _send_model,
    Table: _send_table,
    Answers: _send_answers,
    Closing: _send_closing,
}


class Outbox:
    """Opens runs in the MLflow experiments, and sends what earlier commands have kept.

    After the first failure all is kept until `retry`, so a training waits once for a store, not for each number.
    """

    def __init__(self, folder: Path, select: Callable[[], dict[Group, str]], uri: str, checkout: str | None) -> None:
        """`select` makes the store ready and returns the ids of its experiments.

        `checkout`: a tag of this checkout's runs in a store that others use too; None in a store of its own.
        """
        self._folder, self._select, self._checkout = folder, select, checkout
        self.uri, self.experiments = uri, dict[Group, str]()
        self._own = _portable(uri, folder)
        self.lock = threading.RLock()
        self.is_silent = False
        self._has_warned = False
        self._open: list[TrackedRun] = []

    def begin(self) -> None:
        """Sends what earlier commands have kept, and closes the runs whose process is gone."""
        _at_work[:] = [self]
        with self.lock:
            try:
                self._send_left()
            except OutOfReach as error:
                self.fall_silent(error)

    def _send_left(self) -> None:
        for run in self._left():
            try:
                log.info("sent to MLflow: %d records of %s that an earlier command had kept", run.send_kept(), run.name)
            except CannotOpen as error:
                log.warning("MLflow cannot open run %s (%s). What it logs stays in %s", run.name, error, run.folder)
        self._close_interrupted()

    def open(
        self, name: str, tags: Mapping[str, str], identity: str | None = None, group: Group = "trainings"
    ) -> TrackedRun:
        """Opens a run. With an `identity`, the run of an unfinished training with this identity continues."""
        now, key = time.time_ns(), uuid.uuid4().hex
        here = {"host": platform.node(), "process": this_process(), "checkout": self._checkout or "this store's"}
        opening = Opening(
            name=name,
            uri=self._own,
            key=key,
            start_time=now // 10**6,
            tags={**tags, **here, **({"identity": identity} if identity else {})},
            group=group,
            identity=identity,
        )
        run = TrackedRun(self, opening, self._folder / re.sub(r"\W+", "-", f"{now} {name} {key[:8]}"))
        run.log()
        self._open.append(run)
        return run

    def retry(self) -> None:
        """Sends what is kept, if the store answers again."""
        with self.lock:
            if not self.is_silent:
                return
            try:
                self._send_left()
                sent, failed = 0, False
                for run in self._open:
                    try:
                        sent += run.send_kept()
                    except CannotOpen:
                        failed = True
                self.is_silent = failed
                log.info("MLflow answers again: %d records that were kept have been sent", sent)
            except OutOfReach:
                return

    def end(self) -> int:
        """Tries a last time; returns how many records are kept for the next command. Names other stores' records."""
        self.retry()
        if self in _at_work:
            _at_work.remove(self)
        for run in self._open:
            run.release()
        self._open = []
        kept: Counter[str] = Counter()
        for folder in self._folder.glob("*/"):
            opening, count = opening_in(folder), len(list(folder.glob("[0-9]*.json")))
            if opening:
                kept[opening.uri] += count
            elif count:
                log.warning(
                    "%s is damaged, missing or unreadable, so the %d records beside it cannot be sent. Make it "
                    "readable, or remove the folder with the records.",
                    folder / OPENING,
                    count,
                )
        own = kept.pop(self._own, 0)
        for uri, count in (+kept).items():
            log.warning(
                "%s has %d records for the MLflow store %s, which this command does not use. They are sent by the next "
                "kedro run that uses it, as with MLFLOW_TRACKING_URI.",
                self._folder,
                count,
                f"{SQLITE}{os.path.normpath(self._folder / uri.removeprefix(SQLITE))}" if SQLITE in uri else uri,
            )
        return own

    def finished(self, identity: str) -> str | None:
        """The finished, complete run with this identity of which records are kept: its id, or its name without one."""
        for folder in sorted(self._folder.glob("*/"), reverse=True):
            opening, last = opening_in(folder), max(folder.glob("*[0-9].json"), key=number_of, default=None)
            if last and opening and (opening.identity, opening.uri) == (identity, self._own):
                with suppress(OSError, ValidationError):
                    closing = OPERATION.validate_json(last.read_bytes())
                    if isinstance(closing, Closing) and closing.status == "FINISHED" and not closing.partial:
                        return opening.run or f"{opening.name} (not sent yet)"
        return None

    def client(self) -> "MlflowClient":
        """A client of the store. Raises OutOfReach."""
        import mlflow

        check(self.uri)
        if not self.experiments:
            try:
                with impatient():
                    self.experiments = self._select()
            except Exception as error:
                raise OutOfReach(str(error).partition("\n")[0]) from error
        return mlflow.MlflowClient(self.uri, self.uri)  # another session may have selected another store

    def fall_silent(self, error: OutOfReach) -> None:
        """Keeps everything from now on; warns once in a command."""
        self.is_silent = True
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "MLflow at %s is out of reach (%s). The run goes on; what it logs is kept in %s and sent when MLflow "
                "answers, at the latest by the next kedro run.",
                without_passwords(self.uri),
                error,
                self._folder,
            )

    def is_of_checkout(self, tags: Mapping[str, str]) -> bool:
        """Whether a run with these tags was made in this checkout."""
        return self._checkout is None or tags.get("checkout") == self._checkout

    def _left(self) -> Iterator[TrackedRun]:
        """What other commands have kept for this store, the oldest first, unless they are at work."""
        for folder in sorted(path.parent for path in self._folder.glob(f"*/{OPENING}")):
            with suppress(Timeout), FileLock(folder / LOCK, blocking=False, thread_local=False):
                if opening := opening_in(folder):
                    is_done = not list(folder.glob("[0-9]*.json")) and list(folder.glob(f"{ASIDE}*"))
                    if opening.uri == self._own and not is_done:
                        yield TrackedRun(self, opening, folder)
                elif not list(folder.glob("*.json")):
                    shutil.rmtree(folder, ignore_errors=True)

    def _close_interrupted(self) -> None:
        """Closes runs of this checkout and host as killed if their process is gone."""
        from mlflow.exceptions import MlflowException

        client, here = self.client(), f"attributes.status = 'RUNNING' and tags.host = '{platform.node()}'"
        with impatient():
            try:
                for run in client.search_runs([*self.experiments.values()], here):
                    if self.is_of_checkout(run.data.tags) and not is_alive(run.data.tags):
                        try:
                            client.set_tag(run.info.run_id, "partial", "true")
                            client.set_terminated(run.info.run_id, "KILLED")
                        except MlflowException as error:
                            if error.error_code in PASSING:
                                raise
                            reason = without_passwords(str(error))
                            log.warning("MLflow does not close run %s: %s", run.info.run_id, reason)
                            continue
                        log.info("%s: run %s is closed, its process was killed", run.info.run_name, run.info.run_id)
            except Exception as error:
                raise OutOfReach(str(error).partition("\n")[0]) from error


def _portable(uri: str, folder: Path) -> str:
    """The URI without a password. A SQLite file is named from `folder`, because both may be moved together."""
    if uri.startswith(SQLITE):
        return f"{SQLITE}{os.path.relpath(uri.removeprefix(SQLITE), folder)}"
    return without_passwords(uri).rstrip("/")


_at_work: list[Outbox] = []
"""The outbox of the command that runs in this process, if any."""


def finished_but_kept(identity: str) -> str | None:
    """The run of `Outbox.finished` in the outbox of this command, after it has tried to send what is kept."""
    for outbox in _at_work:
        outbox.retry()
        if run := outbox.finished(identity):
            return run
    return None
