"""The last node: pictures and page of a check, and which clips its sheet shows."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.config.parameters import ClipParams, SplitParams
from trimood.corpus.ecf import labelled
from trimood.corpus.findings import KINDS, mark, to_look_at
from trimood.corpus.splits import SplitError, split_utterances
from trimood.corpus.tables import UTTERANCE_COLUMNS
from trimood.disk import remove_leftovers
from trimood.reports.data_check import write_page

log = logging.getLogger(__name__)

RANDOM_TENTH, RANDOM_DRAWS = 0.1, 10
"""The share that is held out by utterance, to show what such a split gives away, and how often it is drawn."""


def probe_clips(annotated: pd.DataFrame, corpus: Path, clip_facts: Path, clips: ClipParams) -> pd.DataFrame:
    """The facts of each utterance's clip (clip, FACT_COLUMNS); each file is probed once, facts are kept by content."""
    from trimood.media.errors import ClipError
    from trimood.media.execution import Execution, followed, run_each
    from trimood.media.probe import FACT_COLUMNS, failed, kept_facts

    names = sorted(set(annotated["clip"]))
    there = {corpus / name: name for name in names if (corpus / name).is_file()}
    rows = {name: asdict(failed(ClipError(corpus / name, "missing", "no such file"))) for name in names}
    execution = Execution(clips.executor, clips.workers, clips.time_limit_seconds)
    remove_leftovers(clip_facts)
    tasks = [(path, clip_facts, clips.reader) for path in there]
    done = run_each(kept_facts, tasks, execution, clip_of=lambda task: task[0])
    for (path, *_), facts in followed(done, len(tasks), "looking at clips"):
        rows[there[path]] = asdict(failed(facts) if isinstance(facts, ClipError) else facts)
    table = pd.DataFrame([{"clip": name, **rows[name]} for name in names], columns=["clip", *FACT_COLUMNS])
    return table.astype({"clip": "str", **FACT_COLUMNS})


def assign_splits(annotated: pd.DataFrame, split: SplitParams) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Each row's split under the current settings, `none` for those without a label; and what forbids a split, if any.

    As in ingestion, nothing is held out beside a labelled official test.
    """
    train, official = (annotated[annotated["side"] == side] for side in ("train", "official_test"))
    splits = pd.Series("none", index=annotated.index, dtype="str", name="split")
    splits[official.index[official["label"].notna()]] = "official_test"
    test_fraction = 0.0 if official["label"].notna().any() else split.test_fraction
    problem = None
    try:
        parts = split_utterances(
            labelled(train[list(UTTERANCE_COLUMNS)]), split.unit, split.validation_fraction, test_fraction, split.seed
        )
    except SplitError as error:
        problem = str(error)
    else:
        for name, part in zip(("training", "validation", "held_out"), parts, strict=True):
            splits[train.index[train["utterance"].isin(set(part["utterance"]))]] = name
    return annotated[["side", "utterance"]].assign(split=splits), {"problem": problem}


def assemble_manifest(annotated: pd.DataFrame, splits: pd.DataFrame, probed_clips: pd.DataFrame) -> pd.DataFrame:
    """One row an utterance: annotation, split, facts of its clip, and every kind of finding as a truth value."""
    table = annotated.merge(splits, on=["side", "utterance"], validate="1:1")
    return mark(table.merge(probed_clips, on="clip", how="left", validate="m:1"))


def measure_leakage(manifest: pd.DataFrame, split: SplitParams) -> dict[str, Any]:
    """What the current split and a random one by utterance give away, and what stands on both sides of the files."""
    from trimood.scoring.leakage import leakage, random_split_leakage

    rows = {name: manifest[manifest["split"] == name] for name in ("training", "validation", "held_out")}
    rows["official_test"] = manifest[manifest["split"] == "official_test"]
    probes = {name: leakage(rows["training"], rows[name]) for name in ("validation", "held_out", "official_test")}
    train, test = (manifest[manifest["side"] == side] for side in ("train", "official_test"))
    return {
        "splits": {name: probe for name, probe in probes.items() if probe},
        "random_by_utterance": random_split_leakage(
            labelled(train[list(UTTERANCE_COLUMNS)]), RANDOM_TENTH, RANDOM_DRAWS, split.seed
        ),
        "between_files": {
            "conversations_in_both": len(set(train["conversation_id"]) & set(test["conversation_id"])),
            "conversations_of_the_same_words": len(_spoken(train) & _spoken(test)),
            "test_utterances_verbatim_in_train": int(test["text_in_training_file"].sum()),
            "texts_in_both": len(set(train["text"]) & set(test["text"])),
        },
        "within_train_file": {
            f"{name}_utterances_verbatim_in_training": int(rows[name]["text"].isin(set(rows["training"]["text"])).sum())
            for name in ("validation", "held_out")
        },
    }


def _spoken(table: pd.DataFrame, shortest: int = 3) -> set[tuple[str, ...]]:
    """What is said in each conversation of at least three utterances: shorter ones may well be said twice."""
    said = table.sort_values("utterance_id").groupby("conversation_id")["text"].agg(tuple)
    return {texts for texts in said if len(texts) >= shortest}


log = logging.getLogger(__name__)

SHOWN_CLIPS = 24


def draw_report(  # type: ignore[no-untyped-def]
    manifest: pd.DataFrame, data_report: dict[str, Any], corpus: Path, clips: ClipParams
):
    """The page, the class balance, the histogram of durations, and the sheet of clips with problems."""
    from trimood.reports.data_check_figures import class_balance_figure, durations_figure, problem_sheet_figure

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
