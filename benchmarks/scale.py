"""Measures how each stage grows with the corpus: CPU time and memory of the main process, and the sizes of reports.

    python benchmarks/scale.py OUT.json [--sizes 400 1700] [--annotations FOLDER]

The clips are cheap and distinct: a few small clips whose copies differ in an MP4 box that players skip. So each is
decoded, hashed and prepared for itself, in milliseconds, and what remains is the project's own cost. Utterances are
generated, or with --annotations the first of ECF's Subtask_2_train.json and Subtask_2_test.json, in the shares of the
whole (16,720 are all that have a label). Towers are the demo's, which are trained for it first.

Each command runs in a process of its own, below a temporary folder. CPU seconds are those of the main process, with its
threads, from a node's first loaded input to its last stored output. Workers, which decode, are not counted.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl

PROJECT = Path(__file__).parents[1]

COMMANDS = {
    "check_data": ("check_data", ()),
    "check_data again": ("check_data", ()),
    "preprocessing": ("preprocessing", ()),
    "preprocessing again": ("preprocessing", ()),
    "exp3": ("exp3", ("training.num_train_epochs=2",)),
}
"""Pipelines and their parameters, in the order in which they run."""

BASE_CLIPS = 14
UTTERANCES_PER_CONVERSATION = 7.3  # generated ones, on average
MEASURABLE_SECONDS = 0.2
"""From less than this at the larger size, no exponent follows."""


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        measure_one(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sizes", type=int, nargs=2, default=(400, 1700), help="numbers of utterances, in order")
    parser.add_argument("--annotations", type=Path, help="a folder with ECF's Subtask_2_{train,test}.json")
    arguments = parser.parse_args()
    out: Path = arguments.out.absolute()
    with tempfile.TemporaryDirectory(prefix="trimood-scale-") as name:
        checkpoints = write_checkpoints(Path(name))
        measured = []
        for size in arguments.sizes:
            folder = Path(name) / str(size)
            count = write_corpus(folder / "corpus", size, arguments.annotations)
            measured.append({"utterances": count, **measure(folder, checkpoints)})
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "annotations": "ECF 2.0" if arguments.annotations else "generated",
        "rows": list(rows(*measured)),
        "sizes": measured,
    }
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print_tables(found)


def measure(folder: Path, checkpoints: Path) -> dict[str, Any]:
    """Runs all commands on one corpus; returns what each used, and the sizes of what is kept and reported."""
    used = {}
    for name, (pipeline, parameters) in COMMANDS.items():
        given = [
            f"corpus_dir={folder / 'corpus'}",
            *(f"{source}_checkpoint={checkpoints / source}" for source in ("video", "audio")),
            *parameters,
        ]
        command = [sys.executable, str(Path(__file__).absolute()), "--one", pipeline, str(folder / "used.json"), *given]
        others = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "KEDRO_ENV")}
        environment = {**others, "PYTHONPATH": str(PROJECT / "src")}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stdout}{done.stderr}")
        used[name] = json.loads((folder / "used.json").read_text())
        print(f"{folder.name} utterances, {name}: {used[name]['cpu_seconds']:.1f} CPU s", flush=True)
    data = folder / "data" / "demo"
    return {
        "commands": used,
        "kept": {path.name: weighed(path) for path in sorted((data / "04_feature").iterdir()) if path.is_dir()},
        "reports": {
            path.relative_to(data).as_posix(): path.stat().st_size
            for path in sorted((data / "08_reporting").rglob("*"))
            if path.suffix in (".html", ".json", ".parquet", ".csv")
        },
    }


def weighed(folder: Path) -> dict[str, int]:
    """Files in a folder and below, their bytes, and the bytes that they take on the disk."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return {
        "files": len(found),
        "bytes": sum(of.st_size for of in found),
        "bytes_on_disk": sum(of.st_blocks * 512 for of in found),
    }


def measure_one(pipeline: str, target: Path, parameters: list[str]) -> None:
    """Runs a pipeline in this process and writes what its main process used, by node."""
    from kedro.framework.project import configure_project, settings

    configure_project("trimood")
    clock = NodeClock()
    settings.set("HOOKS", (*settings.HOOKS, clock))
    from trimood.cli import run

    run.main(
        [f"--pipelines={pipeline}", f"--conf-source={PROJECT / 'conf'}", "--params", ",".join(parameters)],
        standalone_mode=False,
    )
    own = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "cpu_seconds": own.ru_utime + own.ru_stime,
        "peak_memory_bytes": own.ru_maxrss * 1024,
        "nodes": clock.cpu_seconds(),
    }
    if not found["nodes"]:
        raise SystemExit(f"{pipeline}: no node was timed")
    target.write_text(json.dumps(found))


class NodeClock:
    """A Kedro hook: the process's CPU time at the first and at the last thing that it does for a node."""

    def __init__(self) -> None:
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def cpu_seconds(self) -> dict[str, float]:
        return {name: self._last[name] - first for name, first in self._first.items()}

    def _mark(self, node: Any) -> None:
        now = time.process_time()
        self._first.setdefault(node.name.partition("(")[0].rstrip(": "), now)
        self._last[node.name.partition("(")[0].rstrip(": ")] = now

    @hook_impl
    def before_dataset_loaded(self, dataset_name: str, node: Any) -> None:
        self._mark(node)

    @hook_impl
    def before_node_run(self, node: Any) -> None:
        self._mark(node)

    @hook_impl
    def after_node_run(self, node: Any) -> None:
        self._mark(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Any) -> None:
        self._mark(node)


