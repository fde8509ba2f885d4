"""The project's commands: Kedro's own, with `kedro run` going through experiments one after the other."""

import copy

import click
from kedro.framework.cli.project import run as kedro_run

run = copy.copy(kedro_run)
run.context_settings = {**run.context_settings, "default_map": {"runner": "trimood.runner.ExperimentRunner"}}

cli = click.Group("trimood", commands={"run": run})
