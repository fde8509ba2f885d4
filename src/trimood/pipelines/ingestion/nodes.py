"""Nodes of the ingestion stage. `corpus` is the folder with the annotation files and the clips."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from trimood.config.parameters import SplitParams
from trimood.corpus.corpus_files import TEST_FILES, TRAIN_FILES, clip_folder, file_facts, first_present, no_train_file
from trimood.corpus.ecf import AnnotationError, class_counts, empty_table, labelled, read_ecf
from trimood.corpus.meld import ClipOrigins, point_to_meld
from trimood.corpus.splits import split_utterances
from trimood.corpus.tables import CorpusDescription

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Annotations:
    """The utterances in the files of a corpus folder, labelled or not; without a test file, its table is empty."""

    corpus: Path
    development: pd.DataFrame
    official_test: pd.DataFrame
    origins: ClipOrigins | None
    train_file: Path
    test_file: Path | None


def read_annotations(corpus: Path, meld: Path) -> Annotations:
    """Reads each annotation file once, for all nodes of a run.

    `meld` may contain MELD's clips (see `point_to_meld`); by default it is the corpus folder. Raises AnnotationError
    if the train file or one of its labels is missing.
    """
    train_file, test_file = first_present(corpus, TRAIN_FILES), first_present(corpus, TEST_FILES)
    if train_file is None:
        raise AnnotationError(no_train_file(corpus))
    table = read_ecf(train_file, clip_folder(corpus, "train"))
    unlabelled = table["utterance"][table["label"].isna()]
    if len(unlabelled):
        raise AnnotationError(
            f"{train_file.name}: {len(unlabelled)} of {len(table)} utterances have no emotion, "
            f"the first is {unlabelled.iloc[0]}. Training needs a label for each: "
            "add the labels or remove these utterances from the file."
        )
    development, origins = point_to_meld(table, corpus, meld)
    if origins:
        _log.info("%s", origins)
    official = read_ecf(test_file, clip_folder(corpus, "test")) if test_file else empty_table()
    return Annotations(corpus, development, official, origins, train_file, test_file)


def take_development(annotations: Annotations) -> pd.DataFrame:
    """Returns the utterances of the train file, which are all labelled."""
    return annotations.development


def take_official_test(annotations: Annotations) -> pd.DataFrame:
    """Returns the labelled utterances of the official test file; an empty table without the file or labels.

    Unlabelled rows cannot be scored; they are left out and counted in the log.
    """
    if annotations.test_file is None:
        looked_for = ", ".join(TEST_FILES)
        _log.info("No official test file in %s (looked for %s): test_fraction applies.", annotations.corpus, looked_for)
    table = annotations.official_test
    scored = labelled(table)
    if len(scored) < len(table):
        unlabelled = len(table) - len(scored)
        _log.warning("%d of %d official test utterances have no emotion and are not scored.", unlabelled, len(table))
    return scored


def describe_corpus(annotations: Annotations) -> CorpusDescription:
    """Returns names and counts of the files, the emotions of the train file, and the origins of MELD's clips.

    Raises AnnotationError if a conversation is in both files, because training and test would overlap.
    """
    development, official = annotations.development, annotations.official_test
    shared = sorted(set(development["conversation_id"]) & set(official["conversation_id"]))
    if shared:
        raise AnnotationError(
            f"{annotations.corpus}: {len(shared)} conversation_IDs are in the train and in the test file, "
            f"the first is {shared[0]}; a conversation may be in only one of them. "
            "Remove them from one file, or give them different numbers."
        )
    description: CorpusDescription = {
        "train": {**file_facts(annotations.train_file, development), "emotions": class_counts(development)},
        "official_test": file_facts(annotations.test_file, official),
        "has_official_test": annotations.test_file is not None,
        "official_test_is_labelled": bool(official["label"].notna().any()),
    }
    if annotations.origins:
        description["clips"] = asdict(annotations.origins)
    return description


def read_for_submission(corpus: Path) -> pd.DataFrame:
    """Returns all utterances of the official test file in order, labelled or not. Raises AnnotationError."""
    path = first_present(corpus, TEST_FILES)
    if path is None:
        raise AnnotationError(
            f"{corpus}: no official test file, so there is nothing to submit predictions for. Expected one of "
            f"{', '.join(TEST_FILES)}, with its clips in test/ or beside it."
        )
    return read_ecf(path, clip_folder(corpus, "test"))


def split_conversations(
    development_utterances: pd.DataFrame, corpus_description: CorpusDescription, split: SplitParams
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Splits into training, validation and held-out; held-out is empty if the official test is labelled."""
    test_fraction = 0.0 if corpus_description["official_test_is_labelled"] else split.test_fraction
    return split_utterances(development_utterances, split.unit, split.validation_fraction, test_fraction, split.seed)
