"""The comparison as tables: one in Markdown for a README, the others as pandas tables for the page."""

from typing import Any

import pandas as pd

from trimood.emotions import EMOTIONS

Systems = dict[str, dict[str, Any]]


def percent(settings: dict[str, Any]) -> str:
    """The confidence as people write it."""
    return f"{100 * settings['confidence']:g} %"


def markdown(comparison: dict[str, Any]) -> str:
    """A row for each experiment, each reference, and each published figure with its split."""
    baseline, level = comparison["settings"]["baseline"], percent(comparison["settings"])
    lines = [
        [
            *("", "trained", "seeds", "validation macro F1", f"test macro F1 [{level}]", "± over seeds"),
            *(f"test weighted F1 [{level}]", f"difference to {baseline} [{level}]", "p (Holm)", f"against {baseline}"),
        ],
        ["---"] * 2 + ["--:"] * 7 + ["---"],
    ]
    for name, of in comparison["systems"].items():
        against = of["difference"]
        lines.append(
            [
                name,
                trained(of),
                str(len(of["seeds"])) if of["kind"] == "experiment" else "–",
                f"{of['validation_macro_f1']:.3f}",
                _with_interval(of["macro_f1"]),
                _number(of["macro_f1"]["sd_over_seeds"]),
                _with_interval(of["weighted_f1"]),
                _with_interval(against["estimate"], "+.3f") if against else "–",
                _p(against["p_holm"]) if against else "–",
                against["verdict"] if against else "the baseline",
            ]
        )
    for of in comparison["published"]:
        scores = [f"{of['macro_f1']:.3f}", "", _number(of["weighted_f1"])]
        lines.append([of["title"], "published for *Friends*", "", "", *scores, "", "", ""])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def trained(system: dict[str, Any]) -> str:
    """In few words: what is listened to and what is trained."""
    if system["kind"] == "reference":
        return "reference"
    whole = {"everything": "everything", "head": "the head only"}
    return f"{system['modalities']}: {whole.get(system['train'], 'LoRA, head ' + system['head'])}"


def scores(systems: Systems) -> pd.DataFrame:
    """Macro and weighted F1 with intervals and the scatter between seeds."""
    rows = [
        {
            "trained": trained(of),
            "seeds": len(of["seeds"]),
            "validation macro F1": of["validation_macro_f1"],
            "test macro F1": of["macro_f1"]["value"],
            "interval": _range(of["macro_f1"]),
            "± over seeds": of["macro_f1"]["sd_over_seeds"],
            "test weighted F1": of["weighted_f1"]["value"],
            "its interval": _range(of["weighted_f1"]),
            "its ± over seeds": of["weighted_f1"]["sd_over_seeds"],
        }
        for of in systems.values()
    ]
    return _of(systems, rows)


def differences(systems: Systems) -> pd.DataFrame:
    """Each system minus the baseline."""
    compared = {name: of["difference"] for name, of in systems.items() if of["difference"]}
    rows = [
        {
            "difference": f"{of['estimate']['value']:+.3f}",
            "interval": _range(of["estimate"], "+.3f"),
            "p": _p(of["estimate"]["p_value"]),
            "p (Holm)": _p(of["p_holm"]),
            "in words": of["verdict"],
        }
        for of in compared.values()
    ]
    return _of(compared, rows)


def classes(systems: Systems) -> pd.DataFrame:
    """F1 of each emotion, and those that are never the answer."""
    rows = [{**of["f1_of_classes"], "never predicted": _never(of)} for of in systems.values()]
    return _of(systems, rows)


def _never(system: dict[str, Any]) -> str:
    seeds = len(system["seeds"])
    words = [f"{name} ({of} of {seeds} seeds)" if seeds > 1 else name for name, of in system["never_predicted"].items()]
    return ", ".join(words) or "–"


def calibration(systems: Systems) -> pd.DataFrame:
    """ECE and NLL before and after the temperature."""
    having = {name: of["calibration"] for name, of in systems.items() if of["calibration"]}
    rows = [
        {
            "temperature": of["temperature"],
            **{f"{name.upper()} {when}": of[when][name] for name in ("ece", "nll") for when in ("before", "after")},
        }
        for of in having.values()
    ]
    return _of(having, rows)


def gap(systems: Systems) -> pd.DataFrame:
    """Training, validation and their distance at the best and at the last epoch."""
    having = {name: of["curves"] for name, of in systems.items() if of["curves"]}
    rows = []
    for curves in having.values():
        best, last = max(curves, key=lambda row: row["validation"]), curves[-1]
        row: dict[str, Any] = {"best epoch": f"{best['epoch']:g} of {last['epoch']:g}"}
        for when, of in (("best", best), ("last", last)):
            row |= {f"{words} at {when}": of[part] for part, words in _CURVES.items()}
        rows.append(row)
    return _of(having, rows)


_CURVES = {"train": "training", "validation": "validation", "gap": "gap"}


def modality_worth(systems: Systems) -> pd.DataFrame:
    """What macro F1 and each emotion's F1 lose without a modality."""
    rows = [
        {
            "system": name,
            "modality": row["modality"],
            "change": row["change"],
            "macro F1": row["macro_f1_drop"],
            **{emotion: row[f"drop_{emotion}"] for emotion in EMOTIONS},
        }
        for name, of in systems.items()
        for row in of["modality_worth"]
    ]
    return pd.DataFrame(rows)


def cost(systems: Systems) -> pd.DataFrame:
    """Trainable parameters, time and memory of the trainings."""
    having = {name: of for name, of in systems.items() if of["kind"] == "experiment"}
    rows = [
        {
            "trainable parameters": of["trainable_parameters"],
            "seconds": None if of["seconds"] is None else round(of["seconds"]),
            "peak memory, GiB": of["peak_memory_gib"],
        }
        for of in having.values()
    ]
    return _of(having, rows)


def published(figures: list[dict[str, Any]]) -> pd.DataFrame:
    """Each with its split and source."""
    names = {"name": "system", "split": "split", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}
    return pd.DataFrame(figures)[[*names, "source"]].rename(columns=names)


def runs(systems: Systems) -> pd.DataFrame:
    """The MLflow run of each seed."""
    having = {name: of for name, of in systems.items() if of["runs"]}
    rows = [
        {"system": name, "seed": str(seed), "run": run}
        for name, of in having.items()
        for seed, run in zip(of["seeds"], of["runs"], strict=True)
    ]
    return pd.DataFrame(rows)


def _of(systems: dict[str, Any], rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, index=pd.Index(list(systems), name="system"))


def _with_interval(of: dict[str, Any], form: str = ".3f") -> str:
    return f"{of['value']:{form}} [{_range(of, form)}]"


def _range(of: dict[str, Any], form: str = ".3f") -> str:
    return f"{of['low']:{form}}\u00a0to\u00a0{of['high']:{form}}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
