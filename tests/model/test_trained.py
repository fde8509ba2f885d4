"""The fingerprint of trained weights changes with what a training changes, and with nothing else."""

import torch

from trimood.model.trained import weights_fingerprint

WEIGHTS = {"head.weight": torch.arange(6.0).reshape(2, 3), "towers.video.bias": torch.zeros(3000)}


def test_the_fingerprint_is_of_names_shapes_and_numbers() -> None:
    first = weights_fingerprint(WEIGHTS)
    assert len(first) == 16
    assert int(first, 16) >= 0
    changed = [
        {**WEIGHTS, "head.weight": WEIGHTS["head.weight"] + 1e-6},
        {**WEIGHTS, "head.weight": WEIGHTS["head.weight"].reshape(3, 2)},
        {"another name": WEIGHTS["head.weight"], "towers.video.bias": WEIGHTS["towers.video.bias"]},
        {"head.weight": WEIGHTS["head.weight"]},
    ]
    found = {weights_fingerprint(weights) for weights in changed}
    assert len(found) == 4
    assert first not in found


def test_the_fingerprint_is_the_same_in_any_order_and_layout_and_for_tensors_that_are_trained() -> None:
    other_layout = WEIGHTS["head.weight"].T.contiguous().T
    assert not other_layout.is_contiguous()
    again = {"towers.video.bias": WEIGHTS["towers.video.bias"], "head.weight": other_layout.requires_grad_()}
    assert weights_fingerprint(again) == weights_fingerprint(WEIGHTS)
