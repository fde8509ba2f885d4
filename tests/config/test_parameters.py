"""Parameters: resolution of an experiment with the shared values, and what a misspelt one is told."""

import pytest
from pydantic import ValidationError

from trimood.config.experiment_settings import (
    CROSS_ENTROPY,
    ContextParams,
    ExperimentParams,
    HeadParams,
    LoraParams,
    LossParams,
    TrainingParams,
    resolve,
)
from trimood.config.parameters import TuneParams, listed


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


def test_what_weights_of_earlier_versions_do_not_name_was_as_base_has_it(tree: dict) -> None:
    defaults = {name: field.default for name, field in TrainingParams.model_fields.items() if not field.is_required()}
    assert len(defaults) == 9
    assert {name: tree["training"][name] for name in defaults} == defaults


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fp16": True, "bf16": True}, "fp16 and bf16 are both true; set one to false, or bf16 to auto"),
        ({"warmup_ratio": 0.1, "warmup_steps": 5}, "warmup_ratio is 0.1 and warmup_steps 5; set one of them to 0"),
        ({"warmup_ratio": 1.0}, "less than 1"),
        ({"lr_scheduler_type": "constant", "warmup_steps": 5}, "constant has no warm-up; give constant_with_warmup"),
        ({"max_steps": 0}, "steps from 1, or -1: the epochs decide"),
        ({"micro_batch": 0}, "utterances from 1, auto .*, or null"),
        ({"micro_batch": "most"}, "utterances from 1, auto .*, or null"),
        ({"micro_batch": True}, "utterances from 1, auto .*, or null"),
        ({"micro_batch": 12}, "12 does not divide the 64 utterances .* allowed: auto, 1, 2, 4, 8, 16, 32, 64"),
        ({"processes": 3}, "processes 3 does not divide the 64 utterances .* allowed: 1, 2, 4, 8, 16, 32, 64"),
        ({"processes": 0}, "greater than or equal to 1"),
        (
            {"processes": 4, "micro_batch": 32},
            "32 does not divide the 16 utterances .* in each of 4 processes; allowed: auto, 1, 2, 4, 8, 16",
        ),
        ({"early_stopping_patience": -1}, "greater than or equal to 0"),
        ({"optim": "sgd"}, "'adamw_torch_fused', 'adamw_torch', 'adamw_bnb_8bit', 'adamw_torch_8bit' or 'adafactor'"),
    ],
)
def test_training_parameters_that_contradict_each_other_are_refused(tree: dict, values: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TrainingParams(**tree["training"] | values)


@pytest.mark.parametrize(
    ("processes", "batch", "steps", "at_a_time"),
    [(1, 4, 16, 4), (2, 4, 16, 4), (32, 4, 16, 2), (2, 16, 1, 8), (2, 4, 3, 2)],
)
def test_processes_share_a_step_in_micro_batches_of_the_published_size_or_less(
    tree: dict, processes: int, batch: int, steps: int, at_a_time: int
) -> None:
    published = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": steps}
    training = TrainingParams(**tree["training"] | published | {"processes": processes})
    assert training.published_micro_batch == at_a_time
    assert training.utterances_a_process * processes == training.utterances_a_step == batch * steps


def test_fp16_takes_the_place_of_bf16_by_default(tree: dict) -> None:
    assert TrainingParams(**tree["training"] | {"fp16": True}).bf16 == "auto"


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
    assert (settings.modalities, settings.train, settings.head) == (
        modalities,
        train,
        HeadParams(trained=head == "trained"),
    )
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


def test_the_published_loss_is_cross_entropy_and_an_experiment_may_have_another(tree: dict) -> None:
    shared = (TrainingParams(**tree["training"]), LoraParams(**tree["lora"]), LossParams(**tree["loss"]))
    own = ExperimentParams(**tree["exp4"])
    assert resolve(own, *shared).loss == CROSS_ENTROPY
    assert CROSS_ENTROPY.title == ""
    other = resolve(ExperimentParams(**tree["exp4"], loss={"class_weights": "sqrt", "label_smoothing": 0.1}), *shared)
    assert other.loss.title == "sqrt class weights, label smoothing 0.1"
    adjusted = resolve(own, *shared[:2], LossParams(logit_adjustment=0.5))
    assert adjusted.loss.title == "logit adjustment 0.5"
    stored = adjusted.model_dump(mode="json", exclude={"loss"})
    assert type(adjusted).model_validate(stored).loss == CROSS_ENTROPY  # of weights of earlier versions


@pytest.mark.parametrize("weights", ["sqrt", "balanced"])
def test_class_weights_and_logit_adjustment_at_once_are_refused(weights: str) -> None:
    words = f"class_weights is {weights} and logit_adjustment 0.5: both make up .* Set class_weights to none, or"
    with pytest.raises(ValidationError, match=words):
        LossParams(class_weights=weights, logit_adjustment=0.5)


def test_true_is_no_number(tree: dict) -> None:
    for name in ("num_train_epochs", "learning_rate", "seed", "warmup_steps"):
        with pytest.raises(ValidationError, match=rf"{name}\n  Value error, give a number; true, yes and on"):
            TrainingParams.model_validate(tree["training"] | {name: True})
    assert TrainingParams.model_validate(tree["training"] | {"bf16": True}).bf16 is True


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


def test_a_long_list_shows_its_first_items_and_how_many_more_there_are() -> None:
    assert listed(["a", "b", "c"], 3) == "a, b, c"
    assert listed(["a", "b", "c", "d"], 3) == "a, b, c, and 1 more"
    assert listed([str(number) for number in range(2000)], 1, "\n  - ") == "0\n  - and 1,999 more"
    assert listed([], 3) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text_pooling": "first"}, r"text_pooling: first is for a text encoder, and text_tower is languagebind"),
        ({"text_tower": "encoder", "modalities": ["video"]}, r"text_tower is for the modality text.*add text"),
        ({"context": {"previous": 1}, "modalities": ["video"]}, r"context is for the modality text.*add text"),
        ({"context": {"previous": -1}}, r"context\.previous\n.*greater than or equal to 0"),
        ({"context": {"before": 1}}, r"unknown key 'before'; allowed here: previous, next, speakers"),
        ({"context": {"previous": True}}, r"give a number; true, yes and on are not read as 1"),
    ],
)
def test_a_text_tower_or_context_that_contradicts_itself_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ExperimentParams.model_validate({"modalities": ["text", "video"], "train": "everything", **changes})


def test_a_context_says_itself_in_words() -> None:
    assert str(ContextParams(previous=2, next=1, speakers=True)) == "2 before and 1 after and speakers"
    assert str(ContextParams()) == "none"


def test_text_alone_of_an_encoder_has_no_targets_of_languagebind(tree: dict) -> None:
    shared = TrainingParams(**tree["training"]), LoraParams(**tree["lora"])
    alone = resolve(ExperimentParams(**tree["exp12"]), *shared)
    assert alone.lora is not None
    assert alone.lora.targets == alone.lora.text_targets == ("all-linear",)
    joint = resolve(ExperimentParams(**tree["exp13"]), *shared)
    assert joint.lora is not None
    assert joint.lora.targets == ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
