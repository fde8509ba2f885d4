"""Heads: what turns the towers' outputs for an utterance into seven logits.

All but `attention` read the embeddings of an utterance, [utterance, channel] for each modality, and an absent modality
is zero. `attention` reads its states: the tokens of its words, the frames of its video.

States are [utterance, state, channel + 1]. The last channel is 1 for a token or frame and 0 for padding, which follows
the others and is zero altogether. An absent modality is zero, so that all its states are padding. Whatever blanks,
shuffles, stores or pads embeddings does it with states alike.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trimood.config.experiment_settings import HeadParams
from trimood.emotions import EMOTIONS, MODALITIES, Modality

Outputs = Mapping[Modality, Tensor]
"""The embeddings or the states of each modality of the model."""


class HeadError(Exception):
    """A head does not fit the towers or the modalities of an experiment."""


class LinearHead(nn.Module):
    """The published head: one linear layer without a bias on the concatenated embeddings."""

    def __init__(self, sizes: Mapping[Modality, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(len(EMOTIONS), sum(sizes.values())))

    def forward(self, embeddings: Outputs) -> Tensor:
        """Logits [utterance, 7] of embeddings; zero if all of them are."""
        return F.linear(torch.cat(_ordered(embeddings), dim=-1), self.weight)


class MLPHead(nn.Module):
    """A hidden layer with GELU on the concatenated embeddings, each of which is normalised first."""

    def __init__(self, sizes: Mapping[Modality, int], hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(sum(sizes.values()), hidden)
        self.dropout = nn.Dropout(dropout)
        self.outer = nn.Linear(hidden, len(EMOTIONS))

    def forward(self, embeddings: Outputs) -> Tensor:
        """Logits [utterance, 7] of embeddings; zero if all of them are."""
        joined = torch.cat(_normalised(embeddings), dim=-1)
        return _unless_absent(self.outer(self.dropout(F.gelu(self.inner(joined)))), joined)


class GatedHead(nn.Module):
    """Gated multimodal units (Arevalo et al. 2017, https://arxiv.org/abs/1702.01992, section 3.1), and a linear layer.

    Of the normalised embeddings x, modality m has the hidden values tanh(W_m x_m) and the gates sigmoid(V_m [x_1, …]),
    which all modalities decide; the sum of their products is classified. Without biases in W, an absent modality adds
    nothing.
    """

    def __init__(self, sizes: Mapping[Modality, int], hidden: int, dropout: float) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise HeadError(
                f"head.kind gated weighs modalities against each other, and the experiment has {', '.join(sizes)} "
                "alone. Add a modality, or use another kind: linear, mlp or attention."
            )
        self.hidden = nn.ModuleDict({name: nn.Linear(size, hidden, bias=False) for name, size in sizes.items()})
        self.gates = nn.ModuleDict({name: nn.Linear(sum(sizes.values()), hidden) for name in sizes})
        self.dropout = nn.Dropout(dropout)
        self.outer = nn.Linear(hidden, len(EMOTIONS))

    def forward(self, embeddings: Outputs) -> Tensor:
        """Logits [utterance, 7] of embeddings; zero if all of them are."""
        own = _normalised(embeddings)
        joined = torch.cat(own, dim=-1)
        names = [modality for modality in MODALITIES if modality in embeddings]
        parts = [
            torch.sigmoid(self.gates[name](joined)) * torch.tanh(self.hidden[name](embedding))
            for name, embedding in zip(names, own, strict=True)
        ]
        return _unless_absent(self.outer(self.dropout(torch.stack(parts).sum(dim=0))), joined)


class AttentionHead(nn.Module):
    """Self-attention over the tokens and frames of an utterance, their mean, and a linear layer.

    States of a modality whose width is not the largest are projected to it. Padding is neither attended to nor
    averaged.
    """

    def __init__(self, sizes: Mapping[Modality, int], heads: int, dropout: float) -> None:
        super().__init__()
        width = max(sizes.values())
        if width % heads:
            fitting = [str(count) for count in range(1, width + 1) if not width % count]
            raise HeadError(
                f"head.heads is {heads}, which does not divide the {width} numbers of a state of these towers; "
                f"allowed: {', '.join(fitting)}."
            )
        self.aligned = nn.ModuleDict(
            {name: nn.Linear(size, width, bias=False) for name, size in sizes.items() if size != width}
        )
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.outer = nn.Linear(width, len(EMOTIONS))

    def forward(self, states: Outputs) -> Tensor:
        """Logits [utterance, 7] of states; zero if all of them are padding."""
        names = [modality for modality in MODALITIES if modality in states]
        cut = {name: states[name] for name in names}
        if not torch.compiler.is_exporting():  # an exported graph has no lengths that depend on values
            longest = torch.stack([states[name][..., -1].sum(dim=1).amax() for name in names]).tolist()
            # Cut to the longest of the batch, so that the result does not depend on how far states are padded.
            cut = {name: states[name][:, : int(count)] for name, count in zip(names, longest, strict=True)}
        tokens = torch.cat(
            [self.aligned[name](own[..., :-1]) if name in self.aligned else own[..., :-1] for name, own in cut.items()],
            dim=1,
        )
        real = torch.cat([own[..., -1] for own in cut.values()], dim=1)  # [utterance, state], 1 or 0
        if not tokens.shape[1]:
            return tokens.new_zeros(len(tokens), len(EMOTIONS))
        is_padding = (real == 0) & real.any(dim=1, keepdim=True)  # of nothing but padding, the softmax would be NaN
        attended, _ = self.attention(tokens, tokens, tokens, key_padding_mask=is_padding, need_weights=False)
        mean = (attended * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True).clamp(min=1)
        return _unless_absent(self.outer(mean), real)


Head = LinearHead | MLPHead | GatedHead | AttentionHead


def build_head(head: HeadParams, sizes: Mapping[Modality, int]) -> Head:
    """Builds a head for embeddings, or states, of these lengths; its values are not yet set (`initialise_head`).

    Raises HeadError if it does not fit them.
    """
    if head.kind == "linear":
        return LinearHead(sizes)
    assert head.dropout is not None  # noqa: S101 - for mypy: HeadParams has what its kind needs
    if head.kind == "attention":
        assert head.heads is not None  # noqa: S101 - as above
        return AttentionHead(sizes, head.heads, head.dropout)
    assert head.hidden is not None  # noqa: S101 - as above
    return (MLPHead if head.kind == "mlp" else GatedHead)(sizes, head.hidden, head.dropout)


def initialise_head(head: Head, seed: int) -> None:
    """Sets the initial values: weights as nn.Linear does, biases zero.

    They have a generator of their own, so that they are the same with and without adapters.
    """
    if any(parameter.is_meta for parameter in head.parameters()):
        head.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for parameter in head.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_uniform_(parameter, a=5**0.5, generator=generator)
        else:
            nn.init.zeros_(parameter)


def classify(embeddings: Outputs, head: Head) -> Tensor:
    """Logits, [utterance, 7] in the type of the head, which is float32.

    Computed in it also under autocast: the 8 significant bits of bf16 would round close scores together.
    """
    weight = next(head.parameters())
    with torch.autocast(weight.device.type, enabled=False):
        return head({name: embedding.to(weight.dtype) for name, embedding in embeddings.items()})


def with_mask(states: Tensor, is_real: Tensor) -> Tensor:
    """States, [utterance, state, channel + 1], of values [utterance, state, channel] and a mask [utterance, state].

    The real states of an utterance come first, in their order, wherever they stood: the tokens of an utterance that was
    read with its conversation are in the middle of the text.
    """
    masked = torch.cat([states.masked_fill(~is_real[..., None], 0), is_real[..., None].to(states)], dim=-1)
    if torch.compiler.is_exporting():  # the exported head cuts no padding, and its mean has no order
        return masked
    order = is_real.int().argsort(dim=1, descending=True, stable=True)
    return masked.take_along_dim(order[..., None], dim=1)


def _ordered(embeddings: Outputs) -> list[Tensor]:
    return [embeddings[modality] for modality in MODALITIES if modality in embeddings]


def _normalised(embeddings: Outputs) -> list[Tensor]:
    """Mean 0 and variance 1 for each utterance: embeddings of video and audio are many times as long as those of text.

    An absent modality stays zero.
    """
    return [F.layer_norm(embedding, embedding.shape[-1:]) for embedding in _ordered(embeddings)]


def _unless_absent(logits: Tensor, read: Tensor) -> Tensor:
    """Zero logits where all that was `read` [utterance, …] is zero: nothing is known of such an utterance."""
    return logits.masked_fill(~read.any(dim=1, keepdim=True), 0)
