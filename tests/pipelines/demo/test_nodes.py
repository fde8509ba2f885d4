"""The demo's nodes hand over functions that fill a folder: the catalog says which one."""

import json
from pathlib import Path

import pytest

from trimood.config.parameters import DemoParams
from trimood.pipelines.demo.nodes import make_corpus


@pytest.mark.slow
def test_the_node_hands_over_a_function_that_fills_a_folder(tmp_path: Path) -> None:
    fill = make_corpus(DemoParams(seed=3))
    fill(tmp_path, train_count=4, test_count=1)  # type: ignore[call-arg]
    assert len(json.loads((tmp_path / "Subtask_2_train.json").read_text())) == 4
