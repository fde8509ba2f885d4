import logging
from pathlib import Path

import pytest

from support.made_corpus import write_meld
from trimood.corpus.ecf import AnnotationError
from trimood.corpus.meld_annotations import FIRST_CONVERSATION, check_meld, meld_file

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
ROW = '1,"Oh, it\u0092s you. ",Joey,joy,positive,12,3,8,21,"00:16:16,059","0:16:21,731"'


def content(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows]).encode()


def refused(raw: bytes) -> str:
    with pytest.raises(AnnotationError) as caught:
        check_meld("dev_sent_emo.csv", raw, "dev")
    return str(caught.value)


def test_a_row_becomes_an_utterance_of_its_split_with_its_words_as_they_were_meant() -> None:
    table, spans = check_meld("test_sent_emo.csv", content(ROW), "test")
    row = table.loc[0]
    assert (row["utterance"], row["clip"]) == ("test_dia12_utt3", "output_repeated_splits_test/dia12_utt3.mp4")
    assert (row["conversation_id"], row["utterance_id"]) == (20_012, 4)
    assert (row["speaker"], row["text"], row["emotion"]) == ("Joey", "Oh, it’s you.", "joy")
    assert spans.loc[0].to_list() == ["test_dia12_utt3", "S08E21", pytest.approx(976.059), pytest.approx(981.731)]


def test_a_conversation_of_one_split_has_no_number_of_another() -> None:
    tables = [check_meld(f"{split}_sent_emo.csv", content(ROW), split)[0] for split in FIRST_CONVERSATION]
    assert (
        len({table["conversation_id"][0] for table in tables}) == len({table["utterance"][0] for table in tables}) == 3
    )


def test_a_file_in_windows_1252_is_refused_with_the_line_and_what_to_do() -> None:
    raw = content(ROW, ROW.replace("12,3", "12,4")).decode().replace("\u0092", "’").encode("cp1252")
    said = refused(raw)
    assert said.startswith("dev_sent_emo.csv, line 2: got the byte 0x92, which is ’ in Windows-1252; ")
    assert "iconv -f WINDOWS-1252 -t UTF-8 dev_sent_emo.csv" in said


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            content("1,Hey,joy", header="Sr No.,Utterance,Emotion"),
            "line 1: no column Speaker, Dialogue_ID, Utterance_ID",
        ),
        (content(ROW, header=HEADER.replace(",", ";")), "line 1: no column Utterance, .* got Sr No.;Utterance;"),
        (b"", "line 1: no column Utterance, Speaker, .* got an empty file"),
        (content(), "there is no row below the header"),
        (content(ROW, "2,Hey,Joey,joy"), "line 3: got 4 fields, the header has 11"),
        (content(ROW.replace("joy,", "happy,")), "line 2: Emotion: got 'happy': unknown label, expected one of "),
        (content(ROW.replace("12,3", "x,3")), "line 2: Dialogue_ID: got 'x': "),
        (content(ROW.replace("12,3", "10000,3")), "line 2: Dialogue_ID: got '10000': "),
        (content('1," ",Joey,joy,positive,1,1,,,,'), "line 2: Utterance: got ' ': the text is empty"),
        (content(ROW, ROW), "line 3: Dialogue_ID 12, Utterance_ID 3 is also in line 2; keep one"),
        (content('1,"Hey,Joey,joy,positive,1,1,,,,'), "line 2: the quote that opens in line 2 is never closed"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_what_was_got_and_what_is_expected(raw: bytes, words: str) -> None:
    said = refused(raw)
    assert said.startswith("dev_sent_emo.csv")
    with pytest.raises(AnnotationError, match=words):
        raise AnnotationError(said)
    assert f"Expected MELD's columns {HEADER}" in said


def test_several_problems_are_named_at_once() -> None:
    said = refused(content(ROW.replace("joy,", "happy,"), ROW.replace("12,3", "x,y")))
    assert said.startswith("dev_sent_emo.csv: 3 problems in the annotations.")


def test_utterances_without_readable_times_are_kept_and_named(caplog: pytest.LogCaptureFixture) -> None:
    wrong = ROW.replace("12,3", "12,4").replace("00:16:16,059", "00:16:16,0,59")
    without = "3,Hey,Joey,joy,positive,12,5,,,,"
    with caplog.at_level(logging.WARNING, logger="trimood"):
        table, spans = check_meld("dev_sent_emo.csv", content(ROW, wrong, without), "dev")
    assert len(table) == 3
    assert spans["utterance"].to_list() == ["dev_dia12_utt3"]
    assert (
        "1 utterances have no readable episode and times, so their spans are not checked: dev_dia12_utt4" in caplog.text
    )


def test_a_file_is_found_where_melds_archives_unpack_it(tmp_path: Path) -> None:
    assert meld_file(tmp_path, "train") is None
    write_meld(tmp_path / "train", train={0: ["joy"]})
    assert meld_file(tmp_path, "train") == tmp_path / "train" / "train_sent_emo.csv"
    write_meld(tmp_path / "old", train={0: ["joy"]})
    with pytest.raises(AnnotationError, match=r"exists 2 times: old/train_sent_emo\.csv, train/train_sent_emo\.csv"):
        meld_file(tmp_path, "train")
    write_meld(tmp_path, train={0: ["joy"]})
    assert meld_file(tmp_path, "train") == tmp_path / "train_sent_emo.csv"
