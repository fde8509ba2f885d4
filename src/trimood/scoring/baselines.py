"""What a model has to beat: answers without looking, the words alone by classical means, and published figures."""

from dataclasses import asdict, dataclass

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


NOTES = "the six experiments' lab notes; see docs/experiments.md"
MEASURED = "the public annotations and predictions, scored with scikit-learn; see docs/experiments.md"
UNKNOWN_SPLIT = "split not known"
OFFICIAL_TEST = "official test"  # Subtask_2_test.json: 341 conversations, 3,101 utterances


@dataclass(frozen=True)
class PublishedFigure:
    """A figure of somebody else on ECF 2.0 (scenes of Friends); it says nothing of another corpus."""

    name: str
    split: str
    macro_f1: float
    weighted_f1: float | None
    source: str

    @property
    def title(self) -> str:
        """With its split, without which the figure means nothing."""
        return f"{self.name} ({self.split})"


PUBLISHED = (
    PublishedFigure("exp1 as published", UNKNOWN_SPLIT, 0.3646, None, NOTES),
    PublishedFigure("exp2 as published", UNKNOWN_SPLIT, 0.3201, None, NOTES),
    PublishedFigure("exp6 as published", UNKNOWN_SPLIT, 0.3375, None, NOTES),
    PublishedFigure("all neutral", OFFICIAL_TEST, 0.083, 0.241, MEASURED),
    PublishedFigure("TF-IDF", OFFICIAL_TEST, 0.313, 0.437, MEASURED),
    PublishedFigure("second-ranked, text", OFFICIAL_TEST, 0.422, 0.540, MEASURED),
    PublishedFigure("third-ranked, 3 modalities", OFFICIAL_TEST, 0.468, 0.583, MEASURED),
)


def published_figures() -> list[dict[str, str | float | None]]:
    """All of them as JSON has them, each with its title."""
    return [{"title": figure.title, **asdict(figure)} for figure in PUBLISHED]
