"""Nodes of the reporting stage."""

from typing import Any

import pandas as pd

SCORES = ("validation/macro_f1", "test/macro_f1")


def latest_runs(mlflow_runs: pd.DataFrame, corpus_description: dict[str, Any]) -> pd.DataFrame:
    """The latest finished whole run of each experiment and seed on the current corpus, in order of both.

    `mlflow_runs` is what `mlflow.search_runs` gives. Raises ValueError where there is none.
    """
    corpus = corpus_description["train"]["sha256"]
    runs = _of_corpus(mlflow_runs, corpus)
    if runs.empty:
        raise ValueError(
            f"MLflow holds no finished run on the corpus {corpus}; {len(mlflow_runs)} runs were looked at. "
            "Run experiments first: kedro run --pipelines=exp3,exp4"
        )
    key = ["tags.experiment", "params.training.seed"]
    return runs.sort_values("start_time").drop_duplicates(key, keep="last").sort_values(key, ignore_index=True)


def tabulate_results(mlflow_runs: pd.DataFrame, corpus_description: dict[str, Any]) -> str:
    """A Markdown table: macro F1 of every experiment on the current corpus, mean ± standard deviation over seeds.

    Of the runs that `latest_runs` finds; raises ValueError where there is none.
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


def _of_corpus(runs: pd.DataFrame, corpus: str) -> pd.DataFrame:
    needed = ["tags.experiment", "tags.corpus.train.sha256", *(f"metrics.{name}" for name in SCORES)]
    if runs.empty or not set(needed) <= set(runs.columns):
        return runs.iloc[:0]
    whole = runs["tags.partial"].isna() if "tags.partial" in runs else True
    return runs[(runs["status"] == "FINISHED") & (runs["tags.corpus.train.sha256"] == corpus) & whole].dropna(
        subset=needed
    )


def _mean_sd(scores: pd.Series) -> str:
    return f"{scores.mean():.3f} ± {scores.std():.3f}" if len(scores) > 1 else f"{scores.mean():.3f}"
