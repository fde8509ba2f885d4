"""What is told of predictions of one's own utterances: the summary, the page, the table and the subtitles."""

import re
from pathlib import Path

import pandas as pd
import pytest

from trimood.corpus.subtitles import cues_of
from trimood.corpus.tables import ABSENCE_COLUMNS
from trimood.emotions import CALIBRATED, EMOTIONS, PROBABILITIES
from trimood.reports.own_clips import in_words, markdown_table, spreadsheet, subtitles, summary, timelines, write_page


def table(count: int, **columns: object) -> pd.DataFrame:
    """Predictions of clips a to z, "joy" with a certainty that grows from row to row; `columns` replaces some."""
    rows = pd.DataFrame({"utterance": [f"u{number}" for number in range(count)], "text": "Oh", "clip": "", "video": ""})
    rows[["model", "modalities", "conversation_id", "speaker", "emotion", "absent"]] = ["exp4", "video+text", *[""] * 4]
    for end in ("start_milliseconds", "end_milliseconds"):
        rows[end] = pd.array([None] * count, dtype="Int64")
    rows[list(ABSENCE_COLUMNS.values())] = ""
    for names in (PROBABILITIES, CALIBRATED):
        rows[list(names)] = 0.0
        rows[names[EMOTIONS.index("joy")]] = [0.6 + 0.3 * number / count for number in range(count)]
        rows[names[EMOTIONS.index("anger")]] = 1 - rows[names[EMOTIONS.index("joy")]]
    return rows.assign(predicted="joy").assign(**columns)


def cues(*spans: tuple[int, int]) -> pd.DataFrame:
    """Predictions of the cues of one video."""
    return table(
        len(spans),
        utterance=[f"more/a_b_{number:03}" for number in range(1, len(spans) + 1)],
        start_milliseconds=pd.array([start for start, _ in spans], dtype="Int64"),
        end_milliseconds=pd.array([end for _, end in spans], dtype="Int64"),
    )


def test_a_summary_of_three_hundred_utterances_has_the_least_certain_ten_and_counts_what_is_absent() -> None:
    rows = table(300).iloc[::-1].reset_index(drop=True)
    rows.loc[:2, "no_audio"] = ["no audio track", "no audio track", "silent"]
    rows.loc[:99, "predicted"] = "anger"
    lines = summary(rows, {})
    assert lines[:2] == [
        "300 utterances: joy 200 (67 %), anger 100 (33 %)",
        "Absent: audio in 2 (no audio track); audio in 1 (silent).",
    ]
    shown = [line for line in lines if line.startswith("| u") and "| Oh |" in line]
    assert [line.split(" ")[1] for line in shown] == [f"u{number}" for number in range(10)]
    assert shown[0] == "| u0 | Oh | joy 0.60 | anger 0.40 | – |"
    assert len(lines) < 20
    assert len(markdown_table(rows)) == 302


def test_subtitles_are_read_again_with_the_emotion_before_the_words(tmp_path: Path) -> None:
    written = subtitles(pd.concat([table(1), cues((0, 1500), (3_723_004, 3_724_000))]))
    assert list(written) == ["more/a_b"]
    (tmp_path / "a.srt").write_text(written["more/a_b"])
    assert cues_of(tmp_path / "a.srt") == [(0, 1500, "[joy 0.60] Oh"), (3_723_004, 3_724_000, "[joy 0.75] Oh")]


def test_a_spreadsheet_has_timecodes_and_the_true_emotion() -> None:
    rows = spreadsheet(pd.concat([cues((61_001, 62_000)), table(1, emotion="fear")]))
    assert rows[["start", "end", "predicted", "true"]].values.tolist() == [
        ["00:01:01.001", "00:01:02.000", "joy", ""],
        ["", "", "joy", "fear"],
    ]


def test_a_timeline_places_each_cue_by_its_time() -> None:
    (of,) = timelines(cues((2000, 3000), (0, 1000), (9000, 10_000)))
    assert (of.name, of.seconds) == ("more/a_b", 10)
    assert [(span.number, span.left, span.width) for span in of.spans] == [(1, 0, 10), (0, 20, 10), (2, 90, 10)]


def test_the_page_links_each_bar_to_its_row_and_escapes_words() -> None:
    page = write_page(cues((0, 1000), (1000, 2000)).assign(text='<b>Oh</b> & "no"'), ["c: unreadable <x>"], {})
    targets = re.findall(r'<tr id="(utterance-\d+)"', page)
    assert targets == ["utterance-0", "utterance-1"]
    assert re.findall(r'<a href="#(utterance-\d+)"', page) == targets
    assert "<b>Oh" not in page
    assert "&lt;b&gt;Oh&lt;/b&gt; &amp; &#34;no&#34;" in page
    assert "unreadable &lt;x&gt;" in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)


@pytest.mark.parametrize(("emotion", "said"), [("joy", "joy (right)"), ("fear", "fear (wrong)")])
def test_the_page_says_whether_an_emotion_is_right(emotion: str, said: str) -> None:
    of = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 1}
    scores = {
        **{"macro_f1": 0.5, "weighted_f1": 0.25, "utterances": 1, "conversations": 2, "confidence": 0.95},
        **{"emotions": 1, "no_interval": ""},
        **{"per_class": {"joy": of}, "intervals": {"macro_f1": [0.1, 0.9], "weighted_f1": [0.2, 0.8]}},
    }
    page = write_page(table(1, emotion=emotion), [], scores)
    assert said in page
    plain = page.replace("\u00a0", " ")
    assert "macro F1 0.500 [0.100 to 0.900] (the only emotion that occurs), weighted F1 0.250 [0.200 to" in plain
    assert "0.800], 95 % intervals over 2 conversations. F1: joy 0.50." in plain
    assert "Emotions over time" not in page
    few = scores | {"intervals": {}, "emotions": 3, "no_interval": "2 conversations are too few, 5 are needed"}
    assert in_words(few).startswith(
        "Against 1 true emotion: macro F1 0.500 (mean over the 3 emotions that occur), weighted F1 0.250. "
        "No interval: 2 conversations are too few, 5 are needed. F1: joy 0.50."
    )
