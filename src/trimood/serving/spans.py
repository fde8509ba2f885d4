"""Parts of longer videos as clips of their own, so that each is prepared as any clip is."""

from pathlib import Path

import pandas as pd

from trimood.media.cutting import CutRecipe, CutTask, cut_clip
from trimood.media.episodes import fingerprint
from trimood.media.errors import ClipError
from trimood.media.execution import Execution, run_each


def cut_spans(utterances: pd.DataFrame, folder: Path, execution: Execution) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The utterances with `clip` pointing to a file in `folder` where they are a span, and a table of those that fail.

    The second (utterance, clip, message) holds spans that their video cannot give. What was cut before is kept.
    """
    spans = utterances[utterances["start_milliseconds"].notna()]
    prints = {clip: fingerprint(Path(clip)) for clip in spans["clip"].unique()}
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
            problems[task.clip] = f"{cut.problem}: {cut.detail}"
    became = dict(zip(spans["utterance"], (task.clip for task in tasks), strict=True))
    clips = [str(became.get(key, clip)) for key, clip in zip(utterances["utterance"], utterances["clip"], strict=True)]
    moved = utterances.assign(clip=pd.Series(clips, index=utterances.index, dtype="str"))
    moved["message"] = moved["clip"].map({str(clip): message for clip, message in problems.items()}).astype("str")
    fails = moved["message"].notna()
    refused = moved.loc[fails, ["utterance", "clip", "message"]]
    return moved[~fails].drop(columns="message").reset_index(drop=True), refused.reset_index(drop=True)
