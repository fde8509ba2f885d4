"""MELD's folders of clips, and ECF's utterances in MELD: the map that ECF publishes, and MELD's labels.

ECF's training utterances come from all three splits of MELD, so a model trained on one corpus has seen held-out
utterances of the other. The map covers the training file only: no clip of the official test is in MELD. Two clips are
broken in MELD's own release: train_dia125_utt3 (dia564utt4) cannot be decoded, and dev_dia110_utt7 (dia850utt8) is
missing.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from trimood.corpus.ecf import AnnotationError, decoded, read_bytes
from trimood.corpus.reading import csv_rows
from trimood.corpus.tables import MAP_COLUMNS
from trimood.media.names import video_names

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipOrigins:
    """How many clips are in ECF's and in MELD's layout; `missing` are in neither, `unmapped` of them not in the map."""

    ecf: int
    meld: dict[str, int]
    missing: int
    unmapped: int

    def __str__(self) -> str:
        meld = ", ".join(f"{count} of its {split}" for split, count in self.meld.items())
        return (
            f"clips: {self.ecf} in ECF's layout, {sum(self.meld.values())} in MELD's ({meld}), {self.missing} are "
            f"missing, {self.unmapped} of them not in MELD"
        )


def point_to_meld(table: pd.DataFrame, corpus: Path, meld: Path) -> tuple[pd.DataFrame, ClipOrigins | None]:
    """The table with `clip` pointing to MELD's file where ECF's own does not exist; nothing is copied.

    A path in `meld` is relative to the corpus if it is below it, else absolute. If `meld` has none of MELD's folders,
    the counts are None and the table is unchanged. Raises AnnotationError if the folders exist without a map beside
    them or in the corpus, and if `meld` is not the corpus and has no such folder.
    """
    folders = _meld_folders(corpus, meld)
    if not any(folder.is_dir() for folder in folders.values()):
        return table, None
    places = read_meld_map(_map(corpus, meld)).set_index("utterance").reindex(table["utterance"])
    in_meld = {split: video_names(folder) for split, folder in folders.items()}
    in_ecf = {folder: video_names(corpus / folder) for folder in {str(Path(clip).parent) for clip in table["clip"]}}
    clips, origins = [], Counter[str]()
    for clip, split, meld_clip in zip(table["clip"], places["meld_split"], places["meld_clip"], strict=True):
        own, origin = Path(clip), "unmapped"
        if own.stem in in_ecf[str(own.parent)]:
            origin = "ecf"
        elif not pd.isna(split):
            name = Path(meld_clip).name
            own = _seen_from(corpus, folders[split] / in_meld[split].get(Path(name).stem, name))
            origin = split if own.stem in in_meld[split] else "missing"
        origins[origin] += 1
        clips.append(own.as_posix())
    return table.assign(clip=pd.Series(clips, index=table.index, dtype="str")), ClipOrigins(
        ecf=origins["ecf"],
        meld={split: origins[split] for split in MELD_FOLDERS},
        missing=origins["missing"] + origins["unmapped"],
        unmapped=origins["unmapped"],
    )


def find_meld_clips(table: pd.DataFrame, corpus: Path, meld: Path) -> pd.DataFrame:
    """A table of MELD's own utterances, with `clip` as the clip's file is named in `meld`; missing ones are unchanged.

    Paths and errors are those of `point_to_meld`.
    """
    folders = {folder.name: folder for folder in _meld_folders(corpus, meld).values()}
    names = {name: video_names(folder) for name, folder in folders.items()}
    named = [(Path(clip).parent.name, Path(clip)) for clip in table["clip"]]
    clips = [_seen_from(corpus, folders[at] / names[at].get(clip.stem, clip.name)).as_posix() for at, clip in named]
    for name in dict.fromkeys(at for at, _ in named):
        stems = [clip.stem for at, clip in named if at == name]
        there = sum(stem in names[name] for stem in stems)
        _log.info("%s: %d of %d annotated clips exist", folders[name], there, len(stems))
    return table.assign(clip=pd.Series(clips, index=table.index, dtype="str"))


def _seen_from(corpus: Path, clip: Path) -> Path:
    return clip.relative_to(corpus) if clip.is_relative_to(corpus) else clip.absolute()


def _meld_folders(corpus: Path, meld: Path) -> dict[str, Path]:
    """MELD's folder of each split, in `meld` or up to two folders below, as its archives unpack.

    Raises AnnotationError if a folder exists twice, and if `meld` is not the corpus and has none of them.
    """
    found = {}
    for split, name in MELD_FOLDERS.items():
        direct = meld / name
        below = [] if direct.is_dir() else sorted(path for step in ("*", "*/*") for path in meld.glob(f"{step}/{name}"))
        if len(below) > 1:
            raise AnnotationError(
                f"{meld}: {name} exists {len(below)} times: {', '.join(str(p.relative_to(meld)) for p in below)}. "
                "Give the right one's folder with --params meld_dir=FOLDER."
            )
        found[split] = below[0] if below else direct
    if meld != corpus and not any(folder.is_dir() for folder in found.values()):
        got = ", ".join(sorted(path.name for path in meld.iterdir())[:10]) or "an empty folder"
        raise AnnotationError(
            f"{meld} (meld_dir): none of MELD's folders {', '.join(MELD_FOLDERS.values())}; got {got}. Unpack "
            "MELD.Raw's archives there, or give the folder that has them."
        )
    return found


def _map(corpus: Path, meld: Path) -> Path:
    places = [folder / MELD_MAP for folder in dict.fromkeys((corpus, meld))]
    there = next((path for path in places if path.is_file()), None)
    if there is None:
        raise AnnotationError(
            f"{meld}: MELD's folders of clips exist, but the map from utterances to clips is missing; looked for "
            f"{' and '.join(map(str, places))}. Download it from ECF's repository and put it beside the annotations."
        )
    return there


MELD_MAP = "all_data_pair_ECFvsMELD.txt"
"""The name under which ECF publishes the map."""

MELD_FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
"""The folder of each split's clips in the unpacked MELD.Raw."""

