"""Selects MLflow runs for comparison and registration, and reads their artifacts."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pandas as pd

from trimood.config.parameters import CompareParams, did_you_mean
from trimood.corpus.tables import CorpusDescription
from trimood.emotions import EMOTIONS
from trimood.scoring.agreement import SETTINGS, different_settings
from trimood.scoring.baselines import REFERENCES
from trimood.scoring.summary import RunSummary
from trimood.tracking.kinds import words_fingerprint
from trimood.tracking.outbox import finished_but_kept
from trimood.tracking.store import OutOfReach, check, impatient, store_in_use

log = logging.getLogger(__name__)

SCORES = ("validation/macro_f1", "test/macro_f1")

SEED = "params.training.seed"

INDIFFERENT = [f"params.data.clips.{name}" for name in ("executor", "workers", "time_limit_seconds", "hash_again")]
"""Params that change how clips are prepared but not the result; clips lost to them are in the table of exclusions."""

IMPORTED = "tags.imported.digest"
OWN_CHECKPOINT = "params.checkpoint.text"
"""A text encoder is what an experiment chooses; experiments with others are compared."""

AS_THE_RUNS_HAD_IT = (
    "Run the experiments again, or prepare the data as they had it: kedro run --pipelines=preprocessing with their "
    "--params data.split.… and data.clips.…, which are shown on each run's page in MLflow (make ui)."
)


class NoRuns(Exception):
    """MLflow has no run to compare."""


class WrongRun(Exception):
    """A run in `compare.runs` cannot be compared with the others."""


class CannotCompare(Exception):
    """The runs have different utterances or training examples, or the baseline is not among them."""


def choose_runs(
    mlflow_runs: pd.DataFrame, corpus_description: CorpusDescription, compare: CompareParams
) -> pd.DataFrame:
    """Returns a row for each compared run: system, seed, what was trained and how, and the cost of training.

    These are the runs in `compare.runs`, where the name of an experiment is short for its latest run of each seed, or
    else the latest of each experiment and seed on the current corpus. Imported
    weights are a system of their own, "exp1 (imported 0123456789abcdef)": their seed is not that of a training.
    `test_looks` is the number of all finished runs that were scored on its test utterances. Raises
    CannotCompare if `compare.baseline` is not among them, and the errors of `latest_runs` and `named_runs`.
    """
    mlflow_runs = _with_origins(_with_digests(mlflow_runs))
    named = _of_experiments(mlflow_runs, corpus_description, compare.runs)
    runs = named_runs(mlflow_runs, named) if named else latest_runs(mlflow_runs, corpus_description)
    runs = runs.assign(system=system_names(runs) if compare.runs else runs["tags.experiment"])
    names = [*runs["system"].unique(), *REFERENCES]
    if compare.baseline not in names:
        raise CannotCompare(_no_baseline(mlflow_runs, runs, compare, names))

    def column(name: str) -> pd.Series:
        return runs[name] if name in runs else pd.Series(None, index=runs.index, dtype=object)

    def cost(name: str) -> pd.Series:
        names_of_now_and_before = (
            column(f"metrics.{prefix}/{name}").astype(float) for prefix in ("training cost", "cost")
        )
        return next(names_of_now_and_before).fillna(next(names_of_now_and_before))

    table = pd.DataFrame(
        {
            "run_id": runs["run_id"],
            "system": runs["system"],
            "seed": runs[SEED].astype(int),
            "modalities": runs["params.modalities"].str.replace("+", ", "),
            "train": runs["params.train"],
            "head": column("params.head").fillna(
                column("params.head.trained").map({"True": "trained", "False": "frozen"})
            ),
            "head_kind": column("params.head.kind").fillna("linear"),
            "lora_targets": column("params.lora.targets").str.replace("+", ", "),
            "training_examples": column("tags.training_examples"),
            "imported": column(IMPORTED),
            "trainable_parameters": runs["params.parameters.all.trainable"].astype(int),
            "seconds": cost("seconds"),
            "peak_memory_gib": cost("peak_memory_gib"),
        }
    )
    settings = [
        name
        for name in _columns(runs, *(f"params.{start}" for start in SETTINGS))
        if name not in (SEED, OWN_CHECKPOINT)
    ]
    table = table.join(runs[settings].rename(columns=lambda name: name.removeprefix("params.")))
    table["test_looks"] = len(_of_corpus(mlflow_runs, corpus_description))
    for system, rows in table.groupby("system"):
        log.info("%s: %d seeds", system, len(rows))
    for sentence in different_settings(table):
        log.warning("%s", sentence)
    return table.sort_values(["system", "seed"], ignore_index=True)


def _with_digests(mlflow_runs: pd.DataFrame) -> pd.DataFrame:
    """Replaces the paths of checkpoints by digests of their files, where known: a moved checkpoint is the same."""
    digests = {
        f"params.checkpoint.{str(name).rpartition('.')[2]}": mlflow_runs[name]
        for name in map(str, mlflow_runs)
        if name.startswith("tags.checkpoint_files.")
    }
    return mlflow_runs.assign(**{name: of.fillna(mlflow_runs.get(name)) for name, of in digests.items()})


def _with_origins(mlflow_runs: pd.DataFrame) -> pd.DataFrame:
    """Names the experiment of imported weights with their digest."""
    if IMPORTED not in mlflow_runs:
        return mlflow_runs
    names = mlflow_runs["tags.experiment"] + " (imported " + mlflow_runs[IMPORTED] + ")"
    return mlflow_runs.assign(**{"tags.experiment": names.fillna(mlflow_runs["tags.experiment"])})


def _no_baseline(mlflow_runs: pd.DataFrame, runs: pd.DataFrame, compare: CompareParams, names: list[str]) -> str:
    """The error message for a baseline that is not among `runs`: it never ran, or its runs were left out."""
    baseline = compare.baseline
    others = 0
    if "tags.experiment" in mlflow_runs:
        of_baseline = mlflow_runs["tags.experiment"] == baseline
        others = int((of_baseline & (mlflow_runs["status"] == "FINISHED")).sum())
    if others and not compare.runs:
        latest = runs.sort_values("start_time").iloc[-1]
        return (
            f"compare.baseline: none of the {others} runs of {baseline} can be compared with the latest run on this "
            f"corpus, {latest['run_id']} ({latest['tags.experiment']}). The log above lists the parameters that "
            "differ. Run the baseline with the same parameters (kedro run --pipelines="
            f"{baseline} --params …), or name the runs to compare with compare.runs."
        )
    return (
        f"compare.baseline: {baseline} is not among the compared systems; allowed: {', '.join(names)}."
        f"{did_you_mean(baseline, names)} Use --params compare.baseline={names[0]}, or run the experiment first: "
        f"kedro run --pipelines={baseline}"
    )


def latest_runs(mlflow_runs: pd.DataFrame, corpus_description: CorpusDescription) -> pd.DataFrame:
    """Returns the latest comparable run of each experiment and seed, sorted by both.

    `mlflow_runs` is the table of `mlflow.search_runs`. A finished run is comparable if it used the current train and
    test file, the same split, clips and checkpoints as the latest run, and the same settings (except for the seed) as
    the latest run of its experiment. The log names excluded runs and the reason. Raises NoRuns.
    """
    runs = _of_corpus(mlflow_runs, corpus_description)
    if runs.empty:
        raise NoRuns(
            f"MLflow has no finished run on the corpus {corpus_description['train']['sha256']}, among "
            f"{len(mlflow_runs)} runs. Run experiments first: kedro run --pipelines=exp3,exp4"
        )
    runs = runs.sort_values("start_time")
    same = _columns(runs, "params.data.", "params.checkpoint.", "tags.examples.")
    runs = _like_the_latest(runs, [name for name in same if name != OWN_CHECKPOINT])
    settings = [name for name in _columns(runs, "params.") if name != SEED]
    runs = pd.concat([_like_the_latest(rows, settings) for _, rows in runs.groupby("tags.experiment")])
    key = ["tags.experiment", SEED]
    return _in_order(runs.drop_duplicates(key, keep="last"))


def _of_experiments(mlflow_runs: pd.DataFrame, corpus: CorpusDescription, named: Sequence[str]) -> list[str]:
    """Replaces names of experiments by the ids of their latest runs; these are comparable with each other.

    Raises WrongRun for an experiment without one.
    """
    of = mlflow_runs.reindex(columns=["tags.experiment"])["tags.experiment"]
    names = [name for name in named if (of == name).any()]
    if not names:
        return list(named)
    latest = latest_runs(mlflow_runs[of.isin(names)], corpus)
    ids = {name: latest.loc[latest["tags.experiment"] == name, "run_id"].tolist() for name in names}
    if lacking := [name for name in names if not ids[name]]:
        raise WrongRun(
            f"compare.runs: none of the runs of {', '.join(lacking)} can be compared with the latest run of "
            f"{', '.join(names)}. The log above lists the parameters that differ. Run the experiments again with the "
            "same parameters, or give run ids."
        )
    return [run for name in named for run in ids.get(name, [name])]


def named_runs(mlflow_runs: pd.DataFrame, run_ids: Sequence[str]) -> pd.DataFrame:
    """Returns the runs with these ids, sorted by experiment and seed. Their settings may differ: see `system_names`.

    Raises WrongRun for a missing, unfinished or partial run, and CannotCompare if runs with the same data parameters
    and checkpoints had other examples.
    """
    known = mlflow_runs.set_index("run_id", drop=False) if len(mlflow_runs) else pd.DataFrame(columns=["run_id"])
    missing = [run for run in run_ids if run not in known.index]
    if missing:
        raise WrongRun(
            f"compare.runs: MLflow has no run {', '.join(missing)}. Give names of experiments, or run ids of 32 digits "
            "and letters, as shown on each run's page in MLflow (make ui)."
        )
    runs = known.loc[list(run_ids)]
    whole = finished_whole(runs) & _scored(runs)
    if not whole.all():
        raise WrongRun(
            f"compare.runs: {', '.join(runs['run_id'][~whole])} cannot be compared: not a finished run of a whole "
            "experiment. Name finished runs, or none to compare the latest of each experiment and seed."
        )
    _check_agreement(runs)
    return _in_order(runs)


def _check_agreement(runs: pd.DataFrame) -> None:
    """Raises CannotCompare if the examples of runs differ although their parameters say that they are the same."""
    same = _columns(runs, "params.data.", "params.checkpoint.")
    for _, alike in runs.groupby(same, dropna=False) if same else [((), runs)]:
        for name in [name for name in _columns(alike, "tags.examples.") if alike[name].nunique() > 1]:
            groups = "; ".join(f"{of}: {', '.join(rows['run_id'])}" for of, rows in alike.groupby(name))
            raise CannotCompare(
                f"compare.runs: these runs had other {name.rpartition('.')[2]} examples, although their data "
                f"parameters are the same: clips or annotations were changed between them ({groups}). Name runs of "
                "one state of the data, or run the others again."
            )


def system_names(runs: pd.DataFrame) -> pd.Series:
    """Names each run's system by its experiment, and by the settings in which runs of this experiment differ.

    Raises WrongRun if two runs have the same experiment, settings and seed.
    """
    columns = [name for name in _columns(runs, "params.") if name != SEED]
    names: list[str] = []
    for _, run in runs.iterrows():
        same = runs[runs["tags.experiment"] == run["tags.experiment"]]
        different = [name for name in columns if same[name].nunique() > 1]
        words = ", ".join(f"{name.removeprefix('params.')}={run[name]}" for name in different)
        names.append(f"{run['tags.experiment']} ({words})" if words else str(run["tags.experiment"]))
    systems = pd.Series(names, index=runs.index)
    twice = pd.DataFrame({"system": systems, SEED: runs[SEED]}).duplicated(keep=False)
    if twice.any():
        raise WrongRun(
            f"compare.runs: {', '.join(runs['run_id'][twice])} have the same experiment, seed and settings. "
            "Counting one training twice would make the intervals too narrow. Give only one of them."
        )
    return systems


def _in_order(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.assign(seed=runs[SEED].astype(int)).sort_values(["tags.experiment", "seed"], ignore_index=True)


def _of_corpus(runs: pd.DataFrame, corpus: CorpusDescription) -> pd.DataFrame:
    wanted = {f"tags.corpus.{part}.sha256": str(corpus[part]["sha256"]) for part in ("train", "official_test")}
    if runs.empty or not set(wanted) <= set(runs.columns):
        return runs.iloc[:0]
    return runs[finished_whole(runs) & _scored(runs) & (runs[list(wanted)] == pd.Series(wanted)).all(axis=1)]


def latest_whole_run(runs: pd.DataFrame, model: str) -> pd.Series | None:
    """Returns the latest complete run of the experiment `model`, or the run with that id; None if there is none.

    A run of imported weights is found by its id only.
    """
    if runs.empty or "tags.experiment" not in runs:
        return None
    trained = runs.reindex(columns=[IMPORTED])[IMPORTED].isna()
    by_name = finished_whole(runs) & trained & (runs["tags.experiment"] == model)
    by_id = (runs["run_id"] == model) & runs["tags.experiment"].notna()
    wanted = runs[by_name | by_id].sort_values("start_time")
    return None if wanted.empty else wanted.iloc[-1]


def run_of_identity(runs: pd.DataFrame, identity: str) -> pd.Series | None:
    """Returns the latest complete run with this identity, trained here or imported; None if there is none."""
    if runs.empty or "tags.identity" not in runs:
        return None
    wanted = runs[finished_whole(runs) & (runs["tags.identity"] == identity)].sort_values("start_time")
    return None if wanted.empty else wanted.iloc[-1]


def finished_run(identity: str) -> str | None:
    """Returns the id of the latest finished, complete run with this identity in the store in use; None without one.

    A run whose end is kept until MLflow takes it is finished, too; without an id, its name is returned. Raises
    OutOfReach.
    """
    import mlflow

    if run := finished_but_kept(identity):
        return run
    if (uri := store_in_use()) is None:
        return None
    check(uri)
    wanted = f"tags.identity = '{identity}' and attributes.status = 'FINISHED'"
    try:
        with impatient():
            runs = mlflow.search_runs(search_all_experiments=True, filter_string=wanted)
    except mlflow.exceptions.MlflowException as error:
        raise OutOfReach(str(error)) from error
    runs = runs[finished_whole(runs)]
    return None if runs.empty else str(runs["run_id"].iloc[0])


def stored_summary(run: str) -> RunSummary | None:
    """Reads the summary of a finished run from the store in use; None if it has none, or the store does not answer."""
    import mlflow

    try:
        with impatient():
            return RunSummary.model_validate(mlflow.artifacts.load_dict(f"runs:/{run}/summary.json"))
    except (mlflow.exceptions.MlflowException, OSError, ValueError):
        return None


def finished_whole(runs: pd.DataFrame) -> pd.Series:
    """Selects the runs that have finished all nodes of an experiment, as a boolean column."""
    if "tags.experiment" not in runs:
        return pd.Series(False, index=runs.index)
    whole = runs["tags.partial"].isna() if "tags.partial" in runs else True
    return (runs["status"] == "FINISHED") & runs["tags.experiment"].notna() & whole


def _scored(runs: pd.DataFrame) -> pd.Series:
    needed = [f"metrics.{name}" for name in SCORES]
    return runs.reindex(columns=needed).notna().all(axis=1)


def _columns(runs: pd.DataFrame, *beginnings: str) -> list[str]:
    return [name for name in runs.columns if name.startswith(beginnings) and name not in INDIFFERENT]


def _like_the_latest(runs: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Selects the runs, sorted from the oldest, that have the latest known value in each of `columns`."""
    latest = runs[columns].ffill().iloc[-1]
    different = runs[columns].notna() & (runs[columns] != latest)
    unlike = different.any(axis=1)
    for experiment, rows in different[unlike].groupby(runs["tags.experiment"]):
        names = ", ".join(name.partition(".")[2] for name in columns if rows[name].any())
        log.warning("left out: %d earlier runs of %s, with different values of %s", len(rows), experiment, names)
    return runs[~unlike]


