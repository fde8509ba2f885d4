from pathlib import Path

import pandas as pd
import pytest

from support.shared_data import SHARED, needs_shared
from trimood.corpus.ecf import AnnotationError, read_ecf
from trimood.corpus.meld import BROKEN_IN_MELD, MELD_MAP, read_meld_map
from trimood.corpus.tables import MAP_COLUMNS

MAP = """7 3
(3,1)
1 | Ross | joy | I said yes | no . | train_dia12_utt0
2 | All | fear | Oh ! | 
3 | Mrs. Geller | anger | What ? | test_dia3_utt14
9 1

1 | Joey | neutral | Hey | dev_dia110_utt7
"""  # noqa: W291 - as published, a blank stands after the last bar


def made_map(folder: Path, text: str = MAP) -> Path:
    path = folder / MELD_MAP
    path.write_text(text, encoding="utf-8")
    return path


def made_labels(folder: Path, split: str, rows: list[tuple[int, int, str]]) -> None:
    """MELD's columns, and a text with a byte that is no UTF-8, as MELD's files have it."""
    lines = ["Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"]
    lines += [
        f'{number},"It\x92s, well",Ross,{emotion},neutral,{dialogue},{utterance},3,19,"0:1:2,3","0:1:4,5"'
        for number, (dialogue, utterance, emotion) in enumerate(rows, start=1)
    ]
    (folder / f"{split}_sent_emo.csv").write_bytes("\n".join(lines).encode("latin-1"))


def test_each_utterance_of_the_map_has_its_place_in_meld_or_none(tmp_path: Path) -> None:
    table = read_meld_map(made_map(tmp_path))
    assert list(table.columns) == list(MAP_COLUMNS)
    assert table["utterance"].tolist() == ["dia7utt1", "dia7utt2", "dia7utt3", "dia9utt1"]
    assert table["emotion"].tolist() == ["joy", "fear", "anger", "neutral"]
    clips = ["train_splits/dia12_utt0.mp4", None, "output_repeated_splits_test/dia3_utt14.mp4"]
    assert [None if pd.isna(clip) else clip for clip in table["meld_clip"]] == [
        *clips,
        "dev_splits_complete/dia110_utt7.mp4",
    ]
    assert table["meld_split"].isna().tolist() == [False, True, False, False]
    assert table["meld_emotion"].isna().all()


def test_labels_are_compared_where_melds_own_files_are_there(tmp_path: Path) -> None:
    made_labels(tmp_path, "train", [(12, 0, "joy"), (12, 1, "fear")])
    made_labels(tmp_path, "test", [(12, 0, "sadness"), (3, 14, "disgust")])
    table = read_meld_map(made_map(tmp_path), labels_folder=tmp_path)
    assert [None if pd.isna(word) else word for word in table["meld_emotion"]] == ["joy", None, "disgust", None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MAP.replace("7 3", "seven"), r"line 1: got 'seven'; expected a conversation's number and its count"),
        (MAP.replace("test_dia3", "tset_dia3"), r"line 5: got '3 \| Mrs\. Geller.*'; expected 'number \| speaker"),
        (MAP.replace("9 1", "9 2"), r"line 9: the file ends; expected"),
        (MAP.replace("9 1", "7 1"), r"dia7utt1 occurs twice"),
    ],
)
def test_a_damaged_map_is_refused_by_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(AnnotationError, match=words):
        read_meld_map(made_map(tmp_path, text))


@pytest.mark.parametrize("mark", ["\r", "\v", "\f", "\x85", "\u2028"], ids=ascii)
def test_a_line_mark_in_a_text_makes_no_second_row(tmp_path: Path, mark: str) -> None:
    read = read_meld_map(made_map(tmp_path, MAP.replace("I said yes", f"I said{mark}yes").replace("\n", "\r\n")))
    assert read["utterance"].tolist() == ["dia7utt1", "dia7utt2", "dia7utt3", "dia9utt1"]
    (tmp_path / "train_sent_emo.csv").write_bytes(
        f"Utterance,Emotion,Dialogue_ID,Utterance_ID\nI said{mark}yes,joy,12,0\n".encode()
    )
    table = read_meld_map(made_map(tmp_path), labels_folder=tmp_path)
    assert table["meld_emotion"].tolist()[0] == "joy"


def test_a_csv_that_is_not_melds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dev_sent_emo.csv").write_text("Utterance,Emotion\nHey,joy\n")
    with pytest.raises(AnnotationError, match=r"dev_sent_emo\.csv: not MELD's annotation file .* Dialogue_ID"):
        read_meld_map(made_map(tmp_path), labels_folder=tmp_path)


@pytest.mark.slow
@needs_shared
def test_the_published_map_has_the_published_counts() -> None:
    folder = (SHARED or Path()) / "reference" / "ecf2"
    table = read_meld_map(folder / MELD_MAP)
    splits = table["meld_split"]
    assert (len(table), splits.notna().sum(), splits.isna().sum()) == (13619, 13389, 230)
    assert splits.value_counts().to_dict() == {"train": 9776, "dev": 1078, "test": 2535}
    assert table["meld_clip"].dropna().is_unique
    train = read_ecf(folder / "Subtask_2_train.json")
    assert dict(zip(table["utterance"], table["emotion"], strict=True)) == dict(
        zip(train["utterance"], train["emotion"], strict=True)
    )
    names = table.set_index("utterance")
    for utterance, name in BROKEN_IN_MELD.items():
        row = names.loc[utterance]
        assert name == f"{row['meld_split']}_dia{row['meld_dialogue']}_utt{row['meld_utterance']}"
