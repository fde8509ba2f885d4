"""What is told of predictions of the user's own utterances: a summary, tables, a page, and subtitles with emotions."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from trimood.corpus.reading import in_one_line, shortened
from trimood.corpus.tables import ABSENCE_COLUMNS
from trimood.emotions import CALIBRATED, EMOTIONS, PROBABILITIES
from trimood.reports.html import in_markdown, render
from trimood.reports.wording import percent, with_interval
from trimood.scoring.intervals import Estimate

LEAST_CERTAIN = 10
"""So many utterances are shown in a summary: those whose most probable emotion is the least probable."""

EMOTION_COLOURS = dict(
    zip(EMOTIONS, ("#e69f00", "#aa4499", "#0072b2", "#767676", "#d9c200", "#d55e00", "#009e73"), strict=True)
)
"""After Okabe and Ito (https://jfly.uni-koeln.de/color): the colour-blind can tell them apart, also in dark mode."""

SCORED_ON_WHAT = "Scores of utterances that the model was trained on say nothing about others."

Scores = Mapping[str, Any]
"""What `scoring.own_clips.score_known` returns of the utterances whose true emotion is known."""


@dataclass(frozen=True)
class Span:
    """An utterance on a timeline: its number on the page, and where it is, in seconds and in percent of the whole."""

    number: int
    start_seconds: float
    left: float
    width: float
    emotion: str
    probability: float
    words: str


@dataclass(frozen=True)
class Timeline:
    """The spans of one video with subtitles."""

    name: str
    seconds: float
    spans: list[Span]


def summary(predictions: pd.DataFrame, scores: Scores) -> list[str]:
    """The lines of `overview`, and a table of the least certain utterances."""
    lines = overview(predictions, scores)
    least = predictions.assign(highest=predictions[list(CALIBRATED)].max(axis=1)).nsmallest(LEAST_CERTAIN, "highest")
    lines += [
        "",
        "The least certain:",
        "",
        "| utterance | words | emotion | or | true |",
        "|---" * 5 + "|",
    ]
    for row in least.to_dict("records"):
        first, second = _by_probability(row)[:2]
        named = (f"{emotion} {row[f'calibrated_{emotion}']:.2f}" for emotion in (first, second))
        own = (in_markdown(shortened(in_one_line(row[name]))) for name in ("utterance", "text"))
        lines.append(f"| {' | '.join([*own, *named, row['emotion'] or '–'])} |")
    return lines


def overview(predictions: pd.DataFrame, scores: Scores) -> list[str]:
    """Lines of Markdown: how many utterances have each emotion, what was absent, and scores."""
    counts = predictions["predicted"].value_counts()
    lines = [
        f"{_counted(len(predictions), 'utterance')}: "
        + ", ".join(
            f"{emotion} {count:,} ({100 * count / len(predictions):.0f} %)" for emotion, count in counts.items()
        ),
        f"Absent: {'; '.join(_absences(predictions)) or 'nothing'}.",
    ]
    if scores:
        lines.append(in_words(scores))
    return lines


def in_words(scores: Scores) -> str:
    """Sentences with macro F1, weighted F1 and their intervals, or why there are none, and F1 of each emotion."""
    intervals, occur = scores["intervals"], scores["emotions"]
    numbers = {}
    for name, words in (("macro_f1", "macro F1"), ("weighted_f1", "weighted F1")):
        known = f"{scores[name]:.3f}"
        if name in intervals:
            low, high = intervals[name]
            known = with_interval(Estimate(scores[name], low, high, math.nan))
        numbers[name] = f"{words} {known}"
    if occur < len(EMOTIONS):
        which = "the only emotion that occurs" if occur == 1 else f"mean over the {occur} emotions that occur"
        numbers["macro_f1"] += f" ({which})"
    without = f" No interval: {scores['no_interval']}." if scores["no_interval"] else ""
    f1 = (f"{emotion} {of['f1']:.2f}" for emotion, of in scores["per_class"].items() if of["support"])
    over = f"{percent(scores['confidence'])} intervals over {scores['conversations']} conversations"
    level = f", {over}" if intervals else ""
    return (
        f"Against {_counted(scores['utterances'], 'true emotion')}: {', '.join(numbers.values())}{level}.{without} "
        f"F1: {', '.join(f1)}. {SCORED_ON_WHAT}"
    )


def markdown_table(predictions: pd.DataFrame) -> list[str]:
    """Lines of a Markdown table with the calibrated probabilities of every utterance."""
    rows = [
        "| utterance | words | emotion | " + " | ".join(EMOTIONS) + " | absent |",
        "|---|---|---|" + "--:|" * len(EMOTIONS) + "---|",
    ]
    for row in predictions.to_dict("records"):
        numbers = " | ".join(f"{row[column]:.2f}" for column in CALIBRATED)
        *cells, absent = (in_markdown(in_one_line(row[name])) for name in ("utterance", "text", "predicted", "absent"))
        rows.append(f"| {' | '.join(cells)} | {numbers} | {absent} |")
    return rows


def title(predictions: pd.DataFrame) -> str:
    """Which model has predicted, and whether its probabilities are calibrated."""
    unlike = (predictions[list(CALIBRATED)].to_numpy() != predictions[list(PROBABILITIES)].to_numpy()).any()
    kind = "calibrated probabilities" if unlike else "probabilities, not calibrated (temperature 1)"
    return f"Predictions of {predictions['model'].iloc[0]}, {kind}"


def spreadsheet(predictions: pd.DataFrame) -> pd.DataFrame:
    """A row for each utterance for people who cut video: its file, timecodes, words, emotions and probabilities."""
    table = predictions[["utterance", "video", "speaker", "text", "predicted"]].copy()
    for number, end in enumerate(("start", "end"), start=2):
        table.insert(number, end, [_timecode(value) for value in predictions[f"{end}_milliseconds"]])
    table["probability"] = predictions[list(CALIBRATED)].max(axis=1).round(4)
    table[list(EMOTIONS)] = predictions[list(CALIBRATED)].round(4)
    table["true"] = predictions["emotion"]
    table["absent"] = predictions["absent"]
    return table


def subtitles(predictions: pd.DataFrame) -> dict[str, str]:
    """SRT by the name of the video: the cues that were predicted, each with its emotion before the words."""
    return {name: "\n".join(_cues(rows)) for name, rows in _videos(predictions)}


def timelines(predictions: pd.DataFrame) -> list[Timeline]:
    """The timeline of each video with subtitles; a span's number is that of its row in the table."""
    found = []
    for name, rows in _videos(predictions):
        seconds = max(1, int(rows["end_milliseconds"].max())) / 1000
        spans = []
        for number, row in zip(rows.index.tolist(), rows.to_dict("records"), strict=True):
            start, end = (int(row[f"{side}_milliseconds"]) / 1000 for side in ("start", "end"))
            emotion = _by_probability(row)[0]
            place = (start, round(100 * start / seconds, 3), round(100 * (end - start) / seconds, 3))
            spans.append(Span(number, *place, emotion, float(row[f"calibrated_{emotion}"]), str(row["text"])))
        found.append(Timeline(name, seconds, spans))
    return found


def draw_timelines(of_videos: Sequence[Timeline]) -> str:
    """The timelines as HTML without a page around it: rows of coloured links, one row for each emotion."""
    return render("timelines.html", {}, **_of_timelines(of_videos))


def write_page(predictions: pd.DataFrame, refused: Sequence[str], scores: Scores) -> str:
    """The page as HTML: summary, scores, the timeline of each video with subtitles, and all utterances."""
    rows = predictions.reset_index(drop=True)
    counts = rows["predicted"].value_counts()
    certainty = rows[list(CALIBRATED)].max(axis=1)
    return render(
        "own_clips.html",
        {},
        title=title(rows),
        modalities=rows["modalities"].iloc[0].replace("+", ", "),
        rows=rows.assign(certainty=certainty, at=_clocks(rows["start_milliseconds"])).to_dict("records"),
        counts=[(emotion, int(counts.get(emotion, 0))) for emotion in EMOTIONS],
        absent=_absences(rows),
        scores=scores,
        scored=in_words(scores) if scores else "",
        least=[int(number) for number in certainty.nsmallest(LEAST_CERTAIN).index],
        refused=refused,
        counted=_counted,
        **_of_timelines(timelines(rows)),
    )


def _of_timelines(of_videos: Sequence[Timeline]) -> dict[str, object]:
    return {"timelines": of_videos, "emotion_colours": EMOTION_COLOURS, "clock": _clock}


def _videos(predictions: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each video with subtitles, in order of time, by the name of the video."""
    cues = predictions[predictions["start_milliseconds"].notna()]
    names = cues["utterance"].str.replace(r"_\d+$", "", regex=True)
    for name, rows in cues.groupby(names, sort=False):
        yield str(name), rows.sort_values("start_milliseconds", kind="stable")


def _cues(rows: pd.DataFrame) -> Iterator[str]:
    for number, row in enumerate(rows.to_dict("records"), start=1):
        start, end = (_timecode(row[f"{side}_milliseconds"]).replace(".", ",") for side in ("start", "end"))
        emotion = _by_probability(row)[0]
        yield f"{number}\n{start} --> {end}\n[{emotion} {row[f'calibrated_{emotion}']:.2f}] {row['text']}\n"


def _by_probability(row: Mapping[Any, Any]) -> list[str]:
    """The emotions, the most probable first."""
    return sorted(EMOTIONS, key=lambda emotion: -row[f"calibrated_{emotion}"])


def _timecode(milliseconds: Any) -> str:
    """HH:MM:SS.mmm, or "" for an utterance that has no place in a video."""
    if pd.isna(milliseconds):
        return ""
    seconds, rest = divmod(int(milliseconds), 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"


def _clock(seconds: float) -> str:
    """M:SS, as players show it."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _clocks(milliseconds: pd.Series) -> list[str]:
    return ["" if pd.isna(at) else _clock(at / 1000) for at in milliseconds]


def _absences(predictions: pd.DataFrame) -> list[str]:
    """For each reason why a modality is absent: "audio in 3 (no audio track)"."""
    return [
        f"{modality} in {count:,} ({reason})"
        for modality, column in ABSENCE_COLUMNS.items()
        for reason, count in predictions.loc[predictions[column] != "", column].value_counts().items()
    ]
