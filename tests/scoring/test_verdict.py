"""The verdict: the best by validation, and what falls short."""

import numpy as np

from support.made_systems import HEAD, made_system
from trimood.emotions import EMOTIONS
from trimood.scoring.intervals import Sampled
from trimood.scoring.systems import AblationRow
from trimood.scoring.verdict import NOTHING, judge, shortcomings

SPREAD = np.linspace(-0.05, 0.05, 101)
SAMPLES = {
    name: Sampled(np.array([score - 0.01, score + 0.01, score]), score + SPREAD * sign, 30)
    for name, score, sign in (("exp1", 0.40, 1), ("exp3", 0.45, -1), ("exp4", 0.42, 1), ("TF-IDF", 0.2, 1))
}


def test_validation_chooses_and_never_test() -> None:
    found = judge(SAMPLES, {"exp1": 0.6, "exp3": 0.4, "exp4": 0.5}, 0.95)
    assert (found.best, found.runner_up) == ("exp1", "exp4")
    assert SAMPLES["exp1"].of_seeds.mean() < SAMPLES["exp3"].of_seeds.mean()
    assert judge(SAMPLES, {"exp1": 0.5, "exp3": 0.6, "exp4": 0.5}, 0.95).runner_up == "exp1"


def test_differences_are_the_best_minus_all_others() -> None:
    found = judge(SAMPLES, {"exp1": 0.6, "exp3": 0.4, "exp4": 0.5}, 0.95).differences
    assert set(found) == {"exp3", "exp4", "TF-IDF"}
    assert np.isclose(found["TF-IDF"].estimate.value, 0.2)
    assert found["TF-IDF"].outcome == "better"
    assert found["exp3"].estimate.value < 0
    assert found["exp4"].p_holm >= found["exp4"].estimate.p_value


def test_only_an_open_question_is_to_be_settled() -> None:
    open_one = judge(SAMPLES, {"exp1": 0.6, "exp3": 0.5}, 0.95)  # their draws go against each other
    assert open_one.settled_by is not None
    settled = judge(SAMPLES, {"exp1": 0.6, "TF-IDF": 0.5}, 0.95)
    assert (settled.runner_up, settled.settled_by) == ("TF-IDF", None)
    alone = judge(SAMPLES, {"exp1": 0.6}, 0.95)
    assert (alone.best, alone.runner_up, alone.settled_by) == ("exp1", None, None)


def dropping(**drops: float) -> tuple[AblationRow, ...]:
    none = dict.fromkeys(EMOTIONS, 0.0)
    return tuple(
        AblationRow(modality=modality, change=change, macro_f1_drop=drop, f1_drops=none)
        for modality, drop in drops.items()
        for change in ("blanked", "shuffled")
    )


def test_what_is_never_predicted_and_what_brings_nothing_is_said_of_experiments_alone() -> None:
    whole = made_system(0.4, modalities="text, video", **HEAD)
    blind = whole.model_copy(update={"modality_ablation": dropping(text=0.2, video=NOTHING / 2, audio=-0.1)})
    mute = whole.model_copy(update={"never_predicted": {"fear": 2, "disgust": 1}})
    reference = made_system(0.1).model_copy(update={"never_predicted": {"joy": 1}})
    found = shortcomings({"exp1": whole, "exp3": blind, "exp4": mute, "majority": reference})
    assert found == [
        "1 of 3 experiments never predict an emotion: exp4 fear (2 of 2 seeds), disgust (1 of 2 seeds)",
        "1 of 3 experiments have a modality that brings nothing by ablation: exp3 video, audio",
    ]
    assert shortcomings({"exp1": whole, "majority": reference}) == []


def test_a_modality_that_matters_only_when_shuffled_brings_something() -> None:
    rows = dropping(video=0.0)
    misled = (rows[0], rows[1].model_copy(update={"macro_f1_drop": 0.1}))
    system = made_system(0.4, modalities="video", **HEAD).model_copy(update={"modality_ablation": misled})
    assert shortcomings({"exp1": system}) == []