Fetch = Callable[[str, str], Path | None]
"""A function from a run's id and an artifact's name to the file, or None if the run has no such artifact."""

FETCHED_AT_ONCE = 8

Run = tuple[str, str, int]
"""A run's id, its system and its seed."""

Found = TypeVar("Found")

ABLATIONS = ("modality_ablation.csv", "modality_worth.csv")
"""The artifact's name, and its name in runs of earlier versions."""

DROPS = ("macro_f1_drop", *(f"drop_{emotion}" for emotion in EMOTIONS))
"""Columns of the ablation table: the intact score minus the score without the modality."""


def gather_predictions(compared_runs: pd.DataFrame, mlflow_artifacts: Fetch) -> pd.DataFrame:
    """Joins the stored predictions of all runs; each run has the same utterances in the same order.

    Raises CannotCompare if two runs were not scored on the same utterances with the same emotions.
    """
    tables = []
    for (run_id, system, seed), path in _with_artifact(compared_runs, mlflow_artifacts, "predictions.parquet"):
        table = pd.read_parquet(path)
        table = table.sort_values(["split", "conversation_id", "utterance_id"], ignore_index=True)
        table.insert(0, "system", system)
        table.insert(1, "seed", seed)
        tables.append(table)
        for split in ("validation", "test"):
            first, rows = (
                of.loc[of["split"] == split, ["utterance", "emotion"]].reset_index(drop=True)
                for of in (tables[0], table)
            )
            if not rows.equals(first):
                raise CannotCompare(
                    f"run {run_id} ({system}, seed {seed}) was scored on {len(rows)} {split} utterances, "
                    f"run {compared_runs['run_id'].iloc[0]} on {len(first)}, and the utterances or their emotions "
                    "differ. With compare.runs, name runs that share corpus, split and data.clips.on_bad_clip."
                )
    return pd.concat(tables, ignore_index=True)


