"""Kedro's settings: the demo is what runs when no environment is named; see docs/decisions for the reasons."""

import os

from trimood.hooks import CheckParameters, MakeMissingInputs, SpeakPlainly, TellPaths
from trimood.tracking.hook import TrackRuns

HOOKS = (CheckParameters(), MakeMissingInputs(), TrackRuns(), TellPaths(), SpeakPlainly())

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "demo",
    "merge_strategy": {"parameters": "soft", "globals": "soft", "catalog": "soft"},
    "custom_resolvers": {"home": os.path.expanduser},  # in a path of --params no shell replaces the ~
}
