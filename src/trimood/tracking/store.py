"""The MLflow store: selects it, makes it, follows it when its folder moves, and checks that it answers."""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from trimood.config.checks import without_passwords
from trimood.tracking.view import ENDINGS, SAVED_VIEW, Group, tags_of_experiment

SQLITE = "sqlite:///"

PATIENCE_SECONDS = 2
"""How long a store may take to answer before it counts as out of reach; MLflow itself waits 20 s to 4 minutes."""

FOLDER = "store_folder"
"""Tag of an MLflow experiment: the folder of the SQLite file when its artifact locations were written."""

LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's database with absolute locations of artifacts."""


log = logging.getLogger(__name__)


class OutOfReach(Exception):
    """The store does not answer, or cannot be written now."""

    def __init__(self, reason: str) -> None:
        super().__init__(without_passwords(reason))  # MLflow names the URL in its errors


def tracking_uri(configured: str, project: Path) -> str:
    """Returns MLFLOW_TRACKING_URI if it is set, else the configured URI; SQLite paths start from the project root."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or configured
    return f"{SQLITE}{project / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri


def use_store(uri: str) -> None:
    """Selects MLflow's store, corrects the locations in a SQLite store that was moved, and restores the environment.

    MLflow writes the URI into MLFLOW_TRACKING_URI, and the next session in this process would take it for the user's
    choice.
    """
    import mlflow

    if uri.startswith(SQLITE) and not _is_missing(uri):
        _follow(Path(uri.removeprefix(SQLITE)))
    with _selecting:
        given = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(uri)
        if given is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = given


_selecting = threading.Lock()
"""Held while the environment contains MLflow's choice, which another thread would take for the user's."""


def store_in_use() -> str | None:
    """The URI of the store that was selected last; None before, or if it is a SQLite file that does not exist yet."""
    import mlflow

    uri = str(mlflow.get_tracking_uri()) if mlflow.is_tracking_uri_set() else None
    return None if uri is None or _is_missing(uri) else uri


def _is_missing(uri: str) -> bool:
    return uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file()


def use_experiments(configured: Mapping[str, str], project: Path) -> dict[Group, str]:
    """Returns the ids of the MLflow experiments whose name is configured in globals.yml; creates what is missing.

    Artifacts go to the configured folder; a store from MLFLOW_TRACKING_URI uses its own. Several commands may do this
    at the same time. Each experiment is described once: what a person changes there stays.
    """
    uri, name = tracking_uri(configured["tracking_uri"], project), configured["experiment"]
    if not uri.startswith(SQLITE):
        use_store(uri)
        return _experiments(name, None, None)
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    own = not os.environ.get("MLFLOW_TRACKING_URI")
    with _lock(path):
        if not path.is_file():
            _make(path)
        use_store(uri)
        where = (project.resolve() / configured["artifacts"]).as_uri() if own else None
        return _experiments(name, where, str(path.parent.resolve()))


def _experiments(name: str, artifacts: str | None, folder: str | None) -> dict[Group, str]:
    import mlflow

    client, found = mlflow.MlflowClient(), dict[Group, str]()
    for group, ending in ENDINGS.items():
        known = client.get_experiment_by_name(name + ending)
        if known is None:
            try:
                client.create_experiment(name + ending, artifacts, tags={FOLDER: folder} if folder else None)
            except mlflow.exceptions.MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another command has just created it
                    raise
            known = client.get_experiment_by_name(name + ending)
        found[group] = str(known.experiment_id)
        for tag, value in tags_of_experiment(group, name, found[group]).items():
            if tag not in known.tags or (tag.startswith(SAVED_VIEW) and known.tags[tag] != value):
                client.set_experiment_tag(found[group], tag, value)
    mlflow.set_experiment(experiment_id=found["trainings"])
    return found


def check(uri: str) -> None:
    """Raises OutOfReach within PATIENCE_SECONDS if the store does not answer or another connection locks it."""
    if uri.startswith(SQLITE):
        path = Path(uri.removeprefix(SQLITE))
        if _is_missing(uri):  # it is made when it is needed
            return
        try:
            with closing(sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise OutOfReach(str(error)) from error
    elif uri.startswith("http"):
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        try:  # as MLflow itself asks, with the user's passwords, tokens and certificates
            answer = http_request(
                get_default_host_creds(uri),
                "/health",
                "GET",
                timeout=PATIENCE_SECONDS,
                max_retries=0,
                raise_on_status=False,
            )
        except Exception as error:
            cause = error.__context__ or error  # without the URL, in which a password may stand
            raise OutOfReach(str(getattr(next(iter(cause.args), None), "reason", cause))) from error
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:  # anything else is an answer
            raise OutOfReach(f"HTTP {answer.status_code} {answer.reason}")


def require_store(uri: str) -> None:
    """As `check`, for what cannot go on without the store. Raises OutOfReach, which says what to do."""
    try:
        check(uri)
    except OutOfReach as error:
        raise OutOfReach(
            f"MLflow at {uri} does not answer ({error}). Start its server or unlock its file, or name another store in "
            "the environment variable MLFLOW_TRACKING_URI; then run the same command again."
        ) from None


@contextmanager
def impatient(is_upload: bool = False) -> Iterator[None]:
    """Makes MLflow give up soon and quietly, unless the user's environment says how long it waits.

    An upload may take its time. MLflow would log a traceback for each failed operation; `OutOfReach` says it once. At
    the end of a run, MLflow would print its URL with the password, and fail where the terminal takes only ASCII.
    """
    ours = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    ours |= {} if is_upload else {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    added = ours.keys() - os.environ.keys()
    os.environ.update({name: ours[name] for name in added})
    loggers = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "urllib3.connectionpool")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
        for name in added:
            os.environ.pop(name, None)


def _lock(path: Path) -> FileLock:
    """The lock of a SQLite store, for making and moving it; a process that is killed releases it."""
    return FileLock(path.with_name(f".{path.name}.lock"), is_singleton=True)  # one object, so that it may be nested


def _make(path: Path) -> None:
    """Makes the tables beside `path` and renames the file, because a process killed meanwhile leaves half of them."""
    import mlflow

    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    mlflow.MlflowClient(f"{SQLITE}{beside}").search_experiments(max_results=1)
    os.replace(beside, path)


def _follow(path: Path) -> None:
    """Corrects artifact locations if the folder of this SQLite store was moved or copied, with its artifacts."""
    here = path.parent.resolve()
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE_SECONDS)) as connection:
            if (before := _folder_before(connection, here)) is None:
                return
            with _lock(path), connection:
                for old, new in ((before.as_uri(), here.as_uri()), (str(before), str(here))):
                    for table, column in LOCATIONS:
                        connection.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - our own names
                            f"WHERE substr({column}, 1, ?) = ?",
                            (new, len(old) + 1, len(old) + 1, f"{old}/"),
                        )
                connection.execute(
                    "INSERT OR REPLACE INTO experiment_tags (key, value, experiment_id) "
                    "SELECT ?, ?, experiment_id FROM experiments WHERE substr(artifact_location, 1, ?) = ?",
                    (FOLDER, str(here), len(here.as_uri()) + 1, f"{here.as_uri()}/"),
                )
        log.info("%s was moved or copied: its runs now have their artifacts in %s", path, here)
    except sqlite3.Error as error:  # locked, or not a store of MLflow: whoever uses it next reports that
        log.debug("%s: %s", path, error)


def _folder_before(connection: sqlite3.Connection, here: Path) -> Path | None:
    """The folder where the store was used before, if it was another and its artifacts are now beside the store.

    A store of an earlier version has no tag; its artifacts are in FOLDER/mlruns/RUN/artifacts.
    """
    tagged = connection.execute("SELECT value FROM experiment_tags WHERE key = ?", (FOLDER,)).fetchone()
    before = Path(tagged[0]) if tagged else None
    if before == here:
        return None
    for (uri,) in connection.execute("SELECT artifact_uri FROM runs"):
        location = urlsplit(uri or "")
        folder = Path(unquote(location.path)).parent
        if location.scheme == "file" and (before is None or folder.is_relative_to(before)):
            of_run = before or folder.parents[1]
            if of_run == here:
                return None
            if (here / folder.relative_to(of_run)).is_dir():
                return of_run
            if folder.is_dir():  # the store was moved without its artifacts
                return None
    return before
