"""How much memory a training needs, what needs less, and how a lack of memory is recognised and explained.

`training_memory` adds up what a training keeps on its device, from the sizes in the checkpoints' configurations;
nothing is loaded. docs/memory.md compares it with measurements.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from trimood.config.experiment_settings import ALL_LINEAR, Optimiser, Settings, TrainingParams, is_target
from trimood.config.plan import ParameterCount
from trimood.emotions import Source
from trimood.model.config import EncoderConfig, LanguageBindConfig, TextConfig, TowerConfig, VisionConfig

PREDICTION_REMEDY = "Lower training.per_device_eval_batch_size, the number of utterances that are predicted at once."

_IN_WORDS = re.compile(r"out of memory|not enough memory|(can't|cannot) allocate memory|std::bad_alloc", re.IGNORECASE)


class OutOfMemory(Exception):
    """The memory of the machine or of its GPU was not enough; the message says what needs less."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an allocation failed, in Python, NumPy, FFmpeg, or torch on a CPU or a GPU."""
    return isinstance(error, MemoryError) or (isinstance(error, Exception) and bool(_IN_WORDS.search(str(error))))


@contextmanager
def memory_explained(remedy: str) -> Iterator[None]:
    """Raises OutOfMemory, with the remedy, for a failed allocation in the block or the decorated function."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not lacks_memory(error):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise OutOfMemory(f"the memory is not enough: {first[:300]}\n{remedy}") from error


def training_remedy(training: TrainingParams, micro_batch: int) -> str:
    """What a training that lacks memory may change; names the settings in use."""
    smaller = max((size for size in micro_batches(training) if size < micro_batch), default=None)
    steps = [f"training.micro_batch={smaller}, or auto on a GPU"] if smaller else []
    if not training.gradient_checkpointing:
        steps.append("training.gradient_checkpointing=true")
    if OPTIMISER_BYTES[training.optim] > OPTIMISER_BYTES["adamw_bnb_8bit"]:
        steps.append("training.optim=adamw_bnb_8bit, adamw_torch_8bit or adafactor (with other results)")
    return (
        f"The training had {micro_batch} of the {training.utterances_a_process} utterances of an optimiser step on the "
        f"device at a time, gradient_checkpointing {str(training.gradient_checkpointing).lower()}, optim "
        f"{training.optim}; validation {training.per_device_eval_batch_size} (training.per_device_eval_batch_size). "
        f"What needs less, in this order: {'; '.join([*steps, 'train: lora or train: head; fewer modalities'])}. The "
        "utterances of an optimiser step stay the same."
    )


def micro_batches(training: TrainingParams) -> list[int]:
    """The possible numbers of utterances at a time, the largest first: the divisors of a process's share of a step."""
    utterances = training.utterances_a_process
    return [size for size in range(utterances, 0, -1) if not utterances % size]


OPTIMISER_BYTES: Mapping[Optimiser, float] = {
    "adamw_torch_fused": 8,
    "adamw_torch": 8,
    "adamw_bnb_8bit": 2 + 2 * 4 / 256,
    "adamw_torch_8bit": 2 + 2 * 4 / 256,
    "adafactor": 0.02,
}
"""Bytes that an optimiser keeps for each trained parameter: two float32 numbers, or two of 8 bits with a float32 scale
for each block of 256 (the default of bitsandbytes and torchao). Adafactor keeps a number for each row and column."""


_KEPT_OF_A_STATE = 6
"""Float32 vectors that a head of attention keeps of a token or frame: its input, query, key, value, what is attended,
and that with the mask."""


USABLE_SHARE = 0.9
"""Of a GPU's memory; the rest is for CUDA itself, other programs, and gaps between tensors. Assumed, not measured."""


@dataclass(frozen=True)
class Precision:
    """Bytes of a number in the layers' products and activations, and of an element of a dropout mask."""

    number: int
    mask: int


HALF, FULL = Precision(2, 1), Precision(4, 1)
"""bf16 or fp16, and float32, on a GPU."""

ON_CPU = Precision(4, 4)
"""float32 on a CPU, where torch keeps dropout masks as float32."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on the device, as torch allocates them.

    `held`: weights, gradients and the optimiser's numbers. `casts`: the weights' copies in half precision, which a pass
    keeps. `kept`: an utterance's activations that are kept for the backward pass. `recomputed`: those of the largest
    layer, if layers are computed again. `working`: what else an utterance needs for a moment. `step`: what the
    optimiser's step needs for a moment. `validation`: all that a validation batch needs, which has no gradients.
    """

    held: int
    casts: int
    kept: int
    recomputed: int
    working: int
    step: int
    validation: int

    def peak(self, micro_batch: int) -> int:
        """The largest need with this number of utterances at a time."""
        passes = micro_batch * (self.kept + self.working) + max(self.casts, micro_batch * self.recomputed)
        return max(self.held + max(passes, self.step), self.validation)


