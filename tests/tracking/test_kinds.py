"""What of a dataset becomes a metric or a tag, and under which name: MLflow draws charts in the order of the names."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from support.learning_examples import sources, tiny_identity, tiny_plan
from trimood.config.metadata import Logged
from trimood.config.parameters import ServingParams
from trimood.model.stored import Imported, examples_fingerprint
from trimood.scoring.metrics import classification_report
from trimood.tracking.kinds import LOG, Entry, flat_ablation, flat_plan, numbers, words_fingerprint
from trimood.tracking.live import log_live, set_current_run

__all__ = ["sources"]

CONF = Path(__file__).parents[2] / "conf"

CALIBRATION = {
    "temperature": 1.5,
    "weights": "0a1b",
    "validation": {"utterances": 9, "ece": {"before": 0.2, "after": 0.1}},
}


class Logging:
    """Takes the metrics of a run, and sends none."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.tags: dict[str, Any] = {}
        self.tables: list[tuple[Any, ...]] = []

    def log(
        self,
        metrics: dict[str, float] | None = None,
        step: int = 0,
        params: dict[str, Any] | None = None,
        tags: dict[str, Any] | None = None,
    ) -> None:
        self.metrics |= metrics or {}
        self.tags |= tags or {}

    def log_table(self, *table: Any) -> None:
        self.tables.append(table)

    def log_file(self, *_: Any) -> None:
        """Takes no file."""

    def log_model(self, *_: Any) -> None:
        """Takes no model."""

    def retry(self) -> None:
        """Has kept nothing."""


def logged(run: Any, log: str, data: Any, **how: Any) -> None:
    LOG[log](Entry(run, data, Path("file"), Logged.model_validate({"log": log, **how}), Path("weights")))


def test_only_numbers_become_metrics_and_their_names_tell_where_they_stood() -> None:
    nested = {"clips": {"missing": 3, "there": True, "worst": "dia1utt1"}, "share": 0.5, "sizes": [1, 2]}
    assert numbers(nested) == {"clips/missing": 3.0, "share": 0.5}


def test_what_a_modality_is_worth_is_a_metric_for_each_split_and_change() -> None:
    rows = [("test", "all", "intact", 0.0), ("test", "video", "blanked", 0.25), ("test", "video", "shuffled", -0.5)]
    ablation = pd.DataFrame(rows, columns=["split", "modality", "change", "macro_f1_drop"])
    assert flat_ablation(ablation) == {"test ablation/video blanked": 0.25, "test ablation/video shuffled": -0.5}


def test_the_charts_begin_with_the_scores_on_test() -> None:
    """MLflow opens the first three groups of charts: it sorts them by what is before the last slash of a name."""
    run: Any = Logging()
    report = classification_report(range(7), [0, *range(6)])
    logged(run, "scores", {"validation": report, "test": report})
    logged(
        run,
        "rows",
        pd.DataFrame({"policy": ["drop"], "problem": ["silent"]}),
        **{"as": _name_of("rows")[0]},
        by=["policy", "problem"],
    )
    logged(run, "model", CALIBRATION, weights="best_weights")
    set_current_run(run)
    log_live({"step/loss": 1.0, "step/grad_norm": 1.0}, 1)
    log_live({"train/loss": 1.0, "validation/loss": 1.0, "validation/macro_f1": 0.5}, 1)
    set_current_run(None)
    for name in _name_of("metrics"):  # of check_data, compare and submission, which are in the same list of runs
        logged(run, "metrics", {"systems": {"exp1": 0.5}}, **{"as": name})
    groups = sorted({name.rpartition("/")[0] for name in run.metrics})
    assert groups[:2] == ["test", "test f1"]
    assert {name for name in run.metrics if name.startswith("test/")} == {
        "test/accuracy",
        "test/macro_f1",
        "test/weighted_f1",
    }
    assert {"training curves", "training steps", "validation", "validation calibration"} <= set(groups)
    assert run.tags["utterances.excluded drop silent"] == 1  # a chart of a count tells nothing
    assert not [name for name in run.metrics if "utterances" in name]
    assert run.metrics["validation calibration/ece after"] == 0.1


def _name_of(log: str) -> list[str]:
    """What the catalogs put before the metrics of this kind, or none for a stage whose names sort last."""
    entries = [entry for path in CONF.rglob("catalog*.yml") for entry in yaml.safe_load(path.read_text()).values()]
    found = [entry.get("metadata", {}).get("mlflow", {}) for entry in entries if isinstance(entry, dict)]
    return [of["as"] for of in found if of.get("log") == log and "as" in of]


def test_a_run_of_imported_weights_has_its_experiment_their_origin_and_no_training_examples(sources) -> None:
    run: Any = Logging()
    found = run.tags
    identity = tiny_identity(tiny_plan(sources))
    logged(run, "identity", identity)
    assert not [name for name in found if name.startswith("imported")]
    assert {"examples.training", "examples.test"} <= set(found)
    found.clear()
    imported = identity.model_copy(
        update={
            "imported": Imported(source="organisation/name", digest="0" * 16, head="seeded"),
            "examples": identity.examples.model_copy(update={"training": ""}),
        }
    )
    logged(run, "identity", imported)
    assert found["experiment"] == "exp3"
    origin = {name: of for name, of in found.items() if name.startswith("imported.")}
    assert origin == {
        "imported.source": "organisation/name",
        "imported.digest": "0" * 16,
        "imported.head": "seeded",
    }
    assert "examples.training" not in found
    found.clear()
    logged(run, "plan", imported)  # of a submission with imported weights
    assert found["imported.digest"] == "0" * 16


def test_examples_are_a_dataset_of_the_run_with_the_digest_in_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shared = tmp_path / "shared.parquet"
    Path("file").symlink_to(shared)  # in the data root of a job, which is removed when it has ended
    run: Any = Logging()
    examples = pd.DataFrame({"utterance": ["a", "b"], "text": ["Hi .", "No !"], "label": [0, 1]})
    logged(run, "examples", examples, **{"as": "training"})
    logged(run, "examples", examples, **{"as": "test"})
    assert run.tables == [
        ("training", examples_fingerprint(examples), shared, 2),
        ("test", examples_fingerprint(examples), shared, 2),
    ]
    # `compare` finds by the first of them on which words its references are to be fitted
    assert run.tags == {
        "training_examples": words_fingerprint(examples),
        "utterances.training": 2,
        "utterances.test": 2,
    }


def test_no_setting_of_a_served_model_has_the_name_of_one_of_its_training(sources) -> None:
    """MLflow logs both as params of one run, and refuses a second value."""
    logged = flat_plan(tiny_plan(sources))
    assert {"text_tower", "context.previous"} <= set(logged)
    assert not set(ServingParams.model_fields) & set(logged)
