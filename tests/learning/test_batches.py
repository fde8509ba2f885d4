"""Examples become the tensors of those modalities that are asked for; chance changes them in training only."""

import torch
from safetensors.torch import save

from learning_examples import example_table
from made_checkpoints import TINY_AUDIO
from trimood.learning.batches import AudioInput, Augmentation, Examples, collate
from trimood.media.parts import load_part, write_whole

AUDIO = AudioInput(TINY_AUDIO.vision.target_length, mean=-4.0, std=4.5)


def test_only_the_modalities_that_are_asked_for_are_there(prepared_clips) -> None:
    table, ids = example_table(3), torch.zeros(3, 77, dtype=torch.int64)
    assert set(Examples(table, ids, prepared_clips, ("text",))[0]) == {"labels", "input_ids"}
    assert set(Examples(table, None, prepared_clips, ("video",))[0]) == {"labels", "frames"}
    assert set(Examples(table, None, prepared_clips, ("audio",), AUDIO)[0]) == {"labels", "mel"}


def test_words_alone_need_no_clip(tmp_path) -> None:
    examples = Examples(example_table(2), torch.zeros(2, 77, dtype=torch.int64), tmp_path / "nothing here", ("text",))
    assert examples[1]["labels"] == 1


def test_a_batch_stacks_utterances(prepared_clips) -> None:
    examples = Examples(example_table(3), None, prepared_clips, ("video", "audio"), AUDIO)
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
        example_table(1), None, tmp_path, ("video",), augmentation=Augmentation(1.0, random_mel_chunks=False)
    )
    never = Examples(example_table(1), None, tmp_path, ("video",))
    assert torch.equal(always[0]["frames"], part["frames"].flip(-1))
    assert torch.equal(never[0]["frames"], part["frames"])


def test_mel_chunks_start_at_random_in_training_only(tmp_path) -> None:
    gradient_part(tmp_path, 5 * AUDIO.target_length)
    training = Examples(example_table(1), None, tmp_path, ("audio",), AUDIO, Augmentation(0.0, random_mel_chunks=True))
    evaluation = Examples(example_table(1), None, tmp_path, ("audio",), AUDIO)
    assert len({float(training[0]["mel"].sum()) for _ in range(5)}) > 1
    assert len({float(evaluation[0]["mel"].sum()) for _ in range(5)}) == 1
    torch.manual_seed(3)
    first = training[0]["mel"]
    torch.manual_seed(3)
    assert torch.equal(training[0]["mel"], first)
