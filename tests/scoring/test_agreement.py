import pandas as pd
import pytest

from trimood.scoring.agreement import (
    check_same_utterances,
    different_settings,
    looks_at_the_test,
    of_unknown_training,
    unequal_seeds,
    without,
)


def runs(**seeds: list[int]) -> pd.DataFrame:
    return pd.DataFrame([{"system": name, "seed": seed} for name, of in seeds.items() for seed in of])


def test_equal_numbers_of_seeds_are_left_alone() -> None:
    for table in (runs(exp1=[1, 2], exp4=[1, 2]), runs(exp1=[42], exp4=[1]), runs(exp4=[1, 2, 3])):
        assert unequal_seeds(table, chosen=False) == ([], [])


def test_seeds_that_an_experiment_has_alone_are_left_out() -> None:
    left_out, (remark,) = unequal_seeds(runs(exp1=[1, 2, 3], exp4=[42, 1, 2, 3], exp6=[3, 2, 1]), chosen=False)
    assert left_out == [("exp4", 42)]
    assert "every experiment has are compared: 1, 2, 3. Left out are the seeds exp4 42." in remark
    left_out, (remark,) = unequal_seeds(runs(exp1=[1, 2, 3], exp4=[2], exp6=[1, 2]), chosen=False)
    assert left_out == [("exp1", 1), ("exp1", 3), ("exp6", 1)]
    assert "are compared: 2. Left out are the seeds exp1 1, 3; exp6 1." in remark


@pytest.mark.parametrize(
    ("table", "chosen"), [(runs(exp1=[1, 2], exp4=[3]), False), (runs(exp1=[1, 2], exp4=[1]), True)]
)
def test_without_a_common_seed_or_with_chosen_runs_all_are_compared_and_it_is_said(
    table: pd.DataFrame, chosen: bool
) -> None:
    left_out, (remark,) = unequal_seeds(table, chosen)
    assert left_out == []
    assert "different numbers of seeds" in remark
    assert "exp1 1, 2; exp4" in remark


def test_runs_are_left_out_of_a_table_by_system_and_seed() -> None:
    table = runs(exp1=[1, 2], exp4=[1, 42])
    assert without(table, [("exp4", 42), ("exp1", 1)]).to_numpy().tolist() == [["exp1", 2], ["exp4", 1]]
    assert without(table, []) is table


def test_each_setting_in_which_systems_differ_has_a_sentence() -> None:
    table = runs(exp1=[1, 2], exp4=[1]).assign(
        **{
            "training.epochs": ["5", "5", "20"],
            "training.rate": "0.1",
            "training.new": [None, None, "x"],
            "head": "abc",
        }
    )
    (sentence,) = different_settings(table)
    assert sentence.endswith("may not be due to the experiment: training.epochs: exp1 5, exp4 20")
    others = table.assign(**{"checkpoint.video": ["a", "a", "b"], "data.clips.reader": ["pyav", None, "decord"]})
    assert [words.split(",")[0] for words in different_settings(others)] == [
        "training settings differ",
        "checkpoint settings differ",
        "data settings differ",
    ]


@pytest.mark.parametrize("what", ["fewer", "other label", "other order"])
def test_systems_that_were_scored_on_other_utterances_are_refused(what: str) -> None:
    rows = pd.DataFrame({"split": "test", "utterance": ["a", "b", "c"], "label": [1, 2, 3]})
    other = {"fewer": rows[:2], "other label": rows.assign(label=[1, 2, 4]), "other order": rows[::-1]}[what]
    predictions = [rows.assign(system="exp1", seed=seed) for seed in (1, 2)]
    check_same_utterances(pd.concat(predictions))
    with pytest.raises(ValueError, match=r"exp4, seed 7: its \d predictions are not of the same utterances"):
        check_same_utterances(pd.concat([*predictions, other.assign(system="exp4", seed=7)]))


def test_imported_weights_cost_no_other_experiment_a_seed_and_have_no_settings_of_their_own() -> None:
    table = runs(exp1=[1, 2, 3], exp4=[1, 2, 3], imported=[42])
    table["training.learning_rate"] = [1, 1, 1, 1, 1, 1, 2]
    assert unequal_seeds(table, chosen=False)[1] != []
    assert different_settings(table) != []
    assert of_unknown_training(table) == []
    table["imported"] = [None] * 6 + ["0123456789abcdef"]
    assert unequal_seeds(table, chosen=False) == ([], [])
    assert different_settings(table) == []
    (sentence,) = of_unknown_training(table)
    assert sentence.startswith("imported was trained elsewhere: ")


def test_more_looks_at_the_test_split_than_are_compared_are_counted() -> None:
    table = runs(exp1=[1, 2], exp4=[1, 2])
    assert looks_at_the_test(table) == looks_at_the_test(table.assign(test_looks=4)) == []
    (sentence,) = looks_at_the_test(table.assign(test_looks=7))
    assert sentence.startswith("7 finished trainings were scored on the test split, and 4 of them are compared")
