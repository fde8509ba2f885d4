"""Each head is what its formula says, and says what does not fit; an utterance that lacks all teaches nothing."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from trimood.config.experiment_settings import HeadParams
from trimood.emotions import EMOTIONS, Modality
from trimood.model.heads import (
    AttentionHead,
    GatedHead,
    Head,
    HeadError,
    build_head,
    classify,
    initialise_head,
    with_mask,
)

SIZES: dict[Modality, int] = {"video": 12, "text": 12}
KINDS = {
    "linear": {},
    "mlp": {"hidden": 5},
    "gated": {"hidden": 5},
    "attention": {"heads": 3},
}


def made(kind: str, sizes: dict[Modality, int] = SIZES, seed: int = 1, **changes: object) -> Head:
    head = build_head(HeadParams.model_validate({"kind": kind, **KINDS[kind], **changes}), sizes)
    initialise_head(head, seed)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if name.endswith("bias"):  # zero at first, which could hide a mistake
                parameter.add_(torch.linspace(-0.5, 0.5, len(parameter)))
    return head.eval()


def outputs(kind: str, count: int = 6, sizes: dict[Modality, int] = SIZES) -> dict[Modality, Tensor]:
    """Embeddings, or states: two frames, and from two to seven tokens."""
    draws = torch.Generator().manual_seed(0)
    if kind != "attention":
        return {name: torch.randn(count, size, generator=draws) for name, size in sizes.items()}
    counts = {"video": torch.full((count,), 2), "text": torch.arange(count) % 6 + 2}
    return {
        name: with_mask(torch.randn(count, 7, size, generator=draws), torch.arange(7) < counts[name][:, None])
        for name, size in sizes.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_modality_counts_and_an_utterance_without_any_has_zero_logits(kind: str) -> None:
    head, whole = made(kind), outputs(kind)
    found = classify(whole, head)
    assert found.shape == (6, len(EMOTIONS))
    for modality in SIZES:
        blanked = classify({**whole, modality: torch.zeros_like(whole[modality])}, head)
        assert (blanked - found).abs().amax(dim=1).min() > 1e-3
    nothing = {modality: own.clone() for modality, own in whole.items()}
    for own in nothing.values():
        own[2] = 0
        own.requires_grad_()
    found = classify(nothing, head)
    assert found.any(dim=1).tolist() == [True, True, False, True, True, True]
    found.sum().backward()
    assert all(own.grad is not None and own.grad.isfinite().all() for own in nothing.values())
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_the_initial_values_follow_from_the_seed_alone(kind: str) -> None:
    with torch.device("meta"):
        elsewhere = build_head(HeadParams.model_validate({"kind": kind, **KINDS[kind]}), SIZES)
    initialise_head(elsewhere, 1)
    torch.rand(3)
    same, other = (build_head(HeadParams.model_validate({"kind": kind, **KINDS[kind]}), SIZES) for _ in range(2))
    initialise_head(same, 1)
    initialise_head(other, 2)
    for own, again, different in zip(elsewhere.parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(own, again)
        assert own.ndim == 1 or not torch.equal(own, different)


def test_attention_stays_within_an_utterance_and_does_not_see_padding() -> None:
    """In the notes' exp7, attention ran across the batch, and the words' states replaced those of the video."""
    head, whole = made("attention"), outputs("attention")
    found = classify(whole, head)
    for number in range(6):
        alone = classify({name: own[number : number + 1] for name, own in whole.items()}, head)
        torch.testing.assert_close(alone, found[number : number + 1])
    longer = {name: torch.cat([own, torch.zeros(6, 5, 13)], dim=1) for name, own in whole.items()}
    assert torch.equal(classify(longer, head), found)


def test_states_in_the_middle_of_a_text_come_first_so_that_attention_reads_all_of_them() -> None:
    """An utterance that is read with its conversation stands after tokens that are not its own."""
    head, draws = made("attention"), torch.Generator().manual_seed(3)
    values = torch.randn(2, 9, 12, generator=draws)
    is_real = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    states = with_mask(values, is_real)
    assert torch.equal(states[0, :3, :12], values[0, 5:8])
    assert torch.equal(states[1, :2, :12], values[1, 1:3])
    assert states[..., -1].tolist() == [[1] * 3 + [0] * 6, [1] * 2 + [0] * 7]
    assert not states[0, 3:].any()
    for number, own in enumerate((values[0, 5:8], values[1, 1:3])):
        attended, _ = head.attention(own[None], own[None], own[None])
        found = classify({"text": states}, head)[number]
        torch.testing.assert_close(found, head.outer(attended[0].mean(dim=0)))


def test_attention_is_averaged_over_the_tokens_and_frames_that_are_there() -> None:
    head, whole = made("attention"), outputs("attention")
    assert isinstance(head, AttentionHead)
    states = torch.cat([whole["video"][1, :2, :12], whole["text"][1, :3, :12]])
    attended, _ = head.attention(states[None], states[None], states[None])
    torch.testing.assert_close(classify(whole, head)[1], head.outer(attended[0].mean(dim=0)))


def test_attention_projects_states_of_another_width_to_the_largest() -> None:
    sizes: dict[Modality, int] = {"video": 12, "text": 5}
    head = made("attention", sizes)
    assert isinstance(head, AttentionHead)
    assert [*head.aligned] == ["text"]
    assert classify(outputs("attention", sizes=sizes), head).any(dim=1).all()


def test_gates_weigh_what_each_modality_says_by_all_of_them() -> None:
    head, whole = made("gated"), outputs("gated")
    assert isinstance(head, GatedHead)
    video, text = (F.layer_norm(whole[name], (12,)) for name in ("video", "text"))
    both = torch.cat([video, text], dim=1)
    hidden = torch.zeros(6, 5)
    for name, own in (("video", video), ("text", text)):
        gate, value = head.gates[name], head.hidden[name]
        assert isinstance(gate, nn.Linear)
        hidden += torch.sigmoid(both @ gate.weight.T + gate.bias) * torch.tanh(own @ value.weight.T)
    torch.testing.assert_close(classify(whole, head), head.outer(hidden))


@pytest.mark.parametrize("kind", ["mlp", "gated"])
def test_the_length_of_an_embedding_does_not_matter_to_heads_with_a_hidden_layer(kind: str) -> None:
    head, whole = made(kind), outputs(kind)
    longer = {**whole, "video": 100 * whole["video"]}
    torch.testing.assert_close(classify(longer, head), classify(whole, head), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "sizes", "changes", "words"),
    [
        ("attention", SIZES, {"heads": 5}, r"head\.heads is 5, .* divide the 12 numbers .* allowed: 1, 2, 3, 4, 6, 12"),
        ("gated", {"text": 12}, {}, "gated weighs modalities against each other, and the experiment has text alone"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(kind: str, sizes: dict, changes: dict, words: str) -> None:
    with pytest.raises(HeadError, match=words):
        made(kind, sizes, **changes)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kind": "conv"}, "'linear', 'mlp', 'attention' or 'gated'"),
        ({"hidden": 8}, "hidden is 8, but a head of kind linear has no hidden; kinds that have: mlp, gated"),
        ({"kind": "mlp", "heads": 8}, "heads is 8, but a head of kind mlp has no heads; kinds that have: attention"),
        ({"kind": "mlp", "size": 8}, "unknown key 'size'; allowed here: kind, trained, hidden, heads, dropout"),
        ({"kind": "mlp", "dropout": 1}, "less than 1"),
        ("fixed", "give a block, such as"),
    ],
)
def test_parameters_of_a_head_that_contradict_each_other_are_refused(given: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        HeadParams.model_validate(given)


def test_a_plan_of_before_names_its_linear_head_by_a_word() -> None:
    assert HeadParams.model_validate("frozen") == HeadParams(trained=False)
    assert HeadParams.model_validate("trained") == HeadParams()
    stored = HeadParams(kind="attention", heads=4)
    assert HeadParams.model_validate(stored.model_dump(mode="json")) == stored
    assert (stored.dropout, stored.hidden) == (0, None)
