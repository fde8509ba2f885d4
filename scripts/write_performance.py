"""Writes the tables of docs/performance.md between marks, from the figures in benchmarks/measured.

python scripts/write_performance.py
"""

import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs" / "performance.md"
MEASURED = PROJECT / "benchmarks" / "measured"

SLOW_NODE_SECONDS = 0.5
EPOCHS = 10


def main() -> None:
    """Renews every part of the page."""
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), MEASURED), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(PROJECT)} is written\n")


def renewed(page: str, folder: Path) -> str:
    """The page with the table of each part; raises ValueError if a part has no marks, or marks have no part."""
    marked = re.findall(r"<!-- measured: (\S+) -->", page)
    if sorted(marked) != sorted(PARTS):
        raise ValueError(
            f"the page has marks for {', '.join(marked)}; there must be one for each of {', '.join(PARTS)}"
        )
    for part, (name, table) in PARTS.items():
        begin, end = f"<!-- measured: {part} -->\n", f"<!-- end of {part} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n{written(folder / f'{name}.json', table)}\n\n{end}{after}"
    return page


def written(path: Path, table: Callable[[Any], str]) -> str:
    """A table with its date, command and machine, or that it was not measured."""
    if not path.exists():
        return "Not measured."
    about = json.loads(path.read_text(encoding="utf-8"))
    if "machine" not in about:  # of a benchmark whose figures are a file by themselves
        return f"{table(about)}\n\nMeasured on {about['date']}."
    machine = about["machine"]
    threads = "" if machine["threads"] is None else f"; {machine['threads']} thread"
    return (
        f"{table(about['figures'])}\n\nMeasured on {about['date']} by `{about['command']}`: {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB{threads}; "
        f"Python {machine['python']}, torch {machine['torch']}, transformers {machine['transformers']}, "
        f"PEFT {machine['peft']}."
    )


