"""Processes of this machine that train one model together, kept alive by torch's elastic agent."""

import gc
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch.distributed import PrefixStore, TCPStore, init_process_group
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

MOST_RESTARTS = 3
"""So often, processes that were killed are started again; what kills them more often needs a person."""

Say = Callable[[Any], None]
"""Sends an object to the process that started this one."""

_SECONDS_BETWEEN_LOOKS = 0.1

_MOST_CHARACTERS = 10_000
"""Of an error and of its frames; a pipe takes 64 kB before someone reads it."""

_ENGINES = (
    "torch.distributed.elastic.agent.server.api",
    "torch.distributed.elastic.multiprocessing.api",
    "torch.multiprocessing",
)
"""Torch's loggers of lost processes, each with a level of its own."""

_log = logging.getLogger(__name__)


class ProcessLost(Exception):
    """Processes that train together were killed too often."""


def run_together(
    work: Callable[[Path, Say], None], given: Path, count: int, hear: Say, is_over: Callable[[], bool] | None = None
) -> None:
    """Runs `work(given, say)` in `count` new processes at once, with torchrun's environment variables.

    `work` is a function of a module. What it says is passed to `hear`, in this process and in order. If a process is
    killed, all are started again, up to MOST_RESTARTS times. An exception of `work` or of `hear` ends all processes and
    is raised here; a signal that ends this process ends them, too. A thread other than the main one gets no signals:
    there, KeyboardInterrupt is raised once `is_over()`. Raises ProcessLost.
    """
    said = given.with_name(f"{given.stem}.said")
    said.unlink(missing_ok=True)
    said.touch()
    local = "127.0.0.1"
    rendezvous = RendezvousParameters("c10d", f"{local}:0", uuid.uuid4().hex, 1, 1, local_addr=local)
    spec = WorkerSpec(
        role="training",
        local_world_size=count,
        entrypoint=_begin,
        args=(work, given, said),
        rdzv_handler=get_rendezvous_handler(rendezvous),
        max_restarts=MOST_RESTARTS,
        monitor_interval=_SECONDS_BETWEEN_LOOKS,
        local_addr=local,
    )
    try:
        heeded = {"TORCHELASTIC_SIGNALS_TO_HANDLE": ",".join(_heeded())}
        with _signals_as_before(), said.open("rb") as lines, _quiet_engine(), environment(heeded):
            result = _Agent(spec, lines, hear, is_over).run()
    finally:
        spec.rdzv_handler.shutdown()
        said.unlink(missing_ok=True)
    if result.is_failed():
        raise ProcessLost(
            f"a process of this training ({count} together) was killed {MOST_RESTARTS + 1} times, as the system does "
            "if memory runs out. Use a smaller training.micro_batch, fewer training.processes or fewer jobs; the same "
            "command continues from the last whole epoch."
        )


class _Agent(LocalElasticAgent):
    """Torch's agent, which also passes on what the processes say, and restarts none for an error in their work."""

    def __init__(self, spec: WorkerSpec, lines: Any, hear: Say, is_over: Callable[[], bool] | None) -> None:
        super().__init__(spec, DefaultLogsSpecs(), "spawn")
        self._lines, self._hear, self._is_over = lines, hear, is_over
        self._errors: list[BaseException] = []
        self._children: list[Any] = []

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        self._errors = []
        ids = super()._start_workers(worker_group)
        self._children = [child for child in multiprocessing.active_children() if child.pid in ids.values()]
        return ids

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        """Looks at the processes. A process that was killed makes the others fail, whose errors then mean nothing."""
        if self._is_over and self._is_over():
            raise KeyboardInterrupt
        killed = self._killed()
        result = super()._monitor_workers(worker_group)
        self._pass_on()
        if result.state == WorkerState.FAILED:
            killed = killed or [failure.exitcode for failure in result.failures.values() if failure.exitcode < 0]
            if self._errors and not killed:
                raise self._errors[0]
            codes = sorted({failure.exitcode for failure in result.failures.values()})
            how = signal.Signals(-killed[0]).name if killed else f"exit code {', '.join(map(str, codes))}"
            then = "start again from the last whole epoch" if self._remaining_restarts else "are not started again"
            _log.warning(
                "a process of this training was lost (%s): all %d %s", how, worker_group.spec.local_world_size, then
            )
        return result

    def _killed(self) -> list[int]:
        return [child.exitcode for child in self._children if (child.exitcode or 0) < 0]

    def _pass_on(self) -> None:
        for line in self._lines:
            message = pickle.loads(bytes.fromhex(line.decode()))  # noqa: S301 - written by our own processes
            if isinstance(message, BaseException):
                self._errors.append(message)
            elif isinstance(message, logging.LogRecord):
                logging.getLogger(message.name).handle(message)
            else:
                self._hear(message)

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM) -> None:
        """Ends the processes at once; of the signals, they ignore the one of Ctrl-C, which a terminal sends to all."""
        super()._shutdown(signal.SIGTERM)


