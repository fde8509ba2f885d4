"""Repeating a command is free: what is finished is not trained again, and what is not is never taken for finished."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import torch
from kedro.framework.hooks import hook_impl
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline
from kedro.runner import AbstractRunner, SequentialRunner
from pluggy import PluginManager

from support.learning_examples import settings
from support.lock_holder import lock_holder
from trimood import runner
from trimood.config.plan import ExampleFingerprints, Plan
from trimood.disk import holder_of, is_held, release_all
from trimood.model.stored import AboutWeights, RunIdentity, TrainedWeights, read_weights
from trimood.runner import ExperimentRunner, HoldLocks
from trimood.tracking import runs
from trimood.tracking.results import KEY, Ending
from trimood.tracking.store import OutOfReach


def identity_of(name: str, seed: int, checkpoint: str = "/here/video") -> RunIdentity:
    examples = ExampleFingerprints(training="aa", validation="bb", test=f"{seed}")
    plan = Plan(title="", settings=settings("head"), checkpoints={"video": checkpoint}, parameters={}, reader="pyav")
    return RunIdentity(experiment=name, plan=plan, examples=examples, checkpoints={}, recipe="ee", code="ff")


def hook_manager(*others: object) -> PluginManager:
    """Kedro's hooks: that of the locks, and those of a test."""
    manager = _create_hook_manager()
    for hooks in (HoldLocks(), *others):
        manager.register(hooks)
    return manager


