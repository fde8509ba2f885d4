"""LoRA lands on every layer that a target names, frees every bias, freezes the rest, and starts the same everywhere."""

import pytest
import torch
from peft.tuners.lora import Linear as LoraLinear
from pydantic import ValidationError
from torch import nn

from support.learning_examples import lora
from support.made_checkpoints import TINY_VIDEO
from trimood.config.experiment_settings import Bias
from trimood.model.adapters import AdapterError, add_lora, base_name, initialise_adapters, is_adapter
from trimood.model.towers import LanguageBind

ATTENTION = ("k_proj", "v_proj", "q_proj", "out_proj")


def adapted(targets: tuple[str, ...] = ATTENTION, seed: int = 1, bias: Bias = "all") -> LanguageBind:
    model = LanguageBind(TINY_VIDEO)
    add_lora(model, lora(*targets, r=4, alpha=8, bias=bias))
    initialise_adapters(model, seed)
    return model


def adapted_layers(model: nn.Module) -> set[str]:
    return {name.split(".lora_A.")[0] for name, _ in model.named_parameters() if ".lora_A." in name}


def test_adapters_and_every_bias_are_trained_and_nothing_else() -> None:
    model = adapted()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    expected = {name for name, _ in model.named_parameters() if is_adapter(name) or name.endswith(".bias")}
    assert trained == expected
    assert {"vision_model.pre_layrnorm.bias", "text_model.final_layer_norm.bias"} <= trained
    assert "vision_model.encoder.layers.0.mlp.fc1.bias" in trained


def test_a_suffix_reaches_temporal_and_spatial_attention_of_both_towers() -> None:
    layers = adapted_layers(adapted(("q_proj",)))
    assert layers == {
        f"{place}.q_proj"
        for number in (0, 1)
        for place in (
            f"text_model.encoder.layers.{number}.self_attn",
            f"vision_model.encoder.layers.{number}.self_attn",
            f"vision_model.encoder.layers.{number}.temporal_attn",
        )
    }


def test_a_longer_suffix_reaches_only_what_it_names() -> None:
    layers = adapted_layers(adapted(("temporal_attn.q_proj",)))
    assert layers == {f"vision_model.encoder.layers.{number}.temporal_attn.q_proj" for number in (0, 1)}


def test_the_names_of_the_model_stay() -> None:
    before, after = LanguageBind(TINY_VIDEO).state_dict(), adapted().state_dict()
    assert {base_name(name) for name in after if not is_adapter(name)} == before.keys()
    assert any(name != base_name(name) for name in after)


def test_fresh_adapters_change_no_output_and_trained_ones_do() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LanguageBind(TINY_VIDEO)
        pixels = torch.randn(2, 3, 2, 16, 16)
    before = model.embed_vision(pixels)
    add_lora(model, lora(*ATTENTION, r=4, alpha=8))
    initialise_adapters(model, seed=1)
    assert torch.equal(model.embed_vision(pixels), before)
    with torch.no_grad():
        model.get_submodule("vision_model.encoder.layers.0.self_attn.v_proj.lora_B.default").weight.fill_(0.1)
    assert not torch.allclose(model.embed_vision(pixels), before, atol=1e-3)


def test_an_adapter_adds_alpha_over_r_times_b_times_a() -> None:
    model = adapted(("fc1",))
    layer = model.get_submodule("vision_model.encoder.layers.0.mlp.fc1")
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    nn.init.normal_(b)
    tokens = torch.randn(5, 16)
    expected = layer.base_layer(tokens) + (8 / 4) * tokens @ a.T @ b.T
    torch.testing.assert_close(layer(tokens), expected)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("alpha", "dropout"), [(4, 0.0), (4, 0.1), (8, 0.1)])
def test_outputs_and_gradients_are_pefts_to_the_bit(alpha: int, dropout: float, half: bool) -> None:
    model = LanguageBind(TINY_VIDEO)
    add_lora(model, lora("fc1", r=4, alpha=alpha, dropout=dropout))
    initialise_adapters(model, seed=1)
    layer = model.get_submodule("vision_model.encoder.layers.0.mlp.fc1")
    nn.init.normal_(layer.lora_B["default"].weight)
    tokens = torch.randn(2, 5, 16, requires_grad=True)
    inputs = [tokens, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
    assert len(inputs) == 4  # tokens, bias, A, B

    def results(forward) -> list[torch.Tensor]:
        with torch.random.fork_rng(devices=[]), torch.autocast("cpu", torch.bfloat16, enabled=half):
            torch.manual_seed(5)
            found = forward(layer, tokens)
        return [found, *torch.autograd.grad(found.float().square().sum(), inputs)]

    ours, pefts = results(type(layer).forward), results(LoraLinear.forward)
    assert type(layer).forward is not LoraLinear.forward
    assert ours[0].dtype == (torch.bfloat16 if half else torch.float32)
    assert all(torch.equal(one, other) for one, other in zip(ours, pefts, strict=True))


def test_the_seed_alone_decides_the_first_values() -> None:
    torch.manual_seed(3)
    first = {name: p.detach().clone() for name, p in adapted(seed=7).named_parameters() if is_adapter(name)}
    torch.manual_seed(4)
    state = torch.random.get_rng_state()
    model = LanguageBind(TINY_VIDEO)
    after_build = torch.random.get_rng_state()
    add_lora(model, lora(*ATTENTION, r=4, alpha=8))
    initialise_adapters(model, seed=7)
    assert not torch.equal(state, after_build)
    assert torch.equal(torch.random.get_rng_state(), after_build)
    again = {name: parameter for name, parameter in model.named_parameters() if is_adapter(name)}
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = dict(adapted(seed=8).named_parameters())
    assert all(torch.equal(first[name], other[name]) == (".lora_B." in name) for name in first)


@pytest.mark.parametrize("target", ["q_project", "proj", "layer_norm1", "self_attn"])
def test_a_target_that_matches_no_linear_layer_is_named_with_those_that_exist(target: str) -> None:
    with pytest.raises(AdapterError) as caught:
        add_lora(LanguageBind(TINY_VIDEO), lora("q_proj", target))
    assert repr(target) in str(caught.value)
    assert "fc1, fc2, k_proj, out_proj, q_proj, text_projection, v_proj, visual_projection" in str(caught.value)


def test_lora_without_targets_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"targets\n  Tuple should have at least 1 item"):
        lora()


def test_without_bias_only_adapters_are_trained() -> None:
    model = adapted(bias="none")
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        name for name, _ in model.named_parameters() if is_adapter(name)
    }
