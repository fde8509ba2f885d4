"""Text encoders of other families than LanguageBind's: BERT, RoBERTa, DeBERTa, MPNet, MiniLM, ModernBERT.

Any encoder that transformers' `AutoModel` builds from its own code and whose weights are safetensors. An encoder reads
an utterance with its own tokenizer, and its tokens are pooled to one embedding. Nothing from its folder is executed.
"""

import json
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModel, AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.utils import logging as transformers_logging

from trimood.config.experiment_settings import Pooling
from trimood.config.parameters import listed
from trimood.model.adapters import base_name, is_adapter
from trimood.model.checkpoints import SAFETENSORS_FILE, not_finite, weight_files
from trimood.model.config import CheckpointError, EncoderConfig

MOST_TOKENS = 512
"""Of an utterance with its context; the cost of attention grows with the square."""

WIDTH_STEP = 16
"""A batch is as wide as its longest text, in steps of so many tokens."""

_COUNT_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet", "roberta-prelayernorm", "data2vec-text")
"""Families whose positions begin after the padding's id, so that these positions are never used."""

_FAMILIES = "BERT, RoBERTa, DeBERTa, MPNet, MiniLM and ModernBERT"
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "spiece.model", "sentencepiece.bpe.model")


def read_encoder(folder: Path, pooling: Pooling) -> tuple[EncoderConfig, PreTrainedTokenizerBase]:
    """Reads the configuration and the tokenizer of an encoder.

    Raises CheckpointError for another kind of model, weights that are not safetensors, and a tokenizer that is missing,
    of another model, or without padding.
    """
    path = folder / "config.json"
    try:
        settings = path.read_text(encoding="utf-8")
        content = json.loads(settings)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a configuration ({error}). The folder of a text encoder has config.json, {SAFETENSORS_FILE} "
            "and the files of its tokenizer: download it again."
        ) from None
    _refuse_other_kinds(path, content)
    if any(file.suffix != ".safetensors" for file in weight_files(folder)):
        raise CheckpointError(
            f"{folder}: its weights are no safetensors. Other files can execute code when they are opened: use a model "
            f"with {SAFETENSORS_FILE}, or convert this one with save_pretrained of transformers."
        )
    tokenizer = _tokenizer(folder)
    if tokenizer.pad_token_id is None:
        raise CheckpointError(
            f"{folder}: its tokenizer has no padding token, which texts of different lengths in a batch need. Use the "
            "tokenizer of an encoder, or name the token as pad_token in tokenizer_config.json."
        )
    highest = max(tokenizer.get_vocab().values())
    if highest >= content.get("vocab_size", highest + 1):
        raise CheckpointError(
            f"{folder}: the tokenizer has tokens up to {highest:,}, and config.json says vocab_size "
            f"{content['vocab_size']:,}: they belong to different models. Download both again."
        )
    positions = content.get("max_position_embeddings") or MOST_TOKENS + 2
    padding = 1 if content["model_type"] == "mpnet" else int(tokenizer.pad_token_id)  # MPNet's is written in its code
    unused = padding + 1 if content["model_type"] in _COUNT_FROM_PADDING else 0
    most_tokens = min(tokenizer.model_max_length, MOST_TOKENS, positions - unused)
    separator = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    return EncoderConfig(settings, pooling, int(tokenizer.pad_token_id), int(most_tokens), separator), tokenizer


def _refuse_other_kinds(path: Path, content: Any) -> None:
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind not in CONFIG_MAPPING:
        raise CheckpointError(
            f"{path}: model_type is {kind!r}, which transformers does not know; code of a model's own is never "
            f"executed. Use an encoder of a known family, such as {_FAMILIES}; LanguageBind's own text tower is "
            "text_tower: languagebind."
        )
    decodes = [name for name in ("is_decoder", "is_encoder_decoder") if content.get(name)]
    if kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES or decodes:
        why = f"{decodes[0]} is true" if decodes else f"{kind} is not trained to fill in masked words"
        raise CheckpointError(
            f"{path}: not a text encoder ({why}). Each token of an encoder reads the whole text, which a decoder's do "
            f"not. Allowed are families such as {_FAMILIES}."
        )


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise CheckpointError(
            f"{folder}: no tokenizer here; expected one of {', '.join(_VOCABULARIES)}. Download all files of the "
            "model: hf download NAME --local-dir FOLDER"
        )
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library's own errors are bare exceptions
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{folder}: its tokenizer cannot be read ({reason}). Give a folder with tokenizer.json, which "
            "save_pretrained of transformers writes."
        ) from error


