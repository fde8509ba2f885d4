"""Measures our training beside the notes' own loop: an epoch, the step without data, and full-size passes.

    python benchmarks/beside_upstream.py tiny|middle|full [--rounds N]

Needs the environment of `make reference`. Two processes with one thread each, ours and notes_loop.py, do the same work
in turn; a ratio is that of one round, in CPU seconds. Full size is one utterance in one new process for each pass,
since two such models do not fit into the memory of an ordinary computer at once. Writes measured/….json.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from measured_figures import store
from worker import Worker

HERE = Path(__file__).parent
UPSTREAM_PYTHON = HERE.parent / ".venv-reference/bin/python"

EPOCHS = {"tiny": ("exp1", "exp3", "exp4", "exp6"), "middle": ("exp1", "exp3")}
CLIPS = {"tiny": (8, 4), "middle": (8, 4)}  # training, validation
STEPS = {"tiny": ("exp1", "exp3", "exp4", "exp5", "exp6"), "middle": ("exp1", "exp4", "exp6")}
PASSES = {"tiny": 4, "middle": 1}
BATCH = {"tiny": 4, "middle": 1}
FULL_SIZE = ("exp1", "exp4")
ROUNDS = {"tiny": (3, 9), "middle": (2, 5), "full": (1, 1)}  # of epochs, of steps

Pairs = list[tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=("tiny", "middle", "full"))
    parser.add_argument("--rounds", type=int, help="instead of the usual number of rounds")
    arguments = parser.parse_args()
    if not UPSTREAM_PYTHON.exists():
        raise SystemExit(f"{UPSTREAM_PYTHON} is missing: run `make .venv-reference/.installed` first.")
    of_epochs, of_steps = [arguments.rounds or usual for usual in ROUNDS[arguments.size]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.size == "full":
            store("beside-full", full_size(folder, of_steps))
        else:
            with ours(folder) as own, upstream(folder) as other:
                steps = {
                    experiment: summary(step_pairs(own, other, arguments.size, experiment, of_steps))
                    for experiment in STEPS[arguments.size]
                }
                figures = {
                    "steps": steps,
                    **epochs(own, other, folder, arguments.size, of_epochs),
                    "use": {experiment: use(own, arguments.size, experiment) for experiment in STEPS["middle"]},
                }
            store(f"beside-{arguments.size}", figures)


def ours(folder: Path) -> Worker:
    return Worker(sys.executable, HERE / "our_loop.py", folder / "ours.log")


def upstream(folder: Path) -> Worker:
    return Worker(UPSTREAM_PYTHON, HERE / "notes_loop.py", folder / "upstream.log")


def step_pairs(own: Worker, other: Worker, size: str, experiment: str, rounds: int) -> Pairs:
    """CPU seconds of a micro-batch, ours and upstream's, a pair for each round; the first round is not counted."""
    request = {"experiment": experiment, "size": size, "batch": BATCH[size], "passes": PASSES[size]}
    every = []
    for _ in range(rounds + 1):
        pair = [worker.ask("step", **request)["seconds"] / PASSES[size] for worker in (own, other)]
        every.append((pair[0], pair[1]))
    tell(size, experiment, "step", every[1:])
    return every[1:]


def epochs(own: Worker, other: Worker, folder: Path, size: str, rounds: int) -> dict[str, Any]:
    """An epoch of each experiment, the first and, where a tower is frozen, a later one; preparation of a clip."""
    training, validation = CLIPS[size]
    made = own.ask("prepare", folder=str(folder), count=training + validation)
    rows, tokenizer = made["rows"], made["tokenizer"]
    preparation = own.ask("prepare_clips", folder=str(folder), size=size, rows=rows)["seconds"] / len(rows)
    found: dict[str, Any] = {}
    for experiment in EPOCHS[size]:
        request = {
            "experiment": experiment,
            "size": size,
            "training": rows[:training],
            "validation": rows[training:],
        }
        first: Pairs = []
        later: Pairs = []
        for _ in range(rounds):
            theirs = other.ask("epoch", tokenizer=tokenizer, **request)["seconds"]
            first.append((own.ask("epoch", folder=str(folder), **request)["seconds"], theirs))
            if experiment == "exp3":
                again = own.ask("epoch", folder=str(folder), keeps_embeddings=True, **request)["seconds"]
                later.append((again, theirs))
        tell(size, experiment, "epoch", first)
        found[experiment] = {"first": summary(first), **({"later": summary(later)} if later else {})}
    return {"epochs": found, "clips": {"training": training, "validation": validation, "preparation": preparation}}


def use(own: Worker, size: str, experiment: str) -> dict[str, float]:
    """The share of the matrix rate that forward and backward reach, in the same process."""
    found: dict[str, float] = own.ask("passes", experiment=experiment, size=size, batch=BATCH[size])
    return found


def full_size(folder: Path, rounds: int) -> dict[str, Any]:
    """Forward and backward of one utterance in new processes: seconds, memory, and ours against the matrix rate."""
    figures = {}
    for experiment in FULL_SIZE:
        request = {"experiment": experiment, "size": "full", "batch": 1}
        every = []
        for _ in range(rounds):
            with ours(folder) as worker:
                own = worker.ask("passes", **request)
            with upstream(folder) as worker:
                every.append((own, worker.ask("passes", **request)))
        by_name = {
            name: summary([(own[name], theirs[name]) for own, theirs in every])
            for name in ("forward", "backward", "peak_gib")
        }
        tell("full", experiment, "forward", [(own["forward"], theirs["forward"]) for own, theirs in every])
        figures[experiment] = {**by_name, "use": every[-1][0]}
    return figures


def summary(pairs: Pairs) -> dict[str, Any]:
    """Medians of both sides, and the median, smallest and largest ratio upstream / ours of the rounds."""
    ratios = sorted(theirs / own for own, theirs in pairs)
    return {
        "ours": statistics.median(own for own, _ in pairs),
        "upstream": statistics.median(theirs for _, theirs in pairs),
        "ratio": [statistics.median(ratios), ratios[0], ratios[-1]],
        "rounds": len(pairs),
    }


def tell(size: str, experiment: str, what: str, pairs: Pairs) -> None:
    found = summary(pairs)
    print(
        f"{size} {experiment} {what}: ours {found['ours']:.3f} CPU s, upstream {found['upstream']:.3f}, "
        f"upstream / ours {found['ratio'][0]:.2f} ({found['ratio'][1]:.2f} to {found['ratio'][2]:.2f})",
        flush=True,
    )


if __name__ == "__main__":
    main()
