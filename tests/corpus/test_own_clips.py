"""Clips and words of one's own become utterances, and what is ambiguous is asked back."""

import json
import logging
import os
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
    with pytest.raises(WordsError, match=r"2 files may hold the words: numbers\.csv, settings\.json\. Keep one"):
        own_utterances(str(folder), None)


def test_words_alone_are_utterances_without_a_clip(tmp_path: Path) -> None:
    assert own_utterances(None, "No !")[["text", "clip"]].values.tolist() == [["No !", ""]]
    assert own_utterances(None, "What a dumb.ass")["text"].tolist() == ["What a dumb.ass"]
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
        ("a.mp4", "nowhere.ASS", r"a file that ends with \.ass is not read as words\. Supported: CSV"),
        ("a.mp4", "words.xlsx", r"a file that ends with \.xlsx is not read as words"),
        (None, "more/", "a folder, or a file without an ending is not read as words"),
        ("~nobody-of-this-name/a.mp4", None, "clips=~nobody-of-this-name/a.mp4: no such file or folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clips: str | None, text: str | None, words: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    (folder / "words.xlsx").touch()
    (folder / "cues.srt").write_text(CUES)
    with pytest.raises(WordsError, match=words):
        own_utterances(clips, text)


@pytest.mark.parametrize(
    "words", [300 * "so " + ".txt", "more", "Hi.", "~nobody said", "and/or", "No such a.b"], ids=len
)
def test_words_that_look_like_the_name_of_a_file_stay_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(folder)
    assert own_utterances(None, words)["text"].tolist() == [" ".join(words.split())]


def test_subtitles_of_a_kind_that_is_not_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "a.mp4", "a.en.ass", "b.mp4", "b.TTML", "other.ass")
    assert words_of(tmp_path) == {"a": "", "b": ""}
    assert "2 files of subtitles are of a kind that is not read: a.en.ass, b.TTML. Convert them" in caplog.text


def test_a_table_of_other_clips_or_with_two_rows_of_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    table = tmp_path / "words.csv"
    table.write_text("clip,text\nb.mp4,Hi\n")
    with pytest.raises(WordsError, match=r"words\.csv: none of its 1 clips matches one of yours: b\.mp4"):
        own_utterances(str(tmp_path), str(table))
    table.write_text("clip,text\na.mp4,Hi\na,Bye\n")
    with pytest.raises(WordsError, match=r"words\.csv: a: more than one row for the same clip"):
        own_utterances(str(tmp_path), str(table))


def put(folder: Path, *names: str, content: str = "") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


ONE_CUE = "1\n00:00:00,000 --> 00:00:01,000\n{}\n"


@pytest.mark.parametrize(
    ("clip", "subtitles"),
    [
        ("A.MP4", "A.SRT"),
        ("B.mp4", "B.en.srt"),
        ("C.mp4", "C.mp4.srt"),
        ("d.mov", "d.pt-BR.vtt"),
        ("e.mkv", "e.zh_Hans.srt"),
        ("f.flv", "f.eng.sdh.SRT"),
        ("g.mp4", "g.en-orig.srt"),
        ("h.v2.final.mp4", "h.v2.final.en.srt"),
        ("Zoe\u0301.mp4", "Zo\u00e9.srt"),
        ("i.mp4", "i .srt"),
        ("j.MTS", "j.MTS.en.srt"),
        ("more/k.mp4", "more/k.txt"),
    ],
)
def test_subtitles_are_found_by_the_clips_name_in_any_spelling(tmp_path: Path, clip: str, subtitles: str) -> None:
    put(tmp_path, clip)
    words = "Oh, no!" if subtitles.endswith("txt") else ONE_CUE.format("Oh, no!")
    put(tmp_path, subtitles, content=words.replace(",000", ".000") if "vtt" in subtitles else words)
    if "vtt" in subtitles:
        put(tmp_path, subtitles, content="WEBVTT\n\n00:00.000 --> 00:01.000\nOh, no!\n")
    assert list(words_of(tmp_path).values()) == ["Oh, no!"]
    assert list(words_of(tmp_path / clip).values()) == ["Oh, no!"]


def test_subtitles_belong_to_the_clip_with_the_longest_name_that_fits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "a.mp4", "a.b.mp4")
    for name in ("a.b.en.srt", "a.notes.srt", "c.srt"):
        put(tmp_path, name, content=ONE_CUE.format(name))
    assert words_of(tmp_path) == {"a": "", "a.b": "a.b.en.srt"}
    assert "2 files of subtitles have the name of no clip: a.notes.srt, c.srt" in caplog.text


