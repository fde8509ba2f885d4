"""Logs what is known while a node runs, to the run of this node; does nothing without one, as in a test."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from trimood.tracking.outbox import TrackedRun

_current: ContextVar[TrackedRun | None] = ContextVar("current", default=None)


def current_run() -> TrackedRun | None:
    """The run of the node that this thread runs; None outside a tracked run."""
    return _current.get()


def set_current_run(run: TrackedRun | None) -> None:
    """Makes this run the one that the running node logs to."""
    _current.set(run)


def log_live(numbers: Mapping[str, float], step: int) -> None:
    """Logs numbers during training."""
    if run := current_run():
        run.log({chart_of(name): value for name, value in numbers.items()}, step)
        if any(name.startswith("validation/") for name in numbers):  # the end of an epoch
            run.retry()


def chart_of(name: str) -> str:
    """The name in MLflow of a number that is logged at each epoch or step.

    It is not that of a final score, of which MLflow would show the last epoch instead of the best. MLflow orders its
    charts by these names, so that of everything that runs log, `test/…` has to come first.
    """
    if name.startswith(("train/", "validation/")):
        return f"training curves/{name.replace('/', '_')}"
    return f"training steps/{name.removeprefix('step/')}" if name.startswith("step/") else name


def log_now(
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
) -> None:
    """Logs final scores, params and tags."""
    if run := current_run():
        run.log(metrics, params=params, tags=tags)


@contextmanager
def trial_run(name: str, tags: Mapping[str, object]) -> Iterator[str | None]:
    """Opens a run for a trial of a search, to which the block logs; closes it with the status of the block.

    It has the tags and data params of the search's run. Yields its id; None without a run of the search, or while
    MLflow is out of reach.
    """
    outer = current_run()
    if outer is None:
        yield None
        return
    inherited = {key: value for key, value in outer.tags.items() if key != "report"}
    run = outer.beside(name, {**inherited, **{key: str(value) for key, value in tags.items()}})
    run.log(params={key: value for key, value in outer.params.items() if key.startswith("data.")})
    set_current_run(run)
    try:
        yield run.id
    except BaseException as error:
        run.close("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    else:
        run.close("FINISHED")
    finally:
        set_current_run(outer)
