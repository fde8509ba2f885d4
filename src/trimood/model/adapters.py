"""LoRA adapters, injected by PEFT so that every module keeps its name."""

from collections.abc import Collection

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from trimood.config.experiment_settings import ALL_LINEAR, LoraParams, is_target

_WHERE = {"targets": "", "text_targets": " of the text encoder"}


class AdapterError(Exception):
    """A LoRA target matches no layer of the model."""


class AdaptedLinear(LoraLinear):
    """PEFT's adapted layer, whose forward pass computes the same numbers, to the bit, in fewer operations.

    PEFT multiplies by the scale also if that is 1, as published, looks for other kinds of adapters in every call, and
    converts the dropped-out input of a layer without dropout.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., channel] to the same, with the layer's own number of channels."""
        down, up = self.lora_A[_ADAPTER], self.lora_B[_ADAPTER]
        dropout, scale = self.lora_dropout[_ADAPTER], self.scaling[_ADAPTER]
        result = self.base_layer(tokens)
        # The type in which the mask is drawn decides which numbers are dropped out, so it stays PEFT's.
        change = up(down(tokens if isinstance(dropout, nn.Identity) else dropout(tokens.to(down.weight.dtype))))
        return result + (change if scale == 1 else change * scale)


_ADAPTER = "default"
"""The name that `inject_adapter_in_model` gives an adapter; it is part of the names of the stored weights."""


def add_lora(model: nn.Module, lora: LoraParams, parameter: str = "targets") -> None:
    """Adds a LoRA adapter of rank `r`, scaled by alpha / r, to every linear layer whose name ends in a target.

    Changes `model` in place. The adapters become trainable; with `bias` "all", so do all biases of the model,
    including those of LayerNorms; everything else is frozen. A target is a suffix of whole names: `q_proj` matches
    temporal and spatial attention of all towers, `temporal_attn.q_proj` only temporal attention. `parameter` names the
    targets of `lora` that are meant. Raises AdapterError for a target that matches no linear layer.
    `initialise_adapters` sets the values of the adapters.
    """
    targets: Collection[str] = getattr(lora, parameter)
    linear_names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for target in targets:
        if not any(is_target(name, [target]) for name in linear_names):
            allowed = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear_names})) or "none"
            raise AdapterError(
                f"LoRA target {target!r} matches no linear layer{_WHERE[parameter]}. The names of linear layers end "
                f"in: {allowed}. Use one of these in lora.{parameter}, or {ALL_LINEAR}."
            )
    matched = [name for name in linear_names if is_target(name, targets)]
    config = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, bias=lora.bias, target_modules=matched
    )
    config._register_custom_module({nn.Linear: AdaptedLinear})
    # PEFT draws initial values from the global generator; its state must stay as the caller seeded it.
    with torch.random.fork_rng(devices=[]):
        inject_adapter_in_model(config, model)


def initialise_adapters(model: nn.Module, seed: int) -> None:
    """Initialises every adapter: A uniform as in nn.Linear, B zero, so that the model's outputs do not change.

    The same seed gives the same values in every process. Adapters on the `meta` device are allocated on the CPU.
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
    """The name of a parameter before its layer got an adapter."""
    return name.replace(".base_layer.", ".")