def test_english_takes_precedence_and_other_languages_are_asked_back(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4")
    for language in ("de", "en", "fr"):
        put(tmp_path, f"a.{language}.srt", content=ONE_CUE.format(language))
    put(tmp_path, "a.en.forced.srt", content=ONE_CUE.format("[sign]"))
    assert words_of(tmp_path) == {"a": "en"}
    (tmp_path / "a.en.srt").unlink()
    (tmp_path / "a.en.forced.srt").unlink()
    with pytest.raises(WordsError, match=r"a\.mp4: there are subtitles in several languages \(de, fr\)\. Keep one"):
        words_of(tmp_path)
    (tmp_path / "a.de.srt").unlink()
    assert words_of(tmp_path) == {"a": "fr"}
    put(tmp_path, "a.srt", content=ONE_CUE.format("plain"))
    assert words_of(tmp_path) == {"a": "plain"}


def test_of_all_that_whisper_writes_the_subtitles_are_read(tmp_path: Path) -> None:
    segments = [{"id": n, "start": n, "end": n + 1, "text": f" {n}", "tokens": [*range(40)]} for n in range(60)]
    for name in ("a", "b"):
        put(tmp_path, f"{name}.mp4")
        put(tmp_path, f"{name}.json", content=json.dumps({"text": " Oh", "segments": segments, "language": "en"}))
        put(tmp_path, f"{name}.tsv", content="start\tend\ttext\n0\t1000\tfrom the tsv\n")
        put(tmp_path, f"{name}.txt", content="from the text\n")
        put(tmp_path, f"{name}.vtt", content="WEBVTT\n\n00:00.000 --> 00:01.000\nfrom the vtt\n")
        put(tmp_path, f"{name}.srt", content=ONE_CUE.format("from the srt"))
    assert words_of(tmp_path) == {"a": "from the srt", "b": "from the srt"}
    for ending, words in [("srt", "from the vtt"), ("vtt", None), ("json", "from the tsv"), ("tsv", "from the text")]:
        for name in ("a", "b"):
            (tmp_path / f"{name}.{ending}").unlink()
        found = words_of(tmp_path)
        assert found == {"a": words, "b": words} if words else len(found) == 120
    put(tmp_path, "table.csv", content="clip,text\na,from the table\n")
    assert words_of(tmp_path) == {"a": "from the table", "b": "from the text"}


def test_a_transcript_can_be_given(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4")
    put(tmp_path, "said.json", content=json.dumps({"segments": [{"start": 0, "end": 1, "text": "Hi"}]}))
    assert words_of(tmp_path, str(tmp_path / "said.json")) == {"a": "Hi"}


def test_what_a_downloader_writes_about_a_clip_is_no_table(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4")
    put(tmp_path, "a.info.json", content='{"id": 5, "formats": []}')
    put(tmp_path, "._words.csv", content="not a table")
    assert words_of(tmp_path) == {"a": ""}


@pytest.mark.parametrize(
    ("clip", "row"),
    [
        ("Zoe\u0301.mp4", "Zo\u00e9.mp4"),
        ("Zo\u00e9.mp4", "Zoe\u0301"),
        ("b.mp4", "b.mp4 "),
        ("b .mp4", "b.mp4"),
        ("c.MP4", "c.mp4"),
        ("D.mp4", "d"),
        ("more/e.mp4", "more\\e.mp4"),
        ("f.mp4", "./f.mp4"),
        ("g.v1.2.mp4", "g.v1.2"),
    ],
)
def test_a_row_finds_its_clip_in_any_spelling(tmp_path: Path, clip: str, row: str) -> None:
    put(tmp_path, clip, "other.mp4")
    put(tmp_path, "words.csv", content=f"clip,text\n{row},said\n")
    assert [words for words in words_of(tmp_path).values() if words] == ["said"]


def test_of_two_names_that_look_equal_the_exact_one_is_meant(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "A.mp4", "Zo\u00e9.mp4", "Zoe\u0301.mp4")
    put(tmp_path, "words.csv", content="clip,text\na,small\nA,large\nZoe\u0301,decomposed\n")
    assert words_of(tmp_path) == {"A": "large", "a": "small", "Zoe\u0301": "decomposed", "Zo\u00e9": ""}


def test_words_alone_keep_the_dots_of_their_names(tmp_path: Path) -> None:
    put(tmp_path, "words.csv", content="clip,text\na.1,one\na.2,two\nb.c.mp4,three\n")
    assert own_utterances(None, str(tmp_path / "words.csv"))["utterance"].tolist() == ["a.1", "a.2", "b.c"]


def test_clips_in_linked_folders_are_found_and_circles_end(tmp_path: Path) -> None:
    put(tmp_path, "disk/b.mp4", "clips/a.mp4")
    (tmp_path / "clips" / "session2").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "clips")
    assert list(words_of(tmp_path / "clips")) == ["a", "session2/b"]


def test_media_files_that_are_passed_over_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "a.mp4", "film.m2v", "notes.txt", "words.bak")
    (tmp_path / "download").write_bytes(b"\0\0\0\x20ftypisom")
    assert list(words_of(tmp_path)) == ["a"]
    assert "2 media files are passed over because of their endings: download, film.m2v" in caplog.text
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(WordsError, match=r"no clip in this folder .*\.flv.* Passed over: download, film\.m2v\."):
        words_of(tmp_path)


@pytest.mark.parametrize("mark", ["\r", "\v", "\f", "\x85", "\u2028", "\u2029"], ids=ascii)
@pytest.mark.parametrize("name", ["words.csv", "words.json", "given"])
def test_a_line_mark_in_words_makes_no_second_line(tmp_path: Path, name: str, mark: str) -> None:
    put(tmp_path, "a.mp4")
    text = f"one{mark}two"
    if name == "words.csv":
        (tmp_path / name).write_bytes(f"clip,text\na.mp4,{text}\n".encode())
    elif name == "words.json":
        put(tmp_path, name, content=json.dumps({"a.mp4": text}))
    (words,) = words_of(tmp_path, text if name == "given" else None).values()
    assert words == ("one…two" if mark == "\x85" else "one two")
    own_utterances(str(tmp_path), text).to_csv(tmp_path / "out.csv", index=False)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


def test_no_message_prints_more_than_an_excerpt_of_a_file(tmp_path: Path) -> None:
    long = "word " * 3000
    put(tmp_path, "a.mp4", "b.mp4")
    for content in (
        {"a.mp4": [long]},
        {long: 5},
        {long: "a"},
        [{long: "a"}],
        [{"clip": [long], "text": "a"}],
        [long],
        long,
        [{"conversation_ID": long, "conversation": [{long: long}]}],
        [
            {
                "conversation_ID": 1,
                "conversation": [{"utterance_ID": 1, "text": "a", "speaker": "b", "video_name": long}],
            }
        ],
        [{"conversation_ID": 1, "conversation": [{"utterance_ID": 1, "text": "a", "speaker": "b", "emotion": long}]}],
    ):
        put(tmp_path, "words.json", content=json.dumps(content))
        with pytest.raises(WordsError) as refused:
            words_of(tmp_path)
        assert len(str(refused.value)) < 1200, str(refused.value)[:3000]
    (tmp_path / "words.json").unlink()
    for content in (f"{long},text\n", f"clip,text\n{long},a\n", f'clip,text\na,"{long}', f"clip,text\na,b,{long}\n"):
        put(tmp_path, "words.csv", content=content)
        with pytest.raises(WordsError) as refused:
            words_of(tmp_path)
        assert len(str(refused.value)) < 1200, str(refused.value)[:3000]
    with pytest.raises(WordsError) as refused:
        words_of(tmp_path, long)
    assert len(str(refused.value)) < 1200


def test_names_and_words_that_are_no_utf_8_are_named(tmp_path: Path) -> None:
    os.close(os.open(bytes(tmp_path) + b"/caf\xe9.mp4", os.O_CREAT))
    with pytest.raises(WordsError, match=r"'caf\\udce9': its name or its words are not UTF-8"):
        words_of(tmp_path)
    put(tmp_path, "words.json", content=r'{"a": "Oh \ud83d"}')
    with pytest.raises(WordsError, match="'a': its name or its words are not UTF-8"):
        own_utterances(None, str(tmp_path / "words.json"))


def test_an_empty_file_beside_a_clip_affects_only_its_clip(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "a.mp4", "b.mp4", "c.mp4", "a.srt")
    put(tmp_path, "a.vtt", content="WEBVTT\n")
    put(tmp_path, "b.srt", content=ONE_CUE.format("Hi"))
    put(tmp_path, "c.tsv", content="\n")
    assert words_of(tmp_path) == {"a": "", "b": "Hi", "c": ""}
    assert "a.srt is empty and is passed over" in caplog.text


def test_cues_are_a_conversation_and_a_table_says_its_own(folder: Path) -> None:
    (folder / "a.srt").write_text(CUES)
    (folder / "words.csv").write_text("clip,text,conversation,order,speaker\nb,Hi .,talk,2,Ross\nc,No !,,,\n")
    table = own_utterances(str(folder), None).set_index("utterance")
    assert table.index.tolist() == ["a_001", "a_002", "b", "more/c"]
    assert table["conversation_id"].tolist() == [str(folder / "a.mp4"), str(folder / "a.mp4"), "talk", ""]
    assert table["utterance_id"].tolist()[:3] == [1, 2, 2]
    assert table["speaker"].tolist() == ["", "", "Ross", ""]
    alone = own_utterances(None, str(folder / "a.srt"))
    assert alone["conversation_id"].tolist() == [str(folder / "a.srt")] * 2
