"""Kedro's settings. The default environment is the demo; docs/decisions gives the reasons."""

import os
from typing import Any

from omegaconf import OmegaConf

from trimood.hooks import CheckParameters, MakeMissingInputs, RefuseMissingInputs, TellPaths
from trimood.pipeline_registry import STAGES
from trimood.runner import HoldLocks
from trimood.tracking.hook import TrackRuns


def configured_path(name: str, default: str | None = None) -> str | None:
    """Resolves `${path:NAME}` in the catalog: from --params, else globals.yml, else the default; expands `~`."""
    for source in ("runtime_params", "globals"):  # resolvers of Kedro's config loader
        value: Any = OmegaConf.create({"path": f"${{{source}:{name},null}}"}).path
        if value is not None:
            return os.path.expanduser(str(value))
    return default


HOOKS = (
    HoldLocks(),
    CheckParameters(STAGES.values()),
    RefuseMissingInputs(),
    MakeMissingInputs(),
    TrackRuns({name: stage.tracked for name, stage in STAGES.items() if stage.tracked}),
    TellPaths(),
)

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "demo",
    "config_patterns": {"parameters": ["parameters*", "parameters*/**", "**/parameters*", "experiments/*"]},
    "merge_strategy": {"parameters": "soft", "globals": "soft", "catalog": "soft"},
    "custom_resolvers": {"home": os.path.expanduser, "path": configured_path},
}
