"""What workers do in the tests of execution: functions of a module, as workers import them by name."""

import ctypes
import os
import time
from collections import deque
from itertools import repeat
from pathlib import Path

import torch

from trimood.media.errors import ClipError

Task = tuple[str, str]
"""What to do, and with what."""


def clip_of(task: Task) -> Path:
    return Path("clips") / f"{task[0]}.mp4"


def work(task: Task) -> object:
    kind, value = task
    if kind == "silent":
        raise ClipError(clip_of(task), "silent", value)
    if kind == "error":
        raise ValueError(value)
    if kind in ("note", "hang", "hang outside Python"):
        with Path(value).open("a") as file:
            file.write(f"{os.getpid()}\n")
    if kind == "hang":
        time.sleep(600)
    if kind == "hang outside Python":
        deque(repeat(0), maxlen=0)  # a loop in C that holds the GIL and answers no signal handler
    if kind == "crash":
        ctypes.string_at(0)
    if kind == "exit":
        os._exit(3)
    if kind == "killed":
        os.kill(os.getpid(), 9)
    if kind == "killed once" and not Path(f"{value} killed").exists():
        Path(f"{value} killed").touch()
        os.kill(os.getpid(), 9)
    if kind == "note":
        time.sleep(0.2)
    if kind == "node":
        import ray

        time.sleep(0.2)
        return ray.get_runtime_context().get_node_id()
    if kind == "threads":
        return torch.get_num_threads()
    return f"{value}, done"
