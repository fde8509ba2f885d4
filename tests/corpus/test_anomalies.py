from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from support.shared_data import SHARED, needs_shared
from trimood.corpus.anomalies import (
    conversation_anomalies,
    pace_anomalies,
    repeated_texts,
    utterance_anomalies,
    word_count,
)
from trimood.corpus.corpus_files import read_annotations
from trimood.corpus.ecf import utterance_table
from trimood.corpus.published import TEST, TRAIN


def annotated(*rows: dict[str, Any], from_ecf: bool = True) -> pd.DataFrame:
    """One utterance for each row, in a conversation of its own unless the row says otherwise."""
    defaults = {"speaker": "Joey", "text": "Hey", "emotion": "joy", "utterance_id": 1, "clip": "c.mp4"}
    table = utterance_table(
        [{**defaults, "utterance": f"dia{n}utt1", "conversation_id": n, **row} for n, row in enumerate(rows, start=1)]
    )
    extra = {"episode": None, "start_seconds": None, "end_seconds": None, "meld_split": None, "meld_emotion": None}
    values = {name: [row.get(name, default) for row in rows] for name, default in extra.items()}
    types = {"episode": "str", "start_seconds": "float64", "end_seconds": "float64"}
    types |= {"meld_split": "str", "meld_emotion": "str"}
    return table.assign(**values, from_ecf=from_ecf).astype(types)


def span(start: float, end: float, episode: str = "S01E01") -> dict[str, Any]:
    return {"episode": episode, "start_seconds": start, "end_seconds": end}


def marked(table: pd.DataFrame, name: str) -> list[bool]:
    return utterance_anomalies(table)[name].to_list()


def test_breaks_gaps_and_numbering_are_counted_by_conversation() -> None:
    places = [(1, 1), (1, 2), (2, 1), (5, 1), (5, 3), (4, 1)]
    rows = [{"conversation_id": c, "utterance_id": u, "utterance": f"dia{c}utt{u}"} for c, u in places]
    assert conversation_anomalies(annotated(*rows)) == {
        "order_breaks": 2,  # 2 to 5, 5 to 4
        "id_gaps": 1,  # 3
        "utterance_ids_not_1_to_n": 1,  # of 5
        "one_utterance_conversations": 2,
        "longest_conversation": 2,
    }


def test_texts_with_curly_quotes_or_accents_are_marked_and_plain_ones_are_not() -> None:
    table = annotated({"text": "It ’s me"}, {"text": "A café"}, {"text": "It 's me"})
    assert marked(table, "typographic_texts") == [True, True, False]


def test_tokenised_texts_are_told_by_the_space_before_a_mark() -> None:
    assert marked(annotated({"text": "What ? !"}, {"text": "What?!"}), "tokenised_texts") == [True, False]


def test_spans_of_no_length_short_long_and_repeated_are_marked() -> None:
    table = annotated(span(5, 5), span(5, 5.499), span(5, 5.5), span(5, 35), span(5, 35.001), span(5, 5.5), {})
    assert marked(table, "span_empty") == [True, *[False] * 6]
    assert marked(table, "span_under_half_second") == [True, True, *[False] * 5]
    assert marked(table, "span_over_half_minute") == [*[False] * 4, True, False, False]
    assert marked(table, "span_repeated") == [*[False] * 5, True, False]


def test_the_same_times_in_another_episode_and_utterances_without_a_span_repeat_nothing() -> None:
    table = annotated(span(1, 2), span(1, 2, "S01E02"), {}, {})
    assert not any(marked(table, "span_repeated"))


def test_clips_broken_in_meld_are_named_only_for_ecf() -> None:
    rows = [{"utterance": "dia564utt4"}, {"utterance": "dia850utt8"}, {"utterance": "dia564utt5"}]
    assert marked(annotated(*rows), "broken_in_meld") == [True, True, False]
    assert not any(marked(annotated(*rows, from_ecf=False), "broken_in_meld"))


