"""The stages, one folder each. Its name is also the name of the pipeline and the namespace of the nodes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kedro.pipeline import Node

from trimood.tracking.view import Group


@dataclass(frozen=True)
class Stage:
    """What a stage declares besides its pipeline.

    `tracked`: the MLflow experiment in which the stage gets its own run, as an experiment does; None for no run.
    `run_separately`: it reads the stored results of finished experiments, which are no inputs in the graph, or stores
    its own in their place, so it must be run in a separate command.
    `parameters`: the type of each top-level parameter of this stage.
    """

    tracked: Group | None = None
    run_separately: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


def as_node(
    function: Callable[..., Any], inputs: str | list[str], outputs: str | list[str] | None, **options: Any
) -> Node:
    """A node with the name of its function; `options` as for Kedro's Node."""
    return Node(function, inputs, outputs, name=function.__name__, **options)
