"""Nodes of the reporting stage."""

import logging
from typing import Any

import pandas as pd

log = logging.getLogger(__name__)

SCORES = ("validation/macro_f1", "test/macro_f1")

SEED = "params.training.seed"


class NoRuns(Exception):
    """MLflow holds nothing that could be reported."""


def latest_runs(mlflow_runs: pd.DataFrame, corpus_description: dict[str, Any]) -> pd.DataFrame:
    """The latest finished whole run of each experiment and seed, as far as they can be compared, in order of both.

    `mlflow_runs` is what `mlflow.search_runs` gives. Compared are runs of the current train and test file, with the
    split, the clips and the checkpoints of the latest of them; within an experiment also with its latest run's
    settings, all but the seed. The log names what is left out, and why. Raises NoRuns.
    """
    runs = _of_corpus(mlflow_runs, corpus_description)
    if runs.empty:
        raise NoRuns(
            f"MLflow holds no finished run on the corpus {corpus_description['train']['sha256']}; "
            f"{len(mlflow_runs)} runs were looked at. Run experiments first: kedro run --pipelines=exp3,exp4"
        )
    runs = runs.sort_values("start_time")
    runs = _like_the_latest(runs, _columns(runs, "params.data.", "params.checkpoint."))
    settings = [name for name in _columns(runs, "params.") if name != SEED]
    runs = pd.concat([_like_the_latest(rows, settings) for _, rows in runs.groupby("tags.experiment")])
    key = ["tags.experiment", SEED]
    return runs.drop_duplicates(key, keep="last").sort_values(key, ignore_index=True)


def tabulate_results(mlflow_runs: pd.DataFrame, corpus_description: dict[str, Any]) -> str:
    """A Markdown table: macro F1 of every experiment on the current corpus, mean ± standard deviation over seeds.

    Of the runs that `latest_runs` finds. Raises NoRuns.
    """
    runs = latest_runs(mlflow_runs, corpus_description)
    lines = [
        "| experiment | modalities | trained | head | trainable | validation macro F1 | test macro F1 | seeds |",
        "|---|---|---|---|--:|--:|--:|--:|",
    ]
    for experiment, rows in runs.groupby("tags.experiment"):
        first = rows.iloc[0]
        trained = f"LoRA: {first['params.lora.targets']}" if first["params.train"] == "lora" else first["params.train"]
        lines.append(
            f"| {experiment} | {first['params.modalities'].replace('+', ', ')} | {trained.replace('+', ', ')} "
            f"| {first['params.head']} "
            f"| {int(first['params.parameters.all.trainable']):,} | {_mean_sd(rows[f'metrics.{SCORES[0]}'])} "
            f"| {_mean_sd(rows[f'metrics.{SCORES[1]}'])} | {len(rows)} |"
        )
    return "\n".join(lines) + "\n"


def _of_corpus(runs: pd.DataFrame, corpus: dict[str, Any]) -> pd.DataFrame:
    wanted = {f"tags.corpus.{part}.sha256": str(corpus[part]["sha256"]) for part in ("train", "official_test")}
    needed = ["tags.experiment", *wanted, *(f"metrics.{name}" for name in SCORES)]
    if runs.empty or not set(needed) <= set(runs.columns):
        return runs.iloc[:0]
    whole = runs["tags.partial"].isna() if "tags.partial" in runs else True
    of_corpus = (runs[list(wanted)] == pd.Series(wanted)).all(axis=1)
    return runs[(runs["status"] == "FINISHED") & of_corpus & whole].dropna(subset=needed)


def _columns(runs: pd.DataFrame, *beginnings: str) -> list[str]:
    return [name for name in runs.columns if name.startswith(beginnings)]


def _like_the_latest(runs: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Those of the runs, oldest first, that have in `columns` what the latest run with a value there has."""
    latest = runs[columns].ffill().iloc[-1]
    different = runs[columns].notna() & (runs[columns] != latest)
    unlike = different.any(axis=1)
    for experiment, rows in different[unlike].groupby(runs["tags.experiment"]):
        names = ", ".join(name.removeprefix("params.") for name in columns if rows[name].any())
        log.warning("left out: %d earlier runs of %s, with other values of %s", len(rows), experiment, names)
    return runs[~unlike]


def _mean_sd(scores: pd.Series) -> str:
    return f"{scores.mean():.3f} ± {scores.std():.3f}" if len(scores) > 1 else f"{scores.mean():.3f}"
