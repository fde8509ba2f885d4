"""Nodes of the ingestion stage. `corpus` is the folder with the annotation files and the clips."""

import logging
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from trimood.config.parameters import Corpus, SplitParams
from trimood.corpus.corpus_files import SIDES_OF, TEST_FILES, read_side, refusal
from trimood.corpus.ecf import AnnotationError, class_counts, labelled, utterance_table
from trimood.corpus.meld import find_meld_clips, point_to_meld
from trimood.corpus.splits import official_splits, split_utterances
from trimood.corpus.tables import CorpusDescription

_log = logging.getLogger(__name__)


def read_annotations(
    corpus: Path, meld: Path, kind: Corpus
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, CorpusDescription]:
    """Returns the utterances of the train, validation and official test file, and a description of the corpus.

    `kind` says whose files are read. ECF has no validation file: its table is empty. Reads each file once. `meld` may
    contain MELD's clips (see `point_to_meld`); by default it is the corpus folder. Raises AnnotationError if a file or
    one of the training labels is missing, and if a conversation is in both the train and the test file, because
    training and test would overlap.
    """
    if message := refusal(corpus, kind, every_split=True):
        raise AnnotationError(message)
    files = {side: read_side(corpus, side, kind) for side in SIDES_OF[kind]}
    train, test = files["train"], files["official_test"]
    unlabelled = train.table["utterance"][train.table["label"].isna()]
    if len(unlabelled):
        raise AnnotationError(
            f"{train.path and train.path.name}: {len(unlabelled)} of {len(train.table)} utterances have no emotion, "
            f"the first is {unlabelled.iloc[0]}. Training needs a label for each: "
            "add the labels or remove these utterances from the file."
        )
    if shared := sorted(set(train.table["conversation_id"]) & set(test.table["conversation_id"])):
        raise AnnotationError(
            f"{corpus}: {len(shared)} conversation_IDs are in the train and in the test file, "
            f"the first is {shared[0]}; a conversation may be in only one of them. "
            "Remove them from one file, or give them different numbers."
        )
    description: CorpusDescription = {
        "corpus": kind,
        "train": {**train.facts(), "emotions": class_counts(train.table)},
        "official_test": test.facts(),
        "has_official_test": test.path is not None,
        "official_test_is_labelled": bool(test.table["label"].notna().any()),
    }
    if kind == "meld":
        description["official_validation"] = files["official_validation"].facts()
        tables = [find_meld_clips(file.table, corpus, meld) for file in files.values()]
        return tables[0], tables[1], tables[2], description
    development, origins = point_to_meld(train.table, corpus, meld)
    if origins:
        _log.info("%s", origins)
        description["clips"] = asdict(origins)
    if test.path is None:
        _log.info("No official test file in %s (looked for %s): test_fraction applies.", corpus, ", ".join(TEST_FILES))
    return development, utterance_table(), test.table, description


def take_labelled(official_annotations: pd.DataFrame) -> pd.DataFrame:
    """Returns the utterances that have an emotion; the others cannot be scored and are counted in the log."""
    scored = labelled(official_annotations)
    if unlabelled := len(official_annotations) - len(scored):
        total = len(official_annotations)
        _log.warning("%d of %d official test utterances have no emotion and are not scored.", unlabelled, total)
    return scored


def read_for_submission(corpus: Path) -> pd.DataFrame:
    """Returns all utterances of the official test file in order, labelled or not. Raises AnnotationError."""
    official = read_side(corpus, "official_test")
    if official.path is None:
        raise AnnotationError(
            f"{corpus}: no official test file, so there is nothing to submit predictions for. Expected one of "
            f"{', '.join(TEST_FILES)}, with its clips in test/ or beside it."
        )
    return official.table


def split_conversations(
    development_utterances: pd.DataFrame,
    official_validation_utterances: pd.DataFrame,
    corpus_description: CorpusDescription,
    split: SplitParams,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Splits into training, validation and held-out; held-out is empty if the official test is labelled.

    A corpus with an official validation split keeps its own splits; `split` is not used then.
    """
    if len(official_validation_utterances):
        _log.info("The corpus has its own training, validation and test split: data.split is not used.")
        return official_splits(development_utterances, official_validation_utterances)
    test_fraction = 0.0 if corpus_description["official_test_is_labelled"] else split.test_fraction
    return split_utterances(development_utterances, split.unit, split.validation_fraction, test_fraction, split.seed)