def check_training_examples(
    compared_runs: pd.DataFrame, compared_predictions: pd.DataFrame, training_examples: pd.DataFrame
) -> None:
    """Checks that the reference systems would be fitted on the training examples of the runs.

    Raises CannotCompare if the fingerprints differ (unless a run has logged none), or if a predicted utterance is
    among the training examples.
    """
    known = compared_runs[compared_runs["training_examples"].notna()]
    others = known[known["training_examples"] != words_fingerprint(training_examples)]
    if len(others):
        names = ", ".join(f"{run.system} (seed {run.seed})" for run in others.itertuples())
        raise CannotCompare(
            f"TF-IDF would be fitted on the {len(training_examples)} current training examples, but these runs used "
            f"others: {names}. The split or data.clips.on_bad_clip has changed, or clips were added or removed. "
            f"{AS_THE_RUNS_HAD_IT}"
        )
    seen = set(compared_predictions["utterance"]) & set(training_examples["utterance"])
    if seen:
        raise CannotCompare(
            f"{len(seen)} of the runs' validation and test utterances, such as {min(seen)}, are among the current "
            f"training examples: the data was split again after the runs. {AS_THE_RUNS_HAD_IT}"
        )


def gather_curves(compared_runs: pd.DataFrame, mlflow_artifacts: Fetch) -> pd.DataFrame:
    """Reads training and validation macro F1 of each epoch and run; NaN for a training score that is missing."""
    rows = []
    for (_, system, seed), path in _with_artifact(compared_runs, mlflow_artifacts, "history.json"):
        history = json.loads(path.read_text(encoding="utf-8"))
        for epoch in history["epochs"]:
            scores = {split: epoch.get(f"{split}/macro_f1") for split in ("train", "validation")}
            rows.append({"system": system, "seed": seed, "epoch": epoch["epoch"], **scores})
    columns = ["system", "seed", "epoch", "train", "validation"]  # imported weights have no epoch
    return pd.DataFrame(rows, columns=columns).astype({"train": float, "validation": float})