class Project:
    """Experiments of small nodes, what has run of them, and what MLflow knows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seed, self.rerun = folder, 1, False
        self.done: list[str] = []
        self.broken, self.checkpoint = "", "/here/video"
        self.finished: dict[str, str] = {}
        self.store: str | None = "sqlite:///mlflow.db"
        self.out_of_reach = False
        self.runner: AbstractRunner = ExperimentRunner()

    def experiment(self, name: str) -> Pipeline:
        """The nodes of one experiment."""

        def node(step: str, inputs: list[str], outputs: str | list[str], make: Callable[[], object], **how) -> Node:
            def work(*values: object) -> object:
                if self.broken == f"{name}.{step}":
                    raise RuntimeError(self.broken)
                self.done.append(f"{name}.{step}")
                return make()

            return Node(work, inputs, outputs, name=step, namespace=name, **how)

        def weights() -> list[TrainedWeights]:
            (self.checkpoints(name) / "checkpoint-1").mkdir(parents=True, exist_ok=True)
            tensors = {"head.weight": torch.ones(7, 2)}
            about = AboutWeights(identity=identity_of(name, self.seed), epoch="best", fingerprint="")
            return [TrainedWeights(about, tensors)] * 2

        return Pipeline(
            [
                node(
                    "identify",
                    [],
                    f"{name}.identity",
                    lambda: identity_of(name, self.seed, self.checkpoint),
                    tags=["checks"],
                ),
                node(
                    "train",
                    [f"{name}.identity"],
                    [f"{name}.best_weights", f"{name}.last_weights"],
                    weights,
                    tags=["training"],
                ),
                node("embed", [f"{name}.best_weights"], f"{name}.embeddings", lambda: {"of": self.seed}),
                node("score", [f"{name}.embeddings"], f"{name}.scores", lambda: {"seed": self.seed}),
            ]
        )

    def catalog(self) -> DataCatalog:
        """Where the datasets are, in real files."""
        own, models = "trimood.datasets.", self.folder / "06_models"
        entries = {
            "models": {"type": f"{own}FolderDataset", "filepath": str(models), "create": True},
            "training_checkpoints": {
                "type": f"{own}FolderDataset",
                "filepath": str(models / "training_checkpoints"),
                "create": True,
            },
            "{name}.identity": {
                "type": f"{own}ModelDataset",
                "model": "trimood.model.stored.RunIdentity",
                "command": "",
                "filepath": str(self.folder / "{name}" / "identity.json"),
            },
            "{name}.{epoch}_weights": {
                "type": f"{own}WeightsDataset",
                "filepath": str(models / "{name}" / "{epoch}.safetensors"),
            },
            "{name}.summary": {
                "type": f"{own}ModelDataset",
                "model": "trimood.scoring.summary.RunSummary",
                "command": "",
                "filepath": str(self.folder / "{name}" / "summary.json"),
            },
            **{
                f"{{name}}.{output}": {
                    "type": f"{own}WholeFileDataset",
                    "of": "json.JSONDataset",
                    "filepath": str(self.folder / "{name}" / f"{output}.json"),
                }
                for output in ("embeddings", "scores")
            },
        }
        catalog = DataCatalog.from_config(entries)
        catalog["parameters"] = {"rerun": self.rerun}
        return catalog

    def run(self, *names: str, only: str | None = None) -> list[str]:
        """Runs the experiments as one command does, and returns the nodes that have run."""
        self.done = []
        whole = sum((self.experiment(name) for name in names or ("exp3",)), Pipeline([]))
        pipeline = whole.filter(from_nodes=[only]) if only else whole
        catalog, hooks = self.catalog(), hook_manager()
        hooks.hook.before_pipeline_run(run_params={}, pipeline=pipeline, catalog=catalog)
        try:
            self.runner.run(pipeline, catalog, hooks)
            hooks.hook.after_pipeline_run(run_params={}, run_result={}, pipeline=pipeline, catalog=catalog)
        finally:
            self.held = {name for name in names or ("exp3",) if is_held(self.lock(name))}
            release_all()
        for name in names or ("exp3",):  # what tracking does when the last node of an experiment is done
            if self.store and not self.out_of_reach and f"{name}.score" in self.done and not only:
                self.finished[identity_of(name, self.seed).digest] = f"run of {name}"
        return self.done

    def lock(self, name: str) -> Path:
        """The lock of an experiment."""
        return self.folder / "06_models" / name / ".lock"

    def checkpoints(self, name: str) -> Path:
        """The folder of an unfinished training."""
        return self.folder / "06_models" / "training_checkpoints" / identity_of(name, self.seed).digest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    made = Project(tmp_path)

    def finished_run(identity: str) -> str | None:
        if made.out_of_reach:
            raise OutOfReach("gone")
        return made.finished.get(identity)

    monkeypatch.setattr(runner, "pipelines", {name: made.experiment(name) for name in ("exp1", "exp3", "exp4")})
    monkeypatch.setattr(runs, "finished_run", finished_run)
    monkeypatch.setattr(runs, "stored_summary", lambda _: None)
    monkeypatch.setattr(runner, "store_in_use", lambda: made.store)
    for name in (*runner.SEVERAL, *runner.RANKS):
        monkeypatch.delenv(name, raising=False)
    yield made
    release_all()


ALL = ["exp3.identify", "exp3.train", "exp3.embed", "exp3.score"]


def test_a_finished_experiment_is_not_trained_again_and_the_log_says_why(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    assert project.run() == ALL
    assert not project.checkpoints("exp3").exists()
    with caplog.at_level(logging.INFO, logger="trimood"):
        assert project.run() == ["exp3.identify"]
    (said,) = [record.getMessage() for record in caplog.records if "is finished" in record.getMessage()]
    assert "MLflow run run of exp3 holds the result" in said
    assert str(project.folder / "06_models" / "exp3") in said
    assert "--params rerun=true" in said


@pytest.mark.parametrize("content", ["damaged", None])
@pytest.mark.parametrize("stored", ["exp3", None])
def test_a_finished_seed_without_its_summary_is_finished_and_its_result_is_read_from_mlflow(
    project: Project, monkeypatch: pytest.MonkeyPatch, content: str | None, stored: str | None
) -> None:
    project.run()
    if content:
        (project.folder / "exp3" / "summary.json").write_text(content)
    found = SimpleNamespace(experiment=stored) if stored else None
    monkeypatch.setattr(runs, "stored_summary", {"run of exp3": found}.get)
    with click.Context(click.Command("run")) as command:
        command.meta[runner.MORE_SEEDS] = True
        assert project.run() == ["exp3.identify"]
    ending = command.meta.get(KEY, Ending())
    assert [result.summary.experiment for result in ending.results] == ([stored] if stored else [])


def test_of_several_experiments_only_the_rest_is_trained(project: Project) -> None:
    project.run("exp1", "exp3")
    assert project.run("exp1", "exp3", "exp4")[3:] == ["exp4.train", "exp4.embed", "exp4.score"]


def test_other_settings_data_or_code_are_trained(project: Project) -> None:
    project.run()
    project.seed = 2
    assert project.run() == ALL
    project.seed = 1  # its files were replaced by those of the other
    assert project.run() == ALL


@pytest.mark.parametrize(
    "file", ["06_models/exp3/best.safetensors", "06_models/exp3/last.safetensors", "exp3/scores.json"]
)
def test_a_missing_file_is_made_again(project: Project, file: str) -> None:
    project.run()
    (project.folder / file).unlink()
    assert project.run() == ALL


@pytest.mark.parametrize("rerun", [False, True])
def test_a_damaged_file_of_weights_is_made_again(
    project: Project, caplog: pytest.LogCaptureFixture, rerun: bool
) -> None:
    project.run()
    project.rerun = rerun
    (project.folder / "06_models/exp3/last.safetensors").write_bytes(b"damaged")
    assert project.run() == ALL
    assert "exp3 is trained again: " in caplog.text
    assert "last.safetensors" in caplog.text


def test_what_mlflow_does_not_know_as_finished_is_run_again(project: Project) -> None:
    project.run()
    project.finished = {}  # the run was deleted, or never closed
    assert project.run() == ALL


@pytest.mark.parametrize("was_selected", [True, False])
def test_without_an_answer_of_mlflow_the_mark_beside_the_weights_counts(project: Project, was_selected: bool) -> None:
    project.out_of_reach, project.store = was_selected, project.store if was_selected else None
    assert project.run() == ALL
    assert project.run() == ["exp3.identify"]
    project.seed = 2
    assert project.run() == ALL


def test_in_a_moved_checkout_nothing_is_trained_and_the_weights_name_the_new_places(project: Project) -> None:
    project.run()
    project.checkpoint = "/there/video"
    assert project.run() == ["exp3.identify"]
    for epoch in ("best", "last"):
        stored = read_weights(project.folder / f"06_models/exp3/{epoch}.safetensors")
        assert stored.about.plan.checkpoints == {"video": "/there/video"}
        assert torch.equal(stored.head["weight"], torch.ones(7, 2))


def test_a_run_of_some_nodes_is_never_skipped_and_marks_nothing(project: Project) -> None:
    project.run()
    assert project.run(only="exp3.score") == ["exp3.score"]
    project.seed, project.out_of_reach = 2, True
    project.run(only="exp3.train")
    marked = json.loads((project.folder / "06_models/exp3/finished.json").read_text())
    assert marked["identity"] == identity_of("exp3", 1).digest


def test_files_of_another_seed_are_not_taken_for_those_of_a_killed_run(project: Project) -> None:
    for seed in (1, 2):
        project.seed = seed
        project.run()
    project.seed, project.broken = 1, "exp3.embed"  # where kill -9 hits it: the weights are stored
    with pytest.raises(RuntimeError):
        project.run()
    assert not list((project.folder / "exp3").glob("scores*"))
    project.broken = ""
    assert project.run() == ALL
    assert json.loads((project.folder / "exp3/scores.json").read_text()) == {"seed": 1}


def test_a_training_that_fails_costs_no_results_of_another_seed(project: Project) -> None:
    project.run()
    project.seed, project.broken = 2, "exp3.train"
    with pytest.raises(RuntimeError):
        project.run()
    assert json.loads((project.folder / "exp3/scores.json").read_text()) == {"seed": 1}


@pytest.mark.parametrize("marked", [None, {"identity": "another"}])
def test_files_that_are_not_marked_are_not_finished_whatever_mlflow_says(
    project: Project, marked: dict[str, str] | None
) -> None:
    project.run()
    marker = project.folder / "06_models/exp3/finished.json"
    marker.unlink()
    if marked:
        marker.write_text(json.dumps(marked))
    assert project.run() == ALL


def test_a_run_of_some_nodes_under_another_identity_leaves_no_mark(project: Project) -> None:
    project.run()
    project.seed = 2
    identity = project.folder / "exp3/identity.json"
    identity.write_text(identity_of("exp3", 2).model_dump_json())
    project.run(only="exp3.train")
    assert not (project.folder / "06_models/exp3/finished.json").exists()


def test_rerun_trains_again_from_the_beginning(project: Project) -> None:
    project.run()
    project.checkpoints("exp3").mkdir(parents=True)  # the command was killed before it could remove them
    (project.checkpoints("exp3") / "old").touch()
    project.rerun, project.broken = True, "exp3.score"
    with pytest.raises(RuntimeError):
        project.run()
    assert [path.name for path in project.checkpoints("exp3").iterdir()] == ["checkpoint-1"]
    project.broken = ""
    assert project.run() == ALL
    assert not project.checkpoints("exp3").exists()


def test_a_rerun_that_was_interrupted_goes_on(project: Project) -> None:
    project.run()
    project.rerun, project.broken = True, "exp3.score"
    with pytest.raises(RuntimeError):
        project.run()
    (project.checkpoints("exp3") / "of the rerun").touch()
    project.broken = "exp3.score"
    with pytest.raises(RuntimeError):
        project.run()
    assert (project.checkpoints("exp3") / "of the rerun").exists()


def test_checkpoints_stay_until_everything_is_stored(project: Project) -> None:
    project.broken = "exp3.score"
    with pytest.raises(RuntimeError):
        project.run()
    assert (project.checkpoints("exp3") / "checkpoint-1").is_dir()
    assert not (project.folder / "06_models/exp3/finished.json").exists()


def test_of_several_seeds_all_but_the_last_need_no_files(project: Project) -> None:
    for seed in (1, 2):
        project.seed = seed
        project.run()
    command = click.Context(click.Command("run"))
    with command:
        project.seed, command.meta[runner.MORE_SEEDS] = 1, True
        assert project.run() == ["exp3.identify"]
        assert project.held == {"exp3"}  # for the next seed
        project.seed, command.meta[runner.MORE_SEEDS] = 2, False
        assert project.run() == ["exp3.identify"]
        project.seed = 1  # as the last seed, it must leave its own files
        assert project.run() == ALL


def test_another_runner_marks_and_unmarks_too(project: Project) -> None:
    project.run()
    marker, project.runner, project.seed = project.folder / "06_models/exp3/finished.json", SequentialRunner(), 2
    project.broken = "exp3.train"
    with pytest.raises(RuntimeError):
        project.run()
    assert not marker.exists()
    project.broken = ""
    assert project.run() == ALL
    assert json.loads(marker.read_text())["identity"] == identity_of("exp3", 2).digest
    assert not project.checkpoints("exp3").exists()
    project.runner = ExperimentRunner()
    assert project.run() == ["exp3.identify"]


class Refusing:
    """A hook that refuses every run."""

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Raises UsageError."""
        raise click.UsageError("refused")


