from pathlib import Path

import pytest

from trimood.scoring.baselines import MELD_TEST, OFFICIAL_TEST, PUBLISHED, UNKNOWN_SPLIT, PublishedFigure

NOTES = Path(__file__).parents[2] / "docs" / "experiments.md"
FIGURES = [figure for figures in PUBLISHED.values() for figure in figures]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.title)
def test_each_figure_stands_in_the_notes_that_it_names_as_its_source(figure: PublishedFigure) -> None:
    assert "docs/experiments.md" in figure.source
    assert figure.macro_f1 or figure.weighted_f1
    words = NOTES.read_text(encoding="utf-8")
    for score in (figure.macro_f1, figure.weighted_f1):
        if score is not None:
            assert f"{score:.3f}".lstrip("0") in words or f"{score:.4f}" in words


def test_each_figure_is_called_by_its_split() -> None:
    assert {figure.split for figure in PUBLISHED["ecf"]} == {UNKNOWN_SPLIT, OFFICIAL_TEST}
    assert {figure.split for figure in PUBLISHED["meld"]} == {MELD_TEST}
    titles = [figure.title for figure in FIGURES]
    assert all(title.endswith((f"({UNKNOWN_SPLIT})", f"({OFFICIAL_TEST})", f"({MELD_TEST})")) for title in titles)
    assert len(set(titles)) == len(titles) == 13
