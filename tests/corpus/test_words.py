"""Words of one's own clips are read as they are written, and a file that cannot be read says what is allowed."""

import json
from pathlib import Path

import av
import pytest

from support.made_corpus import made_conversation, write_ecf
from trimood.corpus.words import Cue, Said, WordsError, read_cues, read_words

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>What?!</i>
Oh my God, “Ross”.

2
00:01:03,040 --> 00:01:04,000
- No.

3
00:02:00,000 --> 00:02:01,000
<b></b>
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_holds_words_that_look_like_missing_values(tmp_path: Path) -> None:
    words = read_words(
        write(tmp_path / "words.csv", '\ufeffclip,text\na.mp4,NA\nb.mp4,None\nc.mp4,"Oh, no!"\nd.mp4,\n')
    )
    found = {clip: said.text for clip, said in words.items()}
    assert found == {"a.mp4": "NA", "b.mp4": "None", "c.mp4": "Oh, no!", "d.mp4": ""}


@pytest.mark.parametrize(
    "content", [{"a": "Hi .", "b": "No\n!"}, [{"clip": "a", "text": "Hi ."}, {"clip": "b", "text": "No !"}]]
)
def test_json_is_a_mapping_or_a_list(tmp_path: Path, content: object) -> None:
    words = read_words(write(tmp_path / "words.json", json.dumps(content)))
    assert {clip: said.text for clip, said in words.items()} == {"a": "Hi .", "b": "No !"}


def test_annotations_in_ecfs_format_name_clips_by_their_ids(tmp_path: Path) -> None:
    words = read_words(write_ecf(tmp_path, [made_conversation(12, ["joy", None])]))
    assert list(words) == ["dia12utt1", "dia12utt2"]
    assert words["dia12utt2"] == Said("I feel something , number 2 !", "12", 2, "Monica")


@pytest.mark.parametrize(("written", "emotion"), [("Joy ", "joy"), ("", ""), ("disgust", "disgust")])
def test_a_table_may_say_the_true_emotion(tmp_path: Path, written: str, emotion: str) -> None:
    csv = write(tmp_path / "words.csv", f"clip,text,emotion\na,Hi .,{written}\n")
    json_file = write(tmp_path / "words.json", json.dumps([{"clip": "a", "text": "Hi .", "emotion": written or None}]))
    assert [read_words(path)["a"].emotion for path in (csv, json_file)] == [emotion, emotion]


def test_an_emotion_that_is_none_of_the_seven_is_refused_where_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path / "words.csv", "clip,text,emotion\na,Hi .,joy\nb,No !,happy\n")
    with pytest.raises(
        WordsError, match=r"words.csv, line 3: emotion is 'happy'; allowed are surprise, fear, .*unknown"
    ):
        read_words(path)


def test_a_table_may_say_the_conversation_its_order_and_who_speaks(tmp_path: Path) -> None:
    content = "speaker,clip,text,conversation,order\nRoss,b,No !,c1,2\n,a,Hi .,c1,1\nJoey,x,Alone,,\n"
    assert read_words(write(tmp_path / "words.csv", content)) == {
        "b": Said("No !", "c1", 2, "Ross"),
        "a": Said("Hi .", "c1", 1, ""),
        "x": Said("Alone", "", 3, "Joey"),
    }
    by_rows = [{"clip": name, "text": "Hi .", "conversation": "c"} for name in "ba"]
    words = read_words(write(tmp_path / "words.json", json.dumps(by_rows)))
    assert [said.order for said in words.values()] == [1, 2]


