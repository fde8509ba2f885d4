import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support.made_corpus import drawn_conversations, write_ecf
from support.shared_data import SHARED, needs_shared
from trimood.corpus.ecf import class_counts, read_ecf
from trimood.corpus.splits import SplitError, Unit, split_utterances

SEEDS = range(5)


def drawn_table(folder: Path, count: int, seed: int) -> pd.DataFrame:
    return read_ecf(write_ecf(folder, drawn_conversations(count, seed)))


def keys(table: pd.DataFrame) -> set[str]:
    return set(table["utterance"])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("unit", ["conversation", "utterance"])
@pytest.mark.parametrize("count", [8, 60])
def test_every_utterance_lands_in_exactly_one_split(tmp_path: Path, count: int, unit: Unit, seed: int) -> None:
    table = drawn_table(tmp_path, count, seed)
    parts = split_utterances(table, unit, 0.1, 0.15, seed)
    assert all(len(part) for part in parts)
    assert sorted(key for part in parts for key in part["utterance"]) == sorted(table["utterance"])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [8, 60])
def test_no_conversation_is_in_two_splits(tmp_path: Path, count: int, seed: int) -> None:
    training, validation, held_out = (
        set(part["conversation_id"])
        for part in split_utterances(drawn_table(tmp_path, count, seed), "conversation", 0.1, 0.15, seed)
    )
    assert not training & validation
    assert not training & held_out
    assert not validation & held_out


def test_splitting_by_utterance_does_divide_conversations(tmp_path: Path) -> None:
    training, validation, _ = split_utterances(drawn_table(tmp_path, 60, 0), "utterance", 0.1, 0.1, 0)
    assert set(training["conversation_id"]) & set(validation["conversation_id"])


