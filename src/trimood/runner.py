"""Experiments one after the other, so that one that fails costs no other."""

import logging
from itertools import groupby
from typing import Any

import click
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner

from trimood.experiments import experiment_names, experiment_of

log = logging.getLogger(__name__)

CHECKS = "checks"
"""Tag of an experiment's nodes that run before anything is trained."""

REACHED = "trimood.runner.reached"
"""True in a command's `click.Context.meta` once all that its experiments share is done."""


class ExperimentRunner(SequentialRunner):
    """Runs the shared stages and every experiment's checks first, then each experiment to its end.

    Kedro's own order is that of the graph: all trainings, then all evaluations, so that an error in the last training
    would leave none evaluated. Here an experiment that fails is told, the others go on, and the first error ends the
    run. Datasets between the parts are read from the catalog, so each needs an entry there.
    """

    def _run(self, pipeline: Pipeline, *args: Any, **kwargs: Any) -> None:
        names = experiment_names()

        def turn(node: Node) -> str:
            return "" if CHECKS in node.tags else experiment_of(node.namespace, names) or ""

        errors: list[Exception] = []
        ordered = sorted(pipeline.nodes, key=turn)
        command = click.get_current_context(silent=True)
        for experiment, nodes in groupby(ordered, key=turn):
            if experiment and command:
                command.meta[REACHED] = True
            try:
                # Not SequentialRunner's own, which says a line about --async for each part.
                part = pipeline.filter(node_names=[node.name for node in nodes])
                super(SequentialRunner, self)._run(part, *args, **kwargs)
            except Exception as error:
                if not experiment:
                    raise
                log.error("%s failed: %s", experiment, error)
                errors.append(error)
        if errors:
            raise errors[0]
