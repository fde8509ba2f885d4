"""What a misspelt or impossible parameter is told."""

import copy

import pytest

from trimood.config.checks import check_globals, check_parameters, read_jobs, read_seeds, without_passwords
from trimood.config.experiments import experiment_names
from trimood.pipeline_registry import STAGES

OF_STAGES = {name: kind for stage in STAGES.values() for name, kind in stage.parameters.items()}


def test_what_stands_in_conf_is_accepted(tree: dict) -> None:
    check_parameters(tree, experiment_names(), OF_STAGES)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("exp44.training.seed", 1, r"exp44: no such parameter; allowed: .*Did you mean exp4"),
        ("experiment", "exp44", r"experiment: exp44: no such experiment; there are: exp1.*Did you mean exp4"),
        ("tune.trials", 0, r"tune\.trials: Input should be greater than or equal to 1 \(got 0\)"),
        ("tune.sampler", "grid", r"tune\.sampler: Input should be 'tpe' or 'random'"),
        ("tune.space.training.learning_rate.low", 1, r"learning_rate: low 1 is not below high 0\.001"),
        ("tune.space.training.weight_decay.log", True, r"weight_decay: low 0\.0 with log: true.*needs low above 0"),
        ("tune.space.training.weight_decay.lo", 1, r"weight_decay: unknown key 'lo'; allowed here: low, high"),
        ("tune.space.training.weight_decay", 1, r"tune\.space\.training\.weight_decay: .*\(got 1\)"),
        ("tune.space.lora.r.choices", [], r"lora\.r: give either a range, .* or \{choices: \[4, 8\]\}"),
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
        ("data.clips.stereo", "left", r"data\.clips\.stereo: Input should be 'mean' or 'first' \(got 'left'\)"),
        ("data.clips.reader", "opencv", r"data\.clips\.reader: Input should be 'pyav' or 'decord' \(got 'opencv'\)"),
        ("data.clips.executor", "dask", r"data\.clips\.executor: Input should be 'serial', 'processes' or 'ray'"),
        ("data.clips.time_limit_seconds", 0, r"data\.clips\.time_limit_seconds: Input should be greater than 0"),
        ("cutting.audio_language", "English", r"cutting\.audio_language: String should match pattern .*got 'English'"),
        ("cutting.splits", ["train", "dev"], r"cutting\.splits\.1: Input should be 'train' or 'test' \(got 'dev'\)"),
        ("cutting.executer", "ray", r"cutting: unknown key 'executer'.*Did you mean executor"),
        ("text", False, r"text: .*; text that YAML reads as another type needs double quotes.*\(got False\)"),
        ("prediction.shown_utterances", 0, r"prediction\.shown_utterances: .*greater than or equal to 1 \(got 0\)"),
        ("exp4.trainin.seed", 1, r"exp4: unknown key 'trainin'.*Did you mean train"),
        ("exp4.training.sede", 1, r"exp4 \(with the shared values\): unknown key 'sede'.*Did you mean seed"),
        (
            "exp4.loss.weights",
            "sqrt",
            r"exp4 \(with the shared values\): unknown key 'weights'; allowed here: class_weig",
        ),
        (
            "loss.class_weights",
            "root",
            r"loss\.class_weights: Input should be 'none', 'sqrt' or 'balanced' \(got 'root'\)",
        ),
        (
            "exp4.loss",
            {"class_weights": "sqrt", "logit_adjustment": 1},
            r"exp4 \(with .*: class_weights is sqrt and logit",
        ),
        ("exp4.lora.rank", 1, r"exp4 \(with the shared values\): unknown key 'rank'"),
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
        ("compare.runs", "abc", r"compare\.runs: give a list, in brackets: \[a,b\] \(got 'abc'\)"),
        ("exp4.modalities", "text", r"exp4\.modalities: give a list, in brackets: \[a,b\] \(got 'text'\)"),
        ("training.seed", -1, r"training\.seed: Input should be greater than or equal to 0 \(got -1\)"),
        ("training.seed", 2**32, r"training\.seed: Input should be less than 4294967296"),
        ("data.split.seed", -1, r"data\.split\.seed: Input should be greater than or equal to 0"),
        ("alias", "my champion", r"alias: allowed are letters, digits, _ and -, .*\(got 'my champion'\)"),
        ("alias", "v2", r"alias: .*except latest and names such as v1"),
        ("exp3.head", "frozen", r"exp3: .*trains nothing"),
        ("training.seed", "x" * 10_000, r"training\.seed: .{1,200}$"),
        ("compare.runs", [1234], r"compare\.runs\.0: .*needs double quotes \(got 1234\)"),
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
        check_parameters(wrong, experiment_names(), OF_STAGES)


def test_all_wrong_parameters_are_named_at_once(tree: dict) -> None:
    wrong = tree | {"lr": 1, "exp99": {}}
    with pytest.raises(ValueError, match=r"(?s)lr: no such parameter.*exp99: no such parameter"):
        check_parameters(wrong, experiment_names(), OF_STAGES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("at http://me:secret@host:5000/a@b: refused", "at http://host:5000/a@b: refused"),
        ("postgresql://me:p@ss:word@db/mlflow", "postgresql://db/mlflow"),
        ("https://blob/x?sv=1&sig=abc%3D&sp=r", "https://blob/x?sv=1&sig=…&sp=r"),
        (
            "s3://b/x?X-Amz-Credential=AK&X-Amz-Signature=ab and more",
            "s3://b/x?X-Amz-Credential=…&X-Amz-Signature=… and more",
        ),
        (
            "https://h/x?access_token=ab&api_key=cd&X-Goog-Signature=ef",
            "https://h/x?access_token=…&api_key=…&X-Goog-Signature=…",
        ),
        ("abfs://clips@acct.dfs.core.windows.net/p: no", "abfs://clips@acct.dfs.core.windows.net/p: no"),
        ("http://server:5000?user=me@x.org", "http://server:5000?user=me@x.org"),
        ("write to a@b.org about http://host and key=value", "write to a@b.org about http://host and key=value"),
    ],
)
def test_no_password_of_a_url_is_left_in_a_message(text: str, said: str) -> None:
    assert without_passwords(text) == said


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_path_is_refused_and_no_path_is_not(tree: dict, empty: str) -> None:
    check_parameters(tree | {"meld_dir": None, "data_root": "data"}, experiment_names(), OF_STAGES)
    with pytest.raises(ValueError, match=r"data_root: the path is empty, as from a shell variable that is not set"):
        check_parameters(tree | {"data_root": empty}, experiment_names(), OF_STAGES)
    with pytest.raises(ValueError, match=r"globals\.yml is wrong:\n  - episodes_dir: the path is empty"):
        check_globals({"episodes_dir": empty})


def test_true_is_no_seed() -> None:
    with pytest.raises(ValueError, match=r"seeds\.1: Input should be a valid integer.*'True'"):
        read_seeds([1, True])


@pytest.mark.parametrize("value", [0, -1, True, "two", 1.5, [2]])
def test_jobs_is_a_number_from_1(value: object) -> None:
    assert read_jobs(2) == 2
    with pytest.raises(ValueError, match="give the number of trainings at the same time, from 1: jobs=2"):
        read_jobs(value)
