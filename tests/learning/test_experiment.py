"""What decides whether an interrupted training is gone on with."""

import os
import re
import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file

from support.learning_examples import encoder_settings, example_table, tiny_plan
from support.made_checkpoints import TINY_VIDEO, made_checkpoint
from support.made_encoders import change
from trimood.config.experiment_settings import ContextParams, Train
from trimood.learning.batches import collate
from trimood.learning.experiment import identify_run, plan_experiment
from trimood.learning.setup import load_model
from trimood.model.checkpoints import BIN_FILE, read_state_dict
from trimood.model.config import CheckpointError
from trimood.model.stored import RunIdentity

TABLE = example_table(4).assign(has_video=True, has_audio=True)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return made_checkpoint(tmp_path / "video", TINY_VIDEO)


def identified(
    checkpoint: Path, experiment: str = "exp4", train: Train = "everything", **tables: object
) -> RunIdentity:
    plan = tiny_plan({"video": str(checkpoint), "audio": ""}, train=train)
    return identify_run(experiment, plan, **{"training": TABLE, "validation": TABLE, "test": TABLE, **tables})


@pytest.mark.parametrize("split", ["training", "validation", "test"])
@pytest.mark.parametrize(
    "changed",
    [
        TABLE.drop(columns=["has_video", "has_audio"]),
        TABLE.assign(has_audio=[True, False, True, True]),
        TABLE.assign(text=["Hi ."] * 4),
        TABLE.assign(part=["other.safetensors"] * 4),
        TABLE.assign(label=TABLE["label"].iloc[::-1].to_numpy()),
        TABLE.iloc[::-1],
        TABLE.iloc[:3],
    ],
)
def test_a_run_is_another_one_if_any_of_its_tables_has_other_content(checkpoint: Path, split: str, changed) -> None:
    known = identified(checkpoint)
    assert identified(checkpoint, **{split: changed}).digest != known.digest
    assert identified(checkpoint, **{split: TABLE.assign(speaker="Ross")}).digest == known.digest
    known.check_examples(training=TABLE, validation=TABLE, test=TABLE)
    with pytest.raises(CheckpointError, match=f"^the {split} examples are not those that this training"):
        known.check_examples(**{split: changed})


def test_fingerprints_of_examples_are_sixteen_digits_and_nothing_else(checkpoint: Path) -> None:
    prints = identified(checkpoint, test=TABLE.iloc[:2]).examples.model_dump()
    assert all(re.fullmatch("[0-9a-f]{16}", digits) for digits in prints.values())
    assert prints["training"] == prints["validation"] != prints["test"]


@pytest.mark.slow
def test_a_run_is_another_one_with_another_name_other_settings_weights_vocabulary_or_code(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {identified(checkpoint).digest, identified(checkpoint, "exp5").digest}
    digests.add(identified(checkpoint, train="head").digest)
    (checkpoint / "vocab.json").write_text((checkpoint / "vocab.json").read_text() + "\n")
    digests.add(identified(checkpoint).digest)
    weights = read_state_dict(checkpoint)
    (checkpoint / BIN_FILE).unlink()
    save_file(weights, checkpoint / "model.safetensors")
    digests.add(identified(checkpoint).digest)
    with (checkpoint / "model.safetensors").open("r+b") as file:  # the last bit of the last weight
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    digests.add(identified(checkpoint).digest)
    monkeypatch.setattr("trimood.learning.experiment.code_version", lambda: "of changed modules")
    digests.add(identified(checkpoint).digest)
    assert len(digests) == 7


def test_a_moved_or_copied_checkpoint_is_the_same(checkpoint: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(checkpoint, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    here, there = identified(checkpoint), identified(copied)
    assert here.plan.checkpoints != there.plan.checkpoints
    assert here.digest == there.digest


def test_an_identity_is_the_same_after_it_was_stored(checkpoint: Path) -> None:
    known = identified(checkpoint)
    assert RunIdentity.model_validate_json(known.model_dump_json()).digest == known.digest


CONTEXT = ContextParams(previous=1, speakers=True)
TALK = TABLE.assign(conversation_id=1, utterance_id=[1, 2, 3, 4], speaker="Ross")


def encoded(place: Path, context: ContextParams | None = None, **changes: object) -> RunIdentity:
    """A run of text alone with a text encoder."""
    settings = encoder_settings("head", context=context).model_copy(update=changes)
    plan = plan_experiment(settings, {"text": str(place)}, "pyav", "mean")
    return identify_run("exp12", plan, training=TALK, validation=TALK, test=TALK)


def test_a_run_with_a_text_encoder_is_known_by_its_files_and_not_by_their_place(
    encoder_folder: Path, tmp_path: Path
) -> None:
    known = encoded(encoder_folder)
    assert known.plan.checkpoints == {"text": str(encoder_folder)}
    assert known.plan.parameters["text"].trainable == 0
    moved = tmp_path / "moved"
    shutil.copytree(encoder_folder, moved)
    assert encoded(moved).digest == known.digest
    assert encoded(tmp_path / "nowhere", text_tower=str(moved)).digest == known.digest
    assert encoded(encoder_folder, text_pooling="first").digest != known.digest
    change(moved / "config.json", hidden_act="relu")
    assert encoded(moved).digest != known.digest


def test_with_context_a_run_is_another_one_if_order_or_speakers_change(encoder_folder: Path) -> None:
    alone, known = encoded(encoder_folder), encoded(encoder_folder, CONTEXT)
    assert "context 1 before and speakers" in known.plan.title
    for changed in (TALK.assign(speaker="Joey"), TALK.assign(utterance_id=[4, 3, 2, 1])):
        alone.check_examples(test=changed)
        with pytest.raises(CheckpointError, match=r"^the test examples are not those that this training"):
            known.check_examples(test=changed)


def test_a_tower_of_its_own_joins_languagebinds_video_and_audio(
    encoder_folder: Path, sources: dict[str, str], prepared_clips: Path
) -> None:
    settings = encoder_settings("lora", ("text", "video", "audio"), CONTEXT)
    plan = plan_experiment(settings, {**sources, "text": str(encoder_folder)}, "pyav", "mean")
    assert list(plan.checkpoints) == ["video", "audio", "text"]
    assert plan.title.startswith(
        "text + video + audio, text encoder, context 1 before and speakers, LoRA r=4 on q_proj"
    )
    assert all(plan.parameters[tower].trainable for tower in ("video", "audio", "text"))
    loaded = load_model(plan.settings, plan.checkpoints)
    assert loaded.model.head.weight.shape[1] == 12 + 12 + 32
    assert not hasattr(loaded.model.tower("audio"), "text_model")
    examples = loaded.examples(TALK.assign(has_video=[True, True, False, True]), prepared_clips)
    found = loaded.model(**collate([examples[row] for row in range(4)]))
    assert found["loss"].isfinite()
