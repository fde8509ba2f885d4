"""Sections of the page that speak of clips: what they are like, and which of them have problems."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from trimood.pages import Section
from trimood.pipelines.check_data.kinds import SIDE_NAMES
from trimood.pipelines.check_data.marks import to_look_at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LISTED = 200
"""How many clips with problems the page lists; the manifest holds them all."""


def describe_clips(report: dict[str, Any], durations: "Figure") -> Section:
    """The most frequent sizes, rates and codecs, and how long clips last beside their spans."""
    clips = report["clips"]
    spans = [
        f"Annotated spans of the {SIDE_NAMES[side]}: the shortest is {of_side['shortest']} with "
        f"{of_side['shortest_seconds']:g} s, the longest {of_side['longest']} with {of_side['longest_seconds']:g} s."
        for side, of_side in report["spans"].items()
    ]
    if not clips["there"]:
        words = "\n\n".join(["There is no clip; these are the annotated spans.", *spans])
        return Section("How long utterances last", words, figure=durations)
    names = {
        "sizes": "width × height",
        "frames_per_second": "frames a second",
        "video_codecs": "codec of the pictures",
        "audio_codecs": "codec of the sound",
        "sample_rates_hz": "sample rate in Hz",
        "channels": "channels",
    }
    table = pd.DataFrame({"": list(names.values()), "most frequent (clips)": [clips[name] or "–" for name in names]})
    words = "Any size, rate and number of channels will do: clips are scaled and resampled as the model expects."
    return Section("What the clips are like", "\n\n".join([words, *spans]), table, durations)


def show_problem_clips(report: dict[str, Any], manifest: pd.DataFrame, sheet: "Figure") -> Section:
    """The sheet, where there is anything to show."""
    if not report["clips"]["there"]:
        return Section("Clips with problems", "There is no clip at all, so there is no picture.")
    if not (manifest["left_out"] | to_look_at(manifest)).any():
        return Section("Clips with problems", "There is none.", verdict="good")
    words = (
        "One frame of some clips of each kind, where a frame decodes. Red: left out. Brown: usable, but look at them. "
        "Clips that are missing have no picture; the list below names them."
    )
    return Section("Clips with problems", words, figure=sheet)


def list_problem_clips(manifest: pd.DataFrame) -> Section:
    """Each utterance that is left out or should be looked at, with what the decoder said."""
    none_is_there = bool(manifest["clip_missing"].all())  # a list of all is no help then
    left_out = manifest["left_out"] & (not none_is_there)
    chosen = manifest[left_out | to_look_at(manifest)].sort_values("left_out", ascending=False, kind="stable")
    table = pd.DataFrame(
        {
            "clip": chosen["clip"],
            "split": chosen["split"].str.replace("_", " "),
            "left out": chosen["left_out"].map({True: "left out", False: "look"}),
            "found": chosen["findings"].str.replace("_", " "),
            "details": _details(chosen),
            "clip s": chosen["clip_seconds"],
            "span s": chosen["span_seconds"],
            "words": chosen["words"],
        }
    ).head(LISTED)
    more = f"The first {LISTED} of {len(chosen):,}; the manifest holds them all. " if len(chosen) > LISTED else ""
    title = f"The list: {len(chosen):,} utterances to mend or to look at"
    return Section(title, f"{more}Click to open or close.", table if len(table) else None, folded=True)


def _details(chosen: pd.DataFrame) -> pd.Series:
    video, audio = chosen["video_detail"].fillna(""), chosen["audio_detail"].fillna("")
    return video.where(video == audio, (video + "; " + audio).str.strip("; "))