@pytest.mark.parametrize("unit", ["conversation", "utterance"])
def test_the_order_of_the_rows_changes_nothing_and_the_seed_does(tmp_path: Path, unit: Unit) -> None:
    table = drawn_table(tmp_path, 60, 0)
    first = split_utterances(table, unit, 0.1, 0.1, 7)
    shuffled = split_utterances(table.sample(frac=1, random_state=3), unit, 0.1, 0.1, 7)
    for one, other in zip(first, shuffled, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert keys(first[1]) != keys(split_utterances(table, unit, 0.1, 0.1, 8)[1])


def test_what_is_held_out_does_not_depend_on_the_validation_fraction(tmp_path: Path) -> None:
    table = drawn_table(tmp_path, 60, 0)
    held_out = [keys(split_utterances(table, "conversation", fraction, 0.1, 1)[2]) for fraction in (0.05, 0.1, 0.3)]
    assert held_out[0] == held_out[1] == held_out[2]


@pytest.mark.slow
def test_validation_is_a_fraction_of_all_utterances_however_many_are_held_out(tmp_path: Path) -> None:
    table = drawn_table(tmp_path, 300, 0)
    for test_fraction in (0, 0.1, 0.5):
        validation = split_utterances(table, "conversation", 0.2, test_fraction, 1)[1]
        assert len(validation) == pytest.approx(0.2 * len(table), rel=0.05)


def test_the_callers_table_is_left_as_it_was(tmp_path: Path) -> None:
    table = drawn_table(tmp_path, 20, 0)
    before = table.copy(deep=True)
    split_utterances(table, "conversation", 0.1, 0.1, 1)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_whole_conversations_meet_the_class_shares_closer_than_a_plain_draw(tmp_path: Path, seed: int) -> None:
    table = drawn_table(tmp_path, 300, seed)
    everything = np.array(list(class_counts(table).values()))

    def worst_class(part: pd.DataFrame) -> float:
        return float(np.abs(np.array(list(class_counts(part).values())) / (0.1 * everything) - 1).max())

    _, validation, held_out = split_utterances(table, "conversation", 0.1, 0.1, seed)
    ids = table["conversation_id"].unique()
    plain = np.random.default_rng(seed).choice(ids, size=len(ids) // 10, replace=False)
    assert worst_class(table[table["conversation_id"].isin(plain)]) > 0.15
    assert worst_class(validation) < 0.15
    assert worst_class(held_out) < 0.15


def test_by_utterance_every_class_is_met_to_the_utterance(tmp_path: Path) -> None:
    table = drawn_table(tmp_path, 60, 0)
    _, validation, _ = split_utterances(table, "utterance", 0.2, 0, 0)
    for emotion, count in class_counts(table).items():
        assert class_counts(validation)[emotion] == pytest.approx(0.2 * count, abs=0.5)


@pytest.mark.slow
def test_long_conversations_are_held_out_as_often_as_short_ones(tmp_path: Path) -> None:
    table = drawn_table(tmp_path, 300, 0)
    _, validation, _ = split_utterances(table, "conversation", 0.1, 0, 0)
    lengths = [part["conversation_id"].value_counts().mean() for part in (table, validation)]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.1)


def test_a_zero_test_fraction_holds_nothing_out(tmp_path: Path) -> None:
    table = drawn_table(tmp_path, 20, 0)
    training, validation, held_out = split_utterances(table, "conversation", 0.1, 0, 0)
    assert held_out.empty
    assert list(held_out.columns) == list(table.columns)
    assert len(training) + len(validation) == len(table)


@pytest.mark.parametrize(
    ("validation", "test", "words"),
    [
        (
            0.05,
            0.2,
            r"validation \(validation_fraction\), by conversation: 0.05 of 8 selects none. Raise it to at least 0.12",
        ),
        (0.2, 0.05, r"held-out test \(test_fraction\), by conversation: 0.05 of 8 selects none"),
        (0.0, 0.2, "got validation_fraction 0.0 .* the first must be above 0"),
        (0.5, 0.5, "their sum below 1, to leave training data"),
    ],
)
def test_a_fraction_that_leaves_a_split_empty_is_refused(
    tmp_path: Path, validation: float, test: float, words: str
) -> None:
    with pytest.raises(SplitError, match=words):
        split_utterances(drawn_table(tmp_path, 8, 0), "conversation", validation, test, 0)


def test_an_empty_training_split_is_refused(tmp_path: Path) -> None:
    table = read_ecf(write_ecf(tmp_path, {1: ["joy"]}))
    with pytest.raises(SplitError, match="training, by conversation: none of 1 conversations remain"):
        split_utterances(table, "conversation", 0.9, 0, 0)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    table = read_ecf(write_ecf(tmp_path, {1: ["joy"]})).iloc[:0]
    with pytest.raises(SplitError, match=r"0.1 of 0 selects none"):
        split_utterances(table, "conversation", 0.1, 0, 0)


def test_unlabelled_rows_are_refused(tmp_path: Path) -> None:
    table = read_ecf(write_ecf(tmp_path, {1: ["joy", None], 2: ["joy"]}))
    with pytest.raises(SplitError, match="1 of 3 utterances have no label, the first is dia1utt2"):
        split_utterances(table, "conversation", 0.4, 0, 0)


def test_a_class_that_validation_lacks_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = read_ecf(write_ecf(tmp_path, {number: ["joy", "neutral"] for number in range(20)}))
    with caplog.at_level(logging.WARNING):
        split_utterances(table, "conversation", 0.2, 0, 0)
    assert [record.getMessage() for record in caplog.records] == [
        "validation: no utterance of surprise, fear, sadness, anger, disgust among 8; their F1 is 0, "
        "which lowers macro F1."
    ]


@pytest.mark.slow
@needs_shared
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fraction", [0.08, 0.1])
def test_on_the_published_file_no_class_is_three_percent_off(fraction: float, seed: int) -> None:
    table = read_ecf((SHARED or Path()) / "reference" / "ecf2" / "Subtask_2_train.json")
    _, validation, held_out = split_utterances(table, "conversation", fraction, fraction, seed)
    for part in (validation, held_out):
        assert len(part) == pytest.approx(fraction * len(table), abs=3)
        for emotion, count in class_counts(table).items():
            assert class_counts(part)[emotion] == pytest.approx(fraction * count, rel=0.03)
