"""Answers to single utterances: means over seeds, the surest mistakes, disagreement in bits."""

import numpy as np
import pandas as pd
import pytest

from trimood.emotions import CLASS_NUMBERS, EMOTIONS, PROBABILITIES, WITHOUT
from trimood.scoring.errors import CHANGES, disagreement, mean_answers, surest_mistakes


def answer(system: str, seed: int, utterance: str, emotion: str, **chances: float) -> dict[str, object]:
    """A row of predictions; the chances of emotions that are not given are 0. `without_text` may be among them."""
    without = {name: chances.pop(name) for name in WITHOUT.values() if name in chances}
    predicted = max(chances, key=lambda name: chances[name])
    return {
        "system": system,
        "seed": seed,
        "split": "test",
        "utterance": utterance,
        "emotion": emotion,
        "label": CLASS_NUMBERS[emotion],
        "predicted": predicted,
        **{f"p_{name}": chances.get(name, 0.0) for name in EMOTIONS},
        **without,
    }


def test_seeds_are_averaged_and_the_mean_decides() -> None:
    rows = [
        answer("exp1", 1, "a", "joy", joy=0.6, anger=0.4),
        answer("exp1", 2, "a", "joy", joy=0.1, anger=0.9),
    ]
    validation = {**answer("exp1", 1, "b", "joy", joy=1.0), "split": "validation"}
    (found,) = mean_answers(pd.DataFrame([*rows, validation])).to_dict("records")
    assert (found["predicted"], found["seeds"], found["right_seeds"]) == ("anger", 2, 1)
    assert found["probability"] == pytest.approx(0.65)
    assert sum(found[name] for name in PROBABILITIES) == pytest.approx(1)


def test_what_a_modality_changes_is_the_mean_over_the_seeds_that_give_the_answer_of_the_mean() -> None:
    """The mean says anger (0.4, 0.8 and 0.7). Without words, the seeds that say it lose 0.1 and 0.2, mean 0.15.

    The first seed says joy, and without words its joy gains 0.39: of all three, the mean would speak against words.
    """
    rows = [
        answer("exp1", 1, "a", "joy", joy=0.6, anger=0.4, without_text=0.99),
        answer("exp1", 2, "a", "joy", joy=0.2, anger=0.8, without_text=0.7),
        answer("exp1", 3, "a", "joy", joy=0.3, anger=0.7, without_text=0.5),
        answer("exp1", 1, "b", "joy", joy=1.0, without_text=0.4),
        answer("exp1", 2, "b", "joy", joy=1.0, without_text=0.2),
        answer("exp1", 3, "b", "joy", anger=1.0, without_text=0.9),
        answer("exp3", 1, "a", "joy", joy=1.0),
        answer("exp9", 1, "a", "joy", joy=0.5, anger=0.1, fear=0.4, without_text=0.1),
        answer("exp9", 2, "a", "joy", joy=0.1, anger=0.5, fear=0.4, without_text=0.1),
    ]
    found = mean_answers(pd.DataFrame(rows)).set_index(["system", "utterance"])
    assert found.index.tolist() == [("exp1", "a"), ("exp1", "b"), ("exp3", "a"), ("exp9", "a")]
    assert found["predicted"].tolist() == ["anger", "joy", "joy", "fear"]
    assert found["agreeing_seeds"].tolist() == [2, 2, 1, 0]
    assert found[CHANGES["text"]].tolist() == pytest.approx([-0.15, -0.7, np.nan, np.nan], nan_ok=True)
    assert found[CHANGES["video"]].isna().all()


def test_the_surest_mistakes_are_the_most_probable_wrong_answers() -> None:
    rows = [
        answer("exp1", 1, "a", "joy", anger=0.7, joy=0.3),
        answer("exp1", 1, "b", "joy", anger=0.9, joy=0.1),
        answer("exp1", 1, "c", "joy", joy=1.0),
        answer("exp1", 1, "d", "joy", anger=0.7, joy=0.3),
        answer("exp3", 1, "a", "joy", joy=1.0),
        answer("exp3", 1, "b", "joy", fear=0.6, joy=0.4),
    ]
    found = surest_mistakes(mean_answers(pd.DataFrame(rows)), 2)
    assert found[found["system"] == "exp1"]["utterance"].tolist() == ["b", "a"]
    assert found[found["system"] == "exp3"]["utterance"].tolist() == ["b"]


def test_disagreement_is_one_bit_for_two_opposite_certainties_and_none_for_equal_doubts() -> None:
    rows = []
    for system, certain in (("exp1", "joy"), ("exp3", "anger")):
        rows += [
            answer(system, 1, "doubt", "joy", joy=0.5, anger=0.5),
            answer(system, 1, "opposite", "joy", **{certain: 1.0}),
            answer(system, 1, "agreed", "joy", joy=1.0),
        ]
    found = disagreement(mean_answers(pd.DataFrame(rows)))
    assert list(found.index) == ["opposite", "agreed", "doubt"]
    assert found.tolist() == pytest.approx([1, 0, 0])
    quarter = pd.DataFrame([answer("a", 1, "x", "joy", joy=1.0), answer("b", 1, "x", "joy", joy=0.5, anger=0.5)])
    # The mean is (3/4, 1/4) with 0.8113 bits; the entropies are 0 and 1.
    assert disagreement(mean_answers(quarter)).tolist() == pytest.approx([0.8113 - 0.5], abs=1e-4)
