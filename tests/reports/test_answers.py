"""The five answers on top of a comparison."""

import re

import pytest

from support.made_systems import HEAD, made_comparison, made_system
from trimood.emotions import EMOTIONS
from trimood.reports.answers import Answer, answers, as_markdown, bars, in_short, score_to_beat
from trimood.scoring.intervals import MOST_CONVERSATIONS, Needed
from trimood.scoring.systems import System

QUESTIONS = [
    "Which is best?",
    "Is it better than words alone?",
    "Where does it fail?",
    "Can I trust 0.42?",
    "What do I run next?",
]


def experiment(score: float, seeds: tuple[int, ...] = (1, 2, 3), modalities: str = "text, video") -> System:
    return made_system(score, seeds, modalities=modalities, **HEAD)


BEST = experiment(0.42)
OTHER = {"exp3": experiment(0.4)}
OPEN = Needed(seeds=8, conversations=150)


def words_of(answer: Answer) -> str:
    return " ".join((answer.short, *answer.sentences, *answer.commands)).replace("\u00a0", " ")


def test_all_five_questions_are_answered_in_their_order() -> None:
    found = answers(made_comparison(BEST, OTHER))
    assert [answer.question for answer in found] == QUESTIONS
    assert all(0 < len(answer.short) < 90 for answer in found)


def test_the_best_is_named_with_its_validation_score_its_interval_and_the_runner_up() -> None:
    first = answers(made_comparison(BEST, OTHER, {"exp3": "not_significant"}, OPEN))[0]
    assert first.short == "exp4"
    said = words_of(first)
    assert "the highest validation macro F1 of 2 experiments, 0.420" in said
    assert "test macro F1 is 0.420, 95 % interval 0.320 to 0.520" in said
    assert "runner-up is exp3 (difference +0.020 [-0.080 to +0.120], no significant difference)" in said
    assert "the only experiment" in words_of(answers(made_comparison(BEST))[0])


@pytest.mark.parametrize(
    ("outcome", "begins"),
    [
        ("better", "Yes: +0.110 to TF-IDF sqrt, the strongest that reads words alone"),
        ("worse", "No, 0.120 below TF-IDF"),
        ("not_significant", "Not shown: +0.120 to TF-IDF may be chance"),
    ],
)
def test_words_alone_are_beaten_or_not_as_the_corrected_difference_says(outcome: str, begins: str) -> None:
    second = answers(made_comparison(BEST, OTHER, {"TF-IDF": outcome}))[1]  # type: ignore[dict-item]
    assert second.short == begins
    said = words_of(second)
    assert "Compared with all that read words alone: TF-IDF (difference +0.120 [+0.020 to +0.220], " in said
    assert "TF-IDF sqrt (difference +0.110 [+0.010 to +0.210], better)." in said
    assert "Chance is majority (difference +0.330" in said
    assert "all neutral (difference +0.340" in said


def test_an_experiment_on_words_alone_is_what_others_are_compared_with() -> None:
    on_words = {"exp9": experiment(0.38, modalities="text"), "exp8": experiment(0.35, modalities="text")}
    compared = made_comparison(BEST, on_words)
    second = answers(compared)[1]
    assert second.short == "Yes: +0.040 to exp9, the strongest that reads words alone"
    assert "words alone: exp9 (difference +0.040" in words_of(second)
    assert [bar.name for bar in bars(compared)] == ["exp4", "exp9", "TF-IDF sqrt", "majority"]
    assert score_to_beat(compared) == "exp9"
    assert score_to_beat(made_comparison(BEST, OTHER)) == "TF-IDF sqrt"
    one_open = answers(made_comparison(BEST, on_words, {"exp8": "not_significant"}))
    assert one_open[1].short == "Not shown: +0.070 to exp8 may be chance"
    assert one_open[4].short == "A search: exp4 is not shown to be better than exp8, which reads words alone"
    one_lost = answers(made_comparison(BEST, on_words, {"TF-IDF": "not_significant", "exp9": "worse"}))
    assert one_lost[1].short == "No, 0.040 below exp9"
    itself = made_comparison(experiment(0.42, modalities="text"), OTHER)
    assert answers(itself)[1].short == "exp4 reads nothing but words itself"
    assert "Compared with all others that read words alone: TF-IDF (" in words_of(answers(itself)[1])
    assert score_to_beat(itself) == "TF-IDF sqrt"


def test_weights_that_were_trained_elsewhere_take_no_part_in_the_choice() -> None:
    imported = made_system(0.9, (42,), modalities="text", imported=True, **HEAD)
    first, second, *_ = answers(made_comparison(BEST, {**OTHER, "exp9 (imported 01)": imported}))
    assert "the highest validation macro F1 of 2 experiments, 0.420" in words_of(first)
    assert "trained elsewhere take no part either" in words_of(first)
    assert "imported" not in words_of(second)
    alone = answers(made_comparison(imported))[0]
    assert "It was trained elsewhere, perhaps on these validation utterances." in words_of(alone)


