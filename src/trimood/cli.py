"""The project's commands: Kedro's own, with `kedro run` going through experiments one after the other."""

import copy
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from trimood.parameters import did_you_mean


def check_names(**options: Any) -> Any:
    """Kedro's `run`, which puts a misspelt pipeline into a stack of frames."""
    from trimood.pipeline_registry import register_pipelines

    names = list(register_pipelines())
    for name in (*options["pipelines"], options["pipeline"]):
        if name and name not in names:
            raise click.UsageError(
                f"{name}: no such pipeline; there are: {', '.join(names)}.{did_you_mean(name, names)}"
            )
    assert kedro_run.callback  # noqa: S101 - a command has one
    return kedro_run.callback(**options)


run = copy.copy(kedro_run)
run.callback = check_names
run.context_settings = {**run.context_settings, "default_map": {"runner": "trimood.runner.ExperimentRunner"}}

cli = click.Group("trimood", commands={"run": run})
