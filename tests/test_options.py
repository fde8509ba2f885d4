"""Options of `kedro run`: --params are read as they are written, and names that do not exist are refused."""

import click
import pytest
from kedro.pipeline import Node, Pipeline

from trimood.config.checks import SHARED
from trimood.options import check_runner, check_selection, read_params, without_deprecated
from trimood.pipeline_registry import STAGES

TYPES = {**SHARED, **{name: kind for stage in STAGES.values() for name, kind in stage.parameters.items()}}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("training.seed=42", {"training": {"seed": 42}}),
        ("training.learning_rate=1e-5", {"training": {"learning_rate": 1e-5}}),
        ("training.learning_rate=1e3", {"training": {"learning_rate": 1000.0}}),
        ("training.seed=0o17", {"training": {"seed": "0o17"}}),  # refused by its type
        ("training.bf16=true", {"training": {"bf16": True}}),
        ("training.bf16=no", {"training": {"bf16": False}}),
        ("rerun=Off,cutting.overwrite=yes", {"rerun": False, "cutting": {"overwrite": True}}),
        ("training.bf16=auto", {"training": {"bf16": "auto"}}),
        ("training.lr_scheduler_type=no", {"training": {"lr_scheduler_type": "no"}}),  # refused by its type
        ("data.split.unit=null", {"data": {"split": {"unit": None}}}),
        ("prepared_clips=null,meld_dir=~", {"prepared_clips": None, "meld_dir": None}),
        ("text=null", {"text": "null"}),
        ('meld_dir="null"', {"meld_dir": "null"}),
        ("data_root=~", {"data_root": "~"}),
        ("data_root=~/a b/2026-01-02", {"data_root": "~/a b/2026-01-02"}),
        ("data_root=042", {"data_root": "042"}),
        ("model=1234e5", {"model": "1234e5"}),
        ("model=01234567890123456789012345678901", {"model": "01234567890123456789012345678901"}),
        ("model=12:30:45", {"model": "12:30:45"}),
        ("compare.runs=[0123,1234e5,abc]", {"compare": {"runs": ["0123", "1234e5", "abc"]}}),
        ("compare.runs=['0123', \"042\"]", {"compare": {"runs": ["0123", "042"]}}),
        ("tune.study=1_000", {"tune": {"study": "1_000"}}),
        ("text=No", {"text": "No"}),
        ("text=Number #5: yes", {"text": "Number #5: yes"}),
        ("text=*sigh* @you & 50% = half", {"text": "*sigh* @you & 50% = half"}),
        ("text=5", {"text": "5"}),
        ("text=nan", {"text": "nan"}),
        ("text=!!python/object/apply:os.system", {"text": "!!python/object/apply:os.system"}),
        ('text="Say \\"Oh, no!\\"",clips=a.mp4', {"text": 'Say "Oh, no!"', "clips": "a.mp4"}),
        ("text=don't,clips=a.mp4", {"text": "don't", "clips": "a.mp4"}),
        ("tune.space={r: {low: 4, high: 8}},seeds=3", {"tune": {"space": {"r": {"low": 4, "high": 8}}}, "seeds": 3}),
        ("exp4.lora.targets=[q_proj,v_proj]", {"exp4": {"lora": {"targets": ["q_proj", "v_proj"]}}}),
        ("seeds=[1, 2,3]", {"seeds": [1, 2, 3]}),
        (" training.seed = 3 , ", {"training": {"seed": 3}}),
        ("prepared_clips=s3://b/c?x=1", {"prepared_clips": "s3://b/c?x=1"}),
    ],
)  # fmt: skip
def test_params_are_read_as_they_are_written(written: str, read: dict) -> None:
    assert read_params(written, TYPES) == read


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("training.seed=042", r"training\.seed=042: YAML reads 042 as 34\. Write 34"),
        ("training.seed=089", r"training\.seed=089: a number does not begin with 0\. Write 89"),
        ("training.seed=0x10", "YAML reads 0x10 as 16"),
        ("training.seed=1_000", "YAML reads 1_000 as 1000"),
        ("training.seed=12:30:45", "YAML reads 12:30:45 as 45045"),
        ("seeds=[1,042]", r"seeds=\[1,042\]: YAML reads 042 as 34"),
        ("exp4={training: {seed: 010}}", "YAML reads 010 as 8"),
        ("training={seed: 1, seed: 2}", "seed: this key is given twice"),
        ("training.seed=1,training.seed=2", "training.seed: given twice"),
        ("training.seed", "training.seed: expected NAME=VALUE"),
        ("training.seed:3", "expected NAME=VALUE"),
        ("=3", "expected NAME=VALUE"),
        ("a=" + 5000 * "[", "maximum recursion depth exceeded"),
        ("seeds=1,2", r"A list needs brackets, seeds=\[1,2\]"),
        ("text=Oh, no!", 'text with a comma double quotes, text="Oh, no!"'),
        ("training.seed=!!python/object/apply:os.system [id]", "a YAML tag is not allowed"),
        ("training.seed={a: !!python/name:os.system }", "not valid YAML"),
        ("model=${home:~}", r"model=\$\{home:~\}: \$\{…\} is not replaced here"),
        ("model=${nosuch:x}", "is not replaced here"),
        ("compare.runs=[a", "Close every bracket and quote"),
        ('text="Oh', "Close every bracket and quote"),
        ("a..b=1", r"a\.\.b=1"),
        ("training.seed=1,training.seed.x=2", r"training\.seed\.x: given twice, also as training\.seed\."),
    ],
)
def test_params_that_cannot_be_read_are_refused_in_one_line(written: str, words: str) -> None:
    with pytest.raises(click.UsageError, match=words) as refused:
        read_params(written, TYPES)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("--params ")