BROKEN_IN_MELD = {"dia564utt4": "train_dia125_utt3", "dia850utt8": "dev_dia110_utt7"}
"""Utterances whose clip is broken or missing in MELD's own release: downloading it again does not help.

https://github.com/declare-lab/MELD/issues/39 and …/27. The key is ECF's name, the value MELD's.
"""

CUT_WRONGLY_IN_MELD = ("train_dia309_utt0", "test_dia38_utt4", "test_dia220_utt0")
"""Clips of MELD that show other scenes than their words: https://github.com/declare-lab/MELD/issues/20.

The last two last five and four minutes.
"""

MELD_LABELS = {"train": "train_sent_emo.csv", "dev": "dev_sent_emo.csv", "test": "test_sent_emo.csv"}
"""MELD's own annotation files, by split."""

_HEAD = re.compile(r"\s*(\d+) (\d+)\s*")
_ROW_FORMAT = "'number | speaker | emotion | text | train_dia125_utt3', the last optional"
_ROW = re.compile(r"(\d+) \| [^|]* \| (\w+) \| .* \|(?: (train|dev|test)_dia(\d+)_utt(\d+))?\s*")
_LABEL_COLUMNS = ["Dialogue_ID", "Utterance_ID", "Emotion"]


def read_meld_map(path: Path, labels_folder: Path | None = None) -> pd.DataFrame:
    """One row for each utterance of the map, in its order (MAP_COLUMNS), including those that are not in MELD.

    `labels_folder` holds MELD's own `train_sent_emo.csv`, `dev_…` and `test_…`; those that exist fill `meld_emotion`.
    Raises AnnotationError, which names the line.
    """
    table = pd.DataFrame(list(_rows(path)), columns=[name for name in MAP_COLUMNS if name != "meld_emotion"])
    repeated = table["utterance"][table["utterance"].duplicated()]
    if len(repeated):
        raise AnnotationError(f"{path.name}: {repeated.iloc[0]} occurs twice. Download the file again.")
    labels = read_meld_labels(labels_folder) if labels_folder else _no_labels()
    table = table.astype({name: kind for name, kind in MAP_COLUMNS.items() if name in table})
    table = table.merge(labels, on=["meld_split", "meld_dialogue", "meld_utterance"], how="left", validate="m:1")
    return table.astype(MAP_COLUMNS)


def read_meld_labels(folder: Path) -> pd.DataFrame:
    """MELD's own labels (meld_split, meld_dialogue, meld_utterance, meld_emotion) from its CSV files in `folder`.

    Files that do not exist give no rows. Raises AnnotationError for a file without the required columns.
    """
    found = [_no_labels()]
    for split, name in MELD_LABELS.items():
        if not (folder / name).is_file():
            continue
        try:
            # MELD's texts, which are not used, contain bytes that are not UTF-8.
            (_, columns), *rows = csv_rows(folder / name, errors="replace")
            table = pd.DataFrame([row for _, row in rows], columns=columns)[_LABEL_COLUMNS]
            table = table.astype({"Dialogue_ID": "int64", "Utterance_ID": "int64", "Emotion": "str"})
        except (ValueError, KeyError) as error:
            raise AnnotationError(
                f"{folder / name}: not MELD's annotation file ({error}); expected the columns "
                f"{', '.join(_LABEL_COLUMNS)}. Download it again, or remove it from the folder."
            ) from error
        table.columns = pd.Index(["meld_dialogue", "meld_utterance", "meld_emotion"])
        found.append(table.assign(meld_split=split).drop_duplicates(["meld_dialogue", "meld_utterance"]))
    return pd.concat(found, ignore_index=True).astype(_no_labels().dtypes.to_dict())


def _rows(path: Path) -> Iterator[tuple[str, str, str | None, int | None, int | None, str | None]]:
    """The map consists of blocks: `conversation count`, a line of cause pairs, and `count` lines of utterances."""
    lines = (
        decoded(path, read_bytes(path)).replace("\r\n", "\n").removesuffix("\n").split("\n")
    )  # texts may hold other line marks
    place = 0
    while place < len(lines):
        if not lines[place].strip():
            place += 1
            continue
        head = _parsed(path, lines, place, _HEAD, "a conversation's number and its count of utterances ('564 9')")
        first, place = place + 2, place + 2 + int(head[2])
        for line in range(first, place):
            row = _parsed(path, lines, line, _ROW, _ROW_FORMAT)
            number, emotion, split, dialogue, utterance = row.groups()
            key = f"dia{head[1]}utt{number}"
            if split:
                clip = f"{MELD_FOLDERS[split]}/dia{dialogue}_utt{utterance}.mp4"
                yield key, emotion, split, int(dialogue), int(utterance), clip
            else:
                yield key, emotion, None, None, None, None


def _parsed(path: Path, lines: list[str], place: int, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
    if place < len(lines) and (found := pattern.fullmatch(lines[place])):
        return found
    got = f"got {lines[place][:60]!r}" if place < len(lines) else "the file ends"
    raise AnnotationError(f"{path.name}, line {place + 1}: {got}; expected {expected}. Download the file again.")


def _no_labels() -> pd.DataFrame:
    names = ["meld_split", "meld_dialogue", "meld_utterance", "meld_emotion"]
    return pd.DataFrame({name: pd.Series(dtype=MAP_COLUMNS[name]) for name in names})
