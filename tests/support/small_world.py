"""Real `kedro run` commands on a project with some thirty utterances, quick enough to be killed again and again."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from support.command_server import command_server
from support.demo_project import DemoProject, copy_project
from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO, made_checkpoint
from support.made_corpus import write_ecf
from support.made_media import make_clip
from trimood.emotions import EMOTIONS


@dataclass
class Command:
    """A `kedro` command that was started; what it says is in `log`."""

    pid: int
    log: Path

    @property
    def said(self) -> str:
        """All that it has said until now."""
        return self.log.read_text() if self.log.exists() else ""

    def is_running(self) -> bool:
        """Whether it still does something."""
        try:
            return "zombie" not in Path(f"/proc/{self.pid}/status").read_text()
        except FileNotFoundError:
            return False

    def wait(self, seconds: float = 300) -> str:
        """Waits for its end, and returns what it has said."""
        self._until(lambda: False, seconds)
        return self.said

    def wait_for(self, words: str, count: int = 1, seconds: float = 300) -> bool:
        """Waits until it has said these words so often; returns False if it ends before."""
        return self._until(lambda: self.said.count(words) >= count, seconds)

    def wait_for_lines(self, count: int) -> bool:
        """Waits until it has written so many lines; returns False if it ends before."""
        return self._until(lambda: self.said.count("\n") >= count, 300)

    def kill(self) -> None:
        """Ends it as a power failure does."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.wait()

    def _until(self, is_enough, seconds: float) -> bool:  # type: ignore[no-untyped-def]
        end = time.monotonic() + seconds
        while not is_enough():
            if not self.is_running():
                return bool(is_enough())
            assert time.monotonic() < end, f"{self.pid} still runs:\n{self.said}"
            time.sleep(0.01)
        return True


@dataclass
class SmallWorld:
    """A project in a folder, with a corpus and checkpoints beside it."""

    project: DemoProject
    paths: str
    commands: list[Command] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """Where results are."""
        return self.project.path / "data" / "demo"

    def start(self, pipelines: str, params: str = "", epochs: int = 4) -> Command:
        """Starts `kedro run`."""
        log = self.project.path / f"{len(self.commands)}.log"
        training = f"training.num_train_epochs={epochs},training.per_device_train_batch_size=4"
        settings = f"{training},data.clips.executor=serial"
        given = ",".join(item for item in (self.paths, settings, params) if item)
        arguments = ["run", f"--pipelines={pipelines}", "--params", given]
        self.commands.append(Command(command_server().start(self.project.path, log, *arguments), log))
        return self.commands[-1]

    def run(self, pipelines: str, params: str = "", epochs: int = 4) -> str:
        """Runs `kedro run` to its end."""
        return self.start(pipelines, params, epochs).wait()


@pytest.fixture(scope="session")
def small_raw_data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus of thirty clips with the same content, and two checkpoints, as parameters."""
    folder = tmp_path_factory.mktemp("raw")
    emotions = np.random.default_rng(0).choice(EMOTIONS, size=(10, 3)).tolist()
    train = {number: emotions[number - 1] for number in range(1, 9)}
    test = {number: emotions[number - 1] for number in (9, 10)}
    corpus = folder / "corpus"
    write_ecf(corpus, train)
    write_ecf(corpus, test, "Subtask_2_test.json")
    clip = make_clip(folder / "clip.mp4", seconds=0.5)
    for part, conversations in (("train", train), ("test", test)):
        (corpus / part).mkdir()
        for number, emotions in conversations.items():
            for utterance in range(1, len(emotions) + 1):
                (corpus / part / f"dia{number}utt{utterance}.mp4").hardlink_to(clip)
    video = made_checkpoint(folder / "video", TINY_VIDEO)
    audio = made_checkpoint(folder / "audio", TINY_AUDIO, file="safetensors")
    return f"corpus_dir={corpus},video_checkpoint={video},audio_checkpoint={audio}"


@pytest.fixture
def small_world(tmp_path: Path, small_raw_data: str, empty_store: Path) -> Iterator[SmallWorld]:
    """A fresh project in which nothing has run; MLflow's store has its tables already."""
    yield from _world(tmp_path / "trimood", small_raw_data, empty_store)


@pytest.fixture
def calm_world(tmp_path: Path, small_raw_data: str, empty_store: Path) -> Iterator[SmallWorld]:
    """Another one, in which nobody is killed."""
    yield from _world(tmp_path / "calm", small_raw_data, empty_store)


def _world(folder: Path, small_raw_data: str, empty_store: Path) -> Iterator[SmallWorld]:
    project = copy_project(folder)
    shutil.copy(empty_store, project.path)
    world = SmallWorld(project, small_raw_data)
    yield world
    for command in world.commands:
        command.kill()
