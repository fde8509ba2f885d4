"""Nodes of the cutting stage. `corpus` is the folder with the annotation files; the clips are written there."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from trimood.config.parameters import CuttingParams
from trimood.corpus.corpus_files import TEST_FILES, TRAIN_FILES, TRAIN_SPANS, first_present, no_train_file, read_spans
from trimood.corpus.ecf import AnnotationError, read_ecf
from trimood.corpus.tables import CUT_COLUMNS, SPAN_COLUMNS
from trimood.disk import remove_leftovers

if TYPE_CHECKING:
    from trimood.media.cutting import Span
    from trimood.media.episodes import EpisodeError

log = logging.getLogger(__name__)

NAMED = 20
"""Maximum number of reasons in the log; the table lists all refused clips."""


def list_spans(corpus: Path, cutting: CuttingParams) -> pd.DataFrame:
    """Returns clip, episode, start and end of each utterance in the chosen splits; missing values mean no span.

    Spans come from the annotation files (`video_source`, as in the published test file), and for the train file also
    from MECPE's file. Raises AnnotationError if there is no annotation file or no span.
    """
    tables = []
    for split, names, more in (("train", TRAIN_FILES, (TRAIN_SPANS,)), ("test", TEST_FILES, ())):
        path = first_present(corpus, names)
        if path and split in cutting.splits:
            sources = [read_spans(corpus / name) for name in (*names, *more) if (corpus / name).is_file()]
            spans = pd.concat(sources).drop_duplicates("utterance").set_index("utterance")
            table = read_ecf(path, _clip_folder(corpus, split))[["utterance", "clip"]]
            tables.append(table.join(spans, on="utterance"))
    if not tables:
        wanted = f"{corpus}: no test file, expected one of {', '.join(TEST_FILES)}"
        raise AnnotationError(no_train_file(corpus) if "train" in cutting.splits else wanted)
    found = pd.concat(tables, ignore_index=True)
    if found["episode"].isna().all():
        raise AnnotationError(
            f"{corpus}: none of the {len(found)} utterances has a span in an episode. Expected {TRAIN_SPANS} "
            "for the train file, or annotations with video_source, as the published Subtask_2_test.json has them."
        )
    return found.astype({"clip": "str", **SPAN_COLUMNS})


def cut_clips(clip_spans: pd.DataFrame, corpus: Path, episodes: Path, cutting: CuttingParams) -> pd.DataFrame:
    """Cuts every clip that has a span and an episode; returns the spans with the results (CUT_COLUMNS).

    A bad episode or span affects only its own clips. Raises EpisodeError if no episode has a file, and DiskFull. The
    next run keeps the clips that were cut.
    """
    from trimood.media.cutting import CutRecipe, Span, cut_all
    from trimood.media.execution import Execution, followed

    planned = _plan(clip_spans, corpus, episodes)
    rows = {clip: row for clip, row in planned.items() if not isinstance(row, Span)}
    spans = [span for span in planned.values() if isinstance(span, Span)]
    recipe = CutRecipe(cutting.crf, cutting.preset, cutting.audio_language)
    where = Execution(cutting.executor, cutting.workers, cutting.time_limit_seconds)
    remove_leftovers(corpus)
    done = cut_all(spans, recipe, where, cutting.overwrite)
    for span, result in followed(done, len(spans), "cutting clips"):
        episode_file = {"episode_file": span.episode.relative_to(episodes).as_posix()}
        rows[span.clip.relative_to(corpus).as_posix()] = episode_file | _row(result, cutting)
    cut = pd.DataFrame([rows[clip] for clip in clip_spans["clip"]], columns=list(CUT_COLUMNS))
    cut = cut.fillna({"problem": "", "detail": "", "episode_file": "", "audio_track": ""}).fillna(0)
    table = pd.concat([clip_spans.reset_index(drop=True), cut.astype(CUT_COLUMNS)], axis=1)
    _report(table, corpus)
    return table


def _plan(table: pd.DataFrame, corpus: Path, episodes: Path) -> "dict[str, Span | dict[str, object]]":
    """Maps each clip, in the order of the episodes, to the Span to cut, or to its row if it cannot be cut."""
    from trimood.media.cutting import Span
    from trimood.media.episodes import EpisodeError

    files = _episode_files(sorted(table["episode"].dropna().unique()), episodes)
    plan: dict[str, Span | dict[str, object]] = {}
    for row in table.sort_values(["episode", "start_seconds"]).to_dict("records"):
        clip = str(row["clip"])
        if pd.isna(row["episode"]):
            plan[clip] = _refused("no_source", "the annotations give no episode and span for it")
        elif isinstance(path := files[row["episode"]], EpisodeError):
            plan[clip] = _refused("no_episode", str(path))
        else:
            plan[clip] = Span(corpus / clip, path, *(round(row[f"{end}_seconds"] * 1000) for end in ("start", "end")))
    return plan


def _episode_files(names: list[str], episodes: Path) -> "dict[str, Path | EpisodeError]":
    from trimood.media.episodes import EpisodeError, EpisodeFolder

    folder = EpisodeFolder(episodes)
    files: dict[str, Path | EpisodeError] = {}
    for name in names:
        try:
            files[name] = folder.find(name)
        except EpisodeError as error:
            files[name] = error
    missing = [str(error) for error in files.values() if isinstance(error, EpisodeError)]
    if len(missing) == len(files):
        shown = "".join(f"\n  - {message}" for message in missing[:3])
        raise EpisodeError(f"{episodes}: it has none of the {len(files)} requested episodes, such as{shown}")
    return files


def _row(result: Any, cutting: CuttingParams) -> dict[str, object]:
    from trimood.media.errors import ClipError, in_words

    if not isinstance(result, ClipError):
        return dict(vars(result))
    more = f" ({cutting.time_limit_seconds:g} s: cutting.time_limit_seconds)" if result.problem == "timed_out" else ""
    return _refused(result.problem, f"the process that cut it {in_words(result.problem)}{more}")


def _refused(problem: str, detail: str) -> dict[str, object]:
    return {"state": "refused", "problem": problem, "detail": detail}


def _report(table: pd.DataFrame, corpus: Path) -> None:
    from trimood.media.errors import in_words

    states = table["state"].value_counts()
    log.info(
        "%s: %d clips cut, %d kept, %d refused; %d of the clips have no sound",
        corpus,
        *(int(states.get(state, 0)) for state in ("cut", "kept", "refused")),
        int((table["detail"] == "no sound").sum()),
    )
    refused = table[table["state"] == "refused"]
    if len(refused):
        problems = refused["problem"].value_counts().items()
        counts = ", ".join(f"{count} {in_words(str(problem))}" for problem, count in problems)
        reasons = refused.groupby("detail", sort=False)["clip"].agg(["first", "size"])
        shown = zip(reasons.index, reasons["first"], reasons["size"], strict=True)
        lines = [
            f"  {first}: {detail}" if size == 1 else f"  {size} clips, the first is {first}: {detail}"
            for detail, first, size in list(shown)[:NAMED]
        ]
        more = [f"  … and {len(reasons) - NAMED} more reasons"] if len(reasons) > NAMED else []
        log.warning("%d clips were not cut (%s):\n%s", len(refused), counts, "\n".join(lines + more))


def _clip_folder(corpus: Path, split: str) -> str:
    """Chooses the annotations' folder if it already has clips, else the split's own folder.

    Once the split's folder exists, clips beside the annotations are no longer used (`corpus_files.clip_folder`).
    """
    beside = not (corpus / split).is_dir() and any(corpus.glob("dia*utt*.mp4"))
    return "" if beside else split
