"""The model card of exported weights, README.md: metadata for the Hugging Face hub, and what a reader has to know."""

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from trimood.config.parameters import ExportFormat
from trimood.emotions import EMOTIONS
from trimood.model.stored import RunIdentity
from trimood.reports.html import render
from trimood.scoring.intervals import Estimate

_CORPORA = {
    "demo": "trimood's generated demo corpus",
    "ecf": "ECF 2.0 (SemEval-2024 Task 3)",
    "meld": "MELD",
}


@dataclass(frozen=True)
class SplitScores:
    """The scores of one split with intervals over its conversations; `f1_of_emotions` in the order of EMOTIONS."""

    utterances: int
    conversations: int
    macro_f1: Estimate
    weighted_f1: Estimate
    f1_of_emotions: list[float]


def model_card(
    identity: RunIdentity,
    run_id: str,
    run: Mapping[str, object],
    scores: Mapping[str, SplitScores],
    confidence: float,
    form: ExportFormat,
) -> str:
    """The card in Markdown, which begins with the hub's block of metadata.

    `run` has the tags and params of the weights' run by MLflow's names.
    """
    settings = identity.plan.settings
    corpus = "demo" if run.get("tags.env") == "demo" else str(run.get("tags.corpus.corpus", "ecf"))
    return render(
        "model_card.md",
        {},
        metadata=yaml.safe_dump(_metadata(identity, scores, corpus, form), sort_keys=False, width=120),
        identity=identity,
        form=form,
        settings=settings,
        corpus=corpus,
        env=run.get("tags.env", "ecf"),
        run_id=run_id,
        split_unit=run.get("params.data.split.unit", "unknown"),
        train_file=run.get("tags.corpus.train.sha256", "unknown"),
        test_file=run.get("tags.corpus.official_test.sha256", "unknown"),
        commit=run.get("tags.git_commit", "unknown"),
        scores=scores,
        emotions=EMOTIONS,
        percent=f"{100 * confidence:g} %",
        places={source: _public(place) for source, place in identity.plan.checkpoints.items()},
    )


def how_to_run(recipe: Mapping[str, object], sizes: Mapping[str, int]) -> str:
    """The end of the card of an ONNX graph: its files with their `sizes` in bytes, inputs, outputs and an example.

    `recipe`: the content of recipe.json, of `serving.onnx_export`.
    """
    return render("onnx_graph.md", {}, recipe=recipe, sizes=sizes)


def _public(place: str) -> str | None:
    """A name on the hub; None for a folder, whose path means nothing elsewhere."""
    return place if place.count("/") == 1 and not place.startswith((".", "/", "~")) else None


def _metadata(
    identity: RunIdentity, scores: Mapping[str, SplitScores], corpus: str, form: ExportFormat
) -> dict[str, object]:
    """See https://huggingface.co/docs/hub/model-cards."""
    metrics = [
        {"type": "f1", "name": f"{name}, {split} split", "value": round(of.value, 4)}
        for split, found in scores.items()
        for name, of in (("macro F1", found.macro_f1), ("weighted F1", found.weighted_f1))
    ]
    kind = "video" if set(identity.plan.settings.modalities) - {"text"} else "text"
    weights = "peft" if identity.plan.settings.train == "lora" else "pytorch"
    towers = ["languagebind"] if set(identity.checkpoints) - {"text"} else []
    base = [place for place in map(_public, identity.plan.checkpoints.values()) if place]
    return {
        "language": "en",
        "license": "other",
        "license_name": "see-the-card",
        "library_name": "onnx" if form == "onnx" else weights,
        "tags": ["emotion-recognition-in-conversation", "multimodal", *towers, "trimood"],
        **({"base_model": base} if base else {}),
        "metrics": ["f1"],
        "model-index": [
            {
                "name": f"trimood {identity.experiment}",
                "results": [
                    {
                        "task": {"type": f"{kind}-classification", "name": "emotion recognition in conversation"},
                        "dataset": {"type": corpus, "name": _CORPORA[corpus]},
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }
