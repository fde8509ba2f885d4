"""What a modality is ablation, on predictions that can be worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from trimood.emotions import EMOTIONS, Modality
from trimood.scoring.ablation import PERMUTATION_SEED, PERMUTATIONS, Embeddings, ablate_modalities
from trimood.scoring.metrics import summary_scores

LABELS = np.repeat(np.arange(7), [2, 1, 1, 4, 2, 1, 1])


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(7)[labels]


def largest_sum(embeddings: Embeddings) -> np.ndarray:
    """The class on which the modalities together put most; the first where all put the same."""
    return np.sum(list(embeddings.values()), axis=0).argmax(axis=1)


def ablation_of(**embeddings: np.ndarray) -> pd.DataFrame:
    named: dict[Modality, np.ndarray] = embeddings  # type: ignore[assignment]
    return ablate_modalities(LABELS, named, largest_sum).set_index(["modality", "change"])


def test_a_modality_that_decides_alone_is_worth_all_and_one_that_says_nothing_is_worth_nothing() -> None:
    ablation = ablation_of(video=0.1 * one_hot(np.full_like(LABELS, 3)), text=one_hot(LABELS))
    assert list(ablation.index) == [
        ("all", "intact"),
        ("video", "blanked"),
        ("video", "shuffled"),
        ("text", "blanked"),
        ("text", "shuffled"),
    ]
    assert ablation.loc["all", "macro_f1"].item() == 1
    assert ablation.loc["video", "macro_f1_drop"].tolist() == [0, 0]
    # Without the words all is called neutral: 4 of 12 rightly, F1 = 2 * 4 / (4 + 12) = 1/2, and the other six have 0.
    blanked = ablation.loc[("text", "blanked")]
    assert blanked["macro_f1"] == pytest.approx(0.5 / 7)
    assert blanked["macro_f1_drop"] == pytest.approx(1 - 0.5 / 7)
    assert [blanked[f"f1_{emotion}"] for emotion in EMOTIONS] == [0, 0, 0, 0.5, 0, 0, 0]
    assert [blanked[f"drop_{emotion}"] for emotion in EMOTIONS] == [1, 1, 1, 0.5, 1, 1, 1]
    assert pd.isna(blanked[["macro_f1_sd", "permutations", "seed"]]).all()


def test_a_modality_that_misleads_has_a_negative_drop() -> None:
    ablation = ablation_of(audio=2 * one_hot((LABELS + 1) % 7), text=one_hot(LABELS))
    assert ablation.loc["all", "macro_f1"].item() == 0
    assert ablation.loc[("audio", "blanked"), "macro_f1_drop"] == -1
    assert -1 < ablation.loc[("audio", "shuffled"), "macro_f1_drop"] < 0


def test_where_nothing_is_left_every_emotion_is_equally_likely_and_the_first_is_named() -> None:
    ablation = ablation_of(text=one_hot(LABELS))
    blanked = ablation.loc[("text", "blanked")]
    assert blanked["f1_surprise"] == pytest.approx(2 * 2 / (2 + 12))
    assert blanked["macro_f1"] == pytest.approx(2 * 2 / (2 + 12) / 7)


def test_a_shuffled_modality_is_the_mean_over_the_stated_permutations_and_comes_out_alike_again() -> None:
    text = one_hot(LABELS)
    shuffled = ablation_of(text=text).loc[("text", "shuffled")]
    generator = np.random.default_rng(PERMUTATION_SEED)
    scores = [
        summary_scores(LABELS, LABELS[generator.permutation(len(LABELS))])["macro_f1"] for _ in range(PERMUTATIONS)
    ]
    assert shuffled["macro_f1"] == pytest.approx(np.mean(scores))
    assert shuffled["macro_f1_sd"] == pytest.approx(np.std(scores, ddof=1))
    assert len(set(scores)) > 5
    assert (shuffled["permutations"], shuffled["seed"]) == (PERMUTATIONS, PERMUTATION_SEED)
    drops = [shuffled[f"drop_{emotion}"] for emotion in EMOTIONS]
    assert np.mean(drops) == pytest.approx(shuffled["macro_f1_drop"])
    pd.testing.assert_frame_equal(ablation_of(text=text), ablation_of(text=text))


def test_utterances_without_an_emotion_are_refused() -> None:
    with pytest.raises(ValueError, match="the labels contain -1"):
        ablate_modalities(np.array([-1, 0]), {"text": np.zeros((2, 7))}, largest_sum)
