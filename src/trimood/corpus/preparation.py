"""Prepares the clips of utterances, and reports clips with a problem according to the chosen policy."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from trimood.config.experiment_settings import Settings
from trimood.config.parameters import ClipParams, Policy, listed
from trimood.corpus.tables import PREPARED_COLUMNS, PROBLEM_COLUMNS
from trimood.media.errors import in_words

if TYPE_CHECKING:
    from trimood.media.contents import Known
    from trimood.media.execution import Execution
    from trimood.media.parts import Location, Problems
    from trimood.media.recipes import Recipe

log = logging.getLogger(__name__)

NAMED = 20
"""Number of bad clips that an error or the log names; excluded_clips.csv lists all of them."""

STRICTEST_FIRST: tuple[Policy, ...] = ("fail", "drop", "blank")


class BadClips(Exception):
    """Clips that cannot be used while the policy for them is `fail`."""


class ClipsNotInUse(Exception):
    """An experiment needs clips, and none is looked for."""


def refuse_without_clips(settings: Settings, clips: ClipParams) -> None:
    """Raises ClipsNotInUse if an experiment uses clips while `clips.in_use` is false."""
    needed = [modality for modality in settings.modalities if modality != "text"]
    if needed and not clips.in_use:
        raise ClipsNotInUse(
            f"this experiment needs {' and '.join(needed)}, and data.clips.in_use is false: no clip is looked for. Run "
            "an experiment on text alone, such as exp12, or use an environment with clips: kedro run --env=ecf"
        )


def with_parts(
    utterances: pd.DataFrame,
    clips: Mapping[str, Path],
    recipe: "Recipe",
    cache: "Location",
    execution: "Execution",
    known: "Known | None" = None,
) -> tuple[pd.DataFrame, "dict[str, Problems]"]:
    """Prepares clips; returns the utterances with PREPARED_COLUMNS, and each bad clip's problems by utterance.

    `clips` holds a path for each utterance that has a clip; `known` as for `prepare_clips`. Raises DiskFull and
    PreparationError; finished parts stay.
    """
    from trimood.media.cache import prepare_clips
    from trimood.media.parts import TENSORS, place_in_cache

    done = prepare_clips(clips, recipe, cache, execution, known)
    keys = utterances["utterance"].tolist()
    lacking = [set(done.problems.get(key, ()) if key in clips else TENSORS) for key in keys]
    parts = [
        "" if lacks == set(TENSORS) else place_in_cache(done.parts[key])
        for key, lacks in zip(keys, lacking, strict=True)
    ]
    has = {f"has_{modality}": [modality not in lacks for lacks in lacking] for modality in TENSORS}
    return utterances.assign(part=parts, **has).astype(PREPARED_COLUMNS), done.problems


def table_of_problems(clips: Mapping[str, str], problems: "Mapping[str, Problems]", params: ClipParams) -> pd.DataFrame:
    """One row for each utterance with a problem (PROBLEM_COLUMNS): its modality, policy and full message.

    If picture and sound have different problems, the row names both and the stricter policy applies.
    """
    rows = []
    for utterance, errors in problems.items():
        kinds = list(dict.fromkeys(error.problem for error in errors.values()))
        policies = {params.policy_for(kind) for kind in kinds}
        first, *others = dict.fromkeys(error.message for error in errors.values())
        rows.append(
            {
                "utterance": utterance,
                "clip": clips[utterance],
                "modality": " and ".join(errors),
                "problem": " and ".join(kinds),
                "policy": min(policies, key=STRICTEST_FIRST.index),
                "message": "; ".join([first, *(other.partition(": ")[2] for other in others)]),
            }
        )
    return pd.DataFrame(rows, columns=PROBLEM_COLUMNS).astype("str")


def log_exclusions(bad: pd.DataFrame, total: int) -> None:
    """Logs how many clips are excluded or blanked, and names the first ones."""
    for policy, did in (("drop", "left out of every experiment"), ("blank", "kept without the missing modality")):
        if len(rows := bad[bad["policy"] == policy]):
            message = "%d of %d clips %s (%s); excluded_clips.csv lists them:\n  %s"
            log.warning(message, len(rows), total, did, _counted(rows), listed(rows["message"].tolist(), NAMED, "\n  "))


def error_message(bad: pd.DataFrame, total: int, corpus: Path) -> str:
    """The error message for clips under `fail`: how many, which, and what to do."""
    named = listed(bad["message"].tolist(), NAMED, "\n  ")
    one = bad["problem"].iloc[0].partition(" and ")[0]
    return (
        f"{corpus}: {len(bad)} of {total} clips cannot be used ({_counted(bad)}):\n  {named}\n"
        "Repair or download them again (prepared clips are kept), leave them out of every experiment with "
        "--params data.clips.on_bad_clip=drop, or keep them without their broken picture or sound with "
        f"--params data.clips.on_bad_clip=blank. For one problem alone: --params data.clips.on_bad_clip.{one}=drop"
    )


def _counted(bad: pd.DataFrame) -> str:
    kinds = bad["problem"].map(in_words) + " (" + bad["modality"] + ")"
    return ", ".join(f"{count} {kind}" for kind, count in kinds.value_counts().items())
