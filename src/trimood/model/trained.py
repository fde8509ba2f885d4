"""What a training changes in a classifier: how many parameters, and the tensors that are kept of it."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trimood.emotions import MODALITIES
from trimood.model.classifier import EmotionClassifier
from trimood.model.config import CheckpointError


def parameter_counts(classifier: EmotionClassifier) -> dict[str, tuple[int, int]]:
    """(trained, total) numbers of the video, audio and text towers with their projections, of the head, and of "all".

    Adapters count to their tower; the fixed logit scales are buffers and count nowhere.
    """
    counts: dict[str, tuple[int, int]] = {
        part: (0, 0) for part in (*MODALITIES, "head", "all") if part in (*classifier.modalities, "head", "all")
    }
    for name, parameter in classifier.named_parameters():
        part = _part_of(name)
        for key in (part, "all"):
            trained, total = counts[key]
            counts[key] = (trained + parameter.numel() * parameter.requires_grad, total + parameter.numel())
    return counts


def trained_state(classifier: EmotionClassifier) -> dict[str, Tensor]:
    """What training changes, and the head even if it is frozen, by name on the CPU: all that a result needs on disk.

    Tensors that are on the CPU already are views of the model's own: save or copy them before the next step.
    """
    return {name: parameter.detach().cpu().contiguous() for name, parameter in _trained(classifier).items()}


def load_trained_state(classifier: EmotionClassifier, state: Mapping[str, Tensor]) -> None:
    """Copy a `trained_state` back, in place; CheckpointError, and nothing changed, if a name or a shape differs."""
    parameters = _trained(classifier)
    missing = sorted(parameters.keys() - state.keys())
    unexpected = sorted(state.keys() - parameters.keys())
    mismatched = [
        f"{name} {list(state[name].shape)} for {list(parameter.shape)}"
        for name, parameter in parameters.items()
        if name in state and state[name].shape != parameter.shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": mismatched}
    found = [f"{len(names)} {kind}, the first is {names[0]}" for kind, names in problems.items() if names]
    if found:
        raise CheckpointError(
            f"the trained weights are not those of this classifier: {'; '.join(found)}. Build it with the modalities, "
            "LoRA settings and checkpoints that the weights were trained with."
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[name])


def _part_of(name: str) -> str:
    if name.startswith("head."):
        return "head"
    _, source, module, *_ = name.split(".")
    return "text" if module in ("text_model", "text_projection") else source


def _trained(classifier: EmotionClassifier) -> dict[str, nn.Parameter]:
    parameters = classifier.named_parameters()
    return {name: parameter for name, parameter in parameters if parameter.requires_grad or _part_of(name) == "head"}


_FINGERPRINTED = 1024
"""Numbers of each tensor that its fingerprint reads: training moves all of them."""


def weights_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits that change with any training, quick for gigabytes: of the beginning of each tensor."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(tensors.items()):
        beginning = tensor.detach().flatten()[:_FINGERPRINTED].cpu().contiguous()
        digest.update(f"{name} {list(tensor.shape)}".encode() + beginning.numpy().tobytes())
    return digest.hexdigest()