def test_melds_own_names_of_broken_and_wrongly_cut_clips_are_known() -> None:
    names = ["train_dia125_utt3", "dev_dia110_utt7", "test_dia38_utt4", "test_dia125_utt3", "dev_dia38_utt4"]
    table = annotated(*({"utterance": name} for name in names), from_ecf=False)
    assert marked(table, "broken_in_meld") == [True, True, False, False, False]
    assert marked(table, "cut_wrongly_in_meld") == [False, False, True, False, False]


def test_labels_unlike_melds_and_utterances_of_melds_test_are_marked_where_they_are_known() -> None:
    table = annotated(
        {"meld_split": "test", "meld_emotion": "joy"},
        {"meld_split": "train", "meld_emotion": "fear"},
        {"meld_split": "test"},
        {"meld_emotion": "fear", "emotion": None},
        {},
    )
    assert marked(table, "in_meld_test") == [True, False, True, False, False]
    assert marked(table, "meld_label_differs") == [False, True, False, False, False]


def test_words_are_counted_without_marks() -> None:
    assert word_count(pd.Series(["What ? !", "I do not know .", "C ’est moi"])).to_list() == [1, 4, 3]


def test_pace_is_odd_beyond_what_people_can_speak_and_unknown_seconds_are_never_odd() -> None:
    words = pd.Series([12, 13, 1, 1, 3, 3])
    seconds = pd.Series([1.0, 1.0, 5.0, 5.1, 0.0, None])
    found = pace_anomalies(words, seconds)
    assert found["too_many_words"].to_list() == [False, True, False, False, True, False]
    assert found["too_few_words"].to_list() == [False, False, False, True, False, False]


def test_verbatim_texts_are_those_that_are_equal_to_the_letter() -> None:
    assert repeated_texts(pd.Series(["Okay .", "okay ."]), pd.Series(["Okay .", "Yes"])).to_list() == [True, False]


@pytest.fixture(scope="module")
def published() -> dict[str, pd.DataFrame]:
    folder = (SHARED or Path()) / "reference" / "ecf2"
    table, _ = read_annotations(folder, folder)
    return {str(side): rows.reset_index(drop=True) for side, rows in table.groupby("side")}


@pytest.mark.slow
@needs_shared
def test_the_published_files_have_the_published_anomalies(published: dict[str, pd.DataFrame]) -> None:
    for generation in (TRAIN, TEST):
        rows = published[generation.side]
        counts = conversation_anomalies(rows) | utterance_anomalies(rows).sum().to_dict()
        known = {name: n for name, n in generation.anomalies.items() if name != "meld_label_differs"}
        assert {name: counts[name] for name in known} == known
        assert counts["utterance_ids_not_1_to_n"] == 0


@needs_shared
def test_the_published_anomalies_are_at_the_named_utterances(published: dict[str, pd.DataFrame]) -> None:
    train, test = published["train"], published["official_test"]
    marks = utterance_anomalies(train)
    assert train.loc[marks["span_empty"], "utterance"].to_list() == ["dia358utt4"]
    assert "dia278utt5" in set(train.loc[marks["span_over_half_minute"], "utterance"])
    assert set(train.loc[marks["broken_in_meld"], "utterance"]) == {"dia564utt4", "dia850utt8"}
    shortest = (test["end_seconds"] - test["start_seconds"]).round(3)
    assert (test["utterance"][shortest.idxmin()], shortest.min()) == ("dia2020utt6", 0.017)
    longest = (train["end_seconds"] - train["start_seconds"]).round(3)
    assert (train["utterance"][longest.idxmax()], longest.max()) == ("dia278utt5", 304.94)
    assert marks["tokenised_texts"].mean() > 0.99
    assert train["text"].str.contains(r"\b(?:do|can) not\b").any()
    assert train["text"].str.contains(r"\w(?:n't|n’t)\b").mean() < 0.001
    assert int(train["meld_split"].notna().sum()) == 13_389


@needs_shared
def test_few_published_spans_are_out_of_the_range_of_speech(published: dict[str, pd.DataFrame]) -> None:
    train = published["train"]
    odd = pace_anomalies(train["words"], train["end_seconds"] - train["start_seconds"]).sum()
    assert (odd["too_many_words"], odd["too_few_words"]) == (119, 17)  # of 13,619
