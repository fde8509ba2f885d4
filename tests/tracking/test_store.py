"""Which store is used, and flat names; that runs land there is shown in test_tracking.py."""

from pathlib import Path

import pytest

from trimood.config.parameters import ClipParams, flatten
from trimood.tracking.store import tracking_uri


def test_a_relative_sqlite_file_is_taken_from_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri("sqlite:///mlflow.db", tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri("sqlite:////var/runs.db", tmp_path) == "sqlite:////var/runs.db"
    assert tracking_uri("http://localhost:5000", tmp_path) == "http://localhost:5000"


def test_nested_values_become_flat_names() -> None:
    nested = {"lora": {"targets": ["q", "v"], "r": 16}, "training": {"augmentation": {"flip": 0.5}}, "seed": None}
    flat = {"lora.targets": "q+v", "lora.r": 16, "training.augmentation.flip": 0.5, "seed": None}
    assert flatten(nested) == flat
    assert flatten({"a": 1}, "data") == {"data.a": 1}
    assert flatten({}) == {}
    where = {"executor": "serial", "workers": 0, "time_limit_seconds": 60}
    clips = ClipParams.model_validate({"on_bad_clip": {"silent": "drop"}, **where})
    assert flatten({"data": {"clips": clips}}) == {
        "data.clips.on_bad_clip.silent": "drop",
        "data.clips.reader": "pyav",
        **{f"data.clips.{name}": value for name, value in where.items()},
    }
