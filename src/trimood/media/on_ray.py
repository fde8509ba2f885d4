"""Runs a function on clips with a Ray cluster: the one at RAY_ADDRESS, or a temporary local one."""

import os
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from trimood.media.errors import PreparationError, Result, Task, attempt, crashed, timed_out

WAITING_PER_CORE = 2
"""Tasks submitted for each core, so that cores do not wait for this process."""

KNOCK_SECONDS = 10

LOOK_SECONDS = 0.5
"""How often the time limits are checked."""


def on_ray(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    limit_seconds: float,
    clip_of: Callable[[Task], Path],
) -> Iterator[tuple[Task, Any]]:
    """Yields each task with its result or exception as it finishes.

    At most `workers` tasks run at once; with 0, as many as the cluster has cores.
    """
    with cluster(workers) as ray:
        # No retries by Ray: a clip that killed one worker would kill the next.
        remote = ray.remote(num_cpus=1, max_retries=0, num_returns="streaming")(_begin_and_do)
        at_once = workers or WAITING_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting = iter(tasks)
        running: dict[Any, Task] = {}
        begun: dict[Any, float] = {}  # when a worker started it, on this process's clock
        try:
            while True:
                for task in islice(waiting, at_once - len(running)):
                    running[remote.remote(function, task)] = task
                if not running:
                    return
                yield from _news(ray, running, begun, limit_seconds, clip_of)
        finally:  # after an early exit: tasks that a worker has started finish, the others are cancelled
            for stream in [stream for stream in running if stream not in begun]:
                ray.cancel(stream)
                del running[stream]
            while running:
                list(_news(ray, running, begun, limit_seconds, clip_of))


def _begin_and_do(function: Callable[[Task], Result], task: Task) -> Iterator[Any]:
    """Runs on a worker; the first item signals the parent that the task has started."""
    import torch

    yield None
    torch.set_num_threads(1)
    yield attempt(function, task)


def _news(
    ray: ModuleType,
    running: dict[Any, Task],
    begun: dict[Any, float],
    limit_seconds: float,
    clip_of: Callable[[Task], Path],
) -> Iterator[tuple[Task, Any]]:
    """Waits briefly for tasks to start or end; tasks that end or exceed the limit leave `running`."""
    ready, _ = ray.wait(list(running), num_returns=1, timeout=min(LOOK_SECONDS, limit_seconds))
    for stream in ready:
        try:
            result = ray.get(next(stream))
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError) as e:
            result = crashed(clip_of(running[stream]), str(e).partition("\n")[0])
        else:
            if stream not in begun:
                begun[stream] = time.monotonic()
                continue
        yield running.pop(stream), result
    for stream in [*running]:
        if stream in begun and time.monotonic() - begun[stream] > limit_seconds:
            ray.cancel(stream, force=True)  # ends the worker's process, even one that hangs outside Python
            task = running.pop(stream)
            yield task, timed_out(clip_of(task), limit_seconds)


@contextmanager
def cluster(workers: int) -> Iterator[ModuleType]:
    """Ray, connected to the cluster at RAY_ADDRESS, or to a local one with that many workers (0: all cores).

    An existing connection of this process is used and kept. Raises PreparationError.
    """
    # Silences a warning of Ray about a future change.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise PreparationError(
            "data.clips.executor is ray, but Ray is not installed: pip install 'trimood[ray]', or choose processes."
        ) from error
    if ray.is_initialized():
        yield ray
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if address := os.environ.get("RAY_ADDRESS"):
            try:
                _knock(address)
                ray.init(address, log_to_driver=False)
            except OSError as error:  # ConnectionError is one
                raise PreparationError(f"RAY_ADDRESS is {address}: no Ray cluster responds ({error})") from error
        else:
            # Local workers import the modules of this process; on a cluster, trimood is installed.
            paths = {"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}}
            ray.init("local", num_cpus=workers or None, include_dashboard=False, log_to_driver=False, runtime_env=paths)
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError if nothing listens at HOST:PORT: Ray itself would retry for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