@pytest.mark.slow
def test_what_is_refused_in_a_notebook_leaves_no_lock(project: Project) -> None:
    both = project.experiment("exp1") + project.experiment("exp3")

    def begin(*others: object) -> None:
        hook_manager(*others).hook.before_pipeline_run(run_params={}, pipeline=both, catalog=project.catalog())

    with lock_holder(project.lock("exp3")), pytest.raises(click.ClickException, match="in use by"):
        begin()
    assert not is_held(project.lock("exp1"))
    with pytest.raises(click.UsageError, match="refused"):
        begin(Refusing())
    assert not is_held(project.lock("exp1"))
    begin()
    assert is_held(project.lock("exp1"))


def test_generated_folders_are_locked_and_are_not_replaced_under_a_training(project: Project) -> None:
    pipeline = Pipeline([Node(lambda: None, None, "corpus", name="make_corpus", namespace="demo")])
    corpus, models = project.folder / "corpus", project.folder / "06_models"
    made_by = {"pipeline": "demo", "unless_given": "corpus_dir", "parameters": "demo"}
    entry = {"type": "trimood.datasets.FolderDataset", "filepath": str(corpus), "metadata": {"made_by": made_by}}
    of_models = {"type": "trimood.datasets.FolderDataset", "filepath": str(models), "create": True}
    catalog = DataCatalog.from_config({"corpus": entry, "models": of_models})
    hooks = HoldLocks()
    hooks.before_pipeline_run(pipeline, catalog)
    assert is_held(corpus.with_name(".corpus.lock"))
    hooks.after_pipeline_run(pipeline, catalog)
    assert not is_held(corpus.with_name(".corpus.lock"))
    corpus.mkdir()
    for lock, name in ((project.lock("exp3"), "exp3"), (models / ".search-exp4.lock", "search-exp4")):
        with lock_holder(lock) as other:
            hooks.before_pipeline_run(pipeline, catalog)
            hooks.after_pipeline_run(pipeline, catalog)
            other.train()
            with pytest.raises(
                click.ClickException, match=rf"corpus: not generated anew, because {name} is trained by"
            ):
                hooks.before_pipeline_run(pipeline, catalog)
            assert not is_held(corpus.with_name(".corpus.lock"))


