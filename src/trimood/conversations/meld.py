"""MELD's names for ECF's utterances: the map that ECF publishes, MELD's own labels, and where MELD keeps its clips.

ECF's training utterances were drawn from all three splits of MELD, so whatever was trained on MELD has seen some of
what ECF holds back, and the other way round. The map covers the training file only: no clip of the official test is in
MELD. Two clips are broken in MELD's own release: train_dia125_utt3 (dia564utt4) cannot be decoded, and
dev_dia110_utt7 (dia850utt8) is not there.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from trimood.conversations.ecf import AnnotationError

MELD_MAP = "all_data_pair_ECFvsMELD.txt"
"""The name under which ECF publishes the map."""

MELD_FOLDERS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
"""Where MELD.Raw has the clips of each of its splits, once its archives are unpacked."""

BROKEN_IN_MELD = {"dia564utt4": "train_dia125_utt3", "dia850utt8": "dev_dia110_utt7"}
"""Utterances whose clip is broken or missing in MELD's own release: nothing that a second download would mend."""

MELD_LABELS = {"train": "train_sent_emo.csv", "dev": "dev_sent_emo.csv", "test": "test_sent_emo.csv"}
"""MELD's own annotation files, by split."""

MAP_COLUMNS = {
    "utterance": "str",  # ECF's key, "dia564utt4"
    "emotion": "str",  # ECF's label: the map repeats it; MELD's own stand in MELD's files only
    "meld_split": "str",  # train, dev or test; this and all that follows is missing where MELD has no such utterance
    "meld_dialogue": "Int64",
    "meld_utterance": "Int64",
    "meld_clip": "str",  # relative to the folder of MELD's clips, "train_splits/dia125_utt3.mp4"
    "meld_emotion": "str",  # missing also where MELD's own label is not known
}

_HEAD = re.compile(r"(\d+) (\d+)")
_ROW = re.compile(r"(\d+) \| [^|]* \| (\w+) \| .* \|(?: (train|dev|test)_dia(\d+)_utt(\d+))?\s*")
_LABEL_COLUMNS = ["Dialogue_ID", "Utterance_ID", "Emotion"]


@dataclass(frozen=True)
class MeldCounts:
    """What the map says of ECF's utterances; `labels_that_differ` is counted over `labels_compared`."""

    utterances: int
    without_partner: int
    by_split: dict[str, int]
    labels_compared: int
    labels_that_differ: int

    @property
    def mapped(self) -> int:
        """Utterances that MELD has too."""
        return self.utterances - self.without_partner


def read_meld_map(path: Path, labels_folder: Path | None = None) -> pd.DataFrame:
    """One row for each utterance of the map, in its order (MAP_COLUMNS), those without a partner included.

    `labels_folder` holds MELD's own `train_sent_emo.csv`, `dev_…` and `test_…`; of those that are there,
    `meld_emotion` is filled. Raises AnnotationError by line.
    """
    table = pd.DataFrame(list(_rows(path)), columns=[name for name in MAP_COLUMNS if name != "meld_emotion"])
    repeated = table["utterance"][table["utterance"].duplicated()]
    if len(repeated):
        raise AnnotationError(f"{path.name}: {repeated.iloc[0]} stands in it twice; fetch the file again.")
    labels = read_meld_labels(labels_folder) if labels_folder else _no_labels()
    table = table.astype({name: kind for name, kind in MAP_COLUMNS.items() if name in table})
    table = table.merge(labels, on=["meld_split", "meld_dialogue", "meld_utterance"], how="left", validate="m:1")
    return table.astype(MAP_COLUMNS)


def read_meld_labels(folder: Path) -> pd.DataFrame:
    """MELD's own labels (meld_split, meld_dialogue, meld_utterance, meld_emotion) from its CSV files in `folder`.

    No row for a file that is not there. Raises AnnotationError for one without the columns that are needed.
    """
    found = [_no_labels()]
    for split, name in MELD_LABELS.items():
        if not (folder / name).is_file():
            continue
        try:
            # MELD's texts, which are not needed here, hold bytes that are no UTF-8.
            table = pd.read_csv(folder / name, usecols=_LABEL_COLUMNS, encoding_errors="replace")
            table = table[_LABEL_COLUMNS].astype({"Dialogue_ID": "Int64", "Utterance_ID": "Int64", "Emotion": "str"})
        except (ValueError, TypeError) as error:
            raise AnnotationError(
                f"{folder / name}: not MELD's annotation file ({error}); needed are the columns "
                f"{', '.join(_LABEL_COLUMNS)}. Fetch it again, or take it out of the folder."
            ) from error
        table.columns = pd.Index(["meld_dialogue", "meld_utterance", "meld_emotion"])
        found.append(table.assign(meld_split=split).drop_duplicates(["meld_dialogue", "meld_utterance"]))
    return pd.concat(found, ignore_index=True).astype(_no_labels().dtypes.to_dict())


def count_meld(meld_map: pd.DataFrame) -> MeldCounts:
    """Counts of a map as `read_meld_map` gives it; pass it rows of one ECF split for the counts of that split."""
    mapped = meld_map[meld_map["meld_split"].notna()]
    compared = mapped[mapped["meld_emotion"].notna()]
    counts = mapped["meld_split"].value_counts()
    return MeldCounts(
        utterances=len(meld_map),
        without_partner=len(meld_map) - len(mapped),
        by_split={split: int(counts.get(split, 0)) for split in MELD_FOLDERS},
        labels_compared=len(compared),
        labels_that_differ=int((compared["emotion"] != compared["meld_emotion"]).sum()),
    )


def _rows(path: Path) -> Iterator[tuple[str, str, str | None, int | None, int | None, str | None]]:
    """The map is blocks of `conversation count`, a line of cause pairs, and `count` lines of utterances."""
    lines = _lines(path)
    place = 0
    while place < len(lines):
        if not lines[place].strip():
            place += 1
            continue
        head = _HEAD.fullmatch(lines[place].strip())
        if head is None:
            raise _refusal(path, place, lines, "a conversation's number and its count of utterances ('564 9')")
        conversation, count = int(head[1]), int(head[2])
        first = place + 2
        place = first + count
        for line in range(first, place):
            row = _ROW.fullmatch(lines[line]) if line < len(lines) else None
            if row is None:
                raise _refusal(path, line, lines, "'number | speaker | emotion | text | train_dia125_utt3' or no name")
            number, emotion, split, dialogue, utterance = row.groups()
            yield (
                f"dia{conversation}utt{number}",
                emotion,
                split,
                int(dialogue) if split else None,
                int(utterance) if split else None,
                f"{MELD_FOLDERS[split]}/dia{dialogue}_utt{utterance}.mp4" if split else None,
            )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path.name}, byte {error.start}: not UTF-8. Fetch the file again.") from error
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error


def _refusal(path: Path, place: int, lines: list[str], allowed: str) -> AnnotationError:
    got = f"got {lines[place][:60]!r}" if place < len(lines) else "the file ends"
    return AnnotationError(f"{path.name}, line {place + 1}: {got}; allowed is {allowed}. Fetch the file again.")


def _no_labels() -> pd.DataFrame:
    names = ["meld_split", "meld_dialogue", "meld_utterance", "meld_emotion"]
    return pd.DataFrame({name: pd.Series(dtype=MAP_COLUMNS[name]) for name in names})
