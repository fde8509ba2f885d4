"""Weights with the names of the original's code: folders as its Trainer saves a model, and as PEFT saves adapters.

The original's model has LanguageBind's towers below `model` and the head `linear`; PEFT puts `base_model.model` before
all names. Hugging Face's Trainer saves model.safetensors (or shards of it) or pytorch_model.bin, and PEFT
adapter_model.safetensors (or .bin) beside adapter_config.json.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trimood.config.experiment_settings import LoraParams, Settings
from trimood.config.parameters import listed
from trimood.disk import DiskFull, says_disk_full
from trimood.emotions import Source
from trimood.model.checkpoints import BIN_FILE, differences, not_finite, open_weights
from trimood.model.classifier import EmotionClassifier
from trimood.model.config import CheckpointError
from trimood.model.trained import trained_state

MODEL, ADAPTERS, ADAPTER_CONFIG = "model.safetensors", "adapter_model.safetensors", "adapter_config.json"
INDEX = "model.safetensors.index.json"
HEAD = "linear."
"""Begins the names of the head's tensors."""

FORMAT = 1
"""The version of the facts that an exported file has in its header."""

_FACTS = "trimood"
_PEFT = "base_model.model."
_HUB_NAME = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(?:/(?P<folder>[\w.-]+(?:/[\w.-]+)*))?")
_EXPECTED = (
    f"{MODEL} (whole or in shards with {INDEX}) or {BIN_FILE} of a whole model, or {ADAPTER_CONFIG} and {ADAPTERS}"
)


class Facts(BaseModel):
    """What an exported file says of itself; files of the original have none.

    `settings`: those that say what the tensors are and what they read, which must be the same where they are imported.
    `checkpoints`: the digests of the checkpoints that the training began with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    experiment: str
    settings: dict[str, str]
    checkpoints: dict[Source, str]


def facts_of(experiment: str, settings: Settings, checkpoints: Mapping[Source, str]) -> Facts:
    """Returns the facts of an experiment with these settings and digests of checkpoints."""
    return Facts(format=FORMAT, experiment=experiment, settings=_told(settings), checkpoints=dict(checkpoints))


def _told(settings: Settings) -> dict[str, str]:
    told = {
        "train": settings.train,
        "head": settings.head.words,
        "context": settings.context,
        "text_pooling": settings.text_pooling if settings.has_encoder else "",
    }
    return {name: str(value) for name, value in told.items()}


@dataclass(frozen=True)
class Published:
    """The content of a folder of published weights.

    `tensors` have the names of the original, float32, without PEFT's prefix. `adapters`: the content of
    adapter_config.json, None for the weights of a whole model. `facts`: None in a file that trimood did not write.
    """

    source: str
    tensors: Mapping[str, Tensor]
    adapters: Mapping[str, object] | None
    facts: Facts | None

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of all names, shapes and numbers, whatever the format of the file."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name} {list(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()[:16]


def upstream_name(name: str) -> str:
    """The original's name of a parameter of the classifier."""
    name = name.replace(".default.", ".")  # of the adapter
    if name.startswith("head."):
        return name.replace("head.", "linear.", 1)
    _, source, module, rest = name.split(".", 3)
    modality = "language" if module.startswith("text_") else source
    kind = "modality_proj" if module.endswith("_projection") else "modality_encoder"
    return f"model.{kind}.{modality}.{rest}"


def read_published(source: str) -> Published:
    """Reads a folder, or `organisation/name` or `organisation/name/folder` on the Hugging Face hub; tensors are mapped.

    Raises CheckpointError if there are no such weights, for damaged files, pickles of anything but tensors, numbers
    that are not finite, and a format of a later version.
    """
    folder = _locate(source)
    files, adapters = _files(folder), None
    if files[0].name.startswith("adapter_"):
        adapters = _json(folder / ADAPTER_CONFIG)
    facts = _facts(files[0])
    tensors = open_weights(files)
    if whole := [name for name, tensor in tensors.items() if not tensor.is_floating_point()]:
        raise CheckpointError(
            f"{folder}: {len(whole)} tensors have no floating-point numbers: {listed(whole, 3)}. Quantised weights are "
            "not supported: give those in float32, float16 or bfloat16."
        )
    if broken := not_finite(tensors):
        raise CheckpointError(f"{folder}: {broken}, so predictions would be nan. Download or export the weights again.")
    prefix = _PEFT if adapters is not None else ""
    return Published(source, {n.removeprefix(prefix): t.float() for n, t in tensors.items()}, adapters, facts)


