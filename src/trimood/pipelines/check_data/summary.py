"""The check as nested counts and words: what the JSON report holds and the page shows."""

from typing import Any

import pandas as pd

from trimood.conversations.oddities import conversation_oddities
from trimood.conversations.published import GENERATIONS
from trimood.emotions import EMOTIONS
from trimood.pipelines.check_data.kinds import KINDS
from trimood.pipelines.check_data.marks import looked_for
from trimood.pipelines.check_data.verdict import WRONG_CLIPS, judge

SIDES = ("train", "official_test")


def summarise(
    manifest: pd.DataFrame, annotation_files: dict[str, Any], split_state: dict[str, Any], leakage: dict[str, Any]
) -> dict[str, Any]:
    """Verdict, counts of each file beside those published, clips, findings, oddities and leakage, ready for JSON."""
    sides = {side: manifest[manifest["side"] == side] for side in SIDES}
    clips = _clips(manifest)
    emotions = _usable_by_emotion(manifest)
    training = manifest[manifest["split"] == "training"]
    lost = [emotion for emotion in EMOTIONS if not emotions[emotion] and (training["emotion"] == emotion).any()]
    verdict = judge(annotation_files, split_state, leakage, clips, lost)
    return {
        "verdict": verdict.word,
        "says": verdict.says,
        "reasons": list(verdict.reasons),
        "next_steps": list(verdict.next_steps),
        "files": annotation_files,
        "splits": {name: int(n) for name, n in manifest["split"].value_counts().items() if name != "none"},
        "split_problem": split_state["problem"],
        "usable_training_utterances": emotions,
        "clips": clips,
        "spans": {side: _extremes(rows) for side, rows in sides.items() if rows["span_seconds"].notna().any()},
        "findings": {side: _findings(rows) for side, rows in sides.items() if len(rows)},
        "oddities": {side: conversation_oddities(rows) for side, rows in sides.items() if len(rows)},
        "published_oddities": {side: _published(annotation_files[side]) for side in SIDES},
        "leakage": leakage,
    }


def _clips(manifest: pd.DataFrame) -> dict[str, Any]:
    there = manifest[~manifest["clip_missing"]]
    official_test = manifest[manifest["split"] == "official_test"]
    return {
        "utterances": len(manifest),
        "there": len(there),
        "usable": int((~manifest["left_out"]).sum()),
        "left_out": int(manifest["left_out"].sum()),
        "official_test": len(official_test),
        "official_test_usable": int((~official_test["left_out"]).sum()),
        "perhaps_wrong": {kind: int(there[kind].sum()) for kind in WRONG_CLIPS},
        "lack_one": int((there["video_problem"].isna() != there["audio_problem"].isna()).sum()),
        "hours": round(float(there["clip_seconds"].sum()) / 3600, 3),
        "sizes": _commonest(there["width"].astype("str") + "×" + there["height"].astype("str"), there["width"]),
        "frames_per_second": _commonest(there["frames_per_second"].round(2).astype("str"), there["frames_per_second"]),
        "video_codecs": _commonest(there["video_codec"], there["video_codec"]),
        "audio_codecs": _commonest(there["audio_codec"], there["audio_codec"]),
        "sample_rates_hz": _commonest(there["sample_rate_hz"].astype("str"), there["sample_rate_hz"]),
        "channels": _commonest(there["channels"].astype("str"), there["channels"]),
    }


def _extremes(rows: pd.DataFrame) -> dict[str, Any]:
    """The shortest and the longest annotated span, by name."""
    spans = rows.dropna(subset="span_seconds").set_index("utterance")["span_seconds"]
    return {
        "shortest": str(spans.idxmin()),
        "shortest_seconds": float(spans.min()),
        "longest": str(spans.idxmax()),
        "longest_seconds": float(spans.max()),
    }


def _commonest(values: pd.Series, known: pd.Series, shown: int = 6) -> str:
    """The most frequent values with their counts, as words: a mapping would make a metric of each."""
    counts = values[known.notna()].value_counts()
    words = [f"{value} ({count:,})" for value, count in counts.head(shown).items()]
    return ", ".join(words) + (f", and {len(counts) - shown} more" if len(counts) > shown else "")


def _usable_by_emotion(manifest: pd.DataFrame) -> dict[str, int]:
    rows = manifest[(manifest["split"] == "training") & ~manifest["left_out"]]
    counts = rows["emotion"].value_counts()
    return {emotion: int(counts.get(emotion, 0)) for emotion in EMOTIONS}


def _findings(rows: pd.DataFrame) -> dict[str, int | None]:
    """Utterances of each kind; None where the kind could not be looked for."""
    needs = looked_for(rows)
    return {name: None if needs[name] else int(rows[name].sum()) for name in KINDS}


def _published(facts: dict[str, Any]) -> dict[str, int]:
    known = next((generation for generation in GENERATIONS if generation.name == facts["published_as"]), None)
    return known.oddities if known else {}
