"""The registry: which pipelines there are, what may reach a training, and how quick the commands stay."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import get_type_hints

import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Pipeline

from trimood.config.experiments import ExperimentFileError, experiment_names
from trimood.pipeline_registry import PipelinesOnDemand, register_pipelines

PROJECT = Path(__file__).parents[1]
PUBLISHED = ["exp1", "exp2", "exp3", "exp4", "exp5", "exp6"]


def ancestors(pipeline: Pipeline, node_name: str, but: frozenset[str] = frozenset()) -> set[str]:
    """Every dataset that a node's result can depend on, found by walking the graph up from its inputs.

    The walk does not go on above the datasets `but`.
    """
    makers = {output: node for node in pipeline.nodes for output in node.outputs}
    found: set[str] = set()
    waiting = [name for node in pipeline.nodes if node.name == node_name for name in node.inputs]
    assert waiting, f"no node {node_name}"
    while waiting:
        dataset = waiting.pop()
        if dataset not in found:
            found.add(dataset)
            waiting += makers[dataset].inputs if dataset in makers and dataset not in but else []
    return found


LAYERS = ("raw", "intermediate", "primary", "feature", "model_input", "models", "model_output", "reporting")


@pytest.mark.slow
def test_every_dataset_has_a_layer_and_no_node_leads_back_to_an_earlier_one() -> None:
    """Kedro-Viz leaves all layers out, without a word, as soon as two of them lead to each other."""
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT) as session:
        catalog = session.load_context().catalog

    def layer(name: str) -> int:
        return LAYERS.index(catalog.get(name).metadata["kedro-viz"]["layer"])

    nodes = [node for pipeline in register_pipelines().values() for node in pipeline.nodes]
    edges = {
        (source, result)
        for node in nodes
        for source in node.inputs
        if not source.startswith("param")
        for result in node.outputs
    }
    assert len(edges) > 200
    assert {(source, result) for source, result in edges if layer(source) > layer(result)} == set()


def test_the_six_published_experiments_and_the_three_with_a_trained_head_are_pipelines() -> None:
    assert {*PUBLISHED, "exp4_head", "exp5_head", "exp6_head"} <= set(experiment_names()) <= set(register_pipelines())


@pytest.mark.parametrize("experiment", experiment_names())
def test_no_test_utterance_can_reach_training_or_selection(experiment: str) -> None:
    pipeline = register_pipelines()[experiment]
    # Of the test examples a training knows sixteen hexadecimal digits, which its weights carry to the evaluation.
    before_training = ancestors(pipeline, f"{experiment}.train", but=frozenset({f"{experiment}.identity"}))
    assert {"training_examples", "validation_examples", "corpus"} <= before_training
    assert not {name for name in before_training if "test" in name or "held_out" in name}
    # The walk can find it: predictions are made of the test examples, and these of the official test file.
    assert {"official_test_utterances", "test_examples"} <= ancestors(pipeline, f"{experiment}.predict")


def test_a_search_has_no_node_that_reads_or_makes_a_test_example() -> None:
    pipeline = register_pipelines()["tune"]
    nodes = {node.name for node in pipeline.nodes}
    assert {"preprocessing.prepare_training", "preprocessing.prepare_validation", "tune.search"} <= nodes
    assert not {name for name in nodes if "test" in name or "held_out" in name or "predict" in name}
    read = {name for node in pipeline.nodes for name in node.inputs}
    assert {"training_examples", "validation_examples"} <= read
    assert not {name for name in read if "test" in name or "held_out" in name}
    # What is held out is made by the split itself, and no node of a search goes on with it.
    assert {name for name in pipeline.all_outputs() if "test" in name or "held_out" in name} == {"held_out_utterances"}


@pytest.mark.parametrize("experiment", experiment_names())
def test_a_plan_is_made_and_every_clip_prepared_before_a_training_begins(experiment: str) -> None:
    order = [node.name for node in register_pipelines()[experiment].nodes]
    train = order.index(f"{experiment}.train")
    prepared = [position for position, name in enumerate(order) if ".prepare_" in name]
    assert len(prepared) == 4
    assert max(prepared) < train
    assert order.index(f"{experiment}.plan") < min(prepared)


def test_experiments_share_their_data_and_nothing_else() -> None:
    registry = register_pipelines()
    first, second = registry["exp1"], registry["exp4"]
    shared = first.datasets() & second.datasets()
    assert {"training_examples", "validation_examples", "test_examples"} <= shared
    assert not {name for name in shared if "." in name and not name.startswith("params:")}


def modules_after(*commands: list[str]) -> set[str]:
    """The libraries that a process has imported after these commands of Kedro."""
    code = (
        "import sys\n"
        "from kedro.framework.cli.cli import main\n"
        f"for command in {list(commands)!r}:\n"
        "    sys.argv = ['kedro', *command]\n"
        "    try:\n        main()\n    except SystemExit as end:\n        assert not end.code, command\n"
        "print('imported', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "exp4_head" in done.stdout
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.slow
def test_commands_that_run_nothing_import_none_of_the_large_libraries() -> None:
    imported = modules_after(["--help"], ["registry", "list"], ["run", "--help"], ["app", "--help"])
    large = {"gradio", "matplotlib", "mlflow", "numpy", "pandas", "pyarrow", "sklearn", "sqlalchemy", "torch"}
    assert {"kedro", "trimood", "pydantic"} <= imported
    assert large & imported == set()


def test_a_pipeline_is_made_when_it_is_asked_for_and_once() -> None:
    made: list[str] = []

    def make(name: str) -> Pipeline:
        made.append(name)
        return Pipeline([])

    pipelines = PipelinesOnDemand({name: partial(make, name) for name in ("exp3", "exp4")})
    assert sorted(pipelines) == ["exp3", "exp4"]
    assert made == []
    assert pipelines["exp4"] is pipelines["exp4"]
    assert made == ["exp4"]
    assert set(dict(pipelines)) == {"exp3", "exp4"}
    assert made == ["exp4", "exp3"]


@pytest.mark.parametrize("name", ["compare", "Compare"])
def test_an_experiment_never_takes_the_place_of_a_stage(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("trimood.pipeline_registry.experiment_names", lambda: [name, "exp1"])
    with pytest.raises(ExperimentFileError, match=rf"{name}\.yml: a stage already has this name"):
        register_pipelines()


def test_kedro_can_read_the_types_of_every_node() -> None:
    """It warns at every command where it cannot, and leaves the parameters of such a node untyped."""
    nodes = {node.func for pipeline in register_pipelines().values() for node in pipeline.nodes}
    assert len(nodes) > 40
    for function in nodes:
        get_type_hints(function)
