"""`kedro run` with many seeds, on real sessions and a real MLflow store; only the nodes are small."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from kedro.framework.cli.utils import find_run_command
from kedro.framework.startup import bootstrap_project

from support.demo_project import PROJECT
from support.tracked_project import PACKAGE, of, runs_in

Command = Callable[..., Result]


@pytest.fixture
def command(project: Path) -> click.Command:
    return find_run_command(PACKAGE)


@pytest.fixture
def trimood_run() -> click.Command:
    """`kedro run` in the project itself."""
    bootstrap_project(PROJECT)
    return find_run_command("trimood")


@pytest.fixture
def kedro_run(command: click.Command, project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Gives `kedro run ARGUMENTS` in the small project, with a store that is there already."""
    monkeypatch.chdir(project)
    shutil.copy(empty_store, project)
    return lambda *arguments: CliRunner().invoke(command, arguments)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("seeds=[1,2,3]", {"seeds": [1, 2, 3]}),
        ("seeds=[1, 2],exp4.training.seed=7", {"seeds": [1, 2], "exp4": {"training": {"seed": 7}}}),
        (
            "exp4.lora.r=8,exp4.lora.targets=[q_proj,v_proj]",
            {"exp4": {"lora": {"r": 8, "targets": ["q_proj", "v_proj"]}}},
        ),
        ("exp3.modalities=[text],a.b=1e-5", {"exp3": {"modalities": ["text"]}, "a": {"b": 1e-5}}),
        ('model=exp4,text="Oh, no!",clips=a.mp4', {"model": "exp4", "text": "Oh, no!", "clips": "a.mp4"}),
        ('text="No"', {"text": "No"}),
        ('text="What: [really]?",seeds=[1,2]', {"text": "What: [really]?", "seeds": [1, 2]}),
        ("", {}),
    ],
)
def test_a_comma_within_a_list_or_within_quotes_parts_no_parameters(
    trimood_run: click.Command, written: str, read: dict
) -> None:
    assert trimood_run.make_context("run", ["--params", written]).params["params"] == read


@pytest.mark.slow
def test_each_seed_is_a_flat_run_that_differs_in_nothing_but_its_seed(kedro_run: Command, project: Path) -> None:
    done = kedro_run("--pipelines=exp3,exp4", "--params", "seeds=[1,2,3]")
    assert done.exit_code == 0, done.output
    runs = runs_in(project)
    assert [(of(run), run.data.tags["seed"]) for run in runs] == [
        (name, seed) for seed in "123" for name in ("exp3", "exp4")
    ]
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.params["training.seed"] == run.data.tags["seed"]
        assert "partial" not in run.data.tags
        assert "mlflow.parentRunId" not in run.data.tags
        # Of the stage that all share, which ran in the first seed's session only.
        assert run.data.tags["corpus.train.sha256"] == "0a1b2c3d4e5f"
    of_exp4 = [{**run.data.params, "training.seed": ""} for run in runs if of(run) == "exp4"]
    assert of_exp4[0] == of_exp4[1] == of_exp4[2]


@pytest.mark.slow
@pytest.mark.parametrize("given", ["seeds=[1,2]", "seeds=[1,2],jobs=2"])
def test_the_last_lines_are_the_results_also_of_what_was_finished_before(
    kedro_run: Command, project: Path, given: str
) -> None:
    assert kedro_run("--pipelines=exp3", "--params", "seeds=[1]").exit_code == 0
    said = kedro_run("--pipelines=exp3", "--params", given).stdout
    assert "exp3 is finished" not in said  # the log is elsewhere
    lines = said[said.index("2 results in ") :].splitlines()
    assert [line.split("  ")[0] for line in lines[1:4]] == ["", "exp3, seed 2", "exp3, seed 1"]
    assert [line.split(": ")[0] for line in lines[4:]] == ["Next", "MLflow", "Report"]
    assert "/#/experiments/1/runs?" in lines[5]


