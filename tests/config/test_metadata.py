"""A misspelt key or kind in a dataset's metadata is refused by the dataset's name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from trimood.config.metadata import KINDS, check_metadata
from trimood.tracking.kinds import LOG

CATALOGS = sorted((Path(__file__).parents[2] / "conf").rglob("catalog*.yml"))


def test_what_stands_in_conf_is_accepted() -> None:
    entries = {name: entry for path in CATALOGS for name, entry in yaml.safe_load(path.read_text()).items()}
    assert {"log": "scores"} in [
        entry.get("metadata", {}).get("mlflow") for entry in entries.values() if "type" in entry
    ]
    check_metadata(entries)


def test_there_is_a_function_for_each_kind() -> None:
    assert LOG.keys() == KINDS.keys()


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"mlflow": {"log": "score"}}, r"mlflow\.log: no such kind; allowed: plan, scores.*Did you mean scores"),
        ({"mlflow": {"lgo": "scores"}}, r"mlflow: unknown key 'lgo'; allowed here: log, as, by, weights.*mean log"),
        ({"mlflow": {"as": "corpus"}}, r"mlflow\.log: Field required"),
        ({"mlflow": {"log": "tags"}}, r"mlflow: log: tags needs the key as"),
        ({"mlflow": {"log": "plan", "as": "x"}}, r"mlflow: as: not a key of log: plan, which takes no other key"),
        ({"mlflow": {"log": "tags", "sa": "corpus"}}, r"mlflow: unknown key 'sa'; allowed here: log, as, by, weights"),
        ({"mlflow": {"log": "tags", "as": "cor=pus"}}, r"mlflow\.as: MLflow takes letters.*\(got 'cor=pus'\)"),
        ({"mlflow": {"log": "tags", "as": ["corpus"]}}, r"mlflow\.as: Input should be a valid string"),
        ({"mlflow": {"log": "rows", "as": "x", "by": ["polcy"]}}, r"mlflow\.by\.0: .*'policy' or 'problem'.*'polcy'"),
        (
            {"mlflow": {"log": "rows", "as": "x", "yb": ["policy"]}},
            r"mlflow: unknown key 'yb'; allowed here: log, as, by",
        ),
        ({"mlflow": {"log": "model", "weigths": "best_weights"}}, r"unknown key 'weigths'.*Did you mean weights"),
        (
            {"mlflow": {"log": "model", "weights": "best_weigths"}},
            r"weights: no dataset \{experiment\}\.best_weigths\. Did you mean best_weights",
        ),
        ({"mlflow": "scores"}, r"mlflow: "),
        ({"mlflow": {"log": ["scores"]}}, r"mlflow\.log: Input should be a valid string"),
        ({"mlflw": {"log": "plan"}}, r"unknown key 'mlflw'; allowed here: kedro-viz, mlflow.*mean mlflow"),
        ({"kedro-viz": {"layer": "row"}}, r"kedro-viz\.layer: Input should be 'raw', .*\(got 'row'\)"),
        ({"kedro_viz": {"layer": "raw"}}, r"unknown key 'kedro_viz'.*Did you mean kedro-viz"),
        ({"made_by": {"pipeline": "demo"}}, r"made_by\.unless_given: Field required"),
        ({"tell": 5}, r"\.tell: Input should be a valid string; .* \(got 5\)"),
    ],
)
def test_a_wrong_word_is_refused_by_the_name_of_its_dataset(metadata: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="(?s){experiment}\\.scores: metadata.*" + words):
        check_metadata(
            {
                "{experiment}.scores": {"type": "json.JSONDataset", "metadata": metadata},
                "{experiment}.best_weights": {"type": "json.JSONDataset"},
            }
        )


def test_an_entry_needs_no_metadata() -> None:
    check_metadata({"model": {"type": "json.JSONDataset"}, "empty": {"type": "json.JSONDataset", "metadata": None}})
