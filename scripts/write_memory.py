"""Writes the tables of docs/memory.md between two marks: which settings fit, and how exact the model of memory is.

python scripts/write_memory.py
"""

import sys
from pathlib import Path

import torch
import yaml

from trimood.config.experiment_settings import ExperimentParams, LoraParams, Settings, TrainingParams, resolve
from trimood.config.plan import ParameterCount
from trimood.emotions import Source
from trimood.model.classifier import build_classifier
from trimood.model.config import FULL_SIZE_AUDIO, FULL_SIZE_VIDEO, LanguageBindConfig
from trimood.model.memory import HALF, USABLE_SHARE, TrainingMemory, setting_that_fits, training_memory
from trimood.model.trained import parameter_counts

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs" / "memory.md"
BASE = PROJECT / "conf" / "base"
BEGIN, END = "<!-- memory: written by scripts/write_memory.py -->\n", "<!-- end of memory -->"
CARDS = (16, 24, 40, 80)
GIB = 2**30

MEASURED = {
    ("exp1", 4): 20.1,
    ("exp1", 16): 53.5,
    ("exp4", 4): 14.7,
    ("exp4", 16): 49.5,
    ("exp6", 4): 19.5,
    ("exp6", 16): 62.4,
}
"""Peak GiB by experiment and utterances at a time: docs/experiments.md, 2026-11-26, one H200 in bf16."""


def resolved(experiment: str) -> Settings:
    """The settings of an experiment as published."""
    own = yaml.safe_load((BASE / f"experiments/{experiment}.yml").read_text(encoding="utf-8"))[experiment]
    shared = yaml.safe_load((BASE / "experiment/parameters.yml").read_text(encoding="utf-8"))
    return resolve(ExperimentParams(**own), TrainingParams(**shared["training"]), LoraParams(**shared["lora"]))


def full_size(settings: Settings) -> tuple[dict[Source, LanguageBindConfig], dict[str, ParameterCount]]:
    """The configurations of the published checkpoints in use, and the counts of parameters."""
    configs: dict[Source, LanguageBindConfig] = {"video": FULL_SIZE_VIDEO}
    if "audio" in settings.modalities:
        configs["audio"] = FULL_SIZE_AUDIO
    with torch.device("meta"):
        model = build_classifier(settings.modalities, configs, settings.train, head=settings.head, lora=settings.lora)
    counts = {
        part: ParameterCount(trainable=trained, all=every, trainable_share=trained / every)
        for part, (trained, every) in parameter_counts(model).items()
    }
    return configs, counts


def tables() -> str:
    """Both tables in Markdown."""
    header = ["experiment", "held GiB", "each utterance GiB", "at 4 GiB", *(f"{card} GB" for card in CARDS)]
    rows, memories = [], {}
    for experiment in sorted(path.stem for path in BASE.glob("experiments/*.yml")):
        settings = resolved(experiment)
        configs, counts = full_size(settings)
        memory = memories[experiment] = training_memory(settings, configs, counts, HALF)
        cells = [setting_that_fits(settings, configs, counts, HALF, USABLE_SHARE * card * GIB) for card in CARDS]
        held = (memory.held + memory.casts) / GIB
        each = (memory.kept + memory.working) / GIB
        rows.append([experiment, f"{held:.1f}", f"{each:.2f}", f"{memory.peak(4) / GIB:.1f}", *map(_cell, cells)])
    return f"{_markdown(header, rows)}\n{_comparison(memories)}"


def _cell(fitting: tuple[TrainingParams, int] | None) -> str:
    if fitting is None:
        return "–"
    training, size = fitting
    words = [str(size)]
    if training.gradient_checkpointing:
        words.append("checkpointing")
    if training.optim == "adamw_bnb_8bit":
        words.append("8 bits")
    return ", ".join(words)


def _comparison(memories: dict[str, TrainingMemory]) -> str:
    rows = []
    for (experiment, size), measured in MEASURED.items():
        computed = memories[experiment].peak(size) / GIB
        rows.append([experiment, str(size), f"{measured:.1f}", f"{computed:.1f}", f"{computed / measured - 1:+.1%}"])
    return _markdown(["experiment", "at a time", "measured GiB", "computed GiB", "difference"], rows)


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Replaces the tables between the marks of the page."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{PAGE}: the marks {BEGIN.strip()} and {END} must both be in it, in this order")
    PAGE.write_text(f"{before}{begin}\n{tables()}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
