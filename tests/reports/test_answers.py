"""The five answers on top of a comparison."""

import re

import pytest

from support.made_systems import HEAD, made_comparison, made_system
from trimood.reports.answers import Answer, answers, as_markdown, bars
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
    [("better", "Yes, by 0.120 over"), ("worse", "No, -0.120 below"), ("not_significant", "Not shown: +0.120 to")],
)
def test_words_alone_are_beaten_or_not_as_the_corrected_difference_says(outcome: str, begins: str) -> None:
    second = answers(made_comparison(BEST, OTHER, {"TF-IDF": outcome}))[1]  # type: ignore[dict-item]
    assert second.short.startswith(f"{begins} TF-IDF")
    said = words_of(second)
    assert "interval of this difference is +0.020 to +0.220" in said
    assert "Chance is majority (difference +0.330" in said
    assert "all neutral (difference +0.340" in said


def test_an_experiment_on_words_alone_is_what_others_are_compared_with() -> None:
    on_words = {"exp9": experiment(0.38, modalities="text"), "exp8": experiment(0.3, modalities="text")}
    compared = made_comparison(BEST, on_words)
    assert "reads words alone is exp9 (difference +0.040" in words_of(answers(compared)[1])
    assert [bar.name for bar in bars(compared)] == ["exp4", "exp9", "TF-IDF", "majority"]
    itself = made_comparison(experiment(0.42, modalities="text"), OTHER)
    assert "reads nothing but words" in words_of(answers(itself)[1])


def test_the_worst_emotions_and_the_most_frequent_mistake_are_named() -> None:
    confusions = [[0] * 7 for _ in range(7)]
    confusions[1][3], confusions[1][1], confusions[3][4], confusions[3][3] = 9, 1, 5, 90
    failing = BEST.model_copy(
        update={
            "f1_of_classes": {**BEST.f1_of_classes, "fear": 0.1, "disgust": 0.05},
            "never_predicted": {"disgust": 2},
            "confusion_matrix": tuple(map(tuple, confusions)),
        }
    )
    third = answers(made_comparison(failing, OTHER))[2]
    assert third.short == "disgust (F1 0.05) and fear (F1 0.10)"
    said = words_of(third)
    assert "Never predicted: disgust (2 of 3 seeds)." in said
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
    one = words_of(
        answers(made_comparison(experiment(0.42, (1,)), {"exp3": experiment(0.4, (1,))}, settled_by=OPEN))[3]
    )
    assert "says nothing of other seeds" in one
    assert "From one seed, the variance between seeds is not known." in one


@pytest.mark.parametrize(
    ("best", "settled_by", "outcome", "commands"),
    [
        (
            BEST,
            OPEN,
            "better",
            [
                'kedro run --pipelines=exp4,exp3 --params "seeds=[4,5,6,7,8]"',
                'kedro run --pipelines=compare --params "compare.baseline=exp4"',
            ],
        ),
        (BEST, Needed(None, 150), "better", ["--pipelines=register --params model=exp4", "kedro app"]),
        (BEST, None, "better", ["--pipelines=register --params model=exp4", "kedro app"]),
        (BEST, None, "not_significant", ["--pipelines=tune --params experiment=exp4"]),
        (experiment(0.42, (42,)), None, "better", ['"seeds=[43,44]"', "--pipelines=compare"]),
    ],
)
def test_the_next_command_settles_what_is_open_first(
    best: System, settled_by: Needed | None, outcome: str, commands: list[str]
) -> None:
    others = {"exp3": experiment(0.4, best.seeds)}
    last = answers(made_comparison(best, others, {"TF-IDF": outcome}, settled_by))[4]  # type: ignore[dict-item]
    assert len(last.commands) == len(commands)
    for command, words in zip(last.commands, commands, strict=True):
        assert words in command


def test_seeds_that_only_two_of_many_experiments_have_are_compared_by_naming_their_runs() -> None:
    many = {**OTHER, "exp1": experiment(0.2)}
    last = answers(made_comparison(BEST, many, settled_by=OPEN))[4]
    assert last.commands[0] == 'kedro run --pipelines=exp4,exp3 --params "seeds=[4,5,6,7,8]"'
    assert last.commands[1] == 'kedro run --pipelines=compare --params "compare.baseline=exp3,compare.runs=[…]"'
    assert "name the runs of these two" in last.sentences[0]
    of_one_seed = {name: experiment(0.2, (42,)) for name in many}
    last = answers(made_comparison(experiment(0.42, (42,)), of_one_seed, settled_by=OPEN))[4]
    assert last.commands[0] == 'kedro run --pipelines=exp4,exp3,exp1 --params "seeds=[43,44]"'


def test_what_no_pipeline_is_named_after_is_not_trained_again_but_used_by_its_run() -> None:
    compared = made_comparison(BEST, {"exp3 (imported 01)": experiment(0.4, (42,))}, settled_by=OPEN)
    commands = answers(compared)[4].commands
    assert not any("seeds=" in command for command in commands)
    assert commands[0] == "kedro run --pipelines=register --params model=exp4"
    named = "exp4 (lora.r=8)"
    systems = {named if name == "exp4" else name: of for name, of in compared.systems.items()}
    verdict = compared.verdict.model_copy(update={"best": named})
    settings = compared.settings.model_copy(update={"baseline": named})
    renamed = compared.model_copy(update={"systems": systems, "verdict": verdict, "settings": settings})
    assert answers(renamed)[4].commands[0] == "kedro run --pipelines=register --params model=run-1"


def test_the_picture_has_each_system_once() -> None:
    shown = bars(made_comparison(BEST, OTHER))  # exp4 is the baseline, too
    assert [(bar.name, bar.part.partition(",")[0]) for bar in shown] == [
        ("exp4", "best by validation"),
        ("exp3", "runner-up by validation"),
        ("TF-IDF", "words alone"),
        ("majority", "chance: the most frequent emotion"),
    ]
    assert (shown[0].low, shown[0].value, shown[0].high) == (BEST.macro_f1.low, 0.42, BEST.macro_f1.high)


def test_the_answers_are_a_list_in_markdown() -> None:
    written = as_markdown(answers(made_comparison(BEST, OTHER, settled_by=OPEN)))
    assert re.findall(r"^- \*\*(.*?)\*\*", written, flags=re.MULTILINE) == QUESTIONS
    assert '  `kedro run --pipelines=exp4,exp3 --params "seeds=[4,5,6,7,8]"`' in written.splitlines()
