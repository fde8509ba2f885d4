"""LanguageBind: a text tower and a vision tower (of video or audio) that embed into one space.

The vision tower is plain torch; the text tower is transformers' CLIP. The parameters have the same names as in the
published checkpoints, so these load strictly and LoRA targets match by suffix. The architecture is that of the package
languagebind 0.1.0, which tests/model/make_reference.py runs for comparison.

Axes: utterance, frame, token (the class token first, then the patches row by row), channel.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import CLIPTextConfig, CLIPTextModel
from transformers.activations import ACT2FN

from trimood.model.config import LanguageBindConfig, VisionConfig

TowerPart = Literal["text", "vision"]


class LanguageBind(nn.Module):
    """The towers of one checkpoint, or only the given `parts`.

    `logit_scale` is a buffer and not a parameter: it is in the state dict but is not trained.
    """

    logit_scale: Tensor

    def __init__(self, config: LanguageBindConfig, parts: Collection[TowerPart] = ("text", "vision")) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("logit_scale", torch.tensor(config.logit_scale_init_value))
        if "text" in parts:
            # The ids are only used by transformers' own pooling; their defaults warn of a small vocabulary.
            ids = {"bos_token_id": config.text.vocab_size - 2, "eos_token_id": config.text.vocab_size - 1}
            self.text_model = CLIPTextModel(CLIPTextConfig(**asdict(config.text), **ids))
            self.text_projection = nn.Linear(config.text.hidden_size, config.projection_dim, bias=False)
        if "vision" in parts:
            self.vision_model = VisionTower(config.vision)
            self.visual_projection = nn.Linear(config.vision.hidden_size, config.projection_dim, bias=False)

    def embed_text(self, input_ids: Tensor) -> Tensor:
        """Embeds tokens, [utterance, 77] int64, into [utterance, projection_dim], not normalised.

        The embedding is the output at the first end token, the highest id of the vocabulary. The attention is causal,
        so the padding after it needs no mask.
        """
        tokens = self.text_model(input_ids=input_ids).last_hidden_state  # [utterance, token, channel]
        utterances = torch.arange(input_ids.shape[0], device=input_ids.device)
        return self.text_projection(tokens[utterances, input_ids.argmax(dim=-1)])

    def embed_vision(self, pixels: Tensor) -> Tensor:
        """Embeds normalised input into [utterance, projection_dim], not normalised.

        Video is [utterance, 3, frame, height, width], audio [utterance, 3, mel, time]. Raises ValueError for another
        shape.
        """
        return self.visual_projection(self.vision_model(pixels))

    def text_states(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """The states of the tokens up to the end token, [utterance, token, projection_dim], not normalised.

        The second tensor, [utterance, token] bool, says which are no padding.
        """
        tokens = self.text_model(input_ids=input_ids).last_hidden_state  # [utterance, token, channel]
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        return self.text_projection(tokens), places <= input_ids.argmax(dim=-1, keepdim=True)

    def vision_states(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The states of the frames, [utterance, frame, projection_dim], not normalised; audio has one.

        Takes what `embed_vision` takes. The second tensor, [utterance, frame] bool, says which are no padding: all.
        """
        states = self.visual_projection(self.vision_model.frame_states(pixels))
        return states, torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)

    def checkpoint_layers(self) -> None:
        """From now on, a layer keeps only its input for the backward pass, which computes the layer again."""
        if hasattr(self, "text_model"):
            self.text_model.activation_checkpointing_enable({"use_reentrant": False})
        if hasattr(self, "vision_model"):
            self.vision_model.encoder.checkpoints_layers = True

    def compile_layers(self, backend: str) -> None:
        """From now on, torch compiles each encoder layer, in place, so that no parameter gets another name.

        The layers of a tower share their code, so they are compiled once and not once for each.
        """
        for part in ("text_model", "vision_model"):
            if hasattr(self, part):
                for layer in getattr(self, part).encoder.layers:
                    layer.compile(backend=backend)

    def materialise_position_ids(self) -> None:
        """Sets the text tower's position numbers, which no checkpoint contains, after it was built on `meta`."""
        if hasattr(self, "text_model") and self.text_model.embeddings.position_ids.is_meta:
            count = self.config.text.max_position_embeddings
            self.text_model.embeddings.position_ids = torch.arange(count).expand(1, -1)