def state_of(published: Published, classifier: EmotionClassifier, settings: Settings) -> dict[str, Tensor]:
    """Returns the trained state of published weights, for `load_trained_state`.

    `classifier`: of these settings, with the towers of its checkpoints and seeded initial values; an absent frozen head
    keeps its own. Raises CheckpointError if a tensor is missing, unexpected or of another shape, for other adapters
    than those of the settings, and for weights of a training that kept or changed other towers.
    """
    own = trained_state(classifier)
    check_kind(published, settings)
    expected = own if published.adapters is not None else dict(classifier.named_parameters())
    names = {upstream_name(name): name for name in expected}
    given = dict(published.tensors)
    if published.adapters is not None and not settings.head.trained:
        for name in [name for name in own if upstream_name(name).startswith(HEAD)]:
            given.setdefault(upstream_name(name), own[name].clone())
    wanted_shapes = {name: expected[own_name].shape for name, own_name in names.items()}
    if found := differences(wanted_shapes, {name: tensor.shape for name, tensor in given.items()}):
        raise CheckpointError(
            f"{published.source}: the weights do not fit the experiment ({', '.join(settings.modalities)}; train: "
            f"{settings.train}). {found}. {_contents(published)} Choose the experiment that they belong to with "
            "experiment=…, and its checkpoints."
        )
    if published.adapters is None:
        _check_towers(published, {upstream_name(n): p for n, p in classifier.named_parameters()}, settings)
    return {name: given[upstream_name(name)] for name in own}


def check_kind(published: Published, settings: Settings) -> None:
    """Raises CheckpointError if an experiment of these settings has no such weights: needs nothing but the settings."""
    source, lora = published.source, settings.lora
    if published.adapters is None and lora is not None:
        raise CheckpointError(
            f"{source}: the weights of a whole model, but the experiment trains LoRA adapters. Give the folder of its "
            f"adapters, with {ADAPTER_CONFIG} and {ADAPTERS}, or another experiment."
        )
    if published.adapters is not None and lora is None:
        raise CheckpointError(
            f"{source}: LoRA adapters ({ADAPTER_CONFIG}), but the experiment has train: {settings.train}, which uses "
            "none. Give an experiment with train: lora, such as exp4, or weights of a whole model."
        )
    if published.adapters is not None and lora is not None:
        _check_adapters(source, published.adapters, settings, lora)
    facts, own = published.facts, _told(settings)
    if facts and facts.settings != own:
        names = [name for name in {**facts.settings, **own} if facts.settings.get(name) != own.get(name)]
        there, here = (", ".join(f"{name}: {of.get(name, '')}" for name in names) for of in (facts.settings, own))
        raise CheckpointError(
            f"{source}: exported from {facts.experiment} with {there}, but the experiment has {here}. Give "
            f"experiment={facts.experiment} and, with --params {facts.experiment}.…, the settings of the export."
        )


def check_origin(published: Published, digests: Mapping[Source, str], places: Mapping[Source, str]) -> None:
    """Raises CheckpointError if exported weights belong to other checkpoints than those with `digests`."""
    for source, digest in published.facts.checkpoints.items() if published.facts else ():
        if digests.get(source, digest) != digest:
            raise CheckpointError(
                f"{places[source]}: not the {source} checkpoint with which {published.source} was trained; its files "
                f"have other content ({digests[source]}, expected {digest}). Give the right one: "
                f"--params {'text_tower' if source == 'text' else f'{source}_checkpoint'}=FOLDER-OR-HUB-NAME"
            )


def write_published(folder: Path, classifier: EmotionClassifier, settings: Settings, facts: Facts) -> None:
    """Writes the weights of a classifier with the original's names: a whole model, or adapters as PEFT has them.

    Adapters come with the head, which PEFT saves too if it is among `modules_to_save`.
    """
    header = {"format": "pt", _FACTS: facts.model_dump_json()}  # PyTorch, for readers that ask
    if settings.lora is None:
        save_file(_contiguous(dict(classifier.named_parameters())), folder / MODEL, header)
        return
    from peft import LoraConfig

    save_file(_contiguous(trained_state(classifier), _PEFT), folder / ADAPTERS, header)
    lora = settings.lora
    LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias=lora.bias,
        target_modules=_targets(settings, lora),
        modules_to_save=["linear"],
        inference_mode=True,
    ).save_pretrained(str(folder))
    path = folder / ADAPTER_CONFIG
    written = json.loads(path.read_text()) | {
        "target_modules": _targets(settings, lora)
    }  # PEFT's order is that of a set
    path.write_text(json.dumps(written, indent=2) + "\n")


