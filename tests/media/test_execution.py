import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from support.clip_work import clip_of, work
from trimood.media.errors import ClipError, PreparationError
from trimood.media.execution import Execution, Executor, run_each
from trimood.media.on_processes import core_count
from trimood.media.on_ray import cluster

APART = ["processes", pytest.param("ray", marks=pytest.mark.slow)]
EXECUTORS = ["serial", *APART]


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """One local cluster of two workers for the whole file: starting one takes seconds."""
    pytest.importorskip("ray", reason="Ray is not installed: the executor `ray` is NOT checked")
    with cluster(workers=2):
        yield


@pytest.fixture(autouse=True)
def _ray_where_it_is_asked_for(request: pytest.FixtureRequest) -> None:
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("executor") == "ray":
        request.getfixturevalue("ray_cluster")


def results(tasks: list[tuple[str, str]], executor: Executor, limit_seconds: float = 60) -> dict[str, object]:
    found = list(run_each(work, tasks, Execution(executor, 2, limit_seconds), clip_of))
    assert sorted(task for task, _ in found) == sorted(tasks)
    return {f"{kind} {value}".strip(): result for (kind, value), result in found}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_every_task_comes_back_with_its_own_result(executor: Executor) -> None:
    tasks = [("easy", str(number)) for number in range(30)]
    assert results(tasks, executor) == {f"easy {number}": f"{number}, done" for number in range(30)}
    assert list(run_each(work, [], Execution(executor, 2), clip_of)) == []


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_clip_error_is_a_result_and_costs_no_other_clip(executor: Executor) -> None:
    found = results([("silent", "nothing"), ("easy", "1")], executor)
    error = found["silent nothing"]
    assert isinstance(error, ClipError)
    assert (error.path, error.problem, error.detail) == (Path("clips/silent.mp4"), "silent", "nothing")
    assert found["easy 1"] == "1, done"


@pytest.mark.parametrize("executor", EXECUTORS)
def test_any_other_error_ends_the_work_and_says_where_it_came_from(executor: Executor) -> None:
    tasks = [("easy", "1"), ("error", "a wrong number"), *[("easy", str(number)) for number in range(2, 40)]]
    with pytest.raises(ValueError, match="a wrong number") as caught:
        list(run_each(work, tasks, Execution(executor, 2), clip_of))
    assert "clip_work.py" in caught.value.__notes__[0]


@pytest.mark.slow
@pytest.mark.parametrize("hang", ["hang", pytest.param("hang outside Python", marks=pytest.mark.slow)])
@pytest.mark.parametrize("executor", APART)
def test_a_decoder_that_hangs_is_ended_at_its_limit_and_costs_its_clip_alone(
    executor: Executor, hang: str, tmp_path: Path
) -> None:
    log = str(tmp_path / "log")
    found = results([("easy", "1"), (hang, log), *[("easy", str(number)) for number in range(2, 9)]], executor, 2)
    error = found.pop(f"{hang} {log}")
    process = Path("/proc") / Path(log).read_text().strip()
    deadline = time.monotonic() + 30
    while process.exists():
        assert time.monotonic() < deadline, "the process that hangs lives on"
        time.sleep(0.1)
    assert isinstance(error, ClipError)
    assert error.message.startswith(f"{hang}.mp4: timed out: not finished after 2 s.")
    assert "data.clips.time_limit_seconds" in error.message
    assert len(found) == 8
    assert all(isinstance(result, str) for result in found.values())


@pytest.mark.slow
@pytest.mark.parametrize(("crash", "how"), [("crash", "SIGSEGV"), ("exit", "exit code 3"), ("killed", "SIGKILL")])
@pytest.mark.parametrize("executor", APART)
def test_a_decoder_that_ends_its_process_costs_its_clip_alone(executor: Executor, crash: str, how: str) -> None:
    found = results([("easy", "1"), (crash, ""), *[("easy", str(number)) for number in range(2, 9)]], executor)
    error = found.pop(crash)
    assert isinstance(error, ClipError)
    assert error.message.startswith(f"{crash}.mp4: crashed: its worker process died (")
    assert how in error.message or executor == "ray"
    assert len(found) == 8
    assert all(isinstance(result, str) for result in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("executor", APART)
def test_a_clip_whose_worker_was_killed_is_tried_once_more_alone(executor: Executor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    tasks = [("killed once", str(log)), *[("note", str(log)) for _ in range(8)], ("killed once", f"{log}2")]
    found = list(run_each(work, tasks, Execution(executor, 2), clip_of))
    assert all(isinstance(result, str) for _, result in found), found
    assert sorted(task for task, _ in found) == sorted(tasks)
    assert {task[0] for task, _ in found[-2:]} == {"killed once"}, "the others had ended before"


@pytest.mark.slow
@pytest.mark.parametrize("executor", APART)
def test_the_work_is_shared_by_processes_that_are_not_this_one(executor: Executor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    results([("note", str(log))] * 12, executor)
    workers = log.read_text().split()
    assert len(workers) == 12
    assert len(set(workers)) >= 2
    assert str(os.getpid()) not in workers


@pytest.mark.parametrize("executor", EXECUTORS)
def test_one_worker_uses_one_thread_of_torch_and_the_caller_keeps_his(executor: Executor) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert results([("threads", "")], executor) == {"threads": 1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS)
def test_who_stops_asking_is_not_given_the_rest(executor: Executor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    work_on = run_each(work, [("note", str(log))] * 40, Execution(executor, 2), clip_of)
    next(work_on)
    work_on.close()  # type: ignore[attr-defined]
    begun = len(log.read_text().split())
    assert 1 <= begun <= 10
    assert len(log.read_text().split()) == begun


@pytest.mark.slow
def test_without_a_number_there_is_a_worker_for_each_core(tmp_path: Path) -> None:
    log = tmp_path / "log"
    list(run_each(work, [("note", str(log))] * (8 * core_count()), Execution(), clip_of))
    assert len(set(log.read_text().split())) == core_count()


@pytest.mark.slow
def test_without_ray_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PreparationError, match=r"Ray is not installed: pip install 'trimood\[ray\]', or choose"):
        list(run_each(work, [("easy", "1")], Execution("ray"), clip_of))
