"""Locks between commands: real processes, which wait, refuse, and die."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.lock_holder import lock_holder
from trimood.disk import InUse, hold, holder_of, is_held, note_holder, release, release_all


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "06_models" / "exp3" / ".lock"
    release_all()


@pytest.mark.slow
def test_a_lock_of_another_process_is_refused_at_once_and_says_who_holds_it(lock: Path) -> None:
    with lock_holder(lock) as other:
        begun, pid = time.monotonic(), other.process.pid
        with pytest.raises(
            InUse, match=rf"exp3: in use by `kedro run --pipelines=exp3` \(process {pid} on .*, since 2"
        ):
            hold(lock, wait=False)
        assert time.monotonic() - begun < 5
        assert not is_held(lock)
        holder = holder_of(lock)
        assert holder is not None
        assert not holder.trains
        other.train()
        holder = holder_of(lock)
        assert holder is not None
        assert holder.trains


@pytest.mark.parametrize("forks", [False, True])
def test_a_killed_process_holds_nothing_and_neither_do_its_workers(lock: Path, forks: bool) -> None:
    with lock_holder(lock, forks) as other:
        other.kill()
        hold(lock, wait=False)
        assert is_held(lock)


@pytest.mark.slow
def test_who_waits_says_for_whom_and_goes_on_at_the_end(lock: Path, caplog: pytest.LogCaptureFixture) -> None:
    with lock_holder(lock) as other, caplog.at_level(logging.INFO, logger="trimood"):
        threading.Timer(2.5, other.process.kill).start()
        hold(lock, wait=True)
    assert is_held(lock)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "waiting for `kedro run --pipelines=exp3`" in said


def test_a_lock_of_this_process_is_taken_once_and_released(lock: Path) -> None:
    hold(lock, wait=False)
    hold(lock, wait=False)
    note_holder(lock, trains=True)
    assert holder_of(lock) is None  # nobody else
    release(lock)
    assert not is_held(lock)
    hold(lock, wait=False)


@pytest.mark.slow
def test_asking_who_holds_a_lock_refuses_nobody(lock: Path) -> None:
    """The question takes the lock for an instant."""
    hold(lock, wait=False)
    release(lock)
    is_enough = threading.Event()

    def ask() -> None:
        while not is_enough.is_set():
            holder_of(lock)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        code = f"from pathlib import Path; from trimood.disk import hold; hold(Path({str(lock)!r}), wait=False)"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        for _ in range(2):
            subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    finally:
        is_enough.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("note", [None, "{", '{"host": 1}', "[]"])
def test_an_unreadable_note_hides_no_holder(lock: Path, note: str | None) -> None:
    with lock_holder(lock):
        beside = lock.with_name(".lock.json")
        if note is None:
            beside.unlink()
        else:
            beside.write_text(note)
        with pytest.raises(InUse, match="in use by `another command`"):
            hold(lock, wait=False)
