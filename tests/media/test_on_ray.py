"""A Ray cluster of two nodes, each with its own scheduler and workers, as RAY_ADDRESS would name one elsewhere."""

import os
import sys
import warnings
from collections.abc import Iterator

import pytest

from support.clip_work import clip_of, work
from trimood.media.errors import ClipError, PreparationError
from trimood.media.execution import Execution, run_each

pytestmark = pytest.mark.slow


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: a cluster is NOT checked")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # in the place of an installed trimood
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        nodes.add_node(num_cpus=1)
    yield nodes.address
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes.shutdown()


def test_the_cluster_that_ray_address_names_does_the_work_on_all_its_nodes(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    tasks = [*[("node", str(number)) for number in range(20)], ("killed", ""), ("hang", "/dev/null")]
    found = dict(run_each(work, tasks, Execution("ray", time_limit_seconds=5), clip_of))
    assert len(found) == len(tasks)
    problems = {task[0]: result.problem for task, result in found.items() if isinstance(result, ClipError)}
    assert problems == {"killed": "crashed", "hang": "timed_out"}
    assert len({found[task] for task in tasks if task[0] == "node"}) == 2


def test_a_wrong_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: a cluster is NOT checked")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(PreparationError, match=r"RAY_ADDRESS is 127\.0\.0\.1:1: no Ray cluster responds"):
        list(run_each(work, [("easy", "1")], Execution("ray"), clip_of))
