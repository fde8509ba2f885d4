"""Parameters: resolution of an experiment over the shared blocks, and what a misspelt one is told."""

import copy
from pathlib import Path

import pytest
import yaml

from trimood.config.experiments import experiment_names
from trimood.config.parameters import (
    ExperimentParams,
    LoraParams,
    TrainingParams,
    TuneParams,
    check_parameters,
    resolve,
)

BASE = Path(__file__).parents[2] / "conf" / "base" / "parameters"


@pytest.fixture
def tree() -> dict:
    """The parameters of conf/base as Kedro gives them, with paths in place of the interpolations."""
    found: dict = {}
    for path in BASE.rglob("*.yml"):
        found |= yaml.safe_load(path.read_text())
    return found | {
        "data_root": "data",
        "corpus_dir": "corpus",
        "video_checkpoint": "video",
        "audio_checkpoint": "audio",
        "experiment": "exp4",
    }


def test_what_stands_in_conf_is_accepted(tree: dict) -> None:
    check_parameters(tree, experiment_names())


def test_base_holds_the_published_training_arguments(tree: dict) -> None:
    published = {
        "num_train_epochs": 10,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "gradient_accumulation_steps": 16,
        "learning_rate": 5e-5,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "weight_decay": 0,
        "max_grad_norm": 1.0,
        "logging_steps": 5,
        "seed": 42,
    }
    assert {name: tree["training"][name] for name in published} == published
    assert tree["training"]["augmentation"] == {"flip_probability": 0, "random_mel_chunks": False}


def test_runs_are_compared_with_exp1_at_95_percent_unless_told_otherwise(tree: dict) -> None:
    expected = {"baseline": "exp1", "resamples": 10_000, "confidence": 0.95, "seed": 0, "runs": []}
    assert tree["compare"] == expected


ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
TABLE = {
    "exp1": (("text", "video"), "everything", "trained", None),
    "exp2": (("text", "video", "audio"), "everything", "trained", None),
    "exp3": (("text", "video"), "head", "trained", None),
    "exp4": (("text", "video"), "lora", "frozen", (ATTENTION, 0.1)),
    "exp5": (("text", "video"), "lora", "frozen", ((*ATTENTION, "fc1", "fc2"), 0.1)),
    "exp6": (("text", "video", "audio"), "lora", "frozen", ((*ATTENTION, "fc1", "fc2"), 0.0)),
}
TABLE |= {
    f"{name}_head": (modalities, train, "trained", lora) for name, (modalities, train, _, lora) in TABLE.items() if lora
}


@pytest.mark.parametrize("name", TABLE)
def test_no_published_experiment_changes_a_published_training_argument(tree: dict, name: str) -> None:
    assert "training" not in tree[name]


@pytest.mark.parametrize("name", TABLE)
def test_each_published_experiment_is_what_the_published_table_says(tree: dict, name: str) -> None:
    settings = resolve(ExperimentParams(**tree[name]), TrainingParams(**tree["training"]), LoraParams(**tree["lora"]))
    modalities, train, head, lora = TABLE[name]
    assert (settings.modalities, settings.train, settings.head) == (modalities, train, head)
    if lora is None:
        assert settings.lora is None
    else:
        assert settings.lora is not None
        assert (settings.lora.targets, settings.lora.dropout) == lora
        assert (settings.lora.r, settings.lora.alpha, settings.lora.bias) == (16, 16, "all")


