"""How MLflow shows the runs: kind and description of each of its experiments, a saved view, colours of runs."""

import json
import re
import zlib
from collections.abc import Mapping
from typing import Literal

from trimood.config.checks import without_passwords

Group = Literal["trainings", "search", "reports"]
"""The MLflow experiments: one for trainings, one for searches with their trials, one for reports."""

ENDINGS: Mapping[Group, str] = {"trainings": "", "search": "-search", "reports": "-reports"}
"""What follows the configured name in the name of the MLflow experiment."""

NOTE = "mlflow.note.content"
"""Tag of the description, of an MLflow experiment and of a run; MLflow renders it as Markdown."""

INTERVAL = "test interval"
"""Tag of a run: the interval of its macro F1 on test, for the list of runs."""

COLOUR = "mlflow.runColor"
"""Tag of a run: the colour of its bars and lines."""

VIEW = "trainings"
"""The key of the saved view in the address."""

QUERY = f"viewStateShareKey={VIEW}&compareRunsMode=CHART&workflowType=machine_learning"
"""Opens the saved view with its charts, in MLflow's menu for trainings instead of that for language models."""

SAVED_VIEW = f"mlflow.sharedViewState.{VIEW}"
"""Tag of an MLflow experiment: the saved view. It is ours, and follows the code."""

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7f3c8d",
    "#8c6d31",
    "#5f5f5f",
    "#1b7837",
    "#b2182b",
    "#4d4dff",
    "#a6761d",
    "#1f9ed1",
    "#e7298a",
    "#66a61e",
    "#525288",
    "#b2912f",
    "#00b3a4",
    "#d9a6c2",
)
"""The first six: Okabe and Ito 2008, Color Universal Design, which people with colour blindness can tell apart."""

_ANSWERED = re.compile(
    r"^\*\*The last comparison:\*\* .*\[The report\]\(#/experiments/[^)\n]*\)\.\n\n---\n\n", re.MULTILINE
)
"""What a comparison has written into the description of all trainings: one line, and a rule below."""

_NOTES: Mapping[Group, str] = {
    "trainings": """**Trainings of trimood.** A run is one experiment with one seed: `exp4 · seed 3`.

- **Which is best?** Open the [saved view](#/experiments/{id}/runs?{query}): it lists experiment, \
seed, what was trained, and macro F1 on validation and on test with its 95 % interval; the best on validation first.
- **Many seeds?** *Group by* the tag `experiment`: each experiment is then one bar, the mean over its seeds.
- **Why?** Click a run: *Artifacts* has its figures, predictions and weights, *Model metrics* its curves.
- **Is the difference real?** `kedro run --pipelines=compare` writes a report over all seeds into `{name}-reports`.

Searches and their trials are in `{name}-search`. Choose by validation; test scores say how good the choice was.""",
    "search": """**Searches of trimood.** A run `tune` is one search; its trials are the runs named `… trial N`.

Trials are scored on validation only (`validation/macro_f1`); none has seen the test split.""",
    "reports": """**Reports of trimood.** Comparisons (`compare`), checks of the data (`check_data`) and submissions.

Open a run, then *Artifacts*: the pages say which experiment is best, how certain that is, and what the data holds.""",
}


def tags_of_experiment(group: Group, name: str, experiment_id: str) -> dict[str, str]:
    """Returns the tags with which MLflow opens its experiment `name` as a list of trainings, and describes it."""
    tags = {
        "mlflow.experimentKind": "custom_model_development",  # otherwise MLflow opens its view of language models
        NOTE: _NOTES[group].format(id=experiment_id, name=name, query=QUERY),
    }
    return {**tags, **({SAVED_VIEW: json.dumps(_view())} if group == "trainings" else {})}


def with_answers(note: str, answers: str, report: str) -> str:
    """Returns the description of all trainings with the answers of a report on top, in place of an earlier one's.

    `report`: the address of its run within MLflow, EXPERIMENT/runs/RUN. What else a person has written stays.
    """
    return (
        f"**The last comparison:** {answers} [The report](#/experiments/{report}).\n\n---\n\n{_ANSWERED.sub('', note)}"
    )


def link(uri: str, experiment_id: str) -> str:
    """Returns the address of the saved view: on the store's server, or on the one that `make ui` starts."""
    server = without_passwords(uri).rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    return f"{server}/#/experiments/{experiment_id}/runs?{QUERY}"


def colour_of(experiment: str, experiments: list[str]) -> str:
    """Returns the colour of an experiment's runs, the same for all its seeds; it hardly depends on the others.

    No two of `experiments` have the same one, unless they are more than the colours.
    """
    places: dict[str, int] = {}
    for name in sorted(experiments):
        place = zlib.crc32(name.encode())
        while place % len(COLOURS) in places.values() and len(places) < len(COLOURS):
            place += 1
        places[name] = place % len(COLOURS)
    return COLOURS[places[experiment]]


def _view() -> dict[str, object]:
    """The state of MLflow's list of runs, as its own button Share stores it: filter, order, columns and charts."""
    # MLflow always shows a run's name, which has experiment and seed, and its duration, and puts metrics before tags:
    # with more metrics than these, the interval would lie beyond the screen.
    columns = (
        ("params", "train"),
        ("metrics", "test/macro_f1"),
        ("tags", INTERVAL),
        ("metrics", "validation/macro_f1"),
        ("metrics", "test/weighted_f1"),
    )
    best_first = "metrics.`validation/macro_f1`"
    charts: list[dict[str, object]] = [
        {"type": "BAR", "metricKey": "test/macro_f1", "displayName": "Macro F1, test"},
        {"type": "BAR", "metricKey": "validation/macro_f1", "displayName": "Macro F1, validation"},
        _curve("validation_macro_f1", "Macro F1, validation, by epoch"),
        _curve("train_macro_f1", "Macro F1, training, by epoch"),
    ]
    return {
        "searchFilter": "",
        "orderByKey": best_first,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [f"{kind}.`{name}`" for kind, name in columns],
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [
            {
                "uuid": f"trimood-{number}",
                "metricSectionId": "trimood",
                "deleted": False,
                "isGenerated": False,
                "runsCountToCompare": 100,
                **chart,
            }
            for number, chart in enumerate(charts)
        ],
        "compareRunSections": [{"uuid": "trimood", "name": "Macro F1", "display": True, "isReordered": False}],
        "isAccordionReordered": True,
    }


def _curve(name: str, title: str) -> dict[str, object]:
    metric = f"training curves/{name}"
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "displayName": title,
        "lineSmoothness": 0,
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
    }