def training_memory(
    settings: Settings,
    configs: Mapping[Source, TowerConfig],
    parameters: Mapping[str, ParameterCount],
    precision: Precision,
) -> TrainingMemory:
    """Adds up the memory of a training by these settings.

    `configs` are those of the checkpoints in use, `parameters` the counts of a plan. Unless the head alone is trained,
    all towers count as trained in every layer: frozen towers, and adapters on the last layers alone, need less.
    """
    training = settings.training
    trained, every = parameters["all"].trainable, parameters["all"].all
    kept, layers, weights, working = 0, [0], 0, 0
    for tower in _towers(settings, configs):
        of_layers = [_kept_by_layer(tower, settings, precision, number) for number in range(tower.layers)]
        if settings.train == "head":
            of_layers = []
        elif training.gradient_checkpointing:
            layers += of_layers
            of_layers = [4 * tower.tokens * tower.channels] * tower.layers  # each layer's input
        kept += sum(of_layers)
        if settings.train != "head":
            kept += tower.tokens * _normalisation(tower)  # before the vision layers, or after the text layers
        if settings.train == "everything":
            kept += precision.number * tower.pixels
        weights += tower.linear_weights
        working = max(working, tower.tokens * (8 * tower.channels + 2 * precision.number * tower.wide))
        if settings.head.reads_states and settings.head.trained:
            kept += 4 * _KEPT_OF_A_STATE * tower.states * tower.state_width
    keeps_casts = precision.number < 4 and settings.train != "head"
    if training.gradient_checkpointing and settings.train != "everything":
        keeps_casts = False  # autocast caches casts of trained weights only; others are made for each layer
    moments = OPTIMISER_BYTES[training.optim] * trained
    return TrainingMemory(
        held=round(4 * every + 4 * trained + moments),
        casts=precision.number * weights * keeps_casts,
        kept=kept,
        recomputed=max(layers),
        working=working,
        step=4 * trained if training.optim == "adamw_torch" else 0,  # computes all tensors together
        validation=round(4 * every + moments + training.per_device_eval_batch_size * working),
    )


def setting_that_fits(
    settings: Settings,
    configs: Mapping[Source, TowerConfig],
    parameters: Mapping[str, ParameterCount],
    precision: Precision,
    available: float,
) -> tuple[TrainingParams, int] | None:
    """The training parameters nearest to the given ones that fit into `available` bytes, and the micro-batch.

    Changes in this order: a micro-batch as large as it fits, gradient checkpointing, an 8-bit optimiser. The first of
    these with at least the published 4 utterances at a time is returned, else the first that fits at all: with fewer, a
    GPU waits for the launch of its kernels (docs/experiments.md, 2026-11-26).
    """
    given = settings.training
    changes: list[dict[str, object]] = [{}, {"gradient_checkpointing": True}]
    if OPTIMISER_BYTES[given.optim] > OPTIMISER_BYTES["adamw_bnb_8bit"]:
        changes.append({"gradient_checkpointing": True, "optim": "adamw_bnb_8bit"})
    found = []
    for change in changes:
        training = given.model_copy(update=change)
        memory = training_memory(settings.model_copy(update={"training": training}), configs, parameters, precision)
        size = next((size for size in micro_batches(given) if memory.peak(size) <= available), None)
        if size:
            found.append((training, size))
    return next((fitting for fitting in found if fitting[1] >= 4), found[0] if found else None)


@dataclass(frozen=True)
class _Tower:
    """Sizes of a tower; `attentions` are the names of the attentions of a layer, `tokens` are those of an utterance.

    `states`: the tokens of its words, or its frames, which a head may attend to, with `state_width` numbers each.
    """

    prefix: str
    layers: int
    channels: int
    wide: int
    heads: int
    tokens: int
    states: int
    state_width: int
    attentions: tuple[str, ...]
    activation: str
    pixels: int
    other_weights: int
    targets: tuple[str, ...]

    @property
    def linear_weights(self) -> int:
        of_layer = 4 * len(self.attentions) * self.channels**2 + 2 * self.channels * self.wide
        return self.layers * of_layer + self.other_weights


def _towers(settings: Settings, configs: Mapping[Source, TowerConfig]) -> Iterator[_Tower]:
    targets = settings.lora.targets if settings.lora else ()
    ordered: list[Source] = [source for source in ("video", "audio") if source in configs]
    for source in ordered:
        config = configs[source]
        if source in settings.modalities and isinstance(config, LanguageBindConfig):
            yield _vision_tower(config.vision, config.projection_dim, targets)
    last = configs["text" if "text" in configs else ordered[-1]]
    if isinstance(last, EncoderConfig):
        yield _encoder_tower(last)
    elif "text" in settings.modalities:
        yield _text_tower(last.text, last.projection_dim, targets)


