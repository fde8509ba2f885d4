"""A small Kedro project with trimood's configuration and its MLflow hook, whose experiments take milliseconds.

In the environment, FAIL names a node and what it raises ("exp4.train: ValueError", "exp4.train seed 2: ValueError";
"exp4.train: kill" kills the process),
BAD_SCORES makes scores that no JSON file can hold, DESCRIBED names a file that gets a line when the shared stage runs.
"""

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest
from kedro.framework.startup import bootstrap_project
from mlflow.entities import Run

from trimood.tracking.outbox import Outbox
from trimood.tracking.store import use_experiments

PROJECT = Path(__file__).parents[2]
PACKAGE = "tracked"
STORE = "sqlite:///{}/mlflow.db"

REGISTRY = """
import builtins, os, signal, threading

import pandas as pd
from kedro.pipeline import Node, Pipeline

from trimood.config.experiment_settings import (ExperimentParams, LoraParams, TrainingParams, resolve)
from trimood.config.parameters import (SplitParams)
from trimood.config.plan import ExampleFingerprints, Plan
from trimood.model.stored import RunIdentity
from trimood.scoring.metrics import classification_report
from trimood.scoring.summary import OnTest, Range, RunSummary
from trimood.tracking.live import log_live
from trimood.tracking.live import current_run


def fail_if_asked(name):
    node, _, error = os.environ.get("FAIL", "").partition(": ")
    if node == name and error == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if node == name:
        raise getattr(builtins, error)(f"{name} was asked to fail")


def describe(parameters: dict, split: SplitParams):
    fail_if_asked("describe")
    if "DESCRIBED" in os.environ:
        with open(os.environ["DESCRIBED"], "a") as file:
            file.write("once\\n")
    return {"train": {"sha256": "0a1b2c3d4e5f", "utterances": parameters["seed"]}}


def list_excluded(parameters: dict):
    problems = ["missing", "silent", "silent", "unreadable and silent"]
    return pd.DataFrame({"utterance": range(4), "problem": problems, "policy": ["drop", "blank", "blank", "drop"]})


def plan(experiment: ExperimentParams, training: TrainingParams, lora: LoraParams):
    rows = {"head": (8, 8), "all": (8, 100)}
    counts = {k: {"trainable": own, "all": total, "trainable_share": own / total} for k, (own, total) in rows.items()}
    settings = resolve(experiment, training, lora)
    used = {"video": "LanguageBind/Video"}
    return Plan(title="", settings=settings, checkpoints=used, parameters=counts, reader="pyav")


def experiment(name):
    def identify(plan):
        fail_if_asked(f"{name}.identify")
        examples = ExampleFingerprints(training="1", validation="2", test="3")
        checkpoints = {"video": "0" * 16}
        return RunIdentity(
            experiment=name, plan=plan, examples=examples, checkpoints=checkpoints, recipe="", code=""
        )

    def train(identity, description):
        plan = identity.plan
        fail_if_asked(f"{name}.train")
        fail_if_asked(f"{name}.train seed {plan.settings.training.seed}")
        run = current_run()
        for epoch in (1, 2):
            log_live({"validation/macro_f1": epoch / 10}, epoch)
        return {"epochs": [], "run": run.id, "thread": threading.current_thread().name}

    def score(history):
        fail_if_asked(f"{name}.score")
        right = 7 if name == "exp3" else 6
        predicted = [*range(right), *[0] * (7 - right)]
        scores = {"test": classification_report(range(7), predicted)}
        return {"test": object()} if "BAD_SCORES" in os.environ else scores

    def summarize(identity, history):
        seed = identity.plan.settings.training.seed
        test = OnTest(
            utterances=7,
            conversations=2,
            macro_f1=Range(value=0.5, low=0.25, high=0.75),
            weighted_f1=0.5,
            tfidf=0.25,
            gain=Range(value=0.25, low=-0.125, high=0.5),
            never_predicted=("fear", "disgust"),
        )
        about = {"experiment": name, "seed": seed, "imported": False, "trained": "a head", "confidence": 0.95}
        return RunSummary(**about, validation_macro_f1=seed / 100, test=test, excluded={"drop": 2})

    def ablate(history, summary):
        fail_if_asked(f"{name}.ablate")
        changes = {"change": ["intact", "blanked"], "macro_f1_drop": [0.0, 0.25]}
        return pd.DataFrame({"split": "test", "modality": ["all", "text"], **changes})

    nodes = [
        Node(plan, ["params:experiment", "params:training", "params:lora"], "plan", name="plan", tags="checks"),
        Node(identify, "plan", "identity", name="identify", tags="checks"),
        Node(train, ["identity", "corpus_description"], "history", name="train"),
        Node(score, "history", "scores", name="score"),
        Node(summarize, ["identity", "history"], "summary", name="summarize"),
        Node(ablate, ["history", "summary"], "modality_ablation", name="ablate"),
    ]
    shared = {f"params:{block}": f"params:{block}" for block in ("training", "lora")}
    parameters = {"params:experiment": f"params:{name}", **shared}
    return Pipeline(nodes, namespace=name, inputs={"corpus_description"}, parameters=parameters)


def register_pipelines():
    describe_corpus = Node(describe, ["params:demo", "params:data.split"], "corpus_description", name="describe")
    exclude = Node(list_excluded, "params:demo", "excluded_clips", name="list_excluded")
    data = Pipeline([describe_corpus, exclude], namespace="ingestion", prefix_datasets_with_namespace=False)
    return {"data": data, **{name: data + experiment(name) for name in ("exp3", "exp4")}, "__default__": data}
"""

