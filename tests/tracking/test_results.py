"""What a command says last, and what MLflow shows above a run."""

from pathlib import Path

import pytest

from trimood.scoring.summary import OnTest, Range, RunSummary
from trimood.tracking.results import Ending, Given, Result, describe, in_a_column, last_words

SCREEN = 24  # lines of a terminal

LINK = "http://127.0.0.1:5000/#/experiments/1/runs"


def on_test(value: float = 0.407, gain: Range | None = None) -> OnTest:
    return OnTest(
        utterances=87,
        conversations=12,
        macro_f1=Range(value=value, low=0.332, high=0.511),
        weighted_f1=0.5,
        tfidf=0.35,
        gain=gain or Range(value=0.057, low=-0.02, high=0.13),
        never_predicted=("fear", "disgust"),
    )


def summary(name: str = "exp4", seed: int = 3, **other: object) -> RunSummary:
    values = {
        "experiment": name,
        "seed": seed,
        "imported": False,
        "trained": "text + video, LoRA r=16",
        "confidence": 0.95,
        "validation_macro_f1": 0.445,
        "test": on_test(),
        "excluded": {"drop": 5, "blank": 2},
        **other,
    }
    return RunSummary.model_validate(values)


def said(
    *summaries: RunSummary, folder: Path | None = None, given: Given | None = None, report: Path | None = None
) -> list[str]:
    ending = Ending([Result(of, folder) for of in summaries], LINK, report=report)
    lines = last_words(ending, 92, given or Given())
    assert all(line.isascii() for line in lines)  # a terminal may show nothing else
    return lines


def test_one_result_is_five_lines(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.touch()
    assert said(summary(), folder=tmp_path, report=report) == [
        "exp4, seed 3, in 1 min 32 s: macro F1 0.407 (95% interval 0.332 to 0.511) on test; TF-IDF 0.350: no clear "
        "difference on test (interval over conversations only).",
        "Never predicted on test: fear, disgust.",
        "Next: kedro run --pipelines=exp4 --params 'seeds=[1,2,3]', as other seeds may score differently; kedro app, "
        "to try the model.",
        f"MLflow: make ui, then {LINK}",
        f"Report: figures in {tmp_path}; the report of the last compare in {report}",
    ]


def test_files_that_are_not_there_are_not_announced(tmp_path: Path) -> None:
    only_figures = said(summary(), folder=tmp_path, report=tmp_path / "report.html")
    assert only_figures[-1] == f"Report: figures in {tmp_path}"
    none = said(summary(), folder=tmp_path / "gone", report=tmp_path / "report.html")
    assert none[-1].startswith("MLflow: ")


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (Range(value=0.1, low=0.01, high=0.2), "this training is better on test (interval over conversations only)."),
        (Range(value=-0.1, low=-0.2, high=-0.01), "this training is worse on test (interval over conversations only)."),
        (Range(value=-0.1), "a difference of -0.100."),
    ],
)
def test_the_result_is_called_better_only_if_its_interval_says_so(gain: Range, words: str) -> None:
    assert said(summary(test=on_test(gain=gain)))[0].endswith(f"; TF-IDF 0.350: {words}")


@pytest.mark.parametrize("gain", [-0.1, 0.0, 0.1])
def test_no_single_training_is_called_significant(gain: float) -> None:
    """Its interval knows nothing of other seeds; `compare` decides."""
    found = summary(test=on_test(gain=Range(value=gain, low=gain - 0.01, high=gain + 0.01)))
    assert "significant" not in said(found)[0] + describe(found, "")


def test_where_nothing_is_known_nothing_is_said() -> None:
    without = said(summary(test=None))
    assert without[0] == "exp4, seed 3, in 1 min 32 s: macro F1 0.445 on validation; there is no test utterance."
    assert "Never" not in "".join(without)
    imported = summary(
        imported=True, test=on_test().model_copy(update={"tfidf": None, "gain": None, "macro_f1": Range(value=0.4)})
    )
    first, _, following, *_ = said(imported)
    assert first == "exp4, imported, in 1 min 32 s: macro F1 0.400 on test."
    assert following == "Next: kedro app, to try the model."  # there is no other seed of it
    assert last_words(Ending(link=LINK), 92, Given()) == []


