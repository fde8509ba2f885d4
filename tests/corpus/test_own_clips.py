"""Clips and words of one's own become utterances, and what is ambiguous is asked back."""

import logging
from pathlib import Path

import pytest

from support.made_corpus import made_conversation, write_ecf
from trimood.corpus.own_clips import own_utterances
from trimood.corpus.tables import OWN_UTTERANCE_COLUMNS
from trimood.corpus.words import WordsError

CUES = "1\n00:00:01,000 --> 00:00:02,000\nHi .\n\n2\n00:00:03,000 --> 00:00:04,500\nNo !\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.mp4, b.mov, and in a folder c.wav; a hidden file, and one of another kind."""
    for name in ("a.mp4", "b.mov", "more/c.wav", ".hidden.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def words_of(folder: Path, text: str | None = None) -> dict[str, str]:
    table = own_utterances(str(folder), text)
    return dict(zip(table["utterance"], table["text"], strict=True))


def test_a_folder_is_all_clips_in_it_and_below_it(folder: Path) -> None:
    table = own_utterances(str(folder), None)
    assert {name: str(kind) for name, kind in table.dtypes.items()} == OWN_UTTERANCE_COLUMNS
    assert table["utterance"].tolist() == ["a", "b", "more/c"]
    assert table["clip"].tolist() == [str(folder / name) for name in ("a.mp4", "b.mov", "more/c.wav")]
    assert table["text"].tolist() == ["", "", ""]
    assert table["start_milliseconds"].isna().all()


def test_two_clips_of_one_name_keep_their_endings(folder: Path) -> None:
    (folder / "a.wav").touch()
    assert list(words_of(folder)) == ["a.mp4", "a.wav", "b", "more/c"]


@pytest.mark.parametrize("spelling", ["more/c.wav", "more/c", "c.wav", "c"])
def test_a_table_beside_the_clips_may_name_them_in_any_way(folder: Path, spelling: str) -> None:
    (folder / "words.csv").write_text(f"clip,text\n{spelling},Hi .\n")
    assert words_of(folder) == {"a": "", "b": "", "more/c": "Hi ."}


def test_a_name_that_fits_two_clips_fits_neither(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "more" / "a.mp4").touch()
    (folder / "words.csv").write_text("clip,text\nmore/a,below\nb,beside\n")
    assert words_of(folder) == {"a": "", "b": "beside", "more/a": "below", "more/c": ""}
    (folder / "words.csv").write_text("clip,text\nmore/c,x\nnowhere,y\n")
    with caplog.at_level(logging.WARNING, logger="trimood"):
        words_of(folder)
    assert "words.csv: 1 of its 2 clips match none of yours: nowhere" in caplog.text


def test_annotations_of_ecf_beside_the_clips_are_read(tmp_path: Path) -> None:
    write_ecf(tmp_path, [made_conversation(3, ["joy", "anger"])])
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "dia3utt2.mp4").touch()
    (found,) = words_of(tmp_path).items()
    assert found[0] == "train/dia3utt2"
    assert found[1]


def test_subtitles_beside_a_clip_make_an_utterance_of_each_cue(folder: Path) -> None:
    (folder / "a.srt").write_text(CUES)
    table = own_utterances(str(folder), None).set_index("utterance")
    assert table.index.tolist() == ["a_001", "a_002", "b", "more/c"]
    second = table.loc["a_002"]
    assert (second["text"], second["start_milliseconds"], second["end_milliseconds"]) == ("No !", 3000, 4500)
    assert second["clip"] == str(folder / "a.mp4")


def test_a_cue_and_a_clip_of_one_name_are_refused(folder: Path) -> None:
    (folder / "a.srt").write_text(CUES)
    (folder / "a_001.mp4").touch()
    with pytest.raises(WordsError, match="a_001: two utterances would have this name"):
        own_utterances(str(folder), None)


def test_subtitles_of_one_cue_are_the_words_of_the_whole_clip(folder: Path) -> None:
    (folder / "a.srt").write_text(CUES.split("\n\n", maxsplit=1)[0] + "\n")
    table = own_utterances(str(folder / "a.mp4"), None)
    assert table["text"].tolist() == ["Hi ."]
    assert table["start_milliseconds"].isna().all()


def test_words_that_are_given_stand_over_those_beside_the_clip(folder: Path) -> None:
    (folder / "a.srt").write_text(CUES)
    assert words_of(folder / "a.mp4", "What?!") == {"a": "What?!"}


def test_what_else_lies_beside_a_single_clip_need_not_speak_of_it(folder: Path) -> None:
    for name in ("settings.json", "numbers.csv"):
        (folder / name).write_text("{}")
    assert words_of(folder / "a.mp4") == {"a": ""}
    with pytest.raises(WordsError, match=r"2 files may hold the words: numbers\.csv, settings\.json\. Choose one"):
        own_utterances(str(folder), None)


def test_words_alone_are_utterances_without_a_clip(tmp_path: Path) -> None:
    assert own_utterances(None, "No !")[["text", "clip"]].values.tolist() == [["No !", ""]]
    (tmp_path / "words.csv").write_text("clip,text\na.mp4,Hi .\n")
    (tmp_path / "cues.srt").write_text(CUES)
    assert own_utterances(None, str(tmp_path / "words.csv"))[["utterance", "text"]].values.tolist() == [["a", "Hi ."]]
    assert own_utterances(None, str(tmp_path / "cues.srt"))["utterance"].tolist() == ["cues_001", "cues_002"]


@pytest.mark.parametrize(
    ("clips", "text", "words"),
    [
        (None, None, "Nothing to predict"),
        ("nowhere", None, "clips=.*nowhere: no such file or folder"),
        ("empty", None, "no clip in this folder"),
        (".", "Hi .", "the same words for 3 clips"),
        (".", "cues.srt", "subtitles belong to one clip, got 3 clips"),
        (".", "nowhere.csv", "no such file"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clips: str | None, text: str | None, words: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    (folder / "cues.srt").write_text(CUES)
    with pytest.raises(WordsError, match=words):
        own_utterances(clips, text)


def test_a_table_of_other_clips_or_with_two_rows_of_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    table = tmp_path / "words.csv"
    table.write_text("clip,text\nb.mp4,Hi\n")
    with pytest.raises(WordsError, match=r"words\.csv: none of its 1 clips matches one of yours: b\.mp4"):
        own_utterances(str(tmp_path), str(table))
    table.write_text("clip,text\na.mp4,Hi\na,Bye\n")
    with pytest.raises(WordsError, match=r"words\.csv: a: more than one row for the same clip"):
        own_utterances(str(tmp_path), str(table))