def test_an_experiment_is_laid_over_the_shared_blocks_at_any_depth(tree: dict) -> None:
    experiment = ExperimentParams(
        modalities=["text"], train="lora", lora={"r": 4}, training={"augmentation": {"flip_probability": 0.5}}
    )
    settings = resolve(experiment, TrainingParams(**tree["training"]), LoraParams(**tree["lora"]))
    assert settings.lora is not None
    assert (settings.lora.r, settings.lora.alpha) == (4, 16)
    assert settings.training.augmentation.flip_probability == 0.5
    assert settings.training.augmentation.random_mel_chunks is False
    assert settings.training.learning_rate == 5e-5


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("exp44.training.seed", 1, r"exp44: no such parameter; allowed: .*Did you mean exp4"),
        ("experiment", "exp44", r"experiment: exp44: no such experiment; there are: exp1.*Did you mean exp4"),
        ("tune.trials", 0, r"tune\.trials: Input should be greater than or equal to 1 \(got 0\)"),
        ("tune.sampler", "grid", r"tune\.sampler: Input should be 'tpe' or 'random'"),
        ("tune.space.training.learning_rate.low", 1, r"learning_rate: low 1 is not below high 0\.001"),
        ("tune.space.training.weight_decay.log", True, r"weight_decay: low 0\.0 with log: true.*low is above 0"),
        ("tune.space.training.weight_decay.lo", 1, r"weight_decay: unknown key 'lo'; allowed here: low, high"),
        ("tune.space.training.weight_decay", 1, r"tune\.space\.training\.weight_decay: .*\(got 1\)"),
        ("tune.space.lora.r.choices", [], r"lora\.r: allowed is a range, .* or \{choices: \[4, 8\]\}"),
        ("tune.space", {}, r"tune\.space: .*at least 1 item"),
        ("trainin.seed", 1, r"trainin: no such parameter.*Did you mean training"),
        ("training.epochs", 3, r"training: unknown key 'epochs'; allowed here: num_train_epochs"),
        ("training.learning_rate", -1, r"training\.learning_rate: Input should be greater than 0 \(got -1\)"),
        (
            "training.augmentation.flip",
            1,
            r"training\.augmentation: unknown key 'flip'; allowed here: flip_probability",
        ),
        ("data.splt.seed", 1, r"data: unknown key 'splt'.*Did you mean split"),
        ("data.split.unit", "dialogue", r"data\.split\.unit: Input should be 'conversation' or 'utterance'"),
        (
            "data.clips.on_bad_clip",
            "ignore",
            r"data\.clips\.on_bad_clip: Input should be 'fail', 'drop', 'blank', or one of them .*\(got 'ignore'\)",
        ),
        (
            "data.clips.on_bad_clip",
            {"no_audio_trak": "drop"},
            r"data\.clips\.on_bad_clip: unknown problem 'no_audio_trak'; allowed here: .*Did you mean no_audio_track",
        ),
        (
            "data.clips.on_bad_clip",
            {"silent": "ignore"},
            r"data\.clips\.on_bad_clip: .*as in data\.clips\.on_bad_clip\.no_audio_track=blank",
        ),
        ("data.clips.reader", "opencv", r"data\.clips\.reader: Input should be 'pyav' or 'decord' \(got 'opencv'\)"),
        ("data.clips.executor", "dask", r"data\.clips\.executor: Input should be 'serial', 'processes' or 'ray'"),
        ("data.clips.time_limit_seconds", 0, r"data\.clips\.time_limit_seconds: Input should be greater than 0"),
        ("cutting.audio_language", "English", r"cutting\.audio_language: String should match pattern .*got 'English'"),
        ("cutting.splits", ["train", "dev"], r"cutting\.splits\.1: Input should be 'train' or 'test' \(got 'dev'\)"),
        ("cutting.executer", "ray", r"cutting: unknown key 'executer'.*Did you mean executor"),
        ("text", False, r"text: words that YAML reads as something else need double quotes.*\(got False\)"),
        ("prediction.shown_utterances", 0, r"prediction\.shown_utterances: .*greater than or equal to 1 \(got 0\)"),
        ("exp4.trainin.seed", 1, r"exp4: unknown key 'trainin'.*Did you mean train"),
        ("exp4.training.sede", 1, r"exp4 \(over the shared blocks\): unknown key 'sede'.*Did you mean seed"),
        ("exp4.lora.rank", 1, r"exp4 \(over the shared blocks\): unknown key 'rank'"),
        (
            "exp4.modalities",
            ["text", "vidio"],
            r"exp4\.modalities\.1: Input should be 'video', 'audio' or 'text' \(got 'vidio'\)",
        ),
        ("exp4.modalities", [], r"exp4\.modalities: .*at least 1 item"),
        ("exp4.modalities", ["text", "text"], r"exp4: modalities .*name one twice"),
        ("exp3.lora", {"r": 4}, r"exp3: lora: .*train: head uses no adapters"),
        ("compare.base", "exp1", r"compare: unknown key 'base'; allowed here: baseline, .*Did you mean baseline"),
        ("compare.confidence", 95, r"compare\.confidence: Input should be less than 1 \(got 95\)"),
        ("compare.resamples", 10, r"compare\.resamples: Input should be greater than or equal to 100"),
        ("compare.seed", -1, r"compare\.seed: Input should be greater than or equal to 0"),
        ("compare.runs", "abc", r"compare\.runs: wanted is a list, in brackets: \[a,b\] \(got 'abc'\)"),
        ("exp4.modalities", "text", r"exp4\.modalities: wanted is a list, in brackets: \[a,b\] \(got 'text'\)"),
        ("training.seed", -1, r"training\.seed: Input should be greater than or equal to 0 \(got -1\)"),
        ("training.seed", 2**32, r"training\.seed: Input should be less than 4294967296"),
        ("data.split.seed", -1, r"data\.split\.seed: Input should be greater than or equal to 0"),
        ("alias", "my champion", r"alias: allowed are letters, digits, _ and -, .*\(got 'my champion'\)"),
        ("alias", "v2", r"alias: .*neither latest nor a v with a number"),
        ("exp3.head", "frozen", r"exp3: .*trains nothing"),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_full_path(tree: dict, path: str, value: object, words: str) -> None:
    wrong = copy.deepcopy(tree)
    *blocks, last = path.split(".")
    place = wrong
    for block in blocks:
        place = place.setdefault(block, {})
    place[last] = value
    with pytest.raises(ValueError, match=words):
        check_parameters(wrong, experiment_names())