@pytest.mark.slow
def test_shared_stages_run_once(kedro_run: Command, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = project / "described"
    monkeypatch.setenv("DESCRIBED", str(said))
    assert kedro_run("--pipelines=exp3", "--params", "seeds=[1,2]").exit_code == 0
    assert said.read_text() == "once\n"
    assert len(runs_in(project)) == 2


@pytest.mark.slow
def test_a_seed_stands_over_one_that_the_experiments_own_file_states(kedro_run: Command, project: Path) -> None:
    file = project / "conf/base/experiments/exp3.yml"
    file.write_text(file.read_text() + "  training: {seed: 7, num_train_epochs: 3}\n")
    assert kedro_run("--pipelines=exp3").exit_code == 0
    assert kedro_run("--pipelines=exp3", "--params", "seeds=[1,2]").exit_code == 0
    assert [run.data.params["training.seed"] for run in runs_in(project)] == ["7", "1", "2"]
    assert {run.data.params["training.num_train_epochs"] for run in runs_in(project)} == {"3"}


@pytest.mark.slow
def test_a_seed_that_fails_costs_no_other_and_its_error_ends_the_command(
    kedro_run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "exp3.train seed 2: ValueError")
    done = kedro_run("--pipelines=exp3,exp4", "--params", "seeds=[1,2,3]")
    assert isinstance(done.exception, ValueError)
    assert "exp3.train seed 2 was asked to fail" in str(done.exception)
    statuses = {(of(run), run.data.tags["seed"]): run.info.status for run in runs_in(project)}
    assert {seed for seed, status in statuses.items() if status == "FAILED"} == {("exp3", "2")}
    assert len(statuses) == 6


@pytest.mark.slow
def test_jobs_are_the_runs_of_one_seed_after_the_other(
    kedro_run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three seeds, two at a time, the second fails."""
    described = project / "described"
    monkeypatch.setenv("DESCRIBED", str(described))
    monkeypatch.setenv("FAIL", "exp3.train seed 2: ValueError")
    done = kedro_run("--pipelines=exp3", "--params", "seeds=[1,2,3],jobs=2")
    assert isinstance(done.exception, ValueError), done.output
    assert "exp3.train seed 2 was asked to fail" in str(done.exception)
    assert described.read_text() == "once\n"
    runs = {run.data.tags["seed"]: run for run in runs_in(project)}
    assert {seed: run.info.status for seed, run in runs.items()} == {"1": "FINISHED", "2": "FAILED", "3": "FINISHED"}
    for seed, run in runs.items():
        assert run.data.params["training.seed"] == seed
        assert run.data.tags["corpus.train.sha256"] == "0a1b2c3d4e5f"
        assert ("partial" in run.data.tags) is (seed == "2")
    beside = project / "data" / "demo" / "side_by_side"
    assert [path.name for path in beside.iterdir()] == ["exp3-seed-2"]


@pytest.mark.slow
def test_what_fails_before_any_experiment_ends_the_command_at_once(
    kedro_run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "describe: ValueError")
    assert isinstance(kedro_run("--pipelines=exp3", "--params", "seeds=[1,2]").exception, ValueError)
    assert not [run for run in runs_in(project) if run.data.tags.get("seed") == "2"]


@pytest.mark.slow
def test_chosen_nodes_are_chosen_for_each_seed(kedro_run: Command, project: Path) -> None:
    assert kedro_run("--pipelines=exp3,exp4", "--params", "seeds=[1,2]", "--namespaces=exp3").exit_code != 0
    assert kedro_run("--pipelines=exp3").exit_code == 0
    done = kedro_run("--pipelines=exp3,exp4", "--params", "seeds=[1,2]", "--namespaces=exp3")
    assert done.exit_code == 0, done.output
    assert [of(run) for run in runs_in(project)][-2:] == ["exp3", "exp3"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pipelines=exp3", "--params", "seeds=[]"], "seeds: got []; give at least one seed"),
        (["--pipelines=exp3", "--params", "seeds=[1,1]"], "seeds: got [1, 1]; give at least one seed, without repeats"),
        (["--pipelines=exp3", "--params", "seeds=1+2"], "Write them as a list: seeds=[1,2,3]"),
        (["--pipelines=exp3", "--params", "seeds=[-1]"], "greater than or equal to 0 (got -1)"),
        (["--pipelines=data", "--params", "seeds=[1]"], "these pipelines contain no experiment"),
        (["--pipelines=exp3", "--params", "seeds=[1],training.seed=2"], "training.seed and seeds are both given"),
        (["--pipelines=exp3", "--params", "seeds=[1],exp3.training.seed=2"], "leave exp3.training.seed out"),
        (["--pipelines=exp3", "--params", "seeds=[1,2]", "--only-missing-outputs"], "--only-missing-outputs and seeds"),
        (["--pipelines=exp3", "--params", "jobs=0"], "jobs: got 0; give the number of trainings at the same time"),
        (["--pipelines=exp3", "--params", "jobs=9999"], "jobs is 9999, and there are"),
        (["--pipelines=data", "--params", "jobs=1"], "jobs: these pipelines contain no experiment"),
        (
            ["--pipelines=exp3", "--params", "jobs=1,seeds=[1],training.seed=2"],
            "training.seed and seeds are both given",
        ),
        (["--pipelines=exp33", "--params", "seeds=[1,2]"], "exp33: no such pipeline; there are: data, exp3, exp4"),
    ],
)
def test_seeds_that_make_no_sense_are_refused(kedro_run: Command, arguments: list[str], words: str) -> None:
    done = kedro_run(*arguments)
    assert done.exit_code == 2, done.exception
    assert words in " ".join(done.output.split())


@pytest.mark.slow
def test_one_seed_may_stand_without_brackets(kedro_run: Command, project: Path) -> None:
    assert kedro_run("--pipelines=exp3", "--params", "seeds=5").exit_code == 0
    assert [run.data.params["training.seed"] for run in runs_in(project)] == ["5"]


@pytest.mark.slow
@pytest.mark.filterwarnings("error::kedro.KedroDeprecationWarning")
def test_kedros_older_spelling_for_one_pipeline_works_without_a_deprecation(kedro_run: Command, project: Path) -> None:
    done = kedro_run("--pipeline=exp3", "--params", "seeds=[5]")
    assert done.exit_code == 0, done.output
    assert "eprecat" not in done.output + done.stderr
    assert [run.data.params["training.seed"] for run in runs_in(project)] == ["5"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pipelines=exp44"], "exp44: no such pipeline; there are: .* Did you mean exp4"),
        (["--pipelines="], "--pipelines= names no pipeline"),
        (["--pipeline=exp44"], "exp44: no such pipeline"),
        (["--pipeline=exp4", "--pipelines=exp3"], "both given"),
        (["--nodes=exp4.scor"], r"--nodes=exp4\.scor: not in the chosen pipelines; .* Did you mean exp4\.score"),
        (["--from-nodes=exp4.trian"], r"--from-nodes=exp4\.trian: .* Did you mean exp4\.train"),
        (["--to-nodes=score"], r"--to-nodes=score: .* Did you mean exp4\.score"),
        (["--tags=evaluatoin"], "--tags=evaluatoin: .* Did you mean evaluation"),
        (["--namespaces=exp44"], "--namespaces=exp44: .* Did you mean exp4"),
        (["--to-outputs=exp4.scors"], r"--to-outputs=exp4\.scors: .* Did you mean exp4\.scores"),
        (["--from-inputs=corpsu"], "--from-inputs=corpsu: .* Did you mean corpus"),
        (["--tags=training", "--nodes=exp4.score"], "no node of the chosen pipelines fits all of these"),
        (["--load-versions=abc"], "'dataset_name:YYYY-MM-DDThh.mm.ss.sssZ'"),
        (["--load-versions=nosuch:2026-01-01T00.00.00.000Z"], r"keys \[nosuch\] are not found in the catalog"),
        (["--runner=NoSuchRunner"], "--runner=NoSuchRunner: no such runner; there are: SequentialRunner"),
        (["--runner-params=abc"], "Item `abc` must contain a key and a value"),
        (
            ["--env=dmeo"],
            r"--env=dmeo: .* has no environment dmeo, .*; there are: demo, ecf, ecf_text, meld\. Did you mean demo",
        ),
        ([f"--conf-source={PROJECT / 'docs'}"], "docs: no experiments here; expected files such as base/experiments"),
        (["--conf-source=/no/such"], "'/no/such' does not exist"),
        (["--config=/no/such.yml"], "'/no/such.yml' does not exist"),
        (["--params", "training.seed=042"], r"training\.seed=042: YAML reads 042 as 34"),
        (["--params", "training.seed"], r"training\.seed: expected NAME=VALUE"),
        (["--params", "training.seed=0o17"], r"training\.seed: Input should be a valid integer, .*\(got '0o17'\)"),
        (["--params", "training.learning_rate=nan"], r"training\.learning_rate: Input should be a finite number"),
        (["--params", "data.clips.on_bad_clip=!!python/name:os.system"], "a YAML tag is not allowed"),
        (["--params", "experiment=${home:~}"], "is not replaced here"),
        (["--params", "experiment=0123"], r"experiment: 0123: no such experiment"),
        (["exp4"], r"unexpected extra argument \(exp4\)"),
        (["--piplines=exp4"], "Did you mean .*--pipelines"),
    ],
)
def test_a_wrong_word_is_refused_in_one_sentence_before_anything_is_done(
    trimood_run: click.Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(PROJECT)
    chosen = [] if any("pipeline" in argument for argument in arguments) else ["--pipelines=exp4"]
    done = CliRunner().invoke(trimood_run, [*chosen, *arguments])
    said = " ".join(done.output.split())
    assert done.exit_code in (1, 2), done.exception
    assert re.search(f"Error: .*{words}", said), said
    assert "Traceback" not in said
    assert "Running node" not in said
    assert len(said) < 1500


def config_file(folder: Path, content: str) -> str:
    (folder / "run.yml").write_text(content)
    return f"--config={folder / 'run.yml'}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("run:\n  params: {training: {seed: 042}}\n", r"line 2: run\.params\.training\.seed: YAML reads 042"),
        ("run: {params: training.seed=042}\n", r"--params training\.seed=042: YAML reads 042 as 34"),
        ("pipelines: exp4\n", r"expected options of the command, as in run: \{pipelines: exp4\}"),
        ("", "expected options of the command"),
        ("run: [exp4]\n", "--config: "),
        ("run: {piplines: exp4}\n", "piplines"),
        ("run: {a: [}\n", "line 1: not valid YAML"),
    ],
)  # fmt: skip
def test_a_wrong_file_of_options_is_refused(
    trimood_run: click.Command, tmp_path: Path, content: str, words: str
) -> None:
    done = CliRunner().invoke(trimood_run, [config_file(tmp_path, content)])
    assert done.exit_code == 2, done.exception
    assert re.search(words, " ".join(done.output.split())), done.output


def test_a_file_of_options_gives_options(trimood_run: click.Command, tmp_path: Path) -> None:
    content = "run:\n  pipelines: exp3,exp4\n  params: {training: {seed: 3}, model: 'a,b'}\n"
    found = trimood_run.make_context("run", [config_file(tmp_path, content)]).params
    assert found["pipelines"] == ["exp3", "exp4"]
    assert found["params"] == {"training": {"seed": 3}, "model": "a,b"}


@pytest.mark.parametrize("name", ["compare", "predict", "register", "submission", "import_weights", "export_weights"])
def test_what_is_made_of_a_training_is_not_made_beside_it(trimood_run: click.Command, name: str) -> None:
    done = CliRunner().invoke(trimood_run, [f"--pipelines=exp4,{name}"])
    assert done.exit_code == 2, done.exception
    assert f"{name}: works on the results of finished experiments; run it as a separate command" in " ".join(
        done.output.split()
    )
