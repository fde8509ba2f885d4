"""Answers to single test utterances: the surest mistakes, and what experiments disagree on."""

import numpy as np
import pandas as pd

from trimood.emotions import EMOTIONS, MODALITIES, PROBABILITIES, WITHOUT, Modality

CHANGES: dict[Modality, str] = {modality: f"change_without_{modality}" for modality in MODALITIES}
"""Columns of `mean_answers`: the change of the predicted emotion's probability if a modality is taken away."""


def mean_answers(predictions: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each system and test utterance, in the order of `predictions`: means over the system's seeds.

    Columns: system, utterance, emotion, label; PROBABILITIES, their means over seeds; predicted, the emotion with the
    highest mean, and its `probability`; `seeds`, `right_seeds` and `agreeing_seeds`, how many there are, are right, and
    predict that emotion themselves; CHANGES, from -1 to 1, means over the agreeing seeds, because each seed has stored
    them of its own answer: NaN without one, for a modality that the system does not use, and for all if a prediction
    was stored without the columns WITHOUT.
    """
    test = predictions[predictions["split"] == "test"]
    chances = test[list(PROBABILITIES)].to_numpy(dtype=float)
    known = test.reindex(columns=list(WITHOUT.values())).to_numpy(dtype=float)  # [row, modality]
    changes = pd.DataFrame(known - chances.max(axis=1)[:, None], columns=list(CHANGES.values()), index=test.index)
    right = (test["predicted"] == test["emotion"]).rename("right_seeds")
    rows = pd.concat([test, changes, right], axis=1)
    keys = ["system", "utterance"]
    by_answer = rows.groupby(keys, sort=False)
    answers = by_answer[["emotion", "label"]].first().join(by_answer[list(PROBABILITIES)].mean())
    of_emotions = answers[list(PROBABILITIES)].to_numpy()
    answers["predicted"] = np.array(EMOTIONS)[of_emotions.argmax(axis=1)]
    answers["probability"] = of_emotions.max(axis=1)
    predicted = answers["predicted"].reindex(pd.MultiIndex.from_frame(rows[keys]))
    agreeing = rows[rows["predicted"].to_numpy() == predicted.to_numpy()].groupby(keys)
    answers["seeds"], answers["right_seeds"] = by_answer.size(), by_answer["right_seeds"].sum()
    answers["agreeing_seeds"] = agreeing.size().reindex(answers.index, fill_value=0)
    answers = answers.join(agreeing[list(CHANGES.values())].mean())
    return answers.reset_index()


def surest_mistakes(answers: pd.DataFrame, count: int) -> pd.DataFrame:
    """The `count` wrong answers of each system with the highest probability, the surest first; fewer if it has fewer.

    Of equal ones, the first by the name of the utterance.
    """
    wrong = answers[answers["predicted"] != answers["emotion"]]
    ordered = wrong.sort_values(["probability", "utterance"], ascending=[False, True], kind="stable")
    return ordered.groupby("system", sort=False).head(count).reset_index(drop=True)


def disagreement(answers: pd.DataFrame) -> pd.Series:
    """How much systems disagree on each utterance, in bits, the most first: Jensen-Shannon divergence.

    The entropy of the systems' mean probabilities minus the mean of their entropies (Lin 1991, IEEE Trans. Inf. Theory
    37, 145-151): 0 if all say the same, also if all are equally unsure; at most log2 of the number of systems. Of equal
    ones, the first by name.
    """
    by_utterance = answers.groupby("utterance")
    chances = list(PROBABILITIES)
    of_means = _entropy(by_utterance[chances].mean())
    mean_of = _entropy(answers.set_index("utterance")[chances]).groupby("utterance").mean()
    found = (of_means - mean_of).clip(lower=0).rename("bits")
    return found.sort_index().sort_values(ascending=False, kind="stable")


def _entropy(chances: pd.DataFrame) -> pd.Series:
    """In bits, of each row."""
    p = chances.to_numpy(dtype=float)
    return pd.Series(-(p * np.log2(np.where(p > 0, p, 1))).sum(axis=1), index=chances.index)
