"""Steps of the ingestion stage; `corpus` is the folder that holds the annotation files and the clips."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.config.parameters import SplitParams
from trimood.corpus.corpus_files import (
    TEST_FILES,
    TRAIN_FILES,
    clip_folder,
    file_facts,
    first_present,
    no_train_file,
)
from trimood.corpus.ecf import AnnotationError, class_counts, empty_table, labelled, read_ecf
from trimood.corpus.meld import ClipOrigins, point_to_meld
from trimood.corpus.splits import split_utterances

_log = logging.getLogger(__name__)


def read_development(corpus: Path, meld: Path) -> pd.DataFrame:
    """Utterances of the train file, all labelled; raises AnnotationError where the file or a label is missing.

    `meld` is the folder that may hold MELD's own clips, by default the corpus: see `clip_folders.point_to_meld`.
    """
    table, origins = _development(corpus, meld)
    if origins:
        _log.info("%s", origins)
    return table


def _development(corpus: Path, meld: Path) -> tuple[pd.DataFrame, ClipOrigins | None]:
    path = first_present(corpus, TRAIN_FILES)
    if path is None:
        raise AnnotationError(no_train_file(corpus))
    table = read_ecf(path, clip_folder(corpus, "train"))
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
    if first_present(corpus, TEST_FILES) is None:
        _log.info("No official test file in %s (looked for %s): test_fraction applies.", corpus, ", ".join(TEST_FILES))
    table = _official_test(corpus)
    scored = labelled(table)
    if len(scored) < len(table):
        _log.warning(
            "%d of %d official test utterances have no emotion and are not scored.",
            len(table) - len(scored),
            len(table),
        )
    return scored


def read_for_submission(corpus: Path) -> pd.DataFrame:
    """All utterances of the official test file, in its order, labelled or not. Raises AnnotationError."""
    path = first_present(corpus, TEST_FILES)
    if path is None:
        raise AnnotationError(
            f"{corpus}: no official test file, so there is nothing to submit predictions for. Needed is one of "
            f"{', '.join(TEST_FILES)}, with its clips in test/ or beside it."
        )
    return read_ecf(path, clip_folder(corpus, "test"))


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
    train_file, test_file = first_present(corpus, TRAIN_FILES), first_present(corpus, TEST_FILES)
    return {
        "train": file_facts(train_file, development) | {"emotions": class_counts(development)},
        "official_test": file_facts(test_file, official),
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


def _official_test(corpus: Path) -> pd.DataFrame:
    path = first_present(corpus, TEST_FILES)
    return read_ecf(path, clip_folder(corpus, "test")) if path else empty_table()
