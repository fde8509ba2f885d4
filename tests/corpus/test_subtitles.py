"""Subtitles and transcripts give the words that were said: without markup, with all else, and each once."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from trimood.corpus.subtitles import Cue, cues_of, is_transcript


def vtt(folder: Path, *cues: tuple[float, float, str], name: str = "a.vtt") -> Path:
    """The cues as WebVTT, or as SRT: a number first, and a comma in the times."""
    is_srt = name.endswith(".srt")
    blocks = []
    for number, (start, end, text) in enumerate(cues, start=1):
        times = f"00:00:{start:06.3f} --> 00:00:{end:06.3f}"
        blocks.append((f"{number}\n{times.replace('.', ',')}" if is_srt else times) + f"\n{text}\n")
    path = folder / name
    path.write_text(("" if is_srt else "WEBVTT\n\n") + "\n".join(blocks), encoding="utf-8")
    return path


def texts(folder: Path, *cues: tuple[float, float, str], name: str = "a.vtt") -> list[str]:
    return [cue.text for cue in cues_of(vtt(folder, *cues, name=name))]


@pytest.mark.parametrize("name", ["a.vtt", "a.srt"])
@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Salt &amp; pepper, x &lt; y &nbsp;&gt;&gt; no&#39;", "Salt & pepper, x < y >> no'"),
        ("&lt;i&gt; is a tag, &amp;amp; is not", "<i> is a tag, &amp; is not"),
        ("Rock &#38; roll &#x27;n&#x27; AT&T R&B", "Rock & roll 'n' AT&T R&B"),
        ("<sigh> Oh <laughs softly> no", "<sigh> Oh <laughs softly> no"),
        ("x < y and y > z, 1 <2", "x < y and y > z, 1 <2"),
        ("{laughs} I <3 you", "{laughs} I <3 you"),
        ('<i>What</i> <b>is</b> <U>it</U> <font color="#fff">?</font>', "What is it ?"),
        ("<v Joey>Hey</v> <c.yellow.loud>you</c> <lang en-GB>mate</lang>", "Hey you mate"),
        ("{\\an8}Up <00:00:01.500>here", "Up here"),
        ("one<br>two\\Nthree", "one two three"),
        ("I\x92m \u2028 here\x85", "I’m here…"),
        ("<i>never closed", "never closed"),
        ("<I think so> <b and c> <c and d> <font of wisdom>", "<I think so> <b and c> <c and d> <font of wisdom>"),
        ("<p> and <s> and <V for Vendetta> <C>", "<p> and <s> and <V for Vendetta> <C>"),
        ("<s>No</s> <P>yes</P> <B>oh</B> <FONT COLOR=red>my</FONT> <span class=x>god</span>", "No yes oh my god"),
        ("<v.loud Joey>Hey</v> <i.big>you</i> <c.red.bg_blue>all</c>", "Hey you all"),
        ("&notit; &foo; &notin; &not;", "&notit; &foo; ∉ ¬"),
        ("<Joey> Hey", "<Joey> Hey"),
    ],
)
def test_markup_is_dropped_and_words_that_look_like_it_stay(tmp_path: Path, name: str, written: str, said: str) -> None:
    assert texts(tmp_path, (1, 2, written), name=name) == [said]


YOUTUBE = [
    (0.5, 2.5, " \nalpha<00:00:01.000><c> beta</c>"),
    (2.5, 2.51, "alpha beta\n "),
    (2.51, 4, "alpha beta\ngamma<00:00:03.000><c> delta</c>"),
    (4, 4.01, "gamma delta\n "),
]


@pytest.mark.parametrize("name", ["a.vtt", "a.srt"])
def test_youtubes_rolling_captions_have_each_word_once(tmp_path: Path, name: str) -> None:
    assert cues_of(vtt(tmp_path, *YOUTUBE, name=name)) == [Cue(500, 2500, "alpha beta"), Cue(2510, 4000, "gamma delta")]


@pytest.mark.parametrize(
    "cues",
    [
        [(0, 1, "a b"), (1, 2, "a b\nc d"), (2, 3, "c d\ne f"), (3, 4, "e f\ng h")],
        [(0, 1, "a b"), (1, 2, "a b\nc d"), (2, 3, "a b\nc d\ne f"), (3, 4, "c d\ne f\ng h")],
        [(0, 1, "a"), (1, 2, "a b"), (2, 3, "a b c"), (3, 4, "a b c d e f"), (4, 5, "g h")],
        [(0, 1, "a <u>b</u> c d"), (1, 2, "a b <u>c</u> d"), (2, 3, "a b c <u>d</u>"), (3, 4, "<u>e</u> f g h")],
    ],
    ids=["two lines", "three lines", "word by word", "the word that is said is marked"],
)
def test_other_rolling_captions_have_each_word_once(tmp_path: Path, cues: list[tuple[float, float, str]]) -> None:
    assert " ".join(texts(tmp_path, *cues)) == "a b c d e f g h"


def test_a_line_whose_words_are_marked_one_by_one_lasts_as_long_as_it_is_shown(tmp_path: Path) -> None:
    cues = [(0, 1, "<u>a</u> b"), (1, 2, "a <u>b</u>"), (2, 3, "<u>c</u> d"), (3, 4, "c <u>d</u>")]
    assert cues_of(vtt(tmp_path, *cues)) == [Cue(0, 2000, "a b"), Cue(2000, 4000, "c d")]


@pytest.mark.parametrize(
    "cues",
    [
        [(0, 1, "No."), (1, 2, "No."), (2, 3, "No!"), (3, 4, "Yes.")],
        [(0, 1, "No."), (1, 2, "No."), (2, 3, "No.")],
        [(0, 1, "Hi"), (1, 2, "- Hi\n- Hi"), (2, 3, "Come in"), (3, 4, "Sit down")],
        [(0, 1, "Wait."), (1, 2, "Wait. What?"), (2.08, 3, "Oh."), (3.08, 4, "Oh. My God.")],
        [
            (0, 1, "- Hi.\n- Hi."),
            (1, 2, "- Hi.\n- How are you?"),
            (2, 3, "- Fine.\n- Fine."),
            (3, 4, "- Fine.\n- Bye."),
        ],
        [(0, 1, "No."), (1, 2, "<i>No.</i>"), (2, 3, "No.")],
        [(0, 1, "<c.red>No.</c>"), (1, 2, "<c.cyan>No.</c>"), (2, 3, "<c.red>No.</c>")],
        [(0, 1, "I"), (1, 2, "I mean"), (2, 3, "You know"), (3, 4, "Well"), (4, 5, "Okay")],
    ],
)
def test_people_who_repeat_themselves_are_heard(tmp_path: Path, cues: list[tuple[float, float, str]]) -> None:
    assert texts(tmp_path, *cues) == [" ".join(re.sub("<[^<>]*>", "", text).split()) for _, _, text in cues]


FEW_WORDS = ["no", "yes", "oh", "I", "you", "know", "what", "hey", "okay", "the"]


def test_no_dialogue_of_few_words_is_taken_for_rolling_captions(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        cues, now = [], 0.0
        for _ in range(rng.integers(2, 13)):
            start, now = now + rng.choice([0, 0, 0.04, 1]), now + rng.uniform(1.1, 4)
            lines = [" ".join(rng.choice(FEW_WORDS, rng.integers(1, 5))) for _ in range(rng.choice([1, 1, 1, 2]))]
            cues.append((start, now, "\n".join(lines)))
        assert texts(tmp_path, *cues) == [" ".join(text.split()) for _, _, text in cues]


def test_rolling_captions_of_few_words_have_each_line_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        said = [" ".join(rng.choice(FEW_WORDS, rng.integers(2, 7))) for _ in range(rng.integers(3, 13))]
        cues = [
            cue
            for place, (before, line) in enumerate(zip([" ", *said], said, strict=False))
            for cue in [(4 * place, 4 * place + 3.99, f"{before}\n{line}"), (4 * place + 3.99, 4 * place + 4, line)]
        ]
        assert texts(tmp_path, *cues) == said


def test_what_is_said_again_after_a_pause_is_said_again(tmp_path: Path) -> None:
    again = [*YOUTUBE, (9, 10, "gamma delta"), (12, 13, "gamma delta\nonce more")]
    assert texts(tmp_path, *again) == ["alpha beta", "gamma delta", "gamma delta", "gamma delta once more"]


WHISPER = {
    "text": " Oh no. Go!",
    "segments": [
        {"id": 0, "start": 0.0, "end": 0.52, "text": " Oh no.", "tokens": [1, 2]},
        {"id": 1, "start": 0.52, "end": 1, "text": " Go!\u2028"},
    ],
    "language": "en",
}


def test_whispers_json_and_tsv_are_cues_and_its_text_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(WHISPER))
    (tmp_path / "a.tsv").write_text("start\tend\ttext\n0\t520\tOh no.\n520\t1000\tGo!\u2028\n")
    (tmp_path / "a.txt").write_text("Oh no.\nGo!\n")
    cues = [Cue(0, 520, "Oh no."), Cue(520, 1000, "Go!")]
    assert cues_of(tmp_path / "a.json") == cues_of(tmp_path / "a.tsv") == cues
    assert cues_of(tmp_path / "a.txt") == [Cue(0, 0, "Oh no. Go!")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", json.dumps({"segments": [{"start": 0, "text": "a"}]}), "segment 1: expected start and end"),
        ("a.json", json.dumps({"segments": [{"start": "0", "end": 1, "text": "a"}]}), "segment 1: expected start"),
        ("a.json", '{"segments": [5]}', "segment 1: expected start"),
        ("a.tsv", "from\tto\ttext\n", "expected the columns start, end and text"),
        ("a.tsv", "start\tend\ttext\n1\t2\ta\nb\n", "line 3: expected two times"),
    ],
)
def test_a_damaged_transcript_is_refused_by_its_place(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=words):
        cues_of(tmp_path / name)


@pytest.mark.parametrize(("content", "is_one"), [(json.dumps(WHISPER), True), ('{"a": "Hi"}', False), ("{", False)])
def test_json_is_a_transcript_if_it_has_segments(tmp_path: Path, content: str, is_one: bool) -> None:
    (tmp_path / "a.json").write_text(content)
    assert is_transcript(tmp_path / "a.json") is is_one
