"""Examples become the tensors of those modalities that are asked for; chance changes them in training only."""

import pandas as pd
import pytest
import torch
from safetensors.torch import save

from support.learning_examples import example_table
from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO
from trimood.config.experiment_settings import AugmentationParams
from trimood.learning.batches import AudioInput, Examples, collate, presence
from trimood.media.errors import PartError
from trimood.media.parts import load_part, write_whole
from trimood.media.recipes import VideoRecipe

VIDEO = VideoRecipe(TINY_VIDEO.vision.num_frames, TINY_VIDEO.vision.image_size)
AUDIO = AudioInput(TINY_AUDIO.vision.num_mel_bins, TINY_AUDIO.vision.target_length, mean=-4.0, std=4.5)


def test_only_the_modalities_that_are_asked_for_are_there(prepared_clips) -> None:
    table, ids = example_table(3), torch.zeros(3, 77, dtype=torch.int64)
    assert set(Examples(table, ids, prepared_clips, ("text",))[0]) == {"labels", "present", "input_ids"}
    assert set(Examples(table, None, prepared_clips, ("video",))[0]) == {"labels", "present", "frames"}
    assert set(Examples(table, None, prepared_clips, ("audio",), audio=AUDIO)[0]) == {"labels", "present", "mel"}


def test_without_labels_there_are_none(prepared_clips) -> None:
    examples = Examples(example_table(3).drop(columns="label"), None, prepared_clips, ("video",))
    assert len(examples) == 3
    assert set(examples[0]) == {"present", "frames"}


def test_words_alone_need_no_clip(tmp_path) -> None:
    examples = Examples(example_table(2), torch.zeros(2, 77, dtype=torch.int64), tmp_path / "nothing here", ("text",))
    assert examples[1]["labels"] == 1


def test_a_batch_stacks_utterances(prepared_clips) -> None:
    examples = Examples(example_table(3), None, prepared_clips, ("video", "audio"), audio=AUDIO)
    batch = collate([examples[number] for number in range(3)])
    assert batch["labels"].tolist() == [0, 1, 2]
    assert batch["frames"].dtype == torch.uint8
    assert batch["frames"].shape[0] == batch["mel"].shape[0] == 3
    assert batch["mel"].shape[1:] == (3, TINY_AUDIO.vision.num_mel_bins, TINY_AUDIO.vision.target_length)


def gradient_part(folder, length: int):
    frames = torch.arange(4, dtype=torch.uint8).expand(2, 3, 4, 4).contiguous()
    mel = torch.arange(length, dtype=torch.float32)[:, None].expand(length, TINY_AUDIO.vision.num_mel_bins).contiguous()
    write_whole(folder / "surprise.safetensors", save({"frames": frames, "log_mel": mel}))
    return load_part(folder / "surprise.safetensors")


def test_frames_are_mirrored_with_the_probability_asked_for_and_never_without(tmp_path) -> None:
    part = gradient_part(tmp_path, 10)
    always = Examples(
        example_table(1),
        None,
        tmp_path,
        ("video",),
        augmentation=AugmentationParams(flip_probability=1.0, random_mel_chunks=False),
    )
    never = Examples(example_table(1), None, tmp_path, ("video",))
    assert torch.equal(always[0]["frames"], part["frames"].flip(-1))
    assert torch.equal(never[0]["frames"], part["frames"])


def test_mel_chunks_start_at_random_in_training_only(tmp_path) -> None:
    gradient_part(tmp_path, 5 * AUDIO.target_length)
    random = AugmentationParams(flip_probability=0.0, random_mel_chunks=True)
    training = Examples(example_table(1), None, tmp_path, ("audio",), audio=AUDIO, augmentation=random)
    evaluation = Examples(example_table(1), None, tmp_path, ("audio",), audio=AUDIO)
    assert len({float(training[0]["mel"].sum()) for _ in range(5)}) > 1
    assert len({float(evaluation[0]["mel"].sum()) for _ in range(5)}) == 1
    torch.manual_seed(3)
    first = training[0]["mel"]
    torch.manual_seed(3)
    assert torch.equal(training[0]["mel"], first)


def table_with_gaps() -> pd.DataFrame:
    """Surprise is whole, fear has no video, sadness no sound, and of neutral nothing is left, not even words."""
    table = example_table(4)
    table["has_video"] = [True, False, True, False]
    table["has_audio"] = [True, True, False, False]
    table.loc[3, ["text", "part"]] = ""
    return table


def test_what_an_utterance_lacks_is_zeros_of_the_shape_that_the_others_have(prepared_clips) -> None:
    examples = Examples(table_with_gaps(), None, prepared_clips, ("video", "audio"), VIDEO, AUDIO)
    batch = collate([examples[number] for number in range(4)])
    assert batch["present"].dtype == torch.bool
    assert batch["present"].tolist() == [
        [True, True, True],
        [False, True, True],
        [True, False, True],
        [False, False, False],
    ]
    assert batch["frames"].dtype == torch.uint8
    assert [bool(frames.any()) for frames in batch["frames"][1:]] == [False, True, False]
    assert [bool(mel.any()) for mel in batch["mel"]] == [True, True, False, False]
    whole = Examples(example_table(4), None, prepared_clips, ("video", "audio"), VIDEO, AUDIO)
    assert torch.equal(batch["mel"][1], whole[1]["mel"])
    assert torch.equal(batch["frames"][2], whole[2]["frames"])


def test_what_a_part_lacks_is_not_read(tmp_path) -> None:
    part = gradient_part(tmp_path, 10)
    for emotion, name in (("surprise", "log_mel"), ("fear", "log_mel"), ("sadness", "frames")):
        write_whole(tmp_path / f"{emotion}.safetensors", save({name: part[name]}))
    table = table_with_gaps()
    table.loc[0, "has_video"] = False
    video = VideoRecipe(*part["frames"].shape[::3])
    examples = Examples(table, None, tmp_path, ("video", "audio"), video, AUDIO)
    assert [bool(examples[number]["mel"].any()) for number in range(4)] == [True, True, False, False]
    assert torch.equal(examples[2]["frames"], part["frames"])
    # Of a clip whose wanted modality is absent not even the part is opened.
    table["part"] = "nothing here.safetensors"
    assert not Examples(table, None, tmp_path, ("video",), video)[1]["frames"].any()


def test_a_part_without_what_the_table_says_it_has_is_refused(tmp_path) -> None:
    part = gradient_part(tmp_path, 10)
    write_whole(tmp_path / "surprise.safetensors", save({"log_mel": part["log_mel"]}))
    examples = Examples(example_table(1), None, tmp_path, ("video", "audio"), VIDEO, AUDIO)
    with pytest.raises(PartError, match=r"surprise\.safetensors: contains log_mel, but .* it has video\. Prepare"):
        examples[0]


def test_a_table_that_does_not_say_has_whole_clips_and_text_is_what_is_more_than_white_space() -> None:
    table = example_table(4)
    assert presence(table).all()
    table["text"] = ["hello", "", "  ", None]
    assert presence(table).tolist() == [[True, True, has_text] for has_text in (True, False, False, False)]
    assert presence(table.iloc[:0]).shape == (0, 3)