def test_subtitles_are_cues_in_order_without_markup(tmp_path: Path) -> None:
    cues = [Cue(1000, 2500, "What?! Oh my God, “Ross”."), Cue(63040, 64000, "- No.")]
    assert read_cues(write(tmp_path / "a.srt", SRT)) == cues
    blocks = SRT.split("\n\n")
    assert read_cues(write(tmp_path / "b.srt", "\n\n".join([blocks[1], blocks[0]]) + "\n\n")) == cues
    webvtt = "WEBVTT\n\n" + SRT.replace(",000", ".000").replace(",500", ".500").replace(",040", ".040")
    assert read_cues(write(tmp_path / "a.vtt", webvtt)) == cues


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "file,words\na,b\n", "got the columns file, words"),
        ("a.csv", "clip,text\na,b\na,c\n", "a occurs twice"),
        ("a.csv", "clip,text,conversation,order\na,b,c,x\n", "line 2: order is x; expected a whole number"),
        ("a.csv", "clip,text,conversation,order\na,b,c,\n", "line 2: order is empty; expected a whole number"),
        (
            "a.csv",
            "clip,text,conversation,order\na,b,c,1\nd,e,c,1\n",
            "order 1 of conversation c is given to two clips",
        ),
        ("a.csv", "clip,text,speaker,speaker\na,b,c,d\n", "got the columns clip, text, speaker, speaker"),
        ("a.csv", "clip,text,text\na,b,c\n", "got the columns clip, text, text"),
        ("a.csv", 'clip,text\na,"b\nc,d\n', r"a\.csv, line 2: the quote that opens in line 2 is never closed"),
        ("a.json", '{"a": "b", "a": "c"}', "the key 'a' occurs 2 times in one object; keep one"),
        ("a.json", "{", "cannot be read"),
        ("a.json", '["a"]', "got a list of str"),
        ("a.json", '[{"clip": "a"}]', "row 1: got the keys clip"),
        ("a.json", '{"a": 5}', "got 5; expected words"),
        ("a.csv", "clip,text\n", "it has no row with a clip and its words"),
        ("a.json", "[]", "it has no row with a clip and its words"),
    ],
)
def test_a_table_that_cannot_be_read_says_what_is_allowed(tmp_path: Path, name: str, content: str, words: str) -> None:
    with pytest.raises(WordsError, match=words):
        read_words(write(tmp_path / name, content))


@pytest.mark.parametrize(("name", "content"), [("a.csv", b"clip,text\na,I\x92m\n"), ("a.json", b'{"a": "I\x92m"}')])
def test_another_encoding_is_named_with_its_byte(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WordsError, match=r"byte \d+, 0x92, is not UTF-8: save the file as UTF-8"):
        read_words(tmp_path / name)


def test_subtitles_that_are_none_say_so(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match="cannot be read as subtitles"):
        read_cues(write(tmp_path / "a.srt", ""))


@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
def test_subtitles_that_name_another_file_do_not_open_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(tmp_path / "secret.srt", SRT)
    script = write(tmp_path / name, "ffconcat version 1.0\nfile secret.srt\n")
    with av.open(str(script)) as unguarded:  # FFmpeg by itself reads the other file's cues
        assert sum(packet.size > 0 for packet in unguarded.demux()) == 3
    with pytest.raises(WordsError, match="cannot be read as subtitles"):
        read_cues(script)


def test_a_cue_keeps_to_its_own_words(tmp_path: Path) -> None:
    content = (
        "WEBVTT\n\nNOTE not said\n\nfirst\n00:01.000 --> 00:02.000\nHi.\n\nsecond\n00:03.000 --> 00:04.000\nBye.\n"
    )
    assert read_cues(write(tmp_path / "a.vtt", content)) == [Cue(1000, 2000, "Hi."), Cue(3000, 4000, "Bye.")]


def test_a_byte_order_mark_is_no_word(tmp_path: Path) -> None:
    assert [cue.text for cue in read_cues(write(tmp_path / "a.srt", "\ufeff" + SRT))][-1] == "- No."


@pytest.mark.parametrize(
    ("rows", "line", "count"),
    [
        ("a.mp4,Oh, no!\nb.mp4,Go away\n", 2, 3),  # pandas took "Oh" for the clip
        ("a.mp4,Hi\nb.mp4,Oh, no!\n", 3, 3),
        ("a.mp4\n", 2, 1),
    ],
)
def test_a_comma_too_many_or_too_few_is_refused_by_its_line(tmp_path: Path, rows: str, line: int, count: int) -> None:
    (tmp_path / "words.csv").write_text("clip,text\n" + rows)
    with pytest.raises(WordsError, match=rf"words\.csv, line {line}: got {count} fields, the header has 2\..*quotes"):
        read_words(tmp_path / "words.csv")


def test_the_numbers_of_a_json_table_may_begin_with_0(tmp_path: Path) -> None:
    rows = [{"clip": clip, "text": clip, "conversation": 0, "order": order} for order, clip in enumerate("ab")]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    words = read_words(tmp_path / "a.json")
    assert [(said.conversation, said.order) for said in words.values()] == [("0", 0), ("0", 1)]
