"""Clips with a problem: what the policy makes of each, and how that is told."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from trimood.config.parameters import ClipParams, Policy
from trimood.media.errors import in_words

if TYPE_CHECKING:
    from trimood.media.parts import Problems

log = logging.getLogger(__name__)

NAMED = 20
"""How many bad clips an error or the log names; the table of excluded clips holds them all."""

PROBLEM_COLUMNS = ["utterance", "clip", "modality", "problem", "policy", "message"]

STRICTEST_FIRST: tuple[Policy, ...] = ("fail", "drop", "blank")


class BadClips(Exception):
    """Clips that cannot be used, under the policy that this is an error."""


def table_of_problems(clips: Mapping[str, str], problems: "Mapping[str, Problems]", params: ClipParams) -> pd.DataFrame:
    """One row for each utterance with a problem: in which modality, which, the policy for it, and the whole message.

    Where picture and sound have different problems, both are named, and the stricter policy holds.
    """
    rows = []
    for utterance, clip in clips.items():
        errors = problems[utterance]
        kinds = list(dict.fromkeys(error.problem for error in errors.values()))
        policies = {params.policy_for(kind) for kind in kinds}
        first, *others = dict.fromkeys(error.message for error in errors.values())
        rows.append(
            {
                "utterance": utterance,
                "clip": clip,
                "modality": " and ".join(errors),
                "problem": " and ".join(kinds),
                "policy": min(policies, key=STRICTEST_FIRST.index),
                "message": "; ".join([first, *(other.partition(": ")[2] for other in others)]),
            }
        )
    return pd.DataFrame(rows, columns=PROBLEM_COLUMNS).astype("str")


def log_exclusions(bad: pd.DataFrame, total: int) -> None:
    """Counts and names in the log what is left out and what is blanked."""
    for policy, did in (("drop", "left out of every experiment"), ("blank", "kept without what they lack")):
        rows = bad[bad["policy"] == policy]
        if len(rows):
            log.warning("%d of %d clips %s (%s)", len(rows), total, did, _counted(rows))
        for message in rows["message"].head(NAMED):
            log.warning("%s: %s", did, message)
        if len(rows) > NAMED:
            log.warning("… and %d more: excluded_clips.csv has them all", len(rows) - NAMED)


def error_message(bad: pd.DataFrame, total: int, corpus: Path) -> str:
    """What an error says of clips under `fail`: how many, which, and what can be done."""
    lines = [f"  {message}" for message in bad["message"].head(NAMED)]
    if len(bad) > NAMED:
        lines.append(f"  … and {len(bad) - NAMED} more")
    one = bad["problem"].iloc[0].partition(" and ")[0]
    return (
        f"{corpus}: {len(bad)} of {total} clips cannot be used ({_counted(bad)}):\n" + "\n".join(lines) + "\n"
        "Mend or fetch them again (what is prepared is kept), leave them out of every experiment with "
        "--params data.clips.on_bad_clip=drop, or keep them without the picture or sound that they lack with "
        f"--params data.clips.on_bad_clip=blank. For one problem alone: --params data.clips.on_bad_clip.{one}=drop"
    )


def _counted(bad: pd.DataFrame) -> str:
    kinds = bad["problem"].map(in_words) + " (" + bad["modality"] + ")"
    return ", ".join(f"{count} {kind}" for kind, count in kinds.value_counts().items())