def _contiguous(state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    return {f"{prefix}{upstream_name(name)}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _locate(source: str) -> Path:
    folder = Path(os.path.expanduser(source))
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise CheckpointError(f"{source}: a file. Give the folder that contains {_EXPECTED}.")
    name = _HUB_NAME.fullmatch(source)
    if not name:
        raise CheckpointError(
            f"weights={source}: no such folder. Give a folder with {_EXPECTED}, or a name on the Hugging Face hub such "
            "as organisation/name or organisation/name/folder."
        )
    from huggingface_hub import constants, snapshot_download

    inside = f"{name['folder']}/" if name["folder"] else ""
    wanted = [f"{inside}{pattern}" for pattern in ("model*.safetensors", INDEX, BIN_FILE, "adapter_*")]
    try:
        found = Path(snapshot_download(name["repository"], allow_patterns=wanted))
    except Exception as error:  # without a network, the error depends on the version's HTTP client
        if says_disk_full(error):
            raise DiskFull(Path(constants.HF_HUB_CACHE), f"{source} could not be downloaded") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"weights={source}: no folder has this name, and the download from the Hugging Face hub failed ({reason}). "
            "Check the name and the network, or download the folder elsewhere, and give its path."
        ) from error
    return found / inside


def _files(folder: Path) -> list[Path]:
    """The files of weights in a folder, adapters first."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    adapters = [name for name in (ADAPTERS, "adapter_model.bin") if name in there]
    if adapters and ADAPTER_CONFIG in there:
        return [folder / adapters[0]]
    if adapters or ADAPTER_CONFIG in there:
        lacking = ADAPTER_CONFIG if adapters else ADAPTERS
        raise CheckpointError(f"{folder}: {lacking} is missing; adapters need both files. Download the folder again.")
    if MODEL in there:
        return [folder / MODEL]
    if INDEX in there:
        shards = _json(folder / INDEX).get("weight_map")
        names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
        if missing := [name for name in names if name not in there]:
            raise CheckpointError(f"{folder}: {INDEX} names {listed(missing, 3)}, missing here. Download it again.")
        if names:
            return [folder / name for name in names]
    if BIN_FILE in there:
        return [folder / BIN_FILE]
    raise CheckpointError(
        f"{folder}: no weights here. Expected: {_EXPECTED}. The folder has: {listed(sorted(there), 5) or 'nothing'}."
    )


def _json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}). Download the file again.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: an object is expected. Download the file again.")
    return content


def _facts(path: Path) -> Facts | None:
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            written = (file.metadata() or {}).get(_FACTS)
    except (SafetensorError, OSError):  # `open_weights` says what is wrong with it
        return None
    if written is None:
        return None
    try:
        version = json.loads(written)["format"]
        if version != FORMAT:
            raise CheckpointError(
                f"{path}: its format is {version}, of another version of trimood; this one reads {FORMAT}. Update "
                "trimood, or export the weights with this version."
            )
        return Facts.model_validate_json(written)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise CheckpointError(
            f"{path}: its header was not written by export_weights ({error}). Export again."
        ) from None


_CHANGES_THE_MODEL = (
    *("use_rslora", "use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "layers_to_transform"),
    *("layer_replication", "exclude_modules", "target_parameters", "lora_bias"),
)
"""Options of PEFT, off by default, with which the same tensors would make another model, or other tensors be needed."""


def _check_adapters(source: str, config: Mapping[str, object], settings: Settings, lora: LoraParams) -> None:
    given = {
        "peft_type": config.get("peft_type"),
        "r": config.get("r"),
        "lora_alpha": config.get("lora_alpha"),
        "bias": config.get("bias", "none"),
        "target_modules": _as_set(config.get("target_modules")),
    }
    wanted = {
        "peft_type": "LORA",
        "r": lora.r,
        "lora_alpha": lora.alpha,
        "bias": lora.bias,
        "target_modules": _as_set(_targets(settings, lora)),
    }
    problems = [f"{name} is {given[name]}, expected {wanted[name]}" for name in wanted if given[name] != wanted[name]]
    problems += [f"{name} is {config[name]}, which is not supported" for name in _CHANGES_THE_MODEL if config.get(name)]
    if problems:
        raise CheckpointError(
            f"{source}/{ADAPTER_CONFIG}: not the adapters of the experiment: {'; '.join(problems)}. Give the "
            "experiment that they belong to, or change the block lora in its file."
        )


def _targets(settings: Settings, lora: LoraParams) -> list[str]:
    """The targets of all towers; PEFT has one list."""
    return sorted({*lora.targets, *lora.text_targets} if settings.has_encoder else lora.targets)


def _as_set(targets: object) -> object:
    return (
        ", ".join(sorted(map(str, targets)))
        if isinstance(targets, Sequence) and not isinstance(targets, str)
        else targets
    )


def _check_towers(published: Published, parameters: Mapping[str, Tensor], settings: Settings) -> None:
    """Raises CheckpointError if frozen towers differ from the checkpoint's, or if trained towers are all the same."""
    towers = [name for name in parameters if not name.startswith(HEAD)]
    changed = [name for name in towers if not torch.equal(parameters[name], published.tensors[name])]
    if settings.train == "head" and changed:
        raise CheckpointError(
            f"{published.source}: {len(changed)} of {len(towers)} tensors of the towers differ from the checkpoint's: "
            f"{listed(changed, 3)}. The experiment trains the head alone, so the weights are of full fine-tuning "
            "(such as exp1) or of another checkpoint. Give the experiment or the checkpoint that they belong to."
        )
    if settings.train == "everything" and not changed:
        raise CheckpointError(
            f"{published.source}: all {len(towers)} tensors of the towers equal the checkpoint's, so the towers were "
            "not trained. The experiment trains everything: give one that trains the head alone, such as exp3."
        )


def _contents(published: Published) -> str:
    """The modalities whose towers are in the weights, in words."""
    parts = (name.split(".") for name in published.tensors if name.startswith("model.modality_"))
    towers = sorted({part[2] for part in parts if len(part) > 2})
    return f"They have towers of: {', '.join(towers) or 'none'}."
