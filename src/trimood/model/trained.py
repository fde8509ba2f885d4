"""Counts, extracts and restores the trained parameters of a classifier."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trimood.emotions import MODALITIES
from trimood.model.checkpoints import differences, not_finite
from trimood.model.classifier import EmotionClassifier
from trimood.model.config import CheckpointError


def parameter_counts(classifier: EmotionClassifier) -> dict[str, tuple[int, int]]:
    """Counts (trained, all) parameters of each tower with its projection, of the head, and of "all".

    Adapters count as part of their tower; the fixed logit scales are buffers and are not counted.
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
    """Returns the trained parameters, and the head even if it is frozen, by name on the CPU.

    Tensors of a model on the CPU are views of its parameters: save or copy them before the next step.
    """
    return {name: parameter.detach().cpu().contiguous() for name, parameter in _trained(classifier).items()}


def load_trained_state(classifier: EmotionClassifier, state: Mapping[str, Tensor]) -> None:
    """Copies a `trained_state` into the model.

    Raises CheckpointError, and changes nothing, if a name or shape differs or a number is inf or nan.
    """
    parameters = _trained(classifier)
    wanted, given = ({name: tensor.shape for name, tensor in of.items()} for of in (parameters, state))
    if found := differences(wanted, given):
        raise CheckpointError(
            f"the trained weights are not those of this classifier: {found}. Build it with the modalities, LoRA "
            "settings and checkpoints of the training."
        )
    if broken := not_finite(state):
        raise CheckpointError(f"the trained weights are damaged: {broken}. Run the experiment again.")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[name])


def _part_of(name: str) -> str:
    if name.startswith("head."):
        return "head"
    _, source, module, *_ = name.split(".")
    return "text" if module in ("text_model", "text_projection") else source


def _trained(classifier: EmotionClassifier) -> dict[str, nn.Parameter]:
    return {name: p for name, p in classifier.named_parameters() if p.requires_grad or _part_of(name) == "head"}


_FINGERPRINTED = 1024
"""Numbers of each tensor that the fingerprint uses; training changes all of them."""


def weights_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Returns 16 hexadecimal digits of the beginning of each tensor, which is fast and changes with any training."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(tensors.items()):
        beginning = tensor.detach().flatten()[:_FINGERPRINTED].cpu().contiguous()
        digest.update(f"{name} {list(tensor.shape)}".encode() + beginning.numpy().tobytes())
    return digest.hexdigest()
