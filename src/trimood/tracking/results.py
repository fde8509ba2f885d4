"""The result of a run in words: in its description in MLflow, and at the end of a command."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from trimood.scoring.summary import Range, RunSummary

KEY = "trimood.tracking.results.ending"
"""Key in a command's `click.Context.meta` for its `Ending`."""

MOST_LINES = 12
"""Results that the end of a command shows one by one; of more, each experiment has a line: a screen holds them all."""


@dataclass(frozen=True)
class Result:
    """A finished run, and the folder of its figures, which is gone if another seed has replaced them."""

    summary: "RunSummary"
    folder: Path | None


@dataclass
class Ending:
    """What the sessions of one command have finished, for its last words.

    `link`: the address of MLflow's saved view; `served`: whether a server answers there. `report`: the file of the
    report on all runs.
    """

    results: list[Result] = field(default_factory=list)
    link: str | None = None
    served: bool = False
    report: Path | None = None

    def add(self, other: "Ending") -> None:
        """Adds what another process of this command has finished."""
        self.results += other.results
        self.link, self.served, self.report = (
            self.link or other.link,
            self.served or other.served,
            self.report or other.report,
        )


def ending_of_command() -> Ending | None:
    """What the command that runs in this process has finished; None outside a command, as in a notebook."""
    command = click.get_current_context(silent=True)
    return command.meta.setdefault(KEY, Ending()) if command else None


def in_a_column(of: "Range") -> str:
    """The interval of a score as short as MLflow's columns are: "0.33–0.51"; "" without one."""
    return "" if of.low is None else f"{of.low:.2f}–{of.high:.2f}"


def describe(summary: "RunSummary", question: str) -> str:
    """Returns the Markdown that MLflow shows above a run, which outlasts all folders. `question`: of the experiment."""
    test, lines = summary.test, [f"**{question[:1].upper()}{question[1:]}**", ""] if question else []
    how = "Imported" if summary.imported else "Trained"
    seed = "" if summary.imported else f", seed {summary.seed}"
    lines.append(f"- **{how}:** {summary.trained}{seed}")
    if test:
        where = f"{test.utterances:,} utterances of {test.conversations:,} conversations"
        lines.append(f"- **Result:** macro F1 on test {_with_interval(test.macro_f1, summary.confidence)}, {where}")
        if test.gain and test.tfidf is not None:
            lines.append(
                f"- **Words alone:** TF-IDF has {test.tfidf:.3f} on the same test; difference {test.gain.value:+.3f}"
                f"{f' ({_interval(test.gain)})' if test.gain.low is not None else ''}, {_against_tfidf(test.gain)}"
            )
        lines += [f"- **Never predicted on test:** {', '.join(test.never_predicted)}"] if test.never_predicted else []
    else:
        lines.append("- **Result:** there is no test utterance, so only validation is scored")
    lines.append(f"- **Validation:** macro F1 {summary.validation_macro_f1:.3f}")
    if summary.excluded is not None:
        done = {"drop": "dropped", "blank": "replaced by nothing"}
        counts = [f"{count:,} clips {done.get(policy, policy)}" for policy, count in sorted(summary.excluded.items())]
        lines.append(f"- **Left out:** {', '.join(counts) or 'no clip'} (`excluded_clips.csv`)")
    lines.append(
        "- **Report:** *Artifacts* has figures and predictions. `kedro run --pipelines=compare` writes the report on "
        "all runs."
    )
    return "\n".join(lines)


@dataclass(frozen=True)
class Given:
    """How a command was given, as far as the next one must be given alike.

    `program`: kedro, or the path of one that is not on the PATH. `env`, `conf_source`: those options. `has_params`:
    whether there are --params other than seeds and jobs.
    """

    program: str = "kedro"
    env: str | None = None
    conf_source: str | None = None
    has_params: bool = False


def last_words(ending: Ending, seconds: float, given: Given) -> list[str]:
    """Returns what a command says last of its results: scores, what was never predicted, what to do next, and where.

    ASCII only, as a terminal may show nothing else. The next commands repeat --env and --conf-source, and say where
    they need the --params of this command.
    """
    if not ending.results:
        return []
    results = sorted(ending.results, key=lambda result: -result.summary.validation_macro_f1)
    one = results[0].summary if len(results) == 1 else None
    lines = _of_one(one, seconds) if one else _of_several([result.summary for result in results], seconds)
    lines += _next([result.summary for result in results], given)
    if ending.link:
        lines.append(f"MLflow: {'' if ending.served else 'make ui, then '}{ending.link}")
    folders = [result.folder for result in results if result.folder and result.folder.is_dir()]
    figures = [f"figures in {_from_here(folders[0] if one else folders[0].parent)}"] if folders else []
    has_report = ending.report and ending.report.is_file()
    report = [f"the report of the last compare in {_from_here(ending.report)}"] if ending.report and has_report else []
    return [*lines, f"Report: {'; '.join([*figures, *report])}"] if figures or report else lines


