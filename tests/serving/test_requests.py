"""A request's clips are content, never paths, and whatever is wrong is said by row before anything is decoded."""

import base64
import json
from pathlib import Path

import pandas as pd
import pytest

from trimood.config.parameters import ServingParams
from trimood.serving.mlflow_model import example_clip
from trimood.serving.requests import BadRequest, check_body, read_request

CONTENT = example_clip()
BASE64 = base64.b64encode(CONTENT).decode()


LIMITS = ServingParams(largest_clip_megabytes=1)


def refusal(folder: Path, *rows: dict, largest_clip_megabytes: float = 1) -> str:
    limits = ServingParams(largest_clip_megabytes=largest_clip_megabytes)
    with pytest.raises(BadRequest) as caught:
        read_request(pd.DataFrame(list(rows)), folder, limits)
    assert not list(folder.iterdir()) or len(rows) > 1
    return str(caught.value)


@pytest.mark.parametrize(
    "clip", [BASE64, CONTENT, base64.encodebytes(CONTENT).decode()], ids=["base64", "bytes", "base64 in lines"]
)
def test_content_comes_as_base64_or_as_bytes(tmp_path: Path, clip: str | bytes) -> None:
    (utterance,) = read_request(pd.DataFrame({"clip": [clip], "text": ["What?!"]}), tmp_path, LIMITS)
    assert utterance.clip is not None
    assert utterance.clip.read_bytes() == CONTENT
    assert utterance.clip.parent == tmp_path
    assert (utterance.text, utterance.name) == ("What?!", "row 1")


@pytest.mark.parametrize(
    "row",
    [{"text": "Hi ."}, {"text": "Hi .", "clip": None}, {"text": "Hi .", "clip": ""}, {"text": "Hi .", "clip": b""}],
)
def test_words_alone_need_no_clip(tmp_path: Path, row: dict) -> None:
    (utterance,) = read_request(pd.DataFrame([row]), tmp_path, LIMITS)
    assert (utterance.clip, utterance.text) == (None, "Hi .")


@pytest.mark.parametrize("row", [{"clip": BASE64}, {"clip": BASE64, "text": None}, {"clip": BASE64, "text": " "}])
def test_a_clip_needs_no_words(tmp_path: Path, row: dict) -> None:
    (utterance,) = read_request(pd.DataFrame([row]), tmp_path, LIMITS)
    assert utterance.clip is not None
    assert not utterance.text.strip()


def test_a_path_is_refused_and_nothing_of_it_is_read(tmp_path: Path) -> None:
    film = tmp_path.parent / "film.mp4"
    film.write_bytes(CONTENT)
    said = refusal(tmp_path, {"clip": str(film)})
    assert "row 1: clip is not base64" in said
    assert "a path is never opened" in said


def test_a_path_that_happens_to_be_base64_is_no_video(tmp_path: Path) -> None:
    assert base64.b64decode("data/clips/a", validate=True)
    assert "row 1: clip is not a video or sound file" in refusal(tmp_path, {"clip": "data/clips/a"})


@pytest.mark.parametrize(
    "listing",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///data/secret.mp4\n",
        b"ffconcat version 1.0\nfile secret.mp4\n",
        b"ID3\x04\x00\x00\x00\x00\x00\x00#EXTM3U\n#EXTINF:1,\nfile:///data/secret.mp4\n",
    ],
)
def test_lists_that_name_other_files_are_refused(tmp_path: Path, listing: bytes) -> None:
    assert "clip is not a video or sound file" in refusal(tmp_path, {"clip": listing})


def test_what_ffmpeg_would_open_through_a_list_is_why(tmp_path: Path) -> None:
    """Without the check, FFmpeg does read the named file."""
    import av

    (tmp_path / "secret.mp4").write_bytes(CONTENT)
    (tmp_path / "row 1").write_bytes(b"ffconcat version 1.0\nfile secret.mp4\n")
    with av.open(str(tmp_path / "row 1")) as container:
        assert len(list(container.decode(video=0))) == 8


