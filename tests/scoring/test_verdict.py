"""The verdict: the best by validation, and what falls short."""

import numpy as np
from scipy import stats

from support.made_systems import HEAD, made_system
from trimood.emotions import EMOTIONS
from trimood.scoring.intervals import Sampled
from trimood.scoring.systems import AblationRow, PooledCalibration, System, SystemCalibration
from trimood.scoring.verdict import NOTHING, candidates, judge, shortcomings, unhelpful_temperatures, words_alone

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
    worse = judge(SAMPLES, {"TF-IDF": 0.6, "exp1": 0.5}, 0.95)
    assert (worse.differences["exp1"].outcome, worse.settled_by) == ("worse", None)
    alone = judge(SAMPLES, {"exp1": 0.6}, 0.95)
    assert (alone.best, alone.runner_up, alone.settled_by) == ("exp1", None, None)


def test_what_the_correction_leaves_open_is_to_be_settled_although_its_own_interval_excludes_zero() -> None:
    """The p-value of exp3 is 0.0377; beside four others as near, Holm compares it with 0.05 / 4."""
    spread = np.array([-0.03, 0.03])
    best = Sampled(np.array([0.5] * 3), 0.5 + spread, 44)
    others = {f"exp{number}": Sampled(np.array([0.435] * 3), np.array([0.435] * 2), 44) for number in (3, 4, 6, 9)}
    validation = {"exp1": 0.6, "exp3": 0.5}
    alone = judge({"exp1": best, "exp3": others["exp3"]}, validation, 0.95)
    assert (alone.differences["exp3"].outcome, alone.settled_by) == ("better", None)
    found = judge({"exp1": best, **others}, validation, 0.95)
    (low, high) = (found.differences["exp3"].estimate.low, found.differences["exp3"].estimate.high)
    assert 0 < low < high
    assert found.differences["exp3"].outcome == "not_significant"
    assert found.settled_by is not None
    assert found.settled_by.conversations is not None
    enough, too_few = found.settled_by.conversations, found.settled_by.conversations - 1

    def p_with(conversations: int) -> float:
        error = np.sqrt(0.03**2 * 44 / conversations)
        return float(2 * stats.t.sf(0.065 / error, conversations - 1))

    assert 44 < enough < 90
    assert p_with(enough) < 0.05 / 4 <= p_with(too_few)


def test_experiments_that_were_trained_here_are_candidates_and_imported_weights_only_without_them() -> None:
    here = made_system(0.4, modalities="text, video", **HEAD)
    imported = made_system(0.9, modalities="text", imported=True, **HEAD)
    systems = {"exp1": here, "exp9": made_system(0.3, modalities="text", **HEAD), "exp9 (imported 01)": imported}
    references = {name: made_system(0.2) for name in ("majority", "TF-IDF", "TF-IDF sqrt")}
    assert candidates({**systems, **references}) == ["exp1", "exp9"]
    assert words_alone({**systems, **references}, "exp1") == ["exp9", "TF-IDF", "TF-IDF sqrt"]
    assert words_alone({**systems, **references}, "exp9") == ["TF-IDF", "TF-IDF sqrt"]
    assert candidates({"exp9 (imported 01)": imported, **references}) == ["exp9 (imported 01)"]


def test_temperatures_that_cannot_be_fitted_are_one_warning_for_each_reason() -> None:
    scores = PooledCalibration(expected_calibration_error=0.1, negative_log_likelihood=1, reliability=())

    def unfitted(**reasons: str) -> System:
        calibration = SystemCalibration(
            temperature=1,
            temperature_of_seeds=(1, 1),
            not_fitted={int(seed[1:]): reason for seed, reason in reasons.items()},
            before=scores,
            after=scores,
        )
        return made_system(0.4, modalities="text", **HEAD).model_copy(update={"calibration": calibration})

    systems = {"exp1": unfitted(s1="all right", s2="all right"), "exp3": unfitted(s2="all right", s1="too few")}
    assert unhelpful_temperatures(systems) == [
        "the temperature is 1, which changes nothing, because all right: exp1 seeds 1, 2; exp3 seed 2",
        "the temperature is 1, which changes nothing, because too few: exp3 seed 1",
    ]


def confusions(system: System) -> list[tuple[str, tuple[int, ...]]]:
    return list(zip(EMOTIONS, system.confusion_matrix, strict=True))


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
        "1 of 3 experiments have a modality that brings less than 0.005 macro F1 on this test split: exp3 video, audio",
    ]
    assert shortcomings({"exp1": whole, "majority": reference}) == []
    no_fear = tuple(tuple(0 if name == "fear" else count for count in row) for name, row in confusions(mute))
    untested = mute.model_copy(update={"confusion_matrix": no_fear})
    assert shortcomings({"exp4": untested})[0].endswith("exp4 disgust (1 of 2 seeds)")


def test_a_modality_that_matters_only_when_shuffled_brings_something() -> None:
    rows = dropping(video=0.0)
    misled = (rows[0], rows[1].model_copy(update={"macro_f1_drop": 0.1}))
    system = made_system(0.4, modalities="video", **HEAD).model_copy(update={"modality_ablation": misled})
    assert shortcomings({"exp1": system}) == []
