"""Utterances without face, voice or words train and are predicted; whole ones stay what they were."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from support.learning_examples import TRAINING, example_table, tiny_model, training
from trimood.learning.prediction import probabilities
from trimood.learning.trainer import fit
from trimood.scoring.metrics import summary_scores

THREE = ("text", "video", "audio")


def table_with_gaps(count: int) -> pd.DataFrame:
    """In turn: whole, without video, without sound, without words; and of the last utterance nothing."""
    table = example_table(count)
    turns = np.arange(count) % 4
    table["has_video"], table["has_audio"] = turns != 1, turns != 2
    table.loc[turns == 3, "text"] = ""
    table.loc[count - 1, ["has_video", "has_audio", "part", "text"]] = [False, False, "", ""]
    return table


class WithoutMask(Dataset[dict[str, Tensor]]):
    """The same examples, before there was a mask."""

    def __init__(self, examples: Dataset[dict[str, Tensor]]) -> None:
        self.examples, self.labels = examples, examples.labels  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self.examples)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.examples[index].items() if name != "present"}


def silent(numbers: dict[str, float], step: int) -> None:
    """Hears nothing."""


@pytest.mark.slow
@pytest.mark.parametrize("train", ["everything", "lora"])
def test_training_on_whole_utterances_is_the_same_to_the_bit_with_and_without_the_mask(
    sources, prepared_clips, tmp_path, train: str
) -> None:
    fitted = []
    for name, change in (("with", lambda examples: examples), ("without", WithoutMask)):
        prepared = tiny_model(sources, train=train, modalities=THREE)
        examples, validation = (change(prepared.examples(example_table(n), prepared_clips)) for n in (28, 14))
        assert ("present" in examples[0]) == (name == "with")
        fitted.append(fit(prepared.model, examples, validation, TRAINING, tmp_path / name, summary_scores, silent))
    masked, unmasked = fitted
    assert [{**row, "seconds": 0} for row in masked.history] == [{**row, "seconds": 0} for row in unmasked.history]
    assert masked.last.keys() == unmasked.last.keys()
    assert all(torch.equal(masked.last[name], unmasked.last[name]) for name in masked.last)


@pytest.mark.slow
def test_training_learns_from_utterances_with_gaps_and_evaluation_sees_the_gaps_too(
    sources, prepared_clips, tmp_path, caplog
) -> None:
    prepared = tiny_model(sources, modalities=THREE)
    with caplog.at_level(logging.INFO, logger="trimood"):
        examples = prepared.examples(table_with_gaps(28), prepared_clips)
    for words in (
        "8 of 28 utterances have no video",
        "8 of 28 utterances have no audio",
        "7 of 28 utterances have no text",
    ):
        assert words in caplog.text
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.getMessage().startswith(
        "1 of 28 utterances lack every modality this model uses (video, audio, text)"
    )
    validation_table = table_with_gaps(15)
    validation = prepared.examples(validation_table, prepared_clips)
    arguments = training(num_train_epochs=8)
    fitted = fit(prepared.model, examples, validation, arguments, tmp_path, summary_scores, silent)

    scores = [row["validation/macro_f1"] for row in fitted.history]
    assert scores[0] < 0.5
    assert max(scores) > 0.7
    found = probabilities(prepared.model, validation, 8)
    assert summary_scores(validation_table["label"].tolist(), found.argmax(axis=1))["macro_f1"] == max(scores)
    assert found[-1].tolist() == [1 / 7] * 7
    assert (found[:-1].max(axis=1) > 1 / 7).all()
    without_mask = probabilities(prepared.model, WithoutMask(validation), 8)
    assert np.array_equal(without_mask[::4][:3], found[::4][:3])  # whole utterances
    assert not np.isclose(without_mask, found).all(axis=1)[[1, 2, 3]].any()


def test_whole_utterances_are_nothing_to_speak_of(sources, prepared_clips, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="trimood"):
        tiny_model(sources).examples(example_table(7), prepared_clips)
    assert not caplog.records


def test_a_gap_in_what_a_model_does_not_use_is_nothing_to_speak_of(sources, prepared_clips, caplog) -> None:
    table = example_table(7).assign(has_audio=False)
    with caplog.at_level(logging.INFO, logger="trimood"):
        tiny_model(sources).examples(table, prepared_clips)
    assert not caplog.records


def test_words_that_are_cut_off_are_told(sources, prepared_clips, caplog) -> None:
    table = example_table(3)
    tiny_model(sources).examples(table, prepared_clips)
    assert "are cut to" not in caplog.text
    table.loc[1, "text"] = "so much joy ! " * 60
    tiny_model(sources).examples(table, prepared_clips)
    assert "1 of 3 utterances are cut to 77 tokens" in caplog.text
