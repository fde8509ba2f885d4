"""Baselines for a model: reference systems without a neural network, and published scores."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from trimood.config.parameters import Corpus
from trimood.corpus.class_balance import class_weights
from trimood.emotions import EMOTIONS, PROBABILITIES

REFERENCES = ("all neutral", "majority", "TF-IDF", "TF-IDF sqrt")
"""Always neutral; always the most frequent emotion of the training split; logistic regression on TF-IDF features with
balanced class weights, and with their square roots."""


def predict_references(utterances: pd.DataFrame, training_examples: pd.DataFrame) -> pd.DataFrame:
    """Predicts the same utterances with each of REFERENCES, with seed 0; the tables are concatenated.

    `utterances` needs the column text, and gets system, seed, predicted and PROBABILITIES. Majority and TF-IDF are
    fitted on text and label of `training_examples`.
    """
    texts, labels = training_examples["text"].tolist(), training_examples["label"].astype(int)
    predicted = (
        all_neutral(len(utterances)),
        class_prior(labels, len(utterances)),
        *tfidf(texts, labels, utterances["text"].tolist(), "balanced", "sqrt"),
    )
    tables = []
    for name, chances in zip(REFERENCES, predicted, strict=True):
        table = utterances.assign(
            system=name, seed=0, predicted=[EMOTIONS[number] for number in chances.argmax(axis=1)]
        )
        table[list(PROBABILITIES)] = chances
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def all_neutral(count: int) -> np.ndarray:
    """Predicts neutral with probability 1, [utterance, class]."""
    chances = np.zeros((count, len(EMOTIONS)))
    chances[:, EMOTIONS.index("neutral")] = 1
    return chances


def class_prior(labels: ArrayLike, count: int) -> np.ndarray:
    """Predicts the class frequencies of the training labels for every utterance, [utterance, class]."""
    from sklearn.dummy import DummyClassifier

    true = np.asarray(labels)
    model = DummyClassifier(strategy="prior").fit(np.zeros((len(true), 1)), true)
    return _all_classes(model.predict_proba(np.zeros((count, 1))), model.classes_)


def tfidf(
    training_texts: list[str], labels: ArrayLike, texts: list[str], *kinds: Literal["balanced", "sqrt"]
) -> list[np.ndarray]:
    """Predicts by logistic regression on word (1-2) and character (2-5) n-grams: [utterance, class] for each kind.

    `kinds` of class weights: scikit-learn's `balanced`, or `sqrt` of `corpus.class_balance.class_weights`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_union

    # Tokens are separated by spaces, as in ECF: "?" and "!" are tokens, which helps with surprise.
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\S+")  # noqa: S106
    union = make_union(words, TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)))
    training_features = union.fit_transform(training_texts)
    features, true = union.transform(texts), np.asarray(labels)
    classes, counts = np.unique(true, return_counts=True)
    found = []
    for kind in kinds:
        weights = kind if kind == "balanced" else dict(zip(classes, class_weights(counts, kind), strict=True))
        model = LogisticRegression(class_weight=weights, max_iter=2000).fit(training_features, true)
        found.append(_all_classes(model.predict_proba(features), model.classes_))
    return found


def _all_classes(chances: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Adds a column of zeros for each emotion that is not among the training examples."""
    whole = np.zeros((len(chances), len(EMOTIONS)))
    whole[:, classes] = chances
    return whole


NOTES = "the six experiments' lab notes; see docs/experiments.md"
MEASURED = "the public annotations and predictions, scored with scikit-learn; see docs/experiments.md"
UNKNOWN_SPLIT = "split not known"
OFFICIAL_TEST = "official test"  # Subtask_2_test.json: 341 conversations, 3,101 utterances
MELD_TEST = "MELD test"  # test_sent_emo.csv: 280 conversations, 2,610 utterances
LITERATURE = "; see docs/experiments.md"


@dataclass(frozen=True)
class PublishedFigure:
    """A published figure, from 0 to 1; it cannot be compared with results on another corpus. None: not published."""

    name: str
    split: str
    macro_f1: float | None
    weighted_f1: float | None
    source: str

    @property
    def title(self) -> str:
        """The name with its split: figures of different splits cannot be compared."""
        return f"{self.name} ({self.split})"


PUBLISHED_FOR_ECF = (
    PublishedFigure("exp1 as published", UNKNOWN_SPLIT, 0.3646, None, NOTES),
    PublishedFigure("exp2 as published", UNKNOWN_SPLIT, 0.3201, None, NOTES),
    PublishedFigure("exp6 as published", UNKNOWN_SPLIT, 0.3375, None, NOTES),
    PublishedFigure("all neutral", OFFICIAL_TEST, 0.083, 0.241, MEASURED),
    PublishedFigure("TF-IDF", OFFICIAL_TEST, 0.313, 0.437, MEASURED),
    PublishedFigure("second-ranked, text", OFFICIAL_TEST, 0.422, 0.540, MEASURED),
    PublishedFigure("third-ranked, 3 modalities", OFFICIAL_TEST, 0.468, 0.583, MEASURED),
)

PUBLISHED_FOR_MELD = (
    PublishedFigure("MM-DFN, 3 modalities", MELD_TEST, 0.3628, 0.5946, f"ICASSP 2022, its repository{LITERATURE}"),
    PublishedFigure("DialogueCRN + RoBERTa, text", MELD_TEST, 0.4915, 0.6590, f"ACL 2021, its repository{LITERATURE}"),
    PublishedFigure("EmoBERTa, text", MELD_TEST, None, 0.6561, f"arXiv 2108.12009{LITERATURE}"),
    PublishedFigure("SACL-LSTM, text", MELD_TEST, 0.5076, 0.6645, f"ACL 2023, COLING 2025{LITERATURE}"),
    PublishedFigure("TelME, 3 modalities", MELD_TEST, None, 0.6737, f"NAACL 2024{LITERATURE}"),
    PublishedFigure("DialogueMMT, text and video", MELD_TEST, 0.5668, 0.7066, f"COLING 2025{LITERATURE}"),
)

PUBLISHED: dict[Corpus, tuple[PublishedFigure, ...]] = {"ecf": PUBLISHED_FOR_ECF, "meld": PUBLISHED_FOR_MELD}
"""The figures that results on a corpus are shown beside."""