def test_a_runner_up_that_is_better_on_test_is_no_settled_question() -> None:
    first, *_, last = answers(made_comparison(BEST, {"exp3": experiment(0.5)}, {"exp3": "worse"}))
    assert "exp3 is significantly better on the test split: validation and test disagree." in words_of(first)
    assert last.short == "More seeds: validation chooses exp4, but exp3 is significantly better on test"
    assert "choose by validation again" in words_of(last)
    assert '--params "seeds=[4,5,6]"' in last.commands[0]


def test_the_worst_emotions_and_the_most_frequent_mistake_are_named() -> None:
    confusions = [[0] * 7 for _ in range(7)]
    for number, emotion in enumerate(EMOTIONS):
        confusions[number][number] = int(emotion != "surprise")
    confusions[1][3], confusions[1][1], confusions[3][4], confusions[3][3] = 9, 1, 5, 90
    failing = BEST.model_copy(
        update={
            "f1_of_classes": {**BEST.f1_of_classes, "fear": 0.1, "joy": 0.05, "surprise": 0},
            "never_predicted": {"joy": 2, "surprise": 3},
            "confusion_matrix": tuple(map(tuple, confusions)),
        }
    )
    third = answers(made_comparison(failing, OTHER))[2]
    assert third.short == "joy (F1 0.05) and fear (F1 0.10)"
    said = words_of(third)
    assert "Never predicted: joy (2 of 3 seeds)." in said
    assert "No test utterance has surprise." in said
    assert "neutral in place of fear: 9 of 10 answers" in said
    assert "mistake" not in words_of(answers(made_comparison(BEST, OTHER))[2])  # there is none


def test_trust_is_an_interval_what_is_not_known_and_the_warnings() -> None:
    compared = made_comparison(
        BEST,
        OTHER,
        settled_by=OPEN,
        remarks=("training settings differ: rate: exp3 1", "training settings differ: size: exp3 2"),
        shortcomings=("1 of 2 experiments never predict an emotion: exp3 fear (1 of 3 seeds)",),
    )
    fourth = answers(compared)[3]
    assert fourth.short == "It lies between 0.32 and 0.52"
    said = words_of(fourth)
    assert "from 44 test conversations and 3 seeds." in said
    assert "whether exp4 is better than exp3" in said
    assert "with about 8 seeds of each (now 3), or with about 150 test conversations (now 44)" in said
    assert "Warnings: training settings differ; 1 of 2 experiments never predict an emotion." in said
    calm = words_of(answers(made_comparison(BEST, OTHER))[3])
    assert "Not known" not in calm
    assert "Warnings" not in calm
    hopeless = words_of(answers(made_comparison(BEST, OTHER, settled_by=Needed(None, None)))[3])
    assert f"nor {MOST_CONVERSATIONS:,} test conversations" in hopeless
    from_one = made_comparison(BEST, OTHER, settled_by=Needed(None, None), test_conversations=1)
    assert "Nor is known what would show it: one test conversation says nothing of others." in words_of(
        answers(from_one)[3]
    )
    assert "Neither" not in words_of(answers(from_one)[3])
    assert answers(from_one)[4].short == "Use exp4; what would show whether exp3 is as good is not known"
    one = words_of(
        answers(made_comparison(experiment(0.42, (1,)), {"exp3": experiment(0.4, (1,))}, settled_by=OPEN))[3]
    )
    assert "says nothing of other seeds" in one
    assert "From one seed, the variance between seeds is not known, nor how many seeds would show it." in one
    lone = {"exp3": experiment(0.4, (1,))}
    unknown = words_of(answers(made_comparison(experiment(0.42, (1,)), lone, settled_by=Needed(None, None)))[3])
    assert "100,000 test conversations would not show" in unknown
    assert "Neither" not in unknown


def test_the_picture_has_each_system_once() -> None:
    shown = bars(made_comparison(BEST, OTHER))  # exp4 is the baseline, too
    assert [(bar.name, bar.part.partition(",")[0]) for bar in shown] == [
        ("exp4", "best by validation"),
        ("exp3", "runner-up by validation"),
        ("TF-IDF sqrt", "words alone"),
        ("majority", "chance: the most frequent emotion"),
    ]
    assert (shown[0].low, shown[0].value, shown[0].high) == (BEST.macro_f1.low, 0.42, BEST.macro_f1.high)


def test_the_answers_in_short_are_one_line_with_what_to_run() -> None:
    written = in_short(answers(made_comparison(BEST, OTHER, settled_by=OPEN)))
    assert re.findall(r"\*\*(.*?)\*\*", written) == QUESTIONS
    assert written.startswith("**Which is best?** exp4. **")
    assert (
        '`kedro run --pipelines=exp4,exp3 --params "seeds=[4,5,6,7,8]"`, then `kedro run --pipelines=compare' in written
    )
    assert written.endswith("`. Add the --env and the other --params of the compared experiments.")
    assert "\n" not in written


def test_the_answers_are_a_list_in_markdown() -> None:
    written = as_markdown(answers(made_comparison(BEST, OTHER, settled_by=OPEN)))
    assert re.findall(r"^- \*\*(.*?)\*\*", written, flags=re.MULTILINE) == QUESTIONS
    assert '  `kedro run --pipelines=exp4,exp3 --params "seeds=[4,5,6,7,8]"`' in written.splitlines()
