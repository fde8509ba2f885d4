"""Nodes of the stage check_data."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trimood.config.parameters import ClipParams, SplitParams
from trimood.corpus.data_report import SIDES, DataReport, Leakage, SplitState
from trimood.corpus.ecf import labelled
from trimood.corpus.findings import mark
from trimood.corpus.splits import SplitError, official_splits, split_utterances
from trimood.corpus.tables import UTTERANCE_COLUMNS

log = logging.getLogger(__name__)


def probe_clips(
    annotated: pd.DataFrame, corpus: Path, clip_facts: Path, clip_digests: Path, clips: ClipParams
) -> pd.DataFrame:
    """Returns the facts of each clip (clip, FACT_COLUMNS), cached in `clip_facts` by the clip's content.

    Only contents without facts are opened, each once, in workers. `clip_digests` keeps what the clips contained. With
    `clips.in_use` false, no clip is looked for, and all facts are unknown.
    """
    from trimood.media.contents import Known, content_names
    from trimood.media.errors import ClipError
    from trimood.media.execution import Execution, followed, run_each
    from trimood.media.facts import ClipFacts, append_facts, failed, own_file, read_facts

    names = sorted(set(annotated["clip"]))
    if not clips.in_use:
        log.info("data.clips.in_use is false: the annotations are checked, and no clip is looked for")
        return _facts_table(names, dict.fromkeys(names, asdict(ClipFacts())))
    existing = {corpus / name: name for name in names if (corpus / name).is_file()}
    contents = content_names(existing, Known(clip_digests, clips.hash_again))  # an error is a content of its own
    facts: dict[str | ClipError, ClipFacts] = dict(read_facts(clip_facts, clips.reader, clips.stereo).items())
    clip_of = {content: path for path, content in contents.items() if content not in facts}
    if clip_of:
        from trimood.media.probe import probe_clip  # imports torch

        execution = Execution(clips.executor, clips.workers, clips.time_limit_seconds)
        file = own_file(clip_facts, clips.reader, clips.stereo)
        tasks = [(path, clips.reader, clips.stereo) for path in clip_of.values()]
        done = run_each(probe_clip, tasks, execution, clip_of=lambda task: task[0])
        for (path, *_), found in followed(done, len(tasks), "checking clips"):
            if isinstance(found, ClipError):
                facts[contents[path]] = failed(found)
                continue
            facts[contents[path]], lasting = found
            if lasting:
                append_facts(file, found[0])
    missing = asdict(failed(ClipError(corpus, "missing", "no such file")))
    rows = dict.fromkeys(names, missing) | {existing[path]: asdict(facts[of]) for path, of in contents.items()}
    return _facts_table(names, rows)


def _facts_table(names: Sequence[str], facts: Mapping[str, Mapping[str, object]]) -> pd.DataFrame:
    from trimood.media.facts import FACT_COLUMNS

    table = pd.DataFrame([{"clip": name, **facts[name]} for name in names], columns=["clip", *FACT_COLUMNS])
    return table.astype({"clip": "str", **FACT_COLUMNS})


def assign_splits(annotated: pd.DataFrame, split: SplitParams) -> tuple[pd.DataFrame, SplitState]:
    """Splits with the current parameters; returns the split of each row and the error if no split is possible.

    Unlabelled rows are in the split `none`. As in ingestion, nothing is held out if the official test is labelled, and
    an official validation split is kept.
    """
    train, validation, official = (annotated[annotated["side"] == side] for side in SIDES)
    splits = pd.Series("none", index=annotated.index, dtype="str", name="split")
    splits[official.index[official["label"].notna()]] = "official_test"
    test_fraction = 0.0 if official["label"].notna().any() else split.test_fraction
    is_development = annotated["side"] != "official_test"
    problem = None
    development = labelled(train[list(UTTERANCE_COLUMNS)])
    try:
        parts = (
            official_splits(development, validation)
            if len(validation)
            else split_utterances(development, split.unit, split.validation_fraction, test_fraction, split.seed)
        )
    except SplitError as error:
        problem = str(error)
    else:
        for name, part in zip(("training", "validation", "held_out"), parts, strict=True):
            splits[annotated.index[annotated["utterance"].isin(set(part["utterance"])) & is_development]] = name
    return annotated[["side", "utterance"]].assign(split=splits), SplitState(problem=problem)


def assemble_manifest(annotated: pd.DataFrame, splits: pd.DataFrame, probed_clips: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each utterance: annotation, split, facts of the clip, a boolean for each kind of finding."""
    table = annotated.merge(splits, on=["side", "utterance"], validate="1:1")
    return mark(table.merge(probed_clips, on="clip", how="left", validate="m:1"))


def measure_leakage(manifest: pd.DataFrame, split: SplitParams) -> Leakage:
    """Measures the leakage of the current split and of random splits by utterance."""
    from trimood.scoring import leakage

    return leakage.measure_leakage(manifest, split.seed)


def draw_report(
    manifest: pd.DataFrame, data_report: DataReport, corpus: Path, clips: ClipParams
) -> tuple[str, Any, Any, Any]:
    """Returns the HTML page and the figures of class balance, durations and clips with problems."""
    from trimood.reports.data_check import write_page
    from trimood.reports.data_check_figures import (
        choose_clips,
        class_balance_figure,
        durations_figure,
        problem_sheet_figure,
    )

    balance, durations = class_balance_figure(data_report.files), durations_figure(manifest)
    chosen = choose_clips(manifest)
    sheet = problem_sheet_figure(chosen, _first_pictures(chosen, corpus, clips))
    log.info("%s %s", data_report.verdict.summary, " ".join(data_report.verdict.reasons))
    return write_page(data_report, manifest, balance, durations, sheet), balance, durations, sheet


def _first_pictures(chosen: pd.DataFrame, corpus: Path, clips: ClipParams) -> dict[str, np.ndarray]:
    """Returns a frame of each clip by name; decoding may hang or crash, so it runs in guarded workers."""
    safe = chosen[~(chosen["clip_timed_out"] | chosen["clip_crashed"])]
    if safe.empty:
        return {}
    from trimood.media.errors import ClipError
    from trimood.media.execution import Execution, run_each
    from trimood.media.probe import first_picture  # imports torch

    names = {corpus / clip: clip for clip in safe["clip"]}
    execution = Execution(clips.executor, clips.workers, clips.time_limit_seconds)
    done = run_each(first_picture, list(names), execution, clip_of=lambda path: path)
    return {names[path]: picture for path, picture in done if not isinstance(picture, ClipError)}
