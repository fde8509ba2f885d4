"""Measures what many runs cost: `compare` step by step, and what each `kedro run` and the page ask of MLflow.

    python benchmarks/many_runs.py OUT.json [--runs 200] [--compared 27]

A temporary SQLite store is filled with finished runs: as many as are compared (experiments x three seeds), with their
predictions of ECF's official test (3,101 utterances in 341 conversations) and of 1,362 validation utterances, and
earlier runs of other settings, which are left out. Prints CPU and wall seconds of each step.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import yaml

from trimood.config.parameters import CompareParams
from trimood.emotions import EMOTIONS, PROBABILITIES

Result = TypeVar("Result")

PROJECT = Path(__file__).parents[1]

SPLITS = {"training": (1096, 12_257), "validation": (137, 1_362), "test": (341, 3_101)}
"""Conversations and utterances; about those of ECF 2.0."""

SEEDS = 3
EPOCHS = 10
PARAMS = 60  # of a run beside those that `compare` reads
CORPUS: Any = {"train": {"sha256": "0a1b2c3d4e5f"}, "official_test": {"sha256": "f5e4d3c2b1a0"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--compared", type=int, default=27, help="a multiple of three, at most --runs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trimood-runs-") as name:
        steps = measure(Path(name), arguments.runs, arguments.compared)
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "runs": arguments.runs,
        "compared": arguments.compared,
        "steps": steps,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measure(folder: Path, runs: int, compared: int) -> dict[str, dict[str, float]]:
    """CPU and wall seconds of each step, in the order in which a command takes them."""
    import mlflow

    from trimood.app.choices import registered_models
    from trimood.pipelines.compare.nodes import compare_runs, predict_references, write_report
    from trimood.reports.html import PICTURE
    from trimood.tracked_datasets import MlflowArtifactsDataset, MlflowRunsDataset
    from trimood.tracking.runs import (
        choose_runs,
        finished_run,
        gather_curves,
        gather_modality_ablation,
        gather_predictions,
    )
    from trimood.tracking.store import use_store

    uri = f"sqlite:///{folder}/mlflow.db"
    with contextlib.redirect_stderr(io.StringIO()):  # MLflow's migrations
        use_store(uri)
        experiment = mlflow.create_experiment("trimood", (folder / "artifacts").as_uri())
    utterances = {split: made_utterances(split) for split in SPLITS}
    for number in reversed(range(runs)):  # the compared runs are the latest
        add_run(experiment, number, number < compared, utterances)
    steps: dict[str, dict[str, float]] = {}

    def timed(name: str, work: Callable[[], Result]) -> Result:
        cpu, wall = time.process_time(), time.perf_counter()
        result = work()
        steps[name] = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
        print(f"{name}: {steps[name]['cpu_seconds']:.2f} CPU s, {steps[name]['wall_seconds']:.2f} s", flush=True)
        return result

    published = yaml.safe_load((PROJECT / "conf/base/compare/parameters.yml").read_text())["compare"]
    store: dict[str, Any] = {"tracking_uri": uri, "path": str(folder)}
    how = CompareParams.model_validate({**published, "baseline": "system0", "runs": []})
    finished_run("warm")  # imports
    timed("ask whether an experiment is finished", lambda: finished_run("0123456789abcdef"))
    timed("list models for the page", lambda: registered_models(uri))
    table = timed("read the table of all runs", lambda: MlflowRunsDataset(experiment="trimood", **store).load())
    chosen = timed("choose runs", lambda: choose_runs(table, CORPUS, how))
    fetch = MlflowArtifactsDataset(**store).load()
    predictions = timed("gather predictions", lambda: gather_predictions(chosen, fetch))
    curves = timed("gather curves", lambda: gather_curves(chosen, fetch))
    ablation = timed("gather modality ablation", lambda: gather_modality_ablation(chosen, fetch))
    references = timed("predict references", lambda: predict_references(chosen, predictions, utterances["training"]))
    gathered = (chosen, predictions, references, curves, ablation)
    comparison, _ = timed("compare", lambda: compare_runs(*gathered, corpus_description=CORPUS, compare=how))
    shown = (predictions, references, utterances["test"], folder)  # no clip is prepared, so no picture is shown
    page, _, pictures, drawings = timed("draw and write the report", lambda: write_report(comparison, *shown))
    as_files: list[tuple[Any, dict[str, Any]]] = [(of, PICTURE) for of in pictures.values()]
    as_files += [(of, {"format": "svg"}) for of in drawings.values()]
    timed("store pictures", lambda: [figure.savefig(io.BytesIO(), **options) for figure, options in as_files])
    print(f"{len(chosen)} runs compared; the page has {len(page) / 1e3:,.0f} KB")
    return steps


def made_utterances(split: str) -> pd.DataFrame:
    """Sentences of words that hint at the emotion, in conversations of about equal length."""
    conversations, count = SPLITS[split]
    generator = np.random.default_rng(conversations)
    labels = generator.choice(len(EMOTIONS), count, p=[0.135, 0.027, 0.084, 0.436, 0.169, 0.119, 0.03])
    words = generator.integers(0, 2000, (count, 8)) + 100 * labels[:, None]
    start = {"training": 0, "validation": 5000, "test": 6000}[split]
    rows = pd.DataFrame({"conversation_id": start + np.arange(count) * conversations // count})
    rows["utterance_id"] = rows.groupby("conversation_id").cumcount() + 1
    rows["utterance"] = [f"dia{c}utt{u}" for c, u in rows[["conversation_id", "utterance_id"]].values]
    rows["text"] = [" ".join(f"w{word}" for word in of) for of in words]
    rows["emotion"], rows["label"] = [EMOTIONS[number] for number in labels], labels
    return rows


def add_run(experiment: str, number: int, is_compared: bool, utterances: dict[str, pd.DataFrame]) -> None:
    """Creates a finished run; those that are compared have artifacts."""
    import mlflow
    from mlflow.entities import Metric, Param, RunTag

    from trimood.tracking.kinds import words_fingerprint

    client = mlflow.MlflowClient()
    name, seed = f"system{number // SEEDS}" if is_compared else "earlier", number % SEEDS + 1
    params = {
        "training.seed": seed,
        "modalities": "text+video",
        "train": "head",
        "head": "trained",
        "parameters.all.trainable": 448,
        "data.split.seed": 42 if is_compared else 41,
        **{f"training.setting{index}": index for index in range(PARAMS)},
    }
    tags = {
        "experiment": name,
        "identity": f"{number:016x}",
        "corpus.train.sha256": CORPUS["train"]["sha256"],
        "corpus.official_test.sha256": CORPUS["official_test"]["sha256"],
        "training_examples": words_fingerprint(utterances["training"]),
    }
    metrics = {"test/macro_f1": 0.4, "validation/macro_f1": 0.4, "training cost/seconds": 60.0}
    run = client.create_run(experiment, start_time=1_700_000_000_000 - number).info
    client.log_batch(
        run.run_id,
        [Metric(key, value, 1_700_000_000_000, 0) for key, value in metrics.items()],
        [Param(key, str(value)) for key, value in params.items()],
        [RunTag(key, value) for key, value in tags.items()],
    )
    if is_compared:
        write_artifacts(Path(str(run.artifact_uri).removeprefix("file://")), number, utterances)
    client.set_terminated(run.run_id)


def write_artifacts(folder: Path, seed: int, utterances: dict[str, pd.DataFrame]) -> None:
    """Predictions that are right about half the time, a history, and a modality ablation."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for split in ("validation", "test"):
        rows = utterances[split].copy()
        rows.insert(0, "split", split)
        logits = generator.normal(size=(len(rows), len(EMOTIONS))) + 1.5 * np.eye(len(EMOTIONS))[rows["label"]]
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        rows["predicted"] = [EMOTIONS[index] for index in chances.argmax(axis=1)]
        rows[list(PROBABILITIES)] = chances
        tables.append(rows)
    pd.concat(tables, ignore_index=True).to_parquet(folder / "predictions.parquet")
    epochs = [{"epoch": float(n + 1), "train/macro_f1": 0.3, "validation/macro_f1": 0.3} for n in range(EPOCHS)]
    (folder / "history.json").write_text(json.dumps({"epochs": epochs}))
    drops = {"macro_f1_drop": 0.1, **{f"drop_{emotion}": 0.1 for emotion in EMOTIONS}}
    changes = [("text", "blank"), ("text", "shuffle"), ("video", "blank"), ("video", "shuffle")]
    ablation = [{"split": "test", "modality": modality, "change": change, **drops} for modality, change in changes]
    pd.DataFrame(ablation).to_csv(folder / "modality_ablation.csv", index=False)


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    sys.exit(main())
