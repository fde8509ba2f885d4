"""Measures the forward pass of exported models in ONNX Runtime beside torch, on one thread of the CPU.

    python benchmarks/onnx_runtime.py [--rounds 5] [--sizes middle]

Towers have random weights. Both sides read the same inputs in turn, and a ratio is that of one round. Prints, and
stores in measured/onnx-runtime.json, CPU seconds of a batch, and how far the logits are apart.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import yaml
from measured_figures import store
from sizes import HIDDEN_ACT, LOGIT_SCALE, SIZES

from trimood.config.experiment_settings import HeadParams, LoraParams
from trimood.model.classifier import build_classifier
from trimood.model.config import LanguageBindConfig, TextConfig, VisionConfig
from trimood.serving.onnx_export import example_inputs, export_graph

CONF = Path(__file__).parents[1] / "conf/base"
EXPERIMENTS = ("exp3", "exp4", "exp6")
BATCHES = (1, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", choices=SIZES, default="middle")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for experiment in EXPERIMENTS:
            found += measure(experiment, arguments.sizes, arguments.rounds, Path(folder))
    store("onnx-runtime", {"sizes": arguments.sizes, "rows": found})


def measure(experiment: str, sizes: str, rounds: int, folder: Path) -> list[dict[str, Any]]:
    model = random_model(experiment, sizes)
    path = folder / experiment / "model.onnx"
    path.parent.mkdir()
    export_graph(model, 1.0, path, experiment)
    model.eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rows = []
    for batch in BATCHES:
        inputs = example_inputs(model, batch)
        arrays = {name: value.numpy() for name, value in inputs.items()}

        def in_torch(inputs: dict[str, torch.Tensor] = inputs) -> np.ndarray:
            with torch.inference_mode():
                return np.asarray(model(**inputs)["logits"])

        def in_onnx(arrays: dict[str, np.ndarray] = arrays) -> np.ndarray:
            return np.asarray(session.run(["logits"], arrays)[0])

        apart = float(np.abs(in_torch() - in_onnx()).max())  # and both are warm
        pairs = [(cpu_seconds(in_torch), cpu_seconds(in_onnx)) for _ in range(rounds)]
        row: dict[str, Any] = {"experiment": experiment, "batch": batch, "rounds": rounds, "apart": apart}
        row |= {
            name: statistics.median(of) for name, of in zip(("torch", "onnx"), zip(*pairs, strict=True), strict=True)
        }
        row["ratios"] = [ours / theirs for ours, theirs in pairs]
        rows.append(row)
        ratio = statistics.median(row["ratios"])
        print(f"{experiment}, {batch}: torch {row['torch']:.2f} s, ONNX Runtime {row['onnx']:.2f} s, {ratio:.2f}")
    return rows


def random_model(experiment: str, sizes: str) -> Any:
    """The classifier of an experiment's file, with towers of these sizes."""
    settings = yaml.safe_load((CONF / f"experiments/{experiment}.yml").read_text())[experiment]
    shared = yaml.safe_load((CONF / "experiment/parameters.yml").read_text())
    of = SIZES[sizes]
    configs = {}
    for source in ("video", "audio"):
        vision = {**of["vision"], **of[source], "hidden_act": HIDDEN_ACT[source], "add_time_attn": source == "video"}
        text = {**of["text"], "vocab_size": of["vocabulary"], "hidden_act": HIDDEN_ACT[source]}
        configs[source] = LanguageBindConfig(TextConfig(**text), VisionConfig(**vision), of["projection"], LOGIT_SCALE)
    lora = LoraParams.model_validate({**shared["lora"], **settings.get("lora", {})})
    head = HeadParams.model_validate(settings.get("head", {}))
    train = settings["train"]
    torch.manual_seed(0)
    return build_classifier(settings["modalities"], configs, train, head=head, lora=lora if train == "lora" else None)


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
