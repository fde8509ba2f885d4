from pathlib import Path

import pandas as pd
import pytest

from support.shared_data import SHARED, needs_shared
from trimood.corpus.ecf import read_ecf
from trimood.corpus.splits import split_utterances
from trimood.emotions import EMOTIONS
from trimood.scoring.leakage import nearest_neighbour_labels, probe, probe_random_splits

JOY, FEAR, NEUTRAL = EMOTIONS.index("joy"), EMOTIONS.index("fear"), EMOTIONS.index("neutral")


def rows(*places: tuple[int, int, int | None]) -> pd.DataFrame:
    table = pd.DataFrame(places, columns=["conversation_id", "utterance_id", "label"])
    return table.astype({"label": "Int8"})


def test_the_nearest_training_utterance_of_the_same_conversation_lends_its_label() -> None:
    training = rows((1, 1, JOY), (1, 6, FEAR), (2, 3, NEUTRAL))
    scored = rows((1, 5, 0), (1, 2, 0), (2, 9, 0), (3, 1, 0))
    assert nearest_neighbour_labels(training, scored).fillna(-1).to_list() == [FEAR, JOY, NEUTRAL, -1]


def test_of_two_equally_near_the_earlier_one_counts() -> None:
    assert nearest_neighbour_labels(rows((1, 1, JOY), (1, 3, FEAR)), rows((1, 2, 0))).to_list() == [JOY]


def test_copying_scores_high_where_neighbours_agree_and_the_majority_does_not() -> None:
    training = rows(*[(n, 1, n % 7) for n in range(70)], (99, 1, 3))
    scored = rows(*[(n, 2, n % 7) for n in range(70)])
    found = probe(training, scored)
    assert found is not None
    assert (found.share_with_neighbour, found.neighbour_macro_f1) == (1.0, 1.0)
    assert found.majority_macro_f1 == pytest.approx(2 / 8 / 7)  # one class right: precision 1/7, recall 1
    assert found.conversations_on_both_sides == 70


def test_with_whole_conversations_apart_the_probe_knows_no_more_than_the_majority() -> None:
    training, scored = rows((1, 1, JOY), (1, 2, JOY), (2, 1, FEAR)), rows((3, 1, FEAR), (4, 1, JOY))
    found = probe(training, scored)
    assert found is not None
    assert found.conversations_on_both_sides == found.share_with_neighbour == 0
    assert found.neighbour_macro_f1 == found.majority_macro_f1 > 0


def test_utterances_without_a_label_take_no_part_and_an_empty_side_has_no_leakage() -> None:
    assert probe(rows((1, 1, None)), rows((1, 2, JOY))) is None
    assert probe(rows((1, 1, JOY)), rows((1, 2, None))) is None
    found = probe(rows((1, 1, JOY), (1, 3, None)), rows((1, 4, JOY), (1, 5, None)))
    assert found is not None
    assert (found.training_utterances, found.scored_utterances) == (1, 1)


def test_a_table_too_small_for_a_random_split_has_none() -> None:
    assert probe_random_splits(rows((1, 1, JOY)), 0.1, 10, seed=0) is None


@pytest.mark.slow
@needs_shared
def test_on_ecf_a_random_split_leaks_what_is_published_and_whole_conversations_leak_nothing() -> None:
    table = read_ecf((SHARED or Path()) / "reference" / "ecf2" / "Subtask_2_train.json")
    random = probe_random_splits(table, 0.1, 10, seed=0)
    assert random is not None
    assert random.share_with_neighbour == pytest.approx(0.993, abs=0.004)
    assert random.neighbour_macro_f1 == pytest.approx(0.282, abs=0.01)
    training, held_out, _ = split_utterances(table, "conversation", 0.1, 0.0, seed=0)
    whole = probe(training, held_out)
    assert whole is not None
    assert whole.share_with_neighbour == 0
    assert whole.neighbour_macro_f1 == pytest.approx(0.087, abs=0.0005)