class VisionTower(nn.Module):
    """A ViT with a class token; for video, every layer attends first over time and then over space."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = PatchEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)  # sic, as in the checkpoints
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """[utterance, 3, (frame,) height, width] to [utterance, channel]: the class token, averaged over the frames."""
        return self.frame_states(pixels).mean(dim=1)

    def frame_states(self, pixels: Tensor) -> Tensor:
        """[utterance, 3, (frame,) height, width] to [utterance, frame, channel]: the class token of each frame."""
        _check_shape(pixels, self.config)
        if pixels.ndim == 4:
            pixels = pixels[:, :, None]
        utterances, _, frames, _, _ = pixels.shape
        images = pixels.transpose(1, 2).flatten(0, 1)  # [utterance * frame, 3, height, width]
        tokens = self.embeddings(images)  # [utterance * frame, token, channel]
        tokens = tokens.unflatten(0, (utterances, frames))
        if self.training and self.config.force_patch_dropout > 0:
            tokens = drop_patches(tokens, self.config.force_patch_dropout)
        tokens = self.encoder(self.pre_layrnorm(tokens))  # [utterance, frame, token, channel]
        return self.post_layernorm(tokens[:, :, 0])


class PatchEmbeddings(nn.Module):
    """Splits images into patches, prepends the class token and adds the learnt positions."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.class_embedding = nn.Parameter(torch.randn(config.hidden_size) * config.hidden_size**-0.5)
        self.patch_embedding = nn.Conv2d(config.num_channels, config.hidden_size, size, stride=size, bias=False)
        self.position_embedding = nn.Embedding(config.position_count, config.hidden_size)
        nn.init.normal_(self.position_embedding.weight, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """[image, 3, height, width] to [image, token, channel]."""
        patches = self.patch_embedding(images.to(self.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
        class_token = self.class_embedding.to(patches.dtype).expand(images.shape[0], 1, -1)
        return torch.cat([class_token, patches], dim=1) + self.position_embedding.weight


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))
        self.checkpoints_layers = False

    def forward(self, tokens: Tensor) -> Tensor:
        """[utterance, frame, token, channel] to the same."""
        for layer in self.layers:
            if self.checkpoints_layers and self.training:
                tokens = checkpoint(layer, tokens, use_reentrant=False)
            else:
                tokens = layer(tokens)
        return tokens


class EncoderLayer(nn.Module):
    """Attention over time (video only), attention over space, and MLP, each with pre-normalisation and a residual."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.attends_over_time = config.add_time_attn
        if config.add_time_attn:
            embedding = torch.randn(1, config.num_frames, config.hidden_size) * config.hidden_size**-0.5
            self.temporal_embedding = nn.Parameter(embedding)
            self.temporal_attn = Attention(config)
            self.temporal_layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = Attention(config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        """[utterance, frame, token, channel] to the same."""
        if self.attends_over_time:
            tokens = self._attend_over_time(tokens)
        tokens = tokens + self.self_attn(self.layer_norm1(tokens))
        return tokens + self.mlp(self.layer_norm2(tokens))

    def _attend_over_time(self, tokens: Tensor) -> Tensor:
        over_time = tokens.transpose(1, 2)  # [utterance, token, frame, channel]
        if self.temporal_embedding.shape[1] > 1:  # upstream adds no time to a single frame
            over_time = over_time + self.temporal_embedding
        over_time = over_time + self.temporal_attn(self.temporal_layer_norm1(over_time))
        return over_time.transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention over the second-last axis; the axes before it are a batch."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.head_count = config.num_attention_heads
        self.dropout = config.attention_dropout
        # In upstream's order, so that parameters() has the same order.
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., token, channel] to the same."""
        token_count, channels = tokens.shape[-2:]
        rows = tokens.reshape(-1, channels)  # for all projections at once: each would make rows of its own
        split = (-1, token_count, self.head_count, channels // self.head_count)
        query, key, value = (
            projection(rows).view(split).transpose(1, 2)  # the fused kernels need [batch, head, token, channel]
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.out_proj(attended.transpose(1, 2).reshape(-1, channels)).view(tokens.shape)


class MLP(nn.Module):
    """Two linear layers and the checkpoint's own activation (gelu or quick_gelu)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation: Callable[[Tensor], Tensor] = ACT2FN[config.hidden_act]

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., channel] to the same."""
        return self.fc2(self.activation(self.fc1(tokens)))


def drop_patches(tokens: Tensor, probability: float) -> Tensor:
    """Keeps the class token and a random share 1 - `probability` of the patches, the same in all frames.

    Shortens the sequence instead of masking it, as in https://arxiv.org/abs/2212.00794; tokens are [utterance, frame,
    token, channel]. The published _FT configurations set the probability to 0.
    """
    utterances, frames, token_count, channels = tokens.shape
    kept_count = max(1, int((token_count - 1) * (1 - probability)))
    order = torch.rand(utterances, token_count - 1, device=tokens.device)
    kept = order.topk(kept_count, dim=-1).indices + 1  # position 0 is the class token
    index = kept[:, None, :, None].expand(utterances, frames, kept_count, channels)
    return torch.cat([tokens[:, :, :1], tokens.gather(2, index)], dim=2)


def _check_shape(pixels: Tensor, config: VisionConfig) -> None:
    frames = [config.num_frames] if config.add_time_attn else []
    axes = "frame, height, width" if frames else "mel, time" if config.is_audio else "height, width"
    expected = [config.num_channels, *frames, *config.input_size]
    if list(pixels.shape[1:]) != expected:
        raise ValueError(
            f"this vision tower takes [utterance, 3, {axes}] with {expected} after the first axis, and got "
            f"{list(pixels.shape)}: prepare the clips with the sizes of the checkpoint's config.json."
        )