def rows(head: list[str], body: list[list[str]]) -> str:
    """A table in Markdown; all columns but the first are numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio(of: dict[str, Any]) -> str:
    """Upstream / ours with its scatter."""
    middle, least, most = of["ratio"]
    return f"**{middle:.2f}**" if of["rounds"] == 1 else f"**{middle:.2f}** ({least:.2f} to {most:.2f})"


def steps(figures: Any) -> str:
    """Milliseconds of a micro-batch without data."""
    body = [
        [experiment, f"{1000 * of['ours']:.0f}", f"{1000 * of['upstream']:.0f}", ratio(of), str(of["rounds"])]
        for experiment, of in figures["steps"].items()
    ]
    return rows(["experiment", "trimood ms", "the notes' loop ms", "the notes' loop / trimood", "rounds"], body)


def epochs(figures: Any) -> str:
    """CPU seconds of an epoch, and of ten with the preparation of clips."""
    clips = figures["clips"]
    preparation = clips["preparation"] * (clips["training"] + clips["validation"])
    body = []
    for experiment, of in figures["epochs"].items():
        first, later = of["first"], of.get("later", of["first"])
        ours = preparation + first["ours"] + (EPOCHS - 1) * later["ours"]
        cells = [f"{first['ours']:.2f}", f"{first['upstream']:.2f}", ratio(first)]
        body.append([experiment, *cells, f"{EPOCHS * first['upstream'] / ours:.1f}", str(first["rounds"])])
        if later is not first:
            cells = [f"{later['ours']:.2f}", f"{later['upstream']:.2f}", ratio(later)]
            body.append([f"{experiment}, later epochs", *cells, "", str(later["rounds"])])
    head = ["experiment", "trimood CPU s", "the notes' loop CPU s", "the notes' loop / trimood", "ten epochs", "rounds"]
    words = (
        f"{clips['training']} clips for training and {clips['validation']} for validation. Preparation takes "
        f"{clips['preparation']:.3f} CPU s a clip, once; the ratio of ten epochs is computed and includes it."
    )
    return f"{rows(head, body)}\n\n{words}"


def shares(figures: Any) -> str:
    """Forward and backward pass against a large matrix product."""
    body = [
        [experiment, *(f"{of[f'{name}_share']:.0%}" for name in ("forward", "backward")), rate(of["matrix_rate"])]
        for experiment, of in figures["use"].items()
    ]
    return rows(["experiment", "forward", "backward", "matrix product GFLOP/s"], body)


def full(figures: Any) -> str:
    """One utterance at full size: seconds, memory, and the share of the matrix rate."""
    body = []
    for experiment, of in figures.items():
        for name in ("forward", "backward"):
            one = of[name]
            seconds = [f"{one['ours']:.1f} s", f"{one['upstream']:.1f} s", ratio(one)]
            body.append([f"{experiment}, {name}", *seconds, f"{of['use'][f'{name}_share']:.0%}"])
        peak = of["peak_gib"]
        body.append(
            [f"{experiment}, peak memory", *(f"{peak[k]:.1f} GiB" for k in ("ours", "upstream")), ratio(peak), ""]
        )
    return rows(["", "trimood", "the notes' loop", "the notes' loop / trimood", "of the matrix rate"], body)


def rate(value: float) -> str:
    """Operations per second as GFLOP/s."""
    return f"{value / 1e9:.0f}"


def nodes(figures: Any) -> str:
    """The nodes that take longest, and all others together."""
    seconds = figures["cpu_seconds"]
    slow = {name: cpu for name, cpu in seconds.items() if cpu >= SLOW_NODE_SECONDS}
    body = [[f"`{name}`", f"{cpu:.1f}"] for name, cpu in slow.items()]
    body.append([f"{len(seconds) - len(slow)} others", f"{sum(seconds.values()) - sum(slow.values()):.1f}"])
    return rows(["node", "CPU s"], body) + f"\n\nTraining has {figures['epochs']} epochs."


def start_up(figures: Any) -> str:
    """CPU seconds of commands beside their work."""
    body = [
        [
            f"`kedro {of['command']}`, {'' if of['until'].startswith('from') else 'until '}{of['until']}",
            f"{of['cpu']:.2f}",
        ]
        for of in figures["rows"]
    ]
    return rows(["command", "CPU s"], body) + f"\n\nThe least of {figures['runs']} runs."


def frozen(figures: Any) -> str:
    """What the epochs of exp3 cost beside one pass."""
    one = figures["pass"]
    named = {
        f"one pass over {figures['clips']} clips": one,
        f"{figures['epochs']} epochs, nothing embedded before": figures["first"],
        f"{figures['epochs']} epochs with another seed": figures["second"],
    }
    return rows(["", "CPU s", "passes"], [[name, f"{cpu:.2f}", f"{cpu / one:.2f}"] for name, cpu in named.items()])


def scale(figures: Any) -> str:
    """What an utterance more costs in each node that takes long enough to be measured, and the peak memory."""
    counts = [f"{of['utterances']:,}" for of in figures["sizes"]]
    body = []
    for of in figures["rows"]:
        if of["exponent"] is not None:
            seconds = [f"{value:.2f}" for value in of["cpu_seconds"]]
            each = [f"{of['microseconds_per_utterance']:,.0f}", f"{of['exponent']:.2f}"]
            body.append([f"{of['command']}: `{of['node']}`", *seconds, *each])
    head = ["command and node", *(f"CPU s, {count}" for count in counts), "µs an utterance more", "exponent"]
    peak = max(used["peak_memory_bytes"] for of in figures["sizes"] for used in of["commands"].values())
    return f"{rows(head, body)}\n\nThe main process of no command had more than {peak / 1e9:.1f} GB."


def deployed(figures: Any) -> str:
    """A batch in ONNX Runtime beside torch."""
    body = []
    for of in figures["rows"]:
        median = f"**{statistics.median(of['ratios']):.2f}** ({min(of['ratios']):.2f} to {max(of['ratios']):.2f})"
        seconds = [f"{of[name]:.2f}" for name in ("torch", "onnx")]
        body.append([f"{of['experiment']}, {of['batch']}", *seconds, median, f"{of['apart']:.0e}", str(of["rounds"])])
    head = [
        "experiment, utterances",
        "torch CPU s",
        "ONNX Runtime CPU s",
        "torch / ONNX Runtime",
        "logits apart",
        "rounds",
    ]
    return rows(head, body)


def gpu(figures: Any) -> str:
    """Steps of full-size experiments on one card."""
    body = []
    for of in figures["rows"]:
        median = statistics.median(of["steps"])
        share = of["operations"] / median / figures["rate"]
        seconds = f"{median:.2f} ({min(of['steps']):.2f} to {max(of['steps']):.2f})"
        each = f"{figures['utterances'] / median:.1f}"
        row = [of["experiment"], str(of["batch"]), seconds, each, f"{share:.0%}"]
        body.append([*row, *(f"{of[name]:.1f}" for name in ("before", "predicted", "peak"))])
    head = [
        "experiment",
        "at a time",
        "seconds a step of 64",
        "utterances a second",
        "of the limit",
        "until the first step is done s",
        "predicted a second",
        "peak GiB",
    ]
    rate = f"The limit is a large bf16 matrix product in the same run, {figures['rate'] / 1e12:.0f} TFLOP/s."
    return f"One {figures['card']}. {rate}\n\n{rows(head, body)}"


PARTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "tiny-epochs": ("beside-tiny", epochs),
    "middle-epochs": ("beside-middle", epochs),
    "tiny-steps": ("beside-tiny", steps),
    "middle-steps": ("beside-middle", steps),
    "middle-shares": ("beside-middle", shares),
    "full": ("beside-full", full),
    "frozen-towers": ("frozen-towers", frozen),
    "stages": ("stages", nodes),
    "start-up": ("start-up", start_up),
    "scale": ("scale", scale),
    "onnx-runtime": ("onnx-runtime", deployed),
    "gpu": ("gpu", gpu),
    "gpu-compiled": ("gpu-compiled", gpu),
}
"""The parts of the page: the file of their figures, and what makes a table of them."""


if __name__ == "__main__":
    main()