class TextEncoder(nn.Module):
    """An encoder whose tokens are pooled to one embedding of an utterance.

    A frozen encoder does not draw dropout in training either: it embeds a text always alike.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.model = AutoModel.from_config(config.transformers)
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # trained for another task, and absent in many files

    def train(self, mode: bool = True) -> Self:
        """As nn.Module, but a frozen encoder stays in evaluation mode."""
        return super().train(mode and any(parameter.requires_grad for parameter in self.parameters()))

    def embed_text(self, input_ids: Tensor) -> Tensor:
        """Embeds tokens, [utterance, token] int64, into [utterance, projection_dim], not normalised.

        The mean is over the tokens of the utterance itself: those between the first two pairs of separators, if it has
        a context. Its states have read the context, whose own states would outnumber them.
        """
        states, mask = self.text_states(input_ids)
        if self.config.pooling == "first":
            return states[:, 0]
        weights = mask[..., None].to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1)

    def _own(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """The tokens of the utterance itself, [utterance, token] bool; all tokens, if nothing marks it."""
        if self.config.separator is None:
            return mask
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        is_separator = input_ids == self.config.separator
        begins = torch.zeros_like(is_separator)
        begins[:, :-1] = is_separator[:, :-1] & is_separator[:, 1:]
        nowhere = input_ids.shape[1]
        first = torch.where(begins, places, nowhere).amin(dim=1, keepdim=True) + 2
        last = torch.where(begins & (places >= first), places, nowhere).amin(dim=1, keepdim=True)
        own = (places >= first) & (places < last) & (last < nowhere)
        return own | (mask & ~own.any(dim=1, keepdim=True))

    def text_states(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """The last layer's states [utterance, token, channel] of as many tokens as the longest text has, and its mask.

        The mask [utterance, token] bool is true for tokens of the text; of one with a context, for those of the
        utterance itself.
        """
        mask = input_ids != self.config.padding
        mask[:, 0] = True  # so that an absent text, which is zeros, is no division by zero
        if not torch.compiler.is_exporting():  # an exported graph has no lengths that depend on values
            longest = int((mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).max())
            width = min(-(-longest // WIDTH_STEP) * WIDTH_STEP, mask.shape[1])
            input_ids, mask = input_ids[:, :width], mask[:, :width]
        states = self.model(input_ids=input_ids, attention_mask=mask.long()).last_hidden_state
        return states, self._own(input_ids, mask)

    def checkpoint_layers(self) -> None:
        """From now on, a layer keeps only its input for the backward pass, which computes the layer again."""
        self.model.activation_checkpointing_enable({"use_reentrant": False})


def load_encoder(encoder: TextEncoder, folder: Path) -> None:
    """Loads the weights of `folder` into an encoder that was built on `meta`, with or without adapters.

    Raises CheckpointError for a damaged file, and if a tensor is missing, of another shape, or not finite.
    """
    whole = _read_whole(folder, encoder.config)
    weights = whole.state_dict()
    own = {name: weights[base_name(name)] for name in encoder.model.state_dict() if not is_adapter(name)}
    encoder.model.load_state_dict(own, strict=False, assign=True)  # only the adapters' keys are missing
    computed = dict(whole.named_buffers())
    for name, buffer in list(encoder.model.named_buffers()):
        if buffer.is_meta:  # positions and frequencies, which no file contains
            place, _, last = name.rpartition(".")
            encoder.model.get_submodule(place).register_buffer(last, computed[base_name(name)], persistent=False)


def check_encoder(folder: Path, config: EncoderConfig) -> None:
    """Raises CheckpointError unless the folder's weights are those of the encoder that its config.json describes."""
    _read_whole(folder, config)


def _read_whole(folder: Path, config: EncoderConfig) -> nn.Module:
    transformers_logging.set_verbosity_error()  # it warns of the parts that an encoder has for other tasks
    transformers_logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            model, found = AutoModel.from_pretrained(
                str(folder),
                config=config.transformers,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # of safetensors, torch or the library, which has bare exceptions
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{folder}: the weights cannot be read ({type(error).__name__}: {reason}). The file is damaged or its "
            "download was interrupted: delete it and download it again."
        ) from error
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    other = sorted(name for name, *_ in found["mismatched_keys"])
    problems = [
        f"{len(names)} {kind}: {listed(names, 3)}"
        for kind, names in (("missing", missing), ("of another shape", other))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{folder}: the weights do not fit the encoder of its config.json. {'; '.join(problems)}. Such tensors "
            "would be random numbers: download the whole model again, or use another one."
        )
    if broken := not_finite(model.state_dict()):
        raise CheckpointError(f"{folder}: {broken}. The checkpoint is damaged: download it again.")
    return model.eval()