def test_all_wrong_parameters_are_named_at_once(tree: dict) -> None:
    wrong = tree | {"lr": 1, "exp9": {}}
    with pytest.raises(ValueError, match=r"(?s)lr: no such parameter.*exp9: no such parameter"):
        check_parameters(wrong, experiment_names())


def test_a_file_whose_top_key_is_not_its_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "exp7.yml").write_text("exp8: {modalities: [text], train: head}\n")
    with pytest.raises(ValueError, match=r"exp7\.yml: the top keys are \['exp8'\]; allowed is exactly one, 'exp7'"):
        experiment_names(tmp_path)


def test_a_file_that_cannot_be_read_as_an_experiment_is_named(tmp_path: Path) -> None:
    (tmp_path / "exp7.yml").write_text("exp7: {modalities: [text], train: head\n")
    with pytest.raises(ValueError, match=r"exp7\.yml: it is no YAML: "):
        experiment_names(tmp_path)
    (tmp_path / "exp7.yml").rename(tmp_path / "exp7.yaml")
    with pytest.raises(ValueError, match=r"exp7\.yaml: rename it to exp7\.yml"):
        experiment_names(tmp_path)


def test_a_space_may_be_written_in_blocks_or_with_dots_and_null_takes_a_part_out_of_it(tree: dict) -> None:
    space = {
        "training": {"learning_rate": {"low": 1e-5, "high": 1e-3}, "weight_decay": None},
        "lora.r": {"low": 4, "high": 8},
        "lora": {"r": {"high": 16}},
    }
    tune = TuneParams.model_validate(tree["tune"] | {"space": space})
    assert {name: str(dimension) for name, dimension in tune.space.items()} == {
        "training.learning_rate": "1e-05 to 0.001",
        "lora.r": "4 to 16",
    }
