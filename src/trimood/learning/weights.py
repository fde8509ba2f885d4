"""The file of what a training learnt: tensors by name, and in its header what they belong to."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

_LOOKED_AT = 1024
"""Numbers of each tensor that its fingerprint reads: training moves all of them."""


def read_weights(path: Path) -> dict[str, Any]:
    """{"tensors": name → tensor on the CPU, "about": the facts stored with them}, of one safetensors file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        facts = file.metadata() or {}
        return {
            "tensors": {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118 - a handle, not a mapping
            "about": json.loads(facts.get("about", "{}")),
        }


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits that change with any training, quick for gigabytes: of the beginning of each tensor."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(tensors.items()):
        beginning = tensor.detach().flatten()[:_LOOKED_AT].cpu().contiguous()
        digest.update(f"{name} {list(tensor.shape)}".encode() + beginning.numpy().tobytes())
    return digest.hexdigest()