def test_the_next_commands_are_given_as_this_one_was() -> None:
    given = Given(".venv/bin/kedro", "ecf", None, has_params=True)
    assert said(summary(), given=given)[2] == (
        "Next: this command with seeds=[1,2,3] in --params, as other seeds may score differently; .venv/bin/kedro app "
        "--env=ecf, with the same --params, to try the model."
    )
    assert said(summary("exp1", 1), summary("exp1", 2), given=given)[4] == (
        "Next: .venv/bin/kedro run --pipelines=compare --env=ecf, with the same --params but seeds and jobs, to see "
        "which differences are significant."
    )


def test_another_source_of_configuration_is_named_where_a_command_takes_it() -> None:
    given = Given(conf_source="/my conf")
    assert said(summary(), given=given)[2] == (
        "Next: kedro run --pipelines=exp4 --conf-source='/my conf' --params 'seeds=[1,2,3]', as other seeds may score "
        "differently."
    )
    assert "--pipelines=compare --conf-source='/my conf' --params" in said(summary(), summary(seed=4), given=given)[4]
    assert not [line for line in said(summary(imported=True), given=given) if line.startswith("Next")]


def test_a_confidence_is_not_rounded_and_a_table_of_several_names_each() -> None:
    other = summary(seed=4, confidence=0.995)
    assert "(99.5% interval 0.332 to 0.511)" in said(other)[0]
    assert "macro F1 on test  99.5% interval " in said(other, summary(seed=5, confidence=0.995))[1]
    lines = said(summary(), other)
    assert "%" not in lines[1]
    assert ("0.332 to 0.511 (95%)" in lines[2], "0.332 to 0.511 (99.5%)" in lines[3]) == (True, True)


def test_several_results_are_a_table_with_the_best_on_validation_first() -> None:
    lines = said(summary("exp3", 1), summary("exp4", 1, validation_macro_f1=0.5), summary("exp4", 2, test=None))
    assert lines[0] == "3 results in 1 min 32 s, the best on validation first. TF-IDF on the same test: 0.350."
    assert [line.split("  ")[0] for line in lines[2:5]] == ["exp4, seed 1", "exp3, seed 1", "exp4, seed 2"]
    assert lines[4].split() == ["exp4,", "seed", "2", "no", "test"]
    assert lines[5].startswith("Next: kedro run --pipelines=compare --params compare.baseline=TF-IDF,")


@pytest.mark.parametrize(("experiments", "seeds"), [(9, 3), (40, 5), (12, 1)])
def test_any_number_of_results_fits_a_screen(experiments: int, seeds: int) -> None:
    lines = said(*(summary(f"exp{number}", seed) for number in range(experiments) for seed in range(seeds)))
    assert len(lines) < SCREEN
    if seeds > 1:
        assert f"exp0, {seeds} seeds" in "".join(lines)
    if experiments == 40:
        assert "... and 28 more experiments, in MLflow" in lines


def test_the_description_of_a_run_answers_what_how_good_and_what_was_left_out() -> None:
    note = describe(summary(), "is a linear head enough?")
    assert note.splitlines()[0] == "**Is a linear head enough?**"
    for words in (
        "text + video, LoRA r=16, seed 3",
        "macro F1 on test 0.407 (95% interval 0.332 to 0.511), 87 utterances of 12 conversations",
        "TF-IDF has 0.350 on the same test; difference +0.057 (-0.020 to 0.130), no clear difference on test",
        "fear, disgust",
        "2 clips replaced by nothing, 5 clips dropped",
    ):
        assert words in note
    assert "08_reporting" not in note  # the folder is another seed's soon
    bare = describe(summary(test=None, excluded=None), "")
    assert "TF-IDF" not in bare
    assert "Left out" not in bare
    assert bare.startswith("- **Trained:**")


def test_the_column_of_the_list_shows_the_interval_if_there_is_one() -> None:
    assert in_a_column(Range(value=0.407, low=0.332, high=0.511)) == "0.33–0.51"
    assert in_a_column(Range(value=0.407)) == ""
