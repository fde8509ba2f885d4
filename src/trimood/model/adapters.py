"""LoRA adapters, put in place by PEFT so that every module keeps its name."""

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from trimood.config.parameters import LoraParams


class AdapterError(Exception):
    """A LoRA target names no layer of the model."""


def add_lora(model: nn.Module, lora: LoraParams) -> None:
    """Put a LoRA adapter of rank `r`, scaled by alpha / r, beside every linear layer whose name ends in a target.

    Changes `model` in place: the adapters become trainable, with `bias` "all" so does every bias of the whole model
    (those of the LayerNorms included), and all else is frozen. A target is a suffix of whole names: `q_proj` matches
    temporal and spatial attention of all towers, `temporal_attn.q_proj` only the former. Raises AdapterError for a
    target that matches no linear layer. The adapters' values are not set here: see `initialise_adapters`.
    """
    linear_names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for target in lora.targets:
        if not any(_matches(name, target) for name in linear_names):
            allowed = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear_names})) or "none"
            raise AdapterError(
                f"LoRA target {target!r} matches no linear layer. The names of linear layers end in: {allowed}. Name "
                "one of these in lora.targets."
            )
    matched = [name for name in linear_names if any(_matches(name, target) for target in lora.targets)]
    config = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, bias=lora.bias, target_modules=matched
    )
    # PEFT draws first values from the global generator, whose state must stay as the caller seeded it.
    with torch.random.fork_rng(devices=[]):
        inject_adapter_in_model(config, model)


def initialise_adapters(model: nn.Module, seed: int) -> None:
    """Set every adapter to its first values: A uniform as in nn.Linear, B zero, so that the model's outputs stay.

    The same seed gives the same values in every process. Adapters that were built on `meta` are made on the CPU.
    Source of the distribution: PEFT's LoraLayer.reset_lora_parameters (kaiming uniform with a = √5).
    """
    generator = torch.Generator().manual_seed(seed)
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or not is_adapter(name):
            continue
        if module.weight.is_meta:
            module.to_empty(device="cpu")
        if ".lora_A." in name:
            nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)
        else:
            nn.init.zeros_(module.weight)


def is_adapter(name: str) -> bool:
    """Whether a module or parameter of this name belongs to an adapter."""
    return ".lora_A." in name or ".lora_B." in name


def base_name(name: str) -> str:
    """The name that a parameter had before its layer was adapted."""
    return name.replace(".base_layer.", ".")


def _matches(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")
