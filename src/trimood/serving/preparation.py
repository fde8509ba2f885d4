"""From utterances of one's own to examples: each modality that is there, and why one is not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.emotions import MODALITIES, Modality
from trimood.media.cache import prepare_clips
from trimood.media.cutting import CutRecipe, CutTask, cut_clip
from trimood.media.episodes import file_fingerprint
from trimood.media.errors import ClipError, in_words
from trimood.media.execution import Execution, run_each
from trimood.media.parts import Location, Problems, place_in_cache
from trimood.serving.trained_model import TrainedModel


def cut_spans(utterances: pd.DataFrame, folder: Path, execution: Execution) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The utterances with `clip` pointing to a file in `folder` where they are a span, and a table of those that fail.

    The second (utterance, clip, message) holds spans that their video cannot give. What was cut before is kept.
    """
    spans = utterances[utterances["start_milliseconds"].notna()]
    prints = {clip: file_fingerprint(Path(clip)) for clip in spans["clip"].unique()}
    tasks = [
        CutTask(
            folder / f"{row['utterance']}.mp4",
            Path(row["clip"]),
            prints[row["clip"]],
            int(row["start_milliseconds"]),
            int(row["end_milliseconds"]),
            CutRecipe(),
        )
        for row in spans.to_dict("records")
    ]
    problems: dict[Path, str] = {}
    for task, cut in run_each(cut_clip, tasks, execution, lambda task: task.clip):
        if isinstance(cut, ClipError) or cut.state == "refused":
            problems[task.clip] = f"{in_words(cut.problem)}: {cut.detail}"
    became = dict(zip(spans["utterance"], (task.clip for task in tasks), strict=True))
    clips = [str(became.get(key, clip)) for key, clip in zip(utterances["utterance"], utterances["clip"], strict=True)]
    moved = utterances.assign(clip=pd.Series(clips, index=utterances.index, dtype="str"))
    moved["message"] = moved["clip"].map({str(clip): message for clip, message in problems.items()}).astype("str")
    fails = moved["message"].notna()
    refused = moved.loc[fails, ["utterance", "clip", "message"]]
    return moved[~fails].drop(columns="message").reset_index(drop=True), refused.reset_index(drop=True)


def prepare_own(
    utterances: pd.DataFrame, trained: TrainedModel, prepared_clips: Location, execution: Execution
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Examples of the utterances that can be predicted, and a table of the others (utterance, clip, message).

    `utterances` has utterance (a key), text and clip (a path; "" where there is none). Examples get `part`,
    `has_video`, `has_audio`, and `no_video`, `no_audio`, `no_text`: why the model's modality is absent, or "". Refused
    is a clip that gives neither picture nor sound, and an utterance with nothing that the model reads.
    """
    clips = {key: Path(clip) for key, clip in zip(utterances["utterance"], utterances["clip"], strict=True) if clip}
    done = prepare_clips(clips, trained.recipe, prepared_clips, execution)
    rows, refused = [], []
    row: dict[Any, Any]
    for row in utterances.to_dict("records"):
        key = row["utterance"]
        problems = done.problems.get(key, {})
        absent = _absent(row, problems)
        why_not = {modality: absent.get(modality, "") for modality in trained.modalities}
        if len(problems) == 2:
            refused.append(
                (key, row["clip"], "; ".join({f"{in_words(e.problem)}: {e.detail}": None for e in problems.values()}))
            )
        elif all(why_not.values()):
            reasons = ", ".join(f"{modality} ({reason})" for modality, reason in why_not.items())
            message = f"nothing is there that {trained.name} reads: {reasons}"
            refused.append((key, row["clip"], message))
        else:
            part = place_in_cache(done.parts[key]) if key in done.parts else ""
            has = {"has_video": "video" not in absent, "has_audio": "audio" not in absent}
            why: dict[str, str] = {f"no_{modality}": why_not.get(modality, "") for modality in MODALITIES}
            rows.append(row | {"part": part} | has | why)
    columns = [*utterances.columns, "part", "has_video", "has_audio", *(f"no_{m}" for m in MODALITIES)]
    examples = pd.DataFrame(rows, columns=columns).astype({"has_video": "bool", "has_audio": "bool"})
    return examples, pd.DataFrame(refused, columns=["utterance", "clip", "message"], dtype="str")


def _absent(row: Mapping[Any, str], problems: Problems) -> dict[Modality, str]:
    """What the utterance lacks, and why."""
    absent: dict[Modality, str] = {modality: in_words(error.problem) for modality, error in problems.items()}
    if not row["clip"]:
        absent = {"video": "no clip", "audio": "no clip"}
    if not row["text"].strip():
        absent["text"] = "no words"
    return absent
