"""The demo's checkpoints: LanguageBind's format to the last key, small, reproducible, and really pre-trained."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer

from support.made_checkpoints import load_whole
from support.shared_data import SHARED, needs_shared
from trimood.emotions import EMOTIONS
from trimood.model.checkpoints import state_dict_shapes, tokenize, tokenizer
from trimood.model.config import read_config
from trimood.model.encoders import check_encoder, read_encoder
from trimood.synthetic.checkpoints import (
    Checkpoint,
    learn_vocabulary,
    make_pretrained,
    write_checkpoint,
    write_text_encoder,
)
from trimood.synthetic.pretraining import contrastive_loss
from trimood.synthetic.scenes import FACE_WORDS, VOICE_WORDS, collect_sentences, play_voices, show_faces

FEW = 320  # scenes: enough to learn something in seconds
HARDLY_ANY = 32  # scenes: enough for what does not depend on what was learnt
MIB = 1024**2


@pytest.fixture(scope="module")
def checkpoints() -> tuple[Checkpoint, Checkpoint]:
    return make_pretrained(seed=1, scene_count=HARDLY_ANY)


@pytest.fixture(scope="module")
def folders(checkpoints, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return written(tmp_path_factory.mktemp("checkpoints"), checkpoints)


@pytest.fixture(scope="module")
def trained_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return written(tmp_path_factory.mktemp("trained"), make_pretrained(seed=1, scene_count=FEW))


def written(parent: Path, checkpoints: tuple[Checkpoint, Checkpoint]) -> dict[str, Path]:
    """The folders of video's checkpoint and audio's, each in another format of weights."""
    folders = {}
    for name, checkpoint, weight_format in zip(("video", "audio"), checkpoints, ("bin", "safetensors"), strict=True):
        folders[name] = parent / name
        folders[name].mkdir()
        write_checkpoint(folders[name], checkpoint, weight_format)
    return folders


@pytest.mark.slow
def test_both_load_strictly_from_either_format_of_weights(folders, checkpoints):
    assert {path.name for path in folders["video"].glob("*model*")} == {"pytorch_model.bin"}
    assert {path.name for path in folders["audio"].glob("*model*")} == {"model.safetensors"}
    for folder, checkpoint in zip(folders.values(), checkpoints, strict=True):
        loaded = load_whole(folder).state_dict()
        assert loaded.keys() == checkpoint.weights.keys()
        assert all(loaded[name].equal(tensor) for name, tensor in checkpoint.weights.items())


def test_both_together_stay_below_six_mebibytes(folders):
    sizes = [path.stat().st_size for folder in folders.values() for path in folder.iterdir()]
    assert len(sizes) == 2 * 6
    assert 0.1 * MIB < sum(sizes) < 6 * MIB


@needs_shared
@pytest.mark.parametrize("name", ["video", "audio"])
def test_keys_and_ranks_are_those_of_the_published_weights(folders, name):
    assert SHARED is not None
    content = json.loads((SHARED / f"reference/languagebind/state_dict_keys_{name.title()}_FT.json").read_text())
    layers = read_config(folders[name]).vision.num_hidden_layers
    published = {
        key: len(shape)
        for key, shape in content["keys"].items()
        if ".layers." not in key or int(key.split(".layers.")[1].split(".")[0]) < layers
    }
    weights = {key: len(shape) for key, shape in state_dict_shapes(folders[name]).items()}
    assert len(weights) > 50
    assert weights == {key: rank for key, rank in published.items() if not key.endswith("position_ids")}


def test_the_text_tower_is_the_same_in_both(checkpoints):
    video, audio = (checkpoint.weights for checkpoint in checkpoints)
    shared = [name for name in video if name.startswith("text_")]
    assert len(shared) > 20
    assert all(video[name].equal(audio[name]) for name in shared)


def test_the_tokenizer_loads_as_clip_s_and_gives_whole_words(folders):
    clip = tokenizer(folders["video"])
    tokens = clip.convert_ids_to_tokens(clip("What is this ? !")["input_ids"])
    assert tokens == ["<|startoftext|>", "what</w>", "is</w>", "this</w>", "?</w>", "!</w>", "<|endoftext|>"]
    unseen = clip("Žižek ’ s 42 zebras")
    assert clip.decode(unseen["input_ids"], skip_special_tokens=True) == "žižek ’ s 4 2 zebras"
    assert clip.eos_token_id == max(clip.get_vocab().values()) == read_config(folders["video"]).text.vocab_size - 1
    automatic = AutoTokenizer.from_pretrained(str(folders["audio"]))
    assert automatic("What is this ? !")["input_ids"] == clip("What is this ? !")["input_ids"]


def test_the_vocabulary_does_not_depend_on_the_order_of_ties():
    sentences = ["ab ba ab ba", "cd dc", "dc cd"]
    assert learn_vocabulary(sentences, 6) == learn_vocabulary(sentences[::-1], 6)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_to_the_bit_and_another_does_not(checkpoints):
    first = checkpoints[0].weights
    again, other = (make_pretrained(seed, HARDLY_ANY)[0].weights for seed in (1, 2))
    assert all(first[name].equal(again[name]) for name in first)
    assert not first["visual_projection.weight"].equal(other["visual_projection.weight"])


@pytest.mark.slow
def test_the_global_random_state_is_left_as_it_was():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    make_pretrained(seed=1, scene_count=HARDLY_ANY)
    assert torch.rand(3).equal(expected)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "make"), [("video", show_faces), ("audio", play_voices)])
def test_strangers_and_their_captions_find_each_other_better_than_by_chance(trained_folders, name, make):
    towers, unseen = load_whole(trained_folders[name]), make(32, seed=6)
    ids = tokenize(tokenizer(trained_folders[name]), unseen.captions)
    with torch.inference_mode():
        loss = contrastive_loss(towers.embed_vision(unseen.pixels), towers.embed_text(ids))
    assert loss < 0.97 * torch.tensor(32.0).log()  # chance: the logarithm of the number of pairs


@pytest.mark.slow
def test_sentences_that_share_words_embed_closer_than_others(trained_folders):
    towers, clip = load_whole(trained_folders["video"]), tokenizer(trained_folders["video"])
    texts = ["I miss my sister so much .", "I miss Ada so much .", "Where is the landlord ?"]
    with torch.inference_mode():
        one, near, far = F.normalize(towers.embed_text(tokenize(clip, texts)), dim=-1)
    assert one @ near > one @ far + 0.1


def test_no_caption_names_an_emotion_and_no_sentence_comes_with_one():
    said = " ".join(word for pair in (*FACE_WORDS.values(), *VOICE_WORDS.values()) for word in pair).split()
    assert len(said) > 20
    assert not set(said) & {*EMOTIONS, "happy", "sad", "angry", "afraid", "disgusted", "surprised"}
    assert all(isinstance(sentence, str) for sentence in collect_sentences(1, seed=1))


def test_the_text_encoder_is_one_whose_words_have_vectors_of_their_own(tmp_path: Path) -> None:
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        write_text_encoder(tmp_path / name, seed=3)
    once, again = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("once", "again"))
    assert once == again
    config, words = read_encoder(tmp_path / "once", "mean")
    check_encoder(tmp_path / "once", config)
    known, unknown = (words.tokenize(text) for text in ("happy", "zyx"))
    assert known == ["happy"]
    assert unknown == ["z", "##y", "##x"]