def one(value: object) -> object:
    return value


@pytest.fixture
def whole() -> Pipeline:
    """Two nodes of a stage and one of an experiment."""
    data = Pipeline([Node(one, "corpus", "table", name="read"), Node(one, "table", "examples", name="prepare")])
    exp = Pipeline(
        [Node(one, "examples", "scores", name="score", tags=["evaluation"])], namespace="exp4", inputs="examples"
    )
    return Pipeline(data, namespace="ingestion", prefix_datasets_with_namespace=False) + exp


NOTHING = dict.fromkeys(("node_names", "from_nodes", "to_nodes", "tags", "namespaces", "from_inputs", "to_outputs"), ())


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("node_names", "exp4.scor", r"--nodes=exp4\.scor: not in .* are: exp4\.score, .* Did you mean exp4\.score\?"),
        ("from_nodes", "ingestion.raed", r"--from-nodes=ingestion\.raed: .*Did you mean ingestion\.read"),
        ("to_nodes", "prepare", r"--to-nodes=prepare: .*Did you mean ingestion\.prepare"),
        ("tags", "nosuch", "--tags=nosuch: not in the chosen pipelines; there are: evaluation"),
        ("namespaces", "exp44", r"--namespaces=exp44: .*; there are: exp4, ingestion\. Did you mean exp4\?"),
        ("from_inputs", "corpsu", "--from-inputs=corpsu: .*Did you mean corpus"),
        ("to_outputs", "corpus", "--to-outputs=corpus: .*there are: examples, exp4.scores, table"),
    ],
)  # fmt: skip
def test_a_name_that_selects_nothing_is_refused_with_those_that_do(
    whole: Pipeline, option: str, name: str, words: str
) -> None:
    with pytest.raises(click.UsageError, match=words):
        check_selection({**NOTHING, option: (name,)}, whole)


def test_names_that_exist_are_accepted_and_contradictory_ones_refused(whole: Pipeline) -> None:
    check_selection(NOTHING, whole)
    check_selection({**NOTHING, "tags": ("evaluation",), "node_names": ("exp4.score",)}, whole)
    with pytest.raises(click.UsageError, match=r"--nodes=ingestion\.read --tags=evaluation: no node .* fits all"):
        check_selection({**NOTHING, "tags": ("evaluation",), "node_names": ("ingestion.read",)}, whole)


@pytest.mark.parametrize("name", ["SequentialRunner", "kedro.runner.ThreadRunner", "trimood.runner.ExperimentRunner"])
def test_runners_that_exist_are_accepted(name: str) -> None:
    check_runner(name)


@pytest.mark.parametrize("name", ["SequentialRuner", "nosuch.Runner", "trimood.cli.run", "os.path", ".", "a b"])
def test_another_runner_is_refused(name: str) -> None:
    with pytest.raises(click.UsageError, match=r"^--runner=.*; there are: SequentialRunner"):
        check_runner(name)


def test_deprecated_spellings_become_their_successors() -> None:
    options = {"pipeline": "exp4", "pipelines": [], "is_async": True, "runner_params": {}}
    assert without_deprecated(options) == {
        "pipeline": None,
        "pipelines": ["exp4"],
        "is_async": False,
        "runner_params": {"is_async": True},
    }
    with pytest.raises(click.UsageError, match="both given"):
        without_deprecated(options | {"pipelines": ["exp3"]})
