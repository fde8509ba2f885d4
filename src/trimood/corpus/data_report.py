"""The data report: counts, findings and leakage of a corpus, and the verdict on it."""

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from trimood.corpus.anomalies import conversation_anomalies
from trimood.corpus.findings import KINDS, looked_for
from trimood.corpus.published import GENERATIONS
from trimood.emotions import EMOTIONS

VerdictWord = Literal["good", "usable", "annotations only", "not usable"]

FEWEST_USABLE = 0.5
"""Below this share of its clips a corpus is no longer the corpus: mend it, do not drop what is missing."""


WRONG_CLIPS = (
    "same_bytes",
    "duration_differs",
    "sound_and_pictures_differ",
    "sound_nearly_silent",
    "too_many_words",
)
"""Kinds of finding that are chance in one clip and the sign of a wrong folder, cut or conversion in many."""

SUSPICIOUS_SHARE = 0.05
"""Of the clips that are there. In ECF 1 % have too many words a second, and 0.2 % the span of an earlier utterance."""


@dataclass(frozen=True)
class DataVerdict:
    """`says` is one sentence; `reasons` are why it is not better; `next_steps` are what to do, first things first."""

    word: VerdictWord
    says: str
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]


def judge(
    files: dict[str, Any],
    split_state: dict[str, Any],
    leakage: dict[str, Any],
    clips: dict[str, Any],
    lost_emotions: list[str],
) -> DataVerdict:
    """`clips` are the summary's counts; `lost_emotions` are annotated in the training split and left with no clip.

    Good: nothing has to be left out, and nothing misleads. Usable: something does, and it is said what. Annotations
    only: there is no clip. Not usable: no honest training is possible.
    """
    reasons = [*_annotation_reasons(files, split_state, leakage)]
    if reasons:
        return DataVerdict(
            "not usable",
            "Not usable as it is: the annotations do not allow an honest training.",
            tuple(reasons),
            ("Mend what stands below in the annotation files, or fetch them again.", "Then check the data once more."),
        )
    cautions = (*_unlike_published(files), *_leaking(leakage))
    if clips["there"] == 0:
        return DataVerdict(
            "annotations only",
            f"The annotations {'are good' if not cautions else 'can be read'}, but not one of their "
            f"{clips['utterances']:,} clips is there: nothing can be trained on yet.",
            ("No clip was found under the names that the annotations give.", *cautions),
            (
                "Put the clips (dia1utt1.mp4, …) into the folders train and test beside the annotations.",
                "Or cut them from episodes that you own (kedro run --pipelines=cut_clips), or give MELD's own folders "
                "with --params meld_dir=…; README.md says how.",
            ),
        )
    return _judge_clips(clips, lost_emotions, (*_nothing_to_test_on(clips), *_wrong_clips(clips), *cautions))


def _judge_clips(clips: dict[str, Any], lost: list[str], cautions: tuple[str, ...]) -> DataVerdict:
    total, left_out = clips["utterances"], clips["left_out"]
    train = "kedro run --pipelines=exp4"
    as_here = "(with --env and --params as given to this check)"
    if not left_out:
        whole = f"all {total:,} clips are there and decode, pictures and sound"
        return DataVerdict(
            "usable" if cautions else "good",
            f"Usable with care: {whole}, but the scores may mislead." if cautions else f"Good: {whole}.",
            cautions,
            (f"Train: {train} {as_here}.",),
        )
    few = clips["usable"] < FEWEST_USABLE * total
    if few or lost:
        return DataVerdict(
            "not usable",
            f"Not usable as it is: {left_out:,} of {total:,} utterances have no clip that can be used whole.",
            (
                *([f"Only {clips['usable']:,} utterances are left: another corpus than was annotated."] if few else []),
                *([f"No training utterance is left of: {', '.join(lost)}."] if lost else []),
                *cautions,
            ),
            ("Bring the clips that are named below: most often a download or an archive is incomplete.",),
        )
    return DataVerdict(
        "usable",
        f"Usable with {left_out:,} of {total:,} utterances left out: their clips are missing or damaged.",
        cautions,
        (
            "Mend or fetch again the clips that are named below; clips already checked are not decoded again.",
            f"Or train without them: {train} --params data.clips.on_bad_clip=drop {as_here}.",
            f"Or keep the {clips['lack_one']:,} that lack only their pictures or only their sound, with "
            f"data.clips.on_bad_clip=blank.",
        ),
    )


def _annotation_reasons(files: dict[str, Any], split_state: dict[str, Any], leakage: dict[str, Any]) -> list[str]:
    train = files["train"]
    reasons = []
    if not train["utterances"]:
        reasons.append("There is no train file, so there is nothing to train on.")
    elif unlabelled := train["utterances"] - train["labelled_utterances"]:
        reasons.append(f"{unlabelled:,} of {train['utterances']:,} utterances of the train file have no emotion.")
    if shared := leakage["between_files"]["conversations_in_both"]:
        reasons.append(
            f"{shared:,} conversations stand in the train and in the test file: what is trained on would be tested on."
        )
    if train["labelled_utterances"] and split_state["problem"]:
        reasons.append(f"It cannot be split as the parameters ask. {split_state['problem']}")
    return reasons


def _nothing_to_test_on(clips: dict[str, Any]) -> list[str]:
    if clips["official_test"] == 0 or clips["official_test_usable"]:
        return []
    return [
        f"Not one of the official test's {clips['official_test']:,} labelled utterances has a clip that can be used, "
        "so nothing would be scored: bring its clips, or take the test file out of the folder, and a part of the train "
        "file is held out instead."
    ]


def _wrong_clips(clips: dict[str, Any]) -> list[str]:
    return [
        f"Of {count:,} of the {clips['there']:,} clips it is said: {KINDS[kind].words}. {KINDS[kind].advice}"
        for kind, count in clips["perhaps_wrong"].items()
        if count > SUSPICIOUS_SHARE * clips["there"]
    ]


def _unlike_published(files: dict[str, Any]) -> list[str]:
    return [
        f"{facts['file']} is not quite the published {facts['published_as']}: {', '.join(facts['differs_in'])}."
        for facts in files.values()
        if facts["differs_in"]
    ]


def _leaking(leakage: dict[str, Any]) -> list[str]:
    return [
        f"The split {name.replace('_', ' ')} shares {probe['conversations_on_both_sides']:,} conversations with "
        "training, so its scores mislead: set data.split.unit=conversation."
        for name, probe in leakage["splits"].items()
        if probe["conversations_on_both_sides"]
    ]


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
        "oddities": {side: conversation_anomalies(rows) for side, rows in sides.items() if len(rows)},
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