@pytest.mark.slow
def test_an_experiment_of_another_command_is_refused_before_anything_runs(project: Project) -> None:
    with (
        lock_holder(project.lock("exp3")),
        pytest.raises(click.ClickException, match=r"^exp3: .*exp3: in use by `kedro run .*seeds=\[1,2\]"),
    ):
        project.run("exp1", "exp3")
    assert project.done == []
    assert project.run("exp4") == [f"exp4.{step}" for step in ("identify", "train", "embed", "score")]


def test_an_experiment_is_free_as_soon_as_it_is_done_and_its_tables_are_protected_until_then(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    noted = runner.note_holder
    monkeypatch.setattr(
        runner, "note_holder", lambda lock, trains: (seen.append((is_held(lock), trains)), noted(lock, trains))
    )
    project.run("exp1", "exp3")
    assert seen == [(True, True)] * 2
    assert project.held == set()
    assert holder_of(project.lock("exp1")) is None


@pytest.mark.parametrize(
    "given",
    [
        {"WORLD_SIZE": "2", "LOCAL_RANK": "0"},
        {"WORLD_SIZE": "2", "RANK": "1"},
        {"OMPI_COMM_WORLD_SIZE": "4"},
        {"LOCAL_RANK": "1"},
        {"SLURM_STEP_NUM_TASKS": "8"},
    ],
)
def test_several_processes_of_one_launcher_are_refused_by_name(
    project: Project, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(click.UsageError, match=r"several processes were started.*training\.processes=2.*jobs=2"):
        project.run()
    assert project.done == []


def test_one_process_of_a_launcher_trains(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "SLURM_STEP_NUM_TASKS": ""}.items():
        monkeypatch.setenv(name, value)
    assert project.run() == ALL