def _vision_tower(config: VisionConfig, projection: int, targets: tuple[str, ...]) -> _Tower:
    height, width = config.input_size
    pixels = config.num_frames * config.num_channels * height * width
    return _Tower(
        prefix="vision_model.encoder.layers",
        layers=config.num_hidden_layers,
        channels=config.hidden_size,
        wide=config.intermediate_size,
        heads=config.num_attention_heads,
        tokens=config.num_frames * config.position_count,
        states=config.num_frames,
        state_width=projection,
        attentions=("temporal_attn", "self_attn") if config.add_time_attn else ("self_attn",),
        activation=config.hidden_act,
        pixels=pixels,
        other_weights=config.hidden_size * (config.num_channels * config.patch_size**2 + projection),
        targets=targets,
    )


def _text_tower(config: TextConfig, projection: int, targets: tuple[str, ...]) -> _Tower:
    return _Tower(
        prefix="text_model.encoder.layers",
        layers=config.num_hidden_layers,
        channels=config.hidden_size,
        wide=config.intermediate_size,
        heads=config.num_attention_heads,
        tokens=config.max_position_embeddings,
        states=config.max_position_embeddings,
        state_width=projection,
        attentions=("self_attn",),
        activation=config.hidden_act,
        pixels=0,
        other_weights=config.hidden_size * projection,
        targets=targets,
    )


def _encoder_tower(config: EncoderConfig) -> _Tower:
    """A text encoder at its longest text, with adapters on every layer, whatever a family calls it: an upper bound."""
    sizes = config.transformers
    return _Tower(
        prefix="model.layers",
        layers=sizes.num_hidden_layers,
        channels=sizes.hidden_size,
        wide=getattr(sizes, "intermediate_size", 4 * sizes.hidden_size),
        heads=sizes.num_attention_heads,
        tokens=config.most_tokens,
        states=config.most_tokens,
        state_width=config.projection_dim,
        attentions=("self_attn",),
        activation="gelu",
        pixels=0,
        other_weights=0,
        targets=(ALL_LINEAR,),
    )


def _kept_by_layer(tower: _Tower, settings: Settings, precision: Precision, number: int) -> int:
    """Bytes of an utterance's activations that a layer keeps for its backward pass.

    The residual is float32 under autocast, too; each linear layer makes its own copy of its input in
    half precision, and shares it in float32. An attention kernel keeps query, key, value, its output, and a float32 sum
    for each head.
    """
    per_number, layer = precision.number, f"{tower.prefix}.{number}"
    total = 0
    for attention in tower.attentions:
        total += _normalisation(tower)
        projections = [f"{layer}.{attention}.{name}" for name in ("q_proj", "k_proj", "v_proj")]
        total += _kept_inputs(projections, tower.channels, settings, precision, tower, is_kept_anyway=False)
        total += 4 * per_number * tower.channels + 4 * tower.heads
        out = [f"{layer}.{attention}.out_proj"]
        total += _kept_inputs(out, tower.channels, settings, precision, tower, is_kept_anyway=True)
    total += _normalisation(tower)
    total += _kept_inputs([f"{layer}.mlp.fc1"], tower.channels, settings, precision, tower, is_kept_anyway=False)
    total += per_number * tower.wide * (2 if tower.activation == "quick_gelu" else 1)  # the activation's input
    total += _kept_inputs([f"{layer}.mlp.fc2"], tower.wide, settings, precision, tower, is_kept_anyway=False)
    return total * tower.tokens


def _normalisation(tower: _Tower) -> int:
    """Bytes that a layer norm keeps of a token: its input, mean and deviation, in float32."""
    return 4 * tower.channels + 8


def _kept_inputs(
    linears: list[str], width: int, settings: Settings, precision: Precision, tower: _Tower, is_kept_anyway: bool
) -> int:
    """Bytes that linear layers with one input of this width keep of it, for one token.

    A trained weight needs its input, an adapter the input behind its dropout (with the mask) and its r inner numbers; a
    frozen weight needs nothing. `is_kept_anyway`: the input is kept by what computed it, in the layers' precision.
    """
    if settings.train == "everything":
        if is_kept_anyway:
            return 0
        return precision.number * width * (len(linears) if precision.number < 4 else 1)
    lora = settings.lora
    adapters = sum(is_target(name, tower.targets) for name in linears) if lora else 0
    if not (lora and adapters):
        return 0
    inner = precision.number * lora.r * adapters
    if lora.dropout > 0:
        return adapters * (precision.mask + precision.number) * width + inner
    if precision.number < 4:  # an adapter casts its input to float32, and autocast back
        return adapters * precision.number * width + inner
    return inner + (0 if is_kept_anyway else precision.number * width)
