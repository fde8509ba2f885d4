"""Checkpoints load whole or not at all, and say what is wrong otherwise."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO, WeightFormat, load_whole, made_checkpoint, made_weights
from trimood.model.checkpoints import (
    LONGEST_TEXT_CHARACTERS,
    read_state_dict,
    state_dict_shapes,
    tokenize,
    tokenizer,
)
from trimood.model.config import CheckpointError, LanguageBindConfig


@pytest.mark.parametrize("file", ["bin", "safetensors"])
@pytest.mark.parametrize("config", [TINY_VIDEO, TINY_AUDIO])
def test_every_weight_of_a_checkpoint_arrives(config: LanguageBindConfig, file: WeightFormat, tmp_path: Path) -> None:
    model = load_whole(made_checkpoint(tmp_path, config, seed=3, file=file))
    expected = made_weights(config, seed=3)
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    ids = torch.tensor([[512, 5, 513] + [513] * 74])
    assert model.embed_text(ids).shape == (1, 12)


def test_the_older_torch_format_loads_too(tmp_path: Path) -> None:
    made_checkpoint(tmp_path, TINY_VIDEO)
    torch.save(made_weights(TINY_VIDEO, 5), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    name = "visual_projection.weight"
    assert torch.equal(load_whole(tmp_path).state_dict()[name], made_weights(TINY_VIDEO, 5)[name])


def test_safetensors_are_preferred_and_shards_are_put_together(tmp_path: Path) -> None:
    made_checkpoint(tmp_path, TINY_VIDEO, seed=1)
    weights = made_weights(TINY_VIDEO, seed=2)
    names = sorted(weights)
    save_file({name: weights[name] for name in names[:9]}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({name: weights[name] for name in names[9:]}, tmp_path / "model-00002-of-00002.safetensors")
    loaded = read_state_dict(tmp_path)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in names)


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    made_checkpoint(tmp_path, TINY_VIDEO)
    weights = {name: tensor.half() for name, tensor in made_weights(TINY_VIDEO, 0).items()}
    save_file(weights, tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in load_whole(tmp_path).state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("file", ["bin", "safetensors"])
def test_changing_a_loaded_weight_leaves_the_file_as_it_is(file: WeightFormat, tmp_path: Path) -> None:
    model = load_whole(made_checkpoint(tmp_path, TINY_VIDEO, file=file))
    with torch.no_grad():
        model.visual_projection.weight.fill_(7.0)
    assert not (read_state_dict(tmp_path)["visual_projection.weight"] == 7.0).any()


def test_shapes_are_those_of_the_weights(tmp_path: Path) -> None:
    folder = made_checkpoint(tmp_path, TINY_AUDIO)
    expected = {name: tuple(tensor.shape) for name, tensor in made_weights(TINY_AUDIO, 0).items()}
    assert state_dict_shapes(folder) == expected


def test_missing_unexpected_and_mismatched_weights_are_named(tmp_path: Path) -> None:
    folder = made_checkpoint(tmp_path, TINY_VIDEO, file="safetensors")
    weights = load_file(folder / "model.safetensors")
    del weights["vision_model.encoder.layers.1.temporal_embedding"]
    weights["vision_model.encoder.layers.0.temporal_mlp.fc1.bias"] = torch.zeros(3)
    weights["visual_projection.weight"] = torch.zeros(12, 17)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_whole(folder)
    message = str(caught.value)
    assert "1 missing: vision_model.encoder.layers.1.temporal_embedding" in message
    assert "1 unexpected: vision_model.encoder.layers.0.temporal_mlp.fc1.bias" in message
    assert "1 of another shape: visual_projection.weight ([12, 17] in the file, [12, 16] in the model)" in message


def test_only_the_first_of_many_names_are_listed(tmp_path: Path) -> None:
    folder = made_checkpoint(tmp_path, TINY_VIDEO, file="safetensors")
    save_file({"logit_scale": torch.tensor(1.0)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"\d+ missing: ([\w.]+, ){3}and \d+ more"):
        load_whole(folder)


@pytest.mark.parametrize("file", ["bin", "safetensors"])
def test_a_truncated_file_is_named_with_its_size(file: WeightFormat, tmp_path: Path) -> None:
    folder = made_checkpoint(tmp_path, TINY_VIDEO, file=file)
    path = folder / ("pytorch_model.bin" if file == "bin" else "model.safetensors")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=rf"{path.name}: 5,000 bytes that cannot be read.*download it again"):
        load_whole(folder)


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>"])
def test_a_file_that_holds_no_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    folder = made_checkpoint(tmp_path, TINY_VIDEO)
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load_whole(folder)
    (folder / "pytorch_model.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointError, match="Git LFS pointer"):
        load_whole(folder)


class Unsafe:
    def __reduce__(self) -> tuple:
        return (os.mkdir, ("made-by-a-checkpoint",))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made_checkpoint(tmp_path, TINY_VIDEO)
    torch.save({"logit_scale": Unsafe()}, folder / "pytorch_model.bin")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load_whole(folder)
    assert not (tmp_path / "made-by-a-checkpoint").exists()


def test_something_else_than_a_state_dict_is_refused(tmp_path: Path) -> None:
    folder = made_checkpoint(tmp_path, TINY_VIDEO)
    torch.save({"epoch": 3, "state_dict": {}}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="not a state dict"):
        read_state_dict(folder)


def test_texts_are_cut_or_padded_to_77_tokens_and_end_where_the_highest_id_is(tmp_path: Path) -> None:
    clip = tokenizer(made_checkpoint(tmp_path, TINY_VIDEO))
    ids = tokenize(clip, ["Hi !", "word " * 100, ""])
    assert ids.dtype == torch.int64
    assert ids.shape == (3, 77)
    assert (ids[:, 0] == 512).all()
    # start, h, i</w>, !</w>, end
    assert ids.argmax(dim=1).tolist() == [4, 76, 1]
    assert (ids[0, 4:] == 513).all()
    assert torch.equal(tokenize(clip, ["HI !"])[0], ids[0])


def test_of_megabytes_of_text_only_the_beginning_is_split_into_tokens(tmp_path: Path) -> None:
    clip, lengths = tokenizer(made_checkpoint(tmp_path, TINY_VIDEO)), list[int]()

    def counting(texts: list[str], **options: Any) -> Any:
        lengths.extend(map(len, texts))
        return clip(texts, **options)

    assert torch.equal(tokenize(counting, ["word " * 1_000_000]), tokenize(clip, ["word " * 100]))  # type: ignore[arg-type]
    assert max(lengths) <= LONGEST_TEXT_CHARACTERS


def test_a_vocabulary_whose_end_token_is_not_the_highest_is_refused(tmp_path: Path) -> None:
    folder = made_checkpoint(tmp_path, TINY_VIDEO)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({**vocabulary, "extra</w>": 514}))
    with pytest.raises(CheckpointError, match="the highest id is 514"):
        tokenizer(folder)
    (folder / "vocab.json").unlink()
    with pytest.raises(CheckpointError, match="no tokenizer here"):
        tokenizer(folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("vocab.json", "{", r"vocab\.json: the tokenizer cannot be read"),
        ("vocab.json", "[]", r"vocab\.json: the tokenizer cannot be read"),
        ("vocab.json", '{"a": "b"}', r"vocab\.json.*: the vocabulary has \d+ tokens, and config\.json says 514"),
        ("tokenizer.json", '{"version": "1.0"}', r"tokenizer\.json.*: the tokenizer cannot be read"),
        ("tokenizer.json", "", r"tokenizer\.json: the tokenizer cannot be read"),
        ("tokenizer_config.json", "\x00", r"tokenizer_config\.json: the tokenizer cannot be read"),
    ],
)
def test_a_broken_file_of_the_tokenizer_is_named(tmp_path: Path, name: str, content: str, words: str) -> None:
    folder = made_checkpoint(tmp_path, TINY_VIDEO)
    (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=words):
        tokenizer(folder)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_a_checkpoint_with_inf_or_nan_is_refused_by_the_tensors_name(
    tmp_path: Path, value: float, kind: torch.dtype
) -> None:
    folder = made_checkpoint(tmp_path, TINY_VIDEO, file="safetensors")
    weights = {name: tensor.to(kind) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    load_whole(folder)
    weights["visual_projection.weight"][3, 5] = value
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 tensors have inf or nan: visual_projection\.weight, so every"):
        load_whole(folder)
