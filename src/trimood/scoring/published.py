"""Published figures of this task, to stand beside one's own; each names the split that it was measured on."""

from dataclasses import asdict, dataclass

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