def _of_one(summary: "RunSummary", seconds: float) -> list[str]:
    start, test = f"{summary.name}, in {_duration(seconds)}:", summary.test
    if test is None:
        return [f"{start} macro F1 {summary.validation_macro_f1:.3f} on validation; there is no test utterance."]
    score = f"{start} macro F1 {_with_interval(test.macro_f1, summary.confidence)} on test"
    beside = f"; TF-IDF {test.tfidf:.3f}: {_against_tfidf(test.gain)}." if test.gain and test.tfidf is not None else "."
    return [f"{score}{beside}", f"Never predicted on test: {', '.join(test.never_predicted) or 'none'}."]


def _of_several(summaries: "Sequence[RunSummary]", seconds: float) -> list[str]:
    """A line for each result, or for each experiment; the best on validation first."""
    baselines = sorted({f"{of.test.tfidf:.3f}" for of in summaries if of.test and of.test.tfidf is not None})
    words = f" TF-IDF on the same test: {', '.join(baselines)}." if baselines else ""
    rows: list[tuple[str, str, str, str]]
    if is_short := len(summaries) <= MOST_LINES:
        one_confidence = len({of.confidence for of in summaries}) == 1
        rows = [_row(of, names_confidence=not one_confidence) for of in summaries]
        interval = f"{_percent(summaries[0].confidence)} interval" if one_confidence else "interval"
    else:
        names = list(dict.fromkeys(of.experiment for of in summaries))
        of_each = [[of for of in summaries if of.experiment == name] for name in names]
        of_each.sort(key=lambda of: -mean(one.validation_macro_f1 for one in of))
        rows, interval = [_row_of_seeds(of) for of in of_each], "over seeds"
    never = "never predicted" if is_short else "predicted by no seed"
    table = [("", "macro F1 on test", interval, never), *rows[:MOST_LINES]]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3]]).rstrip() for row in table]
    more = [f"... and {len(rows) - MOST_LINES} more experiments, in MLflow"] if len(rows) > MOST_LINES else []
    return [f"{len(summaries)} results in {_duration(seconds)}, the best on validation first.{words}", *lines, *more]


def _row(summary: "RunSummary", names_confidence: bool) -> tuple[str, str, str, str]:
    test = summary.test
    if test is None:
        return summary.name, "no test", "", ""
    never = ", ".join(test.never_predicted) or "none"
    interval = _interval(test.macro_f1)
    confidence = f" ({_percent(summary.confidence)})" if interval and names_confidence else ""
    return summary.name, f"{test.macro_f1.value:.3f}", f"{interval}{confidence}", never


def _row_of_seeds(summaries: "Sequence[RunSummary]") -> tuple[str, str, str, str]:
    tests = [of.test for of in summaries if of.test]
    name = f"{summaries[0].experiment}, {len(summaries)} seed{'s' if len(summaries) > 1 else ''}"
    if not tests:
        return name, "no test", "", ""
    scores = [of.macro_f1.value for of in tests]
    never = [emotion for emotion in tests[0].never_predicted if all(emotion in of.never_predicted for of in tests)]
    over = f"{min(scores):.3f} to {max(scores):.3f}" if len(scores) > 1 else ""
    return name, f"{mean(scores):.3f}", over, ", ".join(never) or "none"


def _next(summaries: "Sequence[RunSummary]", given: Given) -> list[str]:
    """The commands that say most after these results."""
    names = list(dict.fromkeys(of.experiment for of in summaries))
    env = f" --env={given.env}" if given.env else ""
    source = f" --conf-source={shlex.quote(given.conf_source)}" if given.conf_source else ""
    if len(summaries) > 1:
        baseline = "" if "exp1" in names else " --params compare.baseline=TF-IDF"
        command = f"{given.program} run --pipelines=compare{env}{source}{baseline}"
        same = ", with the same --params but seeds and jobs" if given.has_params else ""
        return [f"Next: {command}{same}, to see which differences are significant."]
    found = []
    if not summaries[0].imported:
        seeds = f"{given.program} run --pipelines={names[0]}{env}{source} --params 'seeds=[1,2,3]'"
        again = "this command with seeds=[1,2,3] in --params" if given.has_params else seeds
        found.append(f"{again}, as other seeds may score differently")
    if not given.conf_source:  # `kedro app` reads the project's own
        same = ", with the same --params" if given.has_params else ""
        found.append(f"{given.program} app{env}{same}, to try the model")
    return [f"Next: {'; '.join(found)}."] if found else []


def _with_interval(of: "Range", confidence: float) -> str:
    return f"{of.value:.3f}" + (f" ({_percent(confidence)} interval {_interval(of)})" if of.low is not None else "")


def _percent(confidence: float) -> str:
    return f"{100 * confidence:g}%"


def _interval(of: "Range") -> str:
    return "" if of.low is None else f"{of.low:.3f} to {of.high:.3f}"


def _against_tfidf(gain: "Range") -> str:
    """Not called significant: that needs several seeds, which `compare` has."""
    if gain.low is None or gain.high is None:
        return f"a difference of {gain.value:+.3f}"
    better, worse = gain.low > 0, gain.high < 0
    is_better = "this training is better" if better else "this training is worse" if worse else "no clear difference"
    return f"{is_better} on test (interval over conversations only)"


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _duration(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"
