"""What a model has to beat: answers without looking, and the words alone by classical means."""

import numpy as np
from numpy.typing import ArrayLike

from trimood.emotions import EMOTIONS

REFERENCES = ("all neutral", "majority", "TF-IDF")
"""All utterances neutral; all the commonest emotion of the training split; words by logistic regression."""


def all_neutral(count: int) -> np.ndarray:
    """Certainty for neutral, [utterance, class]."""
    chances = np.zeros((count, len(EMOTIONS)))
    chances[:, EMOTIONS.index("neutral")] = 1
    return chances


def class_prior(labels: ArrayLike, count: int) -> np.ndarray:
    """The shares of the emotions among the training labels for every utterance, [utterance, class]."""
    from sklearn.dummy import DummyClassifier

    true = np.asarray(labels)
    model = DummyClassifier(strategy="prior").fit(np.zeros((len(true), 1)), true)
    return _all_classes(model.predict_proba(np.zeros((count, 1))), model.classes_)


def tfidf(training_texts: list[str], labels: ArrayLike, texts: list[str]) -> np.ndarray:
    """Logistic regression with balanced classes on words (1-2) and on characters within words (2-5)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    # A token is what ECF parts by blanks: "?" and "!" are words here, and tell of surprise.
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\S+")  # noqa: S106
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5))
    regression = LogisticRegression(class_weight="balanced", max_iter=2000)
    model = make_pipeline(make_union(words, characters), regression).fit(training_texts, np.asarray(labels))
    return _all_classes(model.predict_proba(texts), regression.classes_)


def _all_classes(chances: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """With a column of zeros for an emotion that training lacks."""
    whole = np.zeros((len(chances), len(EMOTIONS)))
    whole[:, classes] = chances
    return whole