def gather_modality_ablation(compared_runs: pd.DataFrame, mlflow_artifacts: Fetch) -> pd.DataFrame:
    """Reads the drops of test scores with a modality blanked or shuffled, from the runs that have them."""
    tables = [pd.DataFrame(columns=["system", "seed", "modality", "change", *DROPS])]

    def ablation_of(run_id: str) -> Path | None:
        return next(filter(None, (mlflow_artifacts(run_id, name) for name in ABLATIONS)), None)

    for (_, system, seed), path in _at_once(compared_runs, ablation_of):
        if path:
            table = pd.read_csv(path).query("split == 'test' and change != 'intact'")
            tables.append(table.assign(system=system, seed=seed)[list(tables[0].columns)])
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _with_artifact(compared_runs: pd.DataFrame, fetch: Fetch, name: str) -> Iterator[tuple[Run, Path]]:
    """Each run with its artifact. Raises CannotCompare if one has none."""
    return _at_once(compared_runs, lambda run_id: _artifact(fetch, run_id, name))


def _at_once(compared_runs: pd.DataFrame, find: Callable[[str], Found]) -> Iterator[tuple[Run, Found]]:
    """Each run with what is found of it; a server is asked for several runs at once."""
    runs: list[Run] = list(compared_runs[["run_id", "system", "seed"]].itertuples(index=False, name=None))
    with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
        yield from zip(runs, pool.map(find, [run_id for run_id, *_ in runs]), strict=True)


def _artifact(fetch: Fetch, run_id: str, name: str) -> Path:
    path = fetch(run_id, name)
    if path is None:
        raise CannotCompare(
            f"run {run_id} has no artifact {name} where MLflow expects it (the artifact path on the run's page, make "
            "ui). If the folder of artifacts was moved without the store, move it back; otherwise run the experiment "
            "again, or name other runs with compare.runs."
        )
    return path
