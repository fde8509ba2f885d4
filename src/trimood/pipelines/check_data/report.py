"""The last node: pictures and page of a check, and which clips its sheet shows."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.parameters import ClipParams
from trimood.pipelines.check_data.kinds import KINDS
from trimood.pipelines.check_data.marks import to_look_at
from trimood.pipelines.check_data.page import write_page

log = logging.getLogger(__name__)

SHOWN_CLIPS = 24


def draw_report(  # type: ignore[no-untyped-def]
    manifest: pd.DataFrame, data_report: dict[str, Any], corpus: Path, clips: ClipParams
):
    """The page, the class balance, the histogram of durations, and the sheet of clips with problems."""
    from trimood.pipelines.check_data.figures import class_balance_figure, durations_figure, problem_sheet_figure

    balance, durations = class_balance_figure(data_report["files"]), durations_figure(manifest)
    chosen = choose_clips(manifest)
    sheet = problem_sheet_figure(chosen, _pictures(chosen, corpus, clips))
    log.info("%s %s", data_report["says"], " ".join(data_report["reasons"]))
    return write_page(data_report, manifest, balance, durations, sheet), balance, durations, sheet


def choose_clips(manifest: pd.DataFrame, shown: int = SHOWN_CLIPS) -> pd.DataFrame:
    """Clips that are there and have a problem: the first of each kind, then the second, …; the graver kinds first."""
    rows = manifest[~manifest["clip_missing"] & (manifest["left_out"] | to_look_at(manifest))]
    kinds = [name for name, kind in KINDS.items() if kind.weight != "known"]
    places: dict[Any, tuple[int, int]] = {}
    for weight, name in enumerate(kinds):
        for turn, row in enumerate(rows.index[rows[name]][:shown]):
            places[row] = min(places.get(row, (turn, weight)), (turn, weight))
    first = sorted(places, key=lambda row: places[row])[:shown]
    return rows.loc[first].sort_values("left_out", ascending=False, kind="stable")


def _pictures(chosen: pd.DataFrame, corpus: Path, clips: ClipParams) -> dict[str, Any]:
    """A frame of each clip, decoded under the same guard as the check: what hung or crashed there may do so here."""
    from trimood.media.errors import ClipError
    from trimood.media.execution import Execution, run_each
    from trimood.media.probe import first_picture

    safe = chosen[~(chosen["clip_timed_out"] | chosen["clip_crashed"])]
    names = {corpus / clip: clip for clip in safe["clip"]}
    execution = Execution(clips.executor, clips.workers, clips.time_limit_seconds)
    done = run_each(first_picture, list(names), execution, clip_of=lambda path: path)
    return {names[path]: picture for path, picture in done if not isinstance(picture, ClipError)}
