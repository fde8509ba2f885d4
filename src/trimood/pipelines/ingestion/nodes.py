"""Steps of the ingestion stage; `corpus` is the folder that holds the annotation files and the clips."""

import hashlib
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.conversations.clip_folders import ClipOrigins, point_to_meld
from trimood.conversations.ecf import AnnotationError, read_ecf
from trimood.conversations.splits import split_utterances
from trimood.conversations.table import class_counts, empty_table, labelled
from trimood.parameters import SplitParams

_log = logging.getLogger(__name__)

# First found is used. Subtask 1 and 2 have the same utterances; the evaluation release has no labels, so it comes last.
_TRAIN_FILES = ("Subtask_2_train.json", "Subtask_1_train.json")
_TEST_FILES = ("Subtask_2_test.json", "Subtask_1_test.json", "Subtask_2_test_eval_release_unlabelled.json")


def read_development(corpus: Path, meld: Path) -> pd.DataFrame:
    """Utterances of the train file, all labelled; raises AnnotationError where the file or a label is missing.

    `meld` is the folder that may hold MELD's own clips, by default the corpus: see `clip_folders.point_to_meld`.
    """
    table, origins = _development(corpus, meld)
    if origins:
        _log.info("%s", origins)
    return table


def _development(corpus: Path, meld: Path) -> tuple[pd.DataFrame, ClipOrigins | None]:
    path = _first_present(corpus, _TRAIN_FILES)
    if path is None:
        raise AnnotationError(_no_train_file(corpus))
    table = read_ecf(path, _clip_folder(corpus, "train"))
    unlabelled = table["utterance"][table["label"].isna()]
    if len(unlabelled):
        raise AnnotationError(
            f"{path.name}: {len(unlabelled)} of {len(table)} utterances have no emotion, "
            f"the first is {unlabelled.iloc[0]}. Only what is labelled can be trained on: "
            "add the labels or take these utterances out of the file."
        )
    return point_to_meld(table, corpus, meld)


def read_official_test(corpus: Path) -> pd.DataFrame:
    """The labelled utterances of the official test file; an empty table where there is none, or no label.

    Without a label nothing can be scored, so unlabelled rows are left out, and counted in the log.
    """
    if _first_present(corpus, _TEST_FILES) is None:
        _log.info("No official test file in %s (looked for %s): test_fraction applies.", corpus, ", ".join(_TEST_FILES))
    table = _official_test(corpus)
    scored = labelled(table)
    if len(scored) < len(table):
        _log.warning(
            "%d of %d official test utterances have no emotion and are not scored.",
            len(table) - len(scored),
            len(table),
        )
    return scored


def describe_corpus(corpus: Path, meld: Path) -> dict[str, Any]:
    """Which files were read and how much they hold; of the official test only that it is there, and counts.

    Under `clips` stands whose layout the training clips lie in, where some lie in MELD's.

    Raises AnnotationError where a conversation stands in both files: what is trained on would be tested on.
    """
    (development, origins), official = _development(corpus, meld), _official_test(corpus)
    shared = sorted(set(development["conversation_id"]) & set(official["conversation_id"]))
    if shared:
        raise AnnotationError(
            f"{corpus}: {len(shared)} conversation_IDs stand in the train and in the test file, "
            f"the first is {shared[0]}; a conversation may be in one only. "
            "Take them out of one file, or number them apart."
        )
    train_file, test_file = _first_present(corpus, _TRAIN_FILES), _first_present(corpus, _TEST_FILES)
    return {
        "train": _file_facts(train_file, development) | {"emotions": class_counts(development)},
        "official_test": _file_facts(test_file, official),
        "has_official_test": test_file is not None,
        "official_test_is_labelled": bool(official["label"].notna().any()),
        **({"clips": asdict(origins)} if origins else {}),
    }


def split_conversations(
    development_utterances: pd.DataFrame, corpus_description: dict[str, Any], split: SplitParams
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Training, validation and held-out utterances of the train file; nothing is held out beside a labelled test."""
    test_fraction = 0.0 if corpus_description["official_test_is_labelled"] else split.test_fraction
    return split_utterances(development_utterances, split.unit, split.validation_fraction, test_fraction, split.seed)


def _first_present(corpus: Path, names: tuple[str, ...]) -> Path | None:
    return next((corpus / name for name in names if (corpus / name).is_file()), None)


def _official_test(corpus: Path) -> pd.DataFrame:
    path = _first_present(corpus, _TEST_FILES)
    return read_ecf(path, _clip_folder(corpus, "test")) if path else empty_table()


def _clip_folder(corpus: Path, split: str) -> str:
    """The split's own folder of clips where there is one; "" where the clips lie beside the annotation file."""
    return split if (corpus / split).is_dir() else ""


def _no_train_file(corpus: Path) -> str:
    if not corpus.is_dir():
        found = "there is no such folder"
    else:
        found = "got " + (", ".join(sorted(path.name for path in corpus.iterdir())[:10]) or "an empty folder")
        below = sorted(path for name in _TRAIN_FILES for path in corpus.glob(f"*/{name}"))
        found += f" (but {below[0].relative_to(corpus)} is there: is that folder the corpus?)" if below else ""
    return (
        f"{corpus}: no train file; {found}. Needed is {' or '.join(_TRAIN_FILES)}, "
        "with the clips in train/ or beside it. Put it there, or point "
        "the catalog's `corpus` to the folder that has it."
    )


def _file_facts(path: Path | None, table: pd.DataFrame) -> dict[str, Any]:
    return {
        "file": path.name if path else None,
        "generation": path.stem.replace("_train", "").replace("_test", "") if path else None,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path else None,
        "conversations": int(table["conversation_id"].nunique()),
        "utterances": len(table),
        "labelled_utterances": int(table["label"].notna().sum()),
    }
