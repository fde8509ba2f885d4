"""Nodes of the cutting stage. `corpus` is the folder with the annotation files; the clips are written there."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from trimood.config.parameters import CuttingParams, listed
from trimood.corpus.corpus_files import TEST_FILES, TRAIN_FILES, TRAIN_SPANS, first_present, no_train_file, read_spans
from trimood.corpus.ecf import AnnotationError, read_ecf
from trimood.corpus.tables import CUT_COLUMNS, SPAN_COLUMNS
from trimood.disk import remove_leftovers
from trimood.media.names import video_names

if TYPE_CHECKING:
    from trimood.media.cutting import Cut, Span
    from trimood.media.episodes import EpisodeError
    from trimood.media.errors import ClipError

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
            # Once the split's own folder exists, clips beside the annotations are no longer used (see clip_folder).
            beside = not (corpus / split).is_dir() and any(
                name.startswith("dia") and "utt" in name for name in video_names(corpus)
            )
            table = read_ecf(path, "" if beside else split)[["utterance", "clip"]]
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
    from trimood.media.cutting import Cut, CutRecipe, Span, cut_all
    from trimood.media.errors import ClipError
    from trimood.media.execution import Execution, followed

    planned = _plan(clip_spans, corpus, episodes)
    rows = {clip: dict(vars(row)) for clip, row in planned.items() if isinstance(row, Cut)}
    spans = [span for span in planned.values() if isinstance(span, Span)]
    recipe = CutRecipe(cutting.crf, cutting.preset, cutting.audio_language)
    where = Execution(cutting.executor, cutting.workers, cutting.time_limit_seconds)
    remove_leftovers(corpus)
    done = cut_all(spans, recipe, where, cutting.overwrite)
    for span, result in followed(done, len(spans), "cutting clips"):
        episode_file = span.episode.relative_to(episodes).as_posix()
        outcome = vars(_refused(result, cutting) if isinstance(result, ClipError) else result)
        rows[span.clip.relative_to(corpus).as_posix()] = {**outcome, "episode_file": episode_file}
    cut = pd.DataFrame([rows[clip] for clip in clip_spans["clip"]], columns=list(CUT_COLUMNS))
    cut = cut.fillna({"episode_file": ""})
    table = pd.concat([clip_spans.reset_index(drop=True), cut.astype(CUT_COLUMNS)], axis=1)
    _report(table, corpus)
    return table


def _plan(table: pd.DataFrame, corpus: Path, episodes: Path) -> "dict[str, Span | Cut]":
    """Maps each clip, in the order of the episodes, to the Span to cut, or to its refusal if it cannot be cut."""
    from trimood.media.cutting import Cut, Span
    from trimood.media.episodes import EpisodeError

    files = _episode_files(sorted(table["episode"].dropna().unique()), episodes)
    present = {folder: video_names(corpus / folder) for folder in {Path(str(clip)).parent for clip in table["clip"]}}
    plan: dict[str, Span | Cut] = {}
    for row in table.sort_values(["episode", "start_seconds"]).to_dict("records"):
        clip = str(row["clip"])
        own = present[Path(clip).parent].get(Path(clip).stem, Path(clip).name)
        if pd.isna(row["episode"]):
            plan[clip] = Cut("refused", "no_source", "the annotations give no episode and span for it")
        elif isinstance(path := files[row["episode"]], EpisodeError):
            plan[clip] = Cut("refused", "no_episode", str(path))
        elif own != Path(clip).name:
            detail = f"{own} is in its place and was not cut here. Move it elsewhere to have the clip cut"
            plan[clip] = Cut("refused", "not_cut_here", detail)
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
    if all(isinstance(found, EpisodeError) for found in files.values()):
        shown = "".join(f"\n  - {error}" for error in list(files.values())[:3])
        raise EpisodeError(f"{episodes}: it has none of the {len(files)} requested episodes, such as{shown}")
    return files


def _refused(error: "ClipError", cutting: CuttingParams) -> "Cut":
    from trimood.media.cutting import Cut
    from trimood.media.errors import in_words

    more = f" ({cutting.time_limit_seconds:g} s: cutting.time_limit_seconds)" if error.problem == "timed_out" else ""
    return Cut("refused", error.problem, f"the process that cut it {in_words(error.problem)}{more}")


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
        lines = [
            f"{first}: {detail}" if size == 1 else f"{size} clips, the first is {first}: {detail}"
            for detail, first, size in reasons.itertuples(name=None)
        ]
        log.warning("%d clips were not cut (%s):\n  %s", len(refused), counts, listed(lines, NAMED, "\n  "))