def test_a_clip_above_the_limit_is_refused(tmp_path: Path) -> None:
    limit = (len(CONTENT) - 1) / 1e6
    for clip in (BASE64, CONTENT):
        assert "clip is larger than the maximum of" in refusal(
            tmp_path, {"clip": clip}, largest_clip_megabytes=limit - 0.001
        )
    read_request(pd.DataFrame({"clip": [BASE64]}), tmp_path, ServingParams(largest_clip_megabytes=len(CONTENT) / 1e6))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"clip": 5}, "clip is int; it must be a string"),
        ({"text": 5}, "text is int; it must be a string"),
        ({"clip": [BASE64, BASE64]}, "clip is list; it must be a string"),
        ({"text": []}, "text is list; it must be a string"),
        ({"text": ""}, "clip and text are both missing"),
        ({"clips": BASE64}, "no row with a column clip"),
    ],
)
def test_wrong_kinds_and_wrong_columns_are_named(tmp_path: Path, row: dict, words: str) -> None:
    assert words in refusal(tmp_path, row)


def test_no_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no row"):
        read_request(pd.DataFrame({"clip": [], "text": []}), tmp_path, LIMITS)


def test_all_wrong_rows_are_named_at_once(tmp_path: Path) -> None:
    said = refusal(tmp_path, {"clip": "?", "text": "a"}, {"clip": BASE64, "text": "b"}, {"clip": None, "text": ""})
    assert "row 1: clip is not base64" in said
    assert "row 2" not in said
    assert "row 3: clip and text are both missing" in said


def test_long_text_and_many_rows_are_refused_by_their_number(tmp_path: Path) -> None:
    limits = ServingParams(longest_text_characters=10, most_rows=2)
    with pytest.raises(BadRequest, match=r"row 2: text has 11 characters; the maximum is 10 \(TRIMOOD_LONGEST_TEXT"):
        read_request(pd.DataFrame({"text": ["a" * 10, "a" * 11]}), tmp_path, limits)
    with pytest.raises(BadRequest, match=r"the request has 3 rows; the maximum is 2 \(TRIMOOD_MOST_ROWS\)"):
        read_request(pd.DataFrame({"text": ["a"] * 3}), tmp_path, limits)


ROWS = [{"text": "a", "clip": None}] * 3


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_records": ROWS},
        {"dataframe_split": {"columns": ["text"], "data": [["a"]] * 3}},
        {"instances": ROWS},
        {"inputs": {"text": ["a"] * 3}},
    ],
)
def test_rows_are_counted_in_each_form_of_a_body(content: object) -> None:
    body = json.dumps(content).encode()
    check_body(body, "application/json; charset=utf-8", ServingParams(most_rows=3))
    with pytest.raises(BadRequest, match="the request has 3 rows; the maximum is 2"):
        check_body(body, "application/json", ServingParams(most_rows=2))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"dataframe_records": [{"text": ' + b"9" * 5000 + b"}]}", "not valid JSON: Exceeds the limit"),
        (b'{"dataframe_records": [', "not valid JSON: Expecting value"),
        (b'{"text": "\xff"}', "not valid JSON: invalid start byte at byte 10"),
        (b'{"dataframe_records": [{"text": "Yes .", "text": "No ."}]}', "the key 'text' occurs 2 times in one object"),
        (b"", "not valid JSON"),
        (b"[1, 2]", "the body is a JSON list; send"),
        (b"[" + b"[]," * 400_000 + b"[]]", "the body has 800,002 values; 32 rows have fewer than"),
    ],
)
def test_bodies_that_no_table_can_be_made_of_are_refused(body: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        check_body(body, "application/json", ServingParams())


def test_csv_is_counted_by_its_separators_and_what_may_be_compressed_is_refused() -> None:
    check_body(b"text\nHi .\n", "text/csv", ServingParams())
    with pytest.raises(BadRequest, match="values"):
        check_body(b"text\n" + b"a\n" * 400_000, "text/csv", ServingParams())
    with pytest.raises(BadRequest, match=r"the content type is application/vnd\.apache\.parquet; allowed are"):
        check_body(b"PAR1", "application/vnd.apache.parquet", ServingParams())
    with pytest.raises(BadRequest, match="the content type is missing"):
        check_body(b"{}", "", ServingParams())


def test_a_row_may_say_its_conversation_and_who_speaks(tmp_path: Path) -> None:
    rows = pd.DataFrame({"text": ["Hi .", "No !"], "conversation": ["a", None], "speaker": ["Ross", float("nan")]})
    first, second = read_request(rows, tmp_path, LIMITS)
    assert (first.conversation, first.speaker) == ("a", "Ross")
    assert (second.conversation, second.speaker) == ("", "")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "row 1: conversation is int; it must be a string"),
        ("a" * 10_001, "row 1: conversation has 10,001 characters"),
    ],
)
def test_a_conversation_that_is_no_name_is_refused(tmp_path: Path, value: object, words: str) -> None:
    assert words in refusal(tmp_path, {"text": "Hi .", "conversation": value})
