"""Jobs of one command: each in a process of its own, and what happens to one happens to no other."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest

from support.process_work import session
from trimood.datasets import training_in
from trimood.disk import Holder, held, hold, release
from trimood.jobs import Job, own_data_root, run_jobs, trained_by_jobs


def job(seed: int, root: Path | None = None) -> Job:
    return Job(f"exp4 seed {seed}", {"seed": seed}, {"seen": "corpus"}, root)


@pytest.mark.slow
def test_a_job_that_fails_or_is_killed_affects_no_other_and_every_line_names_its_job(tmp_path: Path, capfd) -> None:
    roots = [tmp_path / str(seed) for seed in (1, 2, 3)]
    for root in roots:
        root.mkdir()
    jobs = [job(seed, root) for seed, root in zip((1, 2, 3), roots, strict=True)]
    returned: list[str] = []
    errors = run_jobs(jobs, [{"DEVICE": "a"}, {"DEVICE": "b"}], session, returned.append)
    assert [root.exists() for root in roots] == [False, True, True]  # what is not finished is continued there
    lines = capfd.readouterr().err.splitlines()
    said = sorted(line for line in lines if line.endswith(("corpus a", "corpus b")))
    assert [line[:-1] for line in said] == [f"exp4 seed {seed} | {seed} corpus " for seed in (1, 2, 3)]
    assert {line[-1] for line in said} == {"a", "b"}
    assert returned == ["seed 1"]
    of_3, of_2 = sorted(errors, key=str)
    assert isinstance(of_2, click.ClickException)  # in words, as if it were the only one
    assert str(of_2) == "seed 2 is in use"
    assert str(of_3) == "exp4 seed 3: its process was ended (SIGKILL). The same command continues it."
    assert "DEVICE" not in os.environ


@pytest.mark.slow
def test_what_ends_the_command_ends_its_jobs_and_keeps_what_others_have_finished(capfd, ctrl_c) -> None:
    returned: list[str] = []

    def interrupt() -> None:
        while not returned or "4 corpus" not in capfd.readouterr().err:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_jobs([job(1), job(4)], [{"DEVICE": "a"}], session, returned.append)
    assert returned == ["seed 1"]
    assert time.monotonic() - begun < 300  # it would have slept longer


def test_a_job_beside_others_reads_the_prepared_data_and_writes_its_own(tmp_path: Path) -> None:
    for folder in ("02_intermediate", "04_feature/prepared", "05_model_input/exp4", "06_models/exp4"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "05_model_input" / "training_examples.parquet").write_text("rows")
    for _ in range(2):  # as when an interrupted command is repeated
        root = own_data_root(tmp_path, "exp4-seed-1")
    assert (root / "05_model_input" / "training_examples.parquet").read_text() == "rows"
    assert not (root / "05_model_input" / "exp4").exists()
    assert not (root / "06_models").exists()
    (root / "04_feature" / "embeddings").mkdir()
    (root / "08_reporting" / "unsent" / "run").mkdir()
    assert (tmp_path / "04_feature" / "embeddings").is_dir()
    assert (tmp_path / "08_reporting" / "unsent" / "run").is_dir()


def test_what_a_job_trains_on_is_guarded_as_what_any_command_trains_on(tmp_path: Path, monkeypatch) -> None:
    """Another command may not replace the tables meanwhile."""
    lock = own_data_root(tmp_path, "exp4-seed-1") / "06_models" / "exp4" / ".lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    holder = Holder("kedro run", 1, "here", "now", trains=True)
    monkeypatch.setattr("trimood.datasets.holder_of", {lock: holder}.get)
    assert list(training_in(tmp_path / "06_models")) == [("exp4", holder)]


def test_nobody_changes_what_jobs_train_on_before_they_hold_locks_of_their_own(tmp_path: Path) -> None:
    models, shared = tmp_path / "06_models", tmp_path / ".shared.lock"
    models.mkdir()
    hold(shared, wait=False)
    asked = "from pathlib import Path; from trimood.datasets import training_in; print(list(training_in(Path({!r}))))"
    try:
        with trained_by_jobs(models):
            assert shared not in held()  # the first job takes it
            command = [sys.executable, "-c", asked.format(str(models))]
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert f"'jobs-{os.getpid()}'" in found
            assert "trains=True" in found
        assert list(models.iterdir()) == []
    finally:
        release(shared)