def write_checkpoints(folder: Path) -> Path:
    from trimood.synthetic.checkpoints import make_pretrained, write_checkpoint

    for source, checkpoint in zip(("video", "audio"), make_pretrained(0, scene_count=128), strict=True):
        (folder / "checkpoints" / source).mkdir(parents=True)
        write_checkpoint(folder / "checkpoints" / source, checkpoint=checkpoint, weight_format="safetensors")
    return folder / "checkpoints"


def write_corpus(folder: Path, size: int, annotations: Path | None) -> int:
    """Writes annotations of about `size` utterances, and a clip for each; returns their number."""
    records = taken_records(annotations, size) if annotations else made_records(size)
    count = 0
    contents = base_clips()
    for split, conversations in records.items():
        (folder / split).mkdir(parents=True)
        (folder / f"Subtask_2_{split}.json").write_text(json.dumps(conversations), encoding="utf-8")
        for conversation in conversations:
            for utterance in conversation["conversation"]:
                clip = distinct(contents[count % len(contents)], count)
                (folder / split / utterance["video_name"]).write_bytes(clip)
                count += 1
    return count


def made_records(size: int) -> dict[str, list[dict[str, Any]]]:
    from trimood.synthetic.dialogues import official_test_record, train_record, write_dialogues

    train, test = write_dialogues(0, round(size / UTTERANCES_PER_CONVERSATION))
    return {"train": [*map(train_record, train)], "test": [*map(official_test_record, test)]}  # type: ignore[dict-item]


def taken_records(annotations: Path, size: int) -> dict[str, list[dict[str, Any]]]:
    """Whole conversations from the beginning of both files, in the shares of the files."""
    whole = {
        split: json.loads((annotations / f"Subtask_2_{split}.json").read_text(encoding="utf-8"))
        for split in ("train", "test")
    }
    lengths = {split: [len(of["conversation"]) for of in conversations] for split, conversations in whole.items()}
    share = min(1.0, size / sum(map(sum, lengths.values())))
    taken = {}
    for split, conversations in whole.items():
        wanted, count = share * sum(lengths[split]), 0
        while count < len(conversations) and sum(lengths[split][:count]) < wanted:
            count += 1
        taken[split] = conversations[:count]
    return taken


def base_clips() -> list[bytes]:
    """A few clips as the demo has them, each emotion twice, of one second."""
    from dataclasses import replace

    from trimood.synthetic.corpus import write_clip
    from trimood.synthetic.dialogues import write_dialogues

    lines = [line for conversation in write_dialogues(0, 40)[0] for line in conversation]
    by_emotion: dict[str, list[Any]] = {}
    for line in lines:
        by_emotion.setdefault(line.emotion, []).append(replace(line, duration_seconds=1.0))
    with tempfile.TemporaryDirectory() as name:
        for line in (chosen := [line for of in by_emotion.values() for line in of[:2]][:BASE_CLIPS]):
            write_clip(line, Path(name))
        return [(Path(name) / line.clip_name).read_bytes() for line in chosen]


def distinct(clip: bytes, number: int) -> bytes:
    """The same clip with other bytes: a box of type `free` at its end (ISO/IEC 14496-12, section 8.1.2)."""
    content = number.to_bytes(8, "big")
    return clip + (8 + len(content)).to_bytes(4, "big") + b"free" + content


def rows(small: dict[str, Any], large: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """For each node: CPU seconds at both sizes, microseconds for each more utterance, and the exponent of growth."""
    counts = small["utterances"], large["utterances"]
    for command in COMMANDS:
        nodes = [of["commands"][command]["nodes"] for of in (small, large)]
        for node in nodes[1]:
            seconds = [of.get(node, 0.0) for of in nodes]
            told = seconds[1] >= MEASURABLE_SECONDS and seconds[0] > 0
            yield {
                "command": command,
                "node": node,
                "cpu_seconds": seconds,
                "microseconds_per_utterance": 1e6 * (seconds[1] - seconds[0]) / (counts[1] - counts[0]),
                "exponent": math.log(seconds[1] / seconds[0]) / math.log(counts[1] / counts[0]) if told else None,
            }


def print_tables(found: dict[str, Any]) -> None:
    counts = [f"{of['utterances']:,}" for of in found["sizes"]]
    print(f"\n| command | node | CPU s, {counts[0]} | CPU s, {counts[1]} | µs an utterance more | exponent |")
    print("|---|---|--:|--:|--:|--:|")
    for row in found["rows"]:
        exponent = "" if row["exponent"] is None else f"{row['exponent']:.2f}"
        seconds = " | ".join(f"{value:.2f}" for value in row["cpu_seconds"])
        of_each = f"{row['microseconds_per_utterance']:,.0f}"
        print(f"| {row['command']} | {row['node']} | {seconds} | {of_each} | {exponent} |")
    print("\n| command | utterances | CPU s | peak memory, GB |\n|---|--:|--:|--:|")
    for of in found["sizes"]:
        for name, used in of["commands"].items():
            memory = f"{used['peak_memory_bytes'] / 1e9:.2f}"
            print(f"| {name} | {of['utterances']:,} | {used['cpu_seconds']:.1f} | {memory} |")
    print("\n| kept or reported | " + " | ".join(counts) + " |\n|---|--:|--:|")
    last = found["sizes"][1]
    for name, of in last["kept"].items():
        sizes = (size["kept"].get(name, {}) for size in found["sizes"])
        cells = (f"{of.get('files', 0):,} files, {of.get('bytes_on_disk', 0) / 1e6:,.1f} MB" for of in sizes)
        print(f"| {name} | " + " | ".join(cells) + " |")
    for name in last["reports"]:
        cells = (f"{of['reports'].get(name, 0) / 1e3:,.0f} KB" for of in found["sizes"])
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
