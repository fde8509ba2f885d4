"""Logs what is known while a node runs, to the run of this node; does nothing without one, as in a test."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from trimood.tracking.outbox import current_run, set_current_run


def log_live(numbers: Mapping[str, float], step: int) -> None:
    """Logs numbers during training."""
    if run := current_run():
        # Other names than the final scores: MLflow shows the highest step of a name, not the best epoch.
        curves = {
            name: f"curves/{name.replace('/', '_')}" for name in numbers if name.startswith(("train/", "validation/"))
        }
        run.log({curves.get(name, name): value for name, value in numbers.items()}, step)
        if curves:  # the end of an epoch
            run.retry()


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
