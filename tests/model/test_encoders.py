"""Text encoders of other families: the same numbers as transformers' own, and refusals in words."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel

from support.learning_examples import lora
from support.made_encoders import FAMILIES, WORDS, built, change, made_encoder
from trimood.config.experiment_settings import ContextParams
from trimood.emotions import EMOTIONS
from trimood.learning.context import TextReader
from trimood.model.adapters import AdapterError
from trimood.model.checkpoints import checkpoint_digest, locate_encoder
from trimood.model.config import CheckpointError
from trimood.model.encoders import check_encoder, read_encoder

TALK = pd.DataFrame({"conversation_id": 1, "utterance_id": [1, 2, 3]})
TEXTS = ["What ?", "I am so happy that you are all here !"]


def ids(folder: Path, texts: list[str] = TEXTS) -> torch.Tensor:
    _, tokenizer = read_encoder(folder, "mean")
    found: torch.Tensor = tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]
    return found


@pytest.mark.parametrize("config", FAMILIES)
def test_each_family_gives_the_mean_of_transformers_own_states(config, encoder_folder: Path, tmp_path: Path) -> None:
    config.vocab_size = len((encoder_folder / "vocab.txt").read_text().splitlines())
    folder = made_encoder(tmp_path, config, encoder_folder)
    model, own = built(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        found = model.embed(input_ids=ids(folder))["text"]
        for row, text in zip(found, TEXTS, strict=True):
            alone = own(input_ids=ids(folder, [text])).last_hidden_state[0]
            torch.testing.assert_close(row, alone.mean(dim=0), atol=2e-6, rtol=0)
            assert (row - alone[0]).abs().max() > 0.01
        by_first = built(folder, "first").embed(input_ids=ids(folder))["text"]
        torch.testing.assert_close(by_first[1], alone[0], atol=2e-6, rtol=0)


@pytest.mark.parametrize("config", FAMILIES[:3])
def test_the_longest_text_fits_into_the_positions_that_a_family_uses(config, encoder_folder: Path, tmp_path) -> None:
    config.vocab_size = len((encoder_folder / "vocab.txt").read_text().splitlines())
    folder = made_encoder(tmp_path, config, encoder_folder)
    about = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**about, "model_max_length": 10**30}))
    settings, words = read_encoder(folder, "mean")
    unused = {"bert": 0, "roberta": 1, "mpnet": 2}[config.model_type]  # here the padding is token 0
    assert settings.most_tokens == WORDS["max_position_embeddings"] - unused
    long = pd.DataFrame({"text": ["so happy " * 200]})
    with torch.no_grad():
        assert (
            built(folder)
            .embed(input_ids=TextReader(words, ContextParams(), settings).ids(long))["text"]
            .isfinite()
            .all()
        )


def test_the_mean_is_over_the_utterance_itself_which_has_read_its_context(encoder_folder: Path) -> None:
    config, words = read_encoder(encoder_folder, "mean")
    model = built(encoder_folder).encoder
    assert model is not None
    talk = TALK.assign(text=["It is so", "happy", "What ?"])
    for context in (ContextParams(previous=2), ContextParams(next=1), ContextParams(previous=1, next=1)):
        tokens = TextReader(words, context, config).ids(talk)
        with torch.no_grad():
            found, (states, _) = model.embed_text(tokens), model.text_states(tokens)
        for row, text in enumerate(talk["text"]):
            own = words(text, add_special_tokens=False)["input_ids"]
            read = tokens[row].tolist()
            (begin,) = [at for at in range(len(read)) if read[at : at + len(own)] == own]
            torch.testing.assert_close(found[row], states[row, begin : begin + len(own)].mean(dim=0))
    long = talk.assign(text=["so " * 300, "happy", "What ?"])
    tokens = TextReader(words, ContextParams(previous=2), config).ids(long)
    with torch.no_grad():
        torch.testing.assert_close(model.embed_text(tokens[:1])[0], model.text_states(tokens[:1])[0][0].mean(dim=0))


def test_an_absent_text_is_zero_and_leaves_gradients_finite(encoder_folder: Path) -> None:
    model = built(encoder_folder).train()
    present = torch.tensor([[False, False, True], [False, False, False]])
    inputs = ids(encoder_folder)
    inputs[1] = 0
    found = model(input_ids=inputs, present=present, labels=torch.tensor([1, 2]))
    assert found["logits"][1].abs().max() == 0
    found["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_frozen_encoder_draws_nothing_in_training_and_a_trained_one_does(encoder_folder: Path) -> None:
    inputs = ids(encoder_folder)
    for train, is_alike in (("head", True), ("everything", False)):
        model = built(encoder_folder, train=train).train()
        once, again = (model.embed(input_ids=inputs)["text"] for _ in range(2))
        assert torch.equal(once, again) == is_alike


def test_adapters_are_on_the_layers_that_text_targets_name(encoder_folder: Path) -> None:
    whole = built(encoder_folder)
    for targets, layers in ((["all-linear"], 12), (["query", "attention.output.dense"], 4)):
        adapters = lora("q_proj", dropout=0.0).model_copy(update={"text_targets": tuple(targets)})
        model = built(encoder_folder, train="lora", lora=adapters)
        names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and ".lora_A." in name]
        assert len(names) == layers
        inputs = ids(encoder_folder)
        torch.testing.assert_close(model.embed(input_ids=inputs)["text"], whole.embed(input_ids=inputs)["text"])


def test_a_target_that_the_encoder_lacks_is_an_error_of_its_own(encoder_folder: Path) -> None:
    adapters = lora("q_proj").model_copy(update={"text_targets": ("query", "q_proj")})
    words = (
        r"'q_proj' matches no linear layer of the text encoder\. .* end in: dense, key, query, value\. .*text_targets"
    )
    with pytest.raises(AdapterError, match=words):
        built(encoder_folder, train="lora", lora=adapters)


def test_layers_that_are_computed_again_give_the_same_gradients(encoder_folder: Path) -> None:
    grads = []
    for again in (False, True):
        model = built(encoder_folder).train()
        if again:
            model.checkpoint_layers()
        torch.manual_seed(3)
        model(input_ids=ids(encoder_folder), labels=torch.tensor([1, 2]))["loss"].backward()
        grads.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert len(grads[0]) > 30
    assert all(torch.equal(grads[1][name], grad) for name, grad in grads[0].items())


def test_the_head_takes_embeddings_of_the_encoders_size(encoder_folder: Path) -> None:
    assert list(built(encoder_folder).head.weight.shape) == [len(EMOTIONS), 32]


def without(name: str):
    return lambda folder: (folder / name).unlink()


def configured(**values: object):
    return lambda folder: change(folder / "config.json", **values)


def rewritten(change_tensors) -> object:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change_tensors(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return rewrite


def as_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (as_pickle, r"its weights are no safetensors.*can execute code.*save_pretrained"),
        (without("model.safetensors"), r"no weights here\. model.safetensors"),
        (without("vocab.txt"), r"no tokenizer here; expected one of tokenizer.json, vocab.txt"),
        (without("config.json"), r"config\.json: not a configuration"),
        (configured(model_type="gpt2"), r"not a text encoder \(gpt2 is not trained to fill in masked words\).*BERT"),
        (configured(is_decoder=True), r"not a text encoder \(is_decoder is true\)"),
        (
            configured(model_type="own_kind", auto_map={"AutoModel": "x.py"}),
            r"'own_kind'.*code of a model's own is never",
        ),
        (configured(model_type="LanguageBindVideo"), r"text_tower: languagebind"),
        (configured(vocab_size=20), r"tokens up to [\d,]+, and config.json says vocab_size 20"),
    ],
)
def test_what_is_no_encoder_is_refused_in_words(encoder_folder: Path, tmp_path: Path, spoil, words: str) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    spoil(folder)
    with pytest.raises(CheckpointError, match=words):
        read_encoder(folder, "mean")


def test_a_tokenizer_without_padding_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    _, tokenizer = read_encoder(encoder_folder, "mean")
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(CheckpointError, match=r"no padding token.*pad_token in tokenizer_config.json"):
        read_encoder(folder, "mean")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (rewritten(lambda of: of.pop("encoder.layer.1.output.dense.bias")), r"1 missing: encoder\.layer\.1\.output"),
        (
            rewritten(lambda of: of.update({"embeddings.LayerNorm.bias": torch.zeros(3)})),
            r"1 of another shape: embeddings\.LayerNorm\.bias",
        ),
        (rewritten(lambda of: of["embeddings.LayerNorm.bias"].fill_(torch.nan)), r"1 tensors have inf or nan"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"cut off"), r"the weights cannot be read"),
    ],
)
def test_weights_that_are_not_the_encoders_are_refused(encoder_folder: Path, tmp_path: Path, spoil, words: str) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    config, _ = read_encoder(folder, "mean")
    spoil(folder)
    with pytest.raises(CheckpointError, match=words):
        check_encoder(folder, config)


def test_a_place_that_is_neither_folder_nor_name_is_refused() -> None:
    with pytest.raises(
        CheckpointError, match=r"text_tower=no/such/folder: no such folder\. Give languagebind, a folder"
    ):
        locate_encoder("no/such/folder")


def test_the_digest_is_of_the_files_and_not_of_the_place(encoder_folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(encoder_folder, moved)
    before = checkpoint_digest(str(encoder_folder), "text")
    assert checkpoint_digest(str(moved), "text") == before
    (moved / "vocab.txt").write_text((moved / "vocab.txt").read_text() + "more\n")
    assert checkpoint_digest(str(moved), "text") != before