SETTINGS = """
from trimood.settings import CONFIG_LOADER_ARGS
from trimood.tracking.hook import TrackRuns

HOOKS = (TrackRuns(),)
"""


def write_tracked_project(folder: Path) -> Path:
    """Write the project, with the whole of trimood's own conf/. Returns its folder."""
    package = folder / "src" / PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "settings.py").write_text(SETTINGS)
    (package / "cli.py").write_text("from trimood.cli import cli, run\n")
    (package / "pipeline_registry.py").write_text(REGISTRY)
    (folder / "pyproject.toml").write_text(
        f'[tool.kedro]\npackage_name = "{PACKAGE}"\nproject_name = "{PACKAGE}"\nkedro_init_version = "1.7.0"\n'
    )
    shutil.copytree(PROJECT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The small project, entered from a folder outside it."""
    for name in ("MLFLOW_TRACKING_URI", "FAIL", "BAD_SCORES", "DESCRIBED"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = write_tracked_project(tmp_path / "project")
    bootstrap_project(folder)
    yield folder
    mlflow.set_tracking_uri(None)
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with MLflow's tables and nothing in them: they take seconds to make."""
    folder = tmp_path_factory.mktemp("store")
    mlflow.MlflowClient(STORE.format(folder)).search_experiments()
    return folder / "mlflow.db"


def runs_in(store: Path) -> list[Run]:
    """All runs of the store, the first made first."""
    client = mlflow.MlflowClient(STORE.format(store))
    experiments = [of.experiment_id for of in client.search_experiments(filter_string="name LIKE 'trimood%'")]
    return sorted(client.search_runs(experiments), key=lambda run: run.info.start_time)


def of(run: Run) -> str:
    """The experiment or the stage that a run tracks."""
    return str(run.data.tags.get("experiment") or run.data.tags["report"])


def new_outbox(folder: Path, checkout: str | None = None) -> Outbox:
    """The outbox of a command that has just begun, with a store in `folder`."""
    conf = {"tracking_uri": "sqlite:///mlflow.db", "artifacts": "mlruns", "experiment": "trimood"}
    unsent = folder / "unsent" / (checkout or "")
    outbox = Outbox(unsent, lambda: use_experiments(conf, folder), STORE.format(folder), checkout)
    outbox.begin()
    return outbox


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another connection locks the store."""
    connection = sqlite3.connect(folder / "mlflow.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.close()
