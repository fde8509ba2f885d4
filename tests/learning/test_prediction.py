"""The head on embeddings that were blanked or shuffled is the whole model on inputs that were."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from support.learning_examples import encoder_settings, example_table, tiny_model
from trimood.config.experiment_settings import ContextParams, HeadParams
from trimood.emotions import MODALITIES, Modality
from trimood.learning.batches import Examples
from trimood.learning.prediction import embed, head_probabilities, probabilities
from trimood.learning.setup import load_model
from trimood.model.stored import Embeddings, read_embeddings, write_embeddings

THREE = ("text", "video", "audio")
INPUTS = {"video": "frames", "audio": "mel", "text": "input_ids"}


class WithAnothers(Dataset[dict[str, Tensor]]):
    """Examples in which one modality's input, or its absence, is that of another utterance."""

    def __init__(self, examples: Examples, modality: Modality, order: np.ndarray) -> None:
        self.examples, self.modality, self.order = examples, modality, order

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item, other = dict(self.examples[index]), self.examples[int(self.order[index])]
        item[INPUTS[self.modality]] = other[INPUTS[self.modality]]
        item["present"] = item["present"].clone()
        item["present"][MODALITIES.index(self.modality)] = other["present"][MODALITIES.index(self.modality)]
        return item


HEADS = {"linear": {}, "mlp": {}, "gated": {}, "attention": {"heads": 3}}


@pytest.fixture(params=HEADS)
def prepared(sources, request):
    """A model whose head tells the emotions apart, as a trained one's does: its first values are too small to show."""
    prepared = tiny_model(sources, modalities=THREE, head={"kind": request.param, **HEADS[request.param]})
    with torch.no_grad():
        for parameter in prepared.model.head.parameters():
            parameter.mul_(5)
    return prepared


@pytest.fixture
def table():
    """Some utterances lack something, so that absence is shuffled too."""
    table = example_table(20)
    table["has_video"], table["has_audio"] = np.arange(20) % 5 != 1, np.arange(20) % 7 != 2
    table.loc[4, "text"] = ""
    return table


@pytest.mark.parametrize("modality", MODALITIES)
def test_blanked_and_shuffled_embeddings_give_what_the_model_gives_of_such_inputs(
    prepared, table, prepared_clips, modality: Modality
) -> None:
    examples = prepared.examples(table, prepared_clips)
    found, head = embed(prepared.model, examples, 6), prepared.model.head
    assert [*found] == ["video", "audio", "text"]
    intact = probabilities(prepared.model, examples, 6)
    np.testing.assert_array_equal(head_probabilities(head, found, 6), intact)

    without = table.assign(text="") if modality == "text" else table.assign(**{f"has_{modality}": False})
    blanked = probabilities(prepared.model, prepared.examples(without, prepared_clips), 6)
    changed = {**found, modality: np.zeros_like(found[modality])}
    np.testing.assert_allclose(head_probabilities(head, changed, 6), blanked, rtol=0, atol=1e-6)

    order = np.random.default_rng(1).permutation(20)
    shuffled = probabilities(prepared.model, WithAnothers(examples, modality, order), 6)
    changed = {**found, modality: found[modality][order]}
    np.testing.assert_allclose(head_probabilities(head, changed, 6), shuffled, rtol=0, atol=1e-6)

    assert all(np.abs(intact - other).max() > 1e-3 for other in (blanked, shuffled))
    assert np.abs(blanked - shuffled).max() > 1e-3


def test_states_are_stored_without_padding_and_come_back_to_the_bit(sources, table, prepared_clips, tmp_path) -> None:
    loaded = tiny_model(sources, modalities=THREE, head={"kind": "attention", "heads": 3})
    found = embed(loaded.model, loaded.examples(table, prepared_clips), 6)
    assert {name: rows.shape for name, rows in found.items()} == {
        "video": (20, 2, 13),
        "audio": (20, 1, 13),
        "text": (20, 77, 13),
    }
    counts = found["text"][..., -1].sum(axis=1)
    assert counts[4] == 0  # it has no words
    assert 2 < counts.max() < 20
    write_embeddings(tmp_path / "found.safetensors", Embeddings("weights", {"test": ["a"] * 20}, {"test": found}))
    stored = read_embeddings(tmp_path / "found.safetensors").splits["test"]
    assert stored["text"].shape == (20, counts.max(), 13)
    assert (found["text"][:, : stored["text"].shape[1]] == stored["text"]).all()
    assert not found["text"][:, stored["text"].shape[1] :].any()
    assert (stored["video"] == found["video"]).all()
    expected = head_probabilities(loaded.model.head, found, 6)
    np.testing.assert_array_equal(head_probabilities(loaded.model.head, stored, 6), expected)


def test_attention_of_a_conversation_is_the_same_from_stored_states(encoder_folder, tmp_path) -> None:
    """The utterance's own tokens are between those of its context, and are stored without them."""
    context = ContextParams(previous=2, next=1, speakers=True)
    wanted = encoder_settings("head", context=context).model_copy(
        update={"head": HeadParams(kind="attention", heads=2)}
    )
    loaded = load_model(wanted, {"text": str(encoder_folder)})
    rows = {"conversation_id": [1] * 8, "utterance_id": range(8), "speaker": ["Ross", "Rachel"] * 4}
    table = example_table(8).assign(text=[" ".join(["so"] * (1 + 5 * (row % 3))) for row in range(8)], **rows)
    examples = loaded.examples(table, tmp_path)
    whole = probabilities(loaded.model, examples, 4)
    found = embed(loaded.model, examples, 4)
    write_embeddings(tmp_path / "found.safetensors", Embeddings("weights", {"test": ["a"] * 8}, {"test": found}))
    stored = read_embeddings(tmp_path / "found.safetensors").splits["test"]
    assert not (stored["text"][0] == stored["text"][3]).all()  # the same words in another place of the conversation
    for states in (found, stored):
        np.testing.assert_array_equal(head_probabilities(loaded.model.head, states, 4), whole)


def test_a_model_of_one_modality_that_is_blanked_finds_all_emotions_equally_likely(sources, prepared_clips) -> None:
    only = tiny_model(sources, modalities=("text",))
    found = embed(only.model, only.examples(example_table(3), prepared_clips), 2)
    assert [*found] == ["text"]
    assert (head_probabilities(only.model.head, {"text": np.zeros_like(found["text"])}, 2) == 1 / 7).all()