def join_others(backend: str) -> int:
    """Makes torch's group of all processes, within `work`; returns the number of this one."""
    # The agent's store has the addresses of processes that were killed, under the number of their attempt.
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    attempt, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], int(os.environ["RANK"])
    init_process_group(backend, store=PrefixStore(attempt, store), rank=rank, world_size=int(os.environ["WORLD_SIZE"]))
    return rank


def _begin(work: Callable[[Path, Say], None], given: Path, said: Path) -> None:
    """What each process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=[multiprocessing.parent_process()], daemon=True).start()
    file = said.open("ab", buffering=0)

    def say(message: object) -> None:
        file.write(pickle.dumps(message).hex().encode() + b"\n")  # in one call, so that no line is ever cut

    logger = logging.getLogger("trimood")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(_Sender(say) if int(os.environ["RANK"]) == 0 else logging.NullHandler())
    try:
        work(given, say)
    except Exception as error:
        say(to_send(error))
        raise
    gc.freeze()  # else Python searches all objects of all libraries before the process ends


def _end_with(parent: Any) -> None:
    """Ends this process with the one that started it, however that ends."""
    parent.join()
    os._exit(1)


def to_send(error: Exception) -> Exception:
    """The error, with its frames as a note; as a RuntimeError if it cannot be sent as it is, or is too long."""
    frames = "".join(traceback.format_exception(error))[-_MOST_CHARACTERS:]
    try:
        if len(content := pickle.dumps(error)) > _MOST_CHARACTERS:
            raise ValueError("too long for a pipe")
        pickle.loads(content)  # noqa: S301 - made in the line above
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}"[:_MOST_CHARACTERS])
    error.add_note(f"In another process:\n{frames}")
    return error


class _Sender(logging.Handler):
    """Sends log records to the process that started this one."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        self._say(record)


def _heeded() -> list[str]:
    """The signals that end a command, without those that are ignored, as under nohup."""
    names = [name for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name)]
    return [name for name in names if signal.getsignal(signal.Signals[name]) is not signal.SIG_IGN]


@contextmanager
def _signals_as_before() -> Iterator[None]:
    """Gives signals back to those who handled them before torch's agent did, and hands them one that it has caught."""
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in signal.valid_signals()} if is_main else {}
    caught = None
    try:
        yield
    except SignalException as error:
        caught = error.sigval
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                with suppress(OSError, ValueError):
                    signal.signal(number, handler)
    if caught is not None:
        signal.raise_signal(caught)
        raise SystemExit(128 + caught)


@contextmanager
def _quiet_engine() -> Iterator[None]:
    """Hides torch's own log: frames where `_Agent` says what happened, and advice about DDP in the new processes."""
    engines = [logging.getLogger(name) for name in _ENGINES]
    levels, variable = [engine.level for engine in engines], "TORCH_CPP_LOG_LEVEL"
    for engine in engines:
        engine.setLevel(logging.CRITICAL)
    try:
        with environment({variable: os.environ.get(variable, "ERROR")}):
            yield
    finally:
        for engine, level in zip(engines, levels, strict=True):
            engine.setLevel(level)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for the processes that the block starts; other threads may set the same ones."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
