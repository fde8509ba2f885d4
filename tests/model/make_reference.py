"""Writes reference/*.safetensors: what LanguageBind's own modelling code makes of tiny random towers and inputs.

And reference/token_ids.json: the token ids that its tokenizer gives with a vocabulary of the single bytes, for TEXTS,
and a digest of those for ECF's published texts, if these are beside the checkout. The merges of a larger vocabulary do
not change which bytes make a word.

And reference/original_*.safetensors: whole classifiers as the original's Trainer saves them, adapters as PEFT saves
them, and their logits. The original's class is written anew below, around languagebind's own LanguageBind.

Run in the reference environment (`make reference`): languagebind 0.1.0, transformers 4.44.2, torch 2.11, peft. The
package's `__init__` does not import there (pytorchvideo against torchvision), so its modelling modules are imported
past it.
Each file holds a config.json as upstream writes it and the versions (metadata), every weight (`weights.*`), the inputs,
both embeddings, and the gradients of (embedding * cotangent).sum() in the pixels and in the token embeddings.
"""

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import platform
import sys
import tempfile
import types
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers.models.clip.tokenization_clip import bytes_to_unicode

FOLDER = Path(__file__).parent / "reference"
PACKAGES = ("languagebind", "transformers", "torch")
# Curly quotes, characters that were decoded wrongly (cp1252 as Latin-1, UTF-8 as cp1252), markup, forms of one letter.
TEXTS = [
    "I'm here",
    "I\u2019m here",
    "I\x92m here",
    "I\xe2\x80\x99m here",
    "I\xe2\u20ac\u2122m here",
    "\u201cHi\u201d \u2018a\u2019 \u2026 \u2014 \u2013 !",
    "Well\x85 \x93no\x94",
    "na\xefve caf\xe9",
    "cafe\u0301",
    "Salt &amp; pepper",
    "&lt;b&gt; x < y",
    "\ufb01ne \uff21\uff22\uff23 \u2168",
    "\u0391\u03a3 \u1e9e \u0130",
    "one\u2028two\x0bthree\rfour\x0cfive",
    "soft\xadhyphen zero\u200bwidth \x1b[31mred \x00\x07bell",
    "\U0001f600 ok \U0001f44d\U0001f3fd \u65e5\u672c",
    "  OH  MY   God 42 !! ",
]
ECF = Path(__file__).parents[3] / "shared" / "reference" / "ecf2"

# CLIP's mean and deviation of red, green and blue.
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

TEXT = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 9,
}
VISION = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "patch_size": 4,
    "image_size": 12,
    "lora_r": 0,
}
CASES = {
    "video_gelu": ("video", {"hidden_act": "gelu", "add_time_attn": True, "num_frames": 3}),
    "video_quick_gelu": ("video", {"hidden_act": "quick_gelu", "add_time_attn": True, "num_frames": 3}),
    # 8 mel bins and 20 frames: 2 x 5 patches, so that rows and columns cannot be mistaken for each other.
    "audio_gelu": ("audio", {"hidden_act": "gelu", "num_mel_bins": 8, "target_length": 20}),
}


def main() -> None:
    import_past_init("languagebind")
    FOLDER.mkdir(exist_ok=True)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    for seed, (name, (kind, settings)) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        model = build(kind, settings)
        randomise(model)
        arrays = reference_arrays(model)
        config = json.loads(model.config.to_json_string(use_diff=False))
        # One entry: safetensors writes several in a random order, and the same run on the same machine shall give
        # the same bytes.
        metadata = {"reference": json.dumps({"config": config, "versions": versions}, sort_keys=True)}
        save_file(arrays, FOLDER / f"{name}.safetensors", metadata)
        print(name, (FOLDER / f"{name}.safetensors").stat().st_size, "bytes", versions)  # noqa: T201
    write_originals(versions | {"peft": importlib.metadata.version("peft")})
    write_token_ids()


class Original(torch.nn.Module):
    """The experiments' classifier: `model` is LanguageBind, `linear` the head on video, audio, text in this order."""

    def __init__(self, towers: dict[str, torch.nn.Module], language_bind: type) -> None:
        super().__init__()
        # Its __init__ downloads the published checkpoints; what follows is what it does with them.
        self.model = language_bind.__new__(language_bind)
        torch.nn.Module.__init__(self.model)
        self.model.use_temp = True
        encoders = {name: tower.vision_model for name, tower in towers.items()}
        projections = {name: tower.visual_projection for name, tower in towers.items()}
        self.model.modality_scale = {name: tower.logit_scale for name, tower in towers.items()}
        last = list(towers.values())[-1]
        self.model.modality_encoder = torch.nn.ModuleDict(encoders | {"language": last.text_model})
        self.model.modality_proj = torch.nn.ModuleDict(projections | {"language": last.text_projection})
        self.linear = torch.nn.Linear(20 * (len(towers) + 1), 7, bias=False)

    def features(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """[utterance, channel]: LanguageBind's embeddings, concatenated in the order of `inputs`."""
        named = {name: {"input_ids" if name == "language" else "pixel_values": of} for name, of in inputs.items()}
        return torch.cat(list(self.model(named).values()), dim=-1)


ORIGINALS = {
    "exp1": (("video",), None),
    "exp2": (("video", "audio"), None),
    "exp4": (("video",), {"target_modules": ["q_proj", "k_proj", "v_proj", "out_proj"]}),
    "exp6_head": (
        ("video", "audio"),
        {
            "target_modules": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
            "modules_to_save": ["linear"],
        },
    ),
}


def write_originals(versions: dict[str, str]) -> None:
    """Towers of the CASES video_gelu and audio_gelu; all that is trained differs from the checkpoints."""
    import peft
    import torch.distributed.tensor  # peft 0.21 expects that somebody has

    language_bind = upstream_class()
    for seed, (name, (modalities, adapters)) in enumerate(ORIGINALS.items(), start=20):
        torch.manual_seed(seed)
        towers = {}
        for number, case in ((0, "video_gelu"), (2, "audio_gelu")):
            kind, settings = CASES[case]
            if kind in modalities:
                torch.manual_seed(number)  # as in `main`, so that the checkpoints are those of the other files
                towers[kind] = build(kind, settings)
                randomise(towers[kind])
        torch.manual_seed(seed)
        vision = towers["video"].config.vision_config
        size = vision.image_size
        frames = torch.randint(256, (3, vision.num_frames, 3, size, size), dtype=torch.uint8)
        mean, deviation = (torch.tensor(of).view(3, 1, 1) for of in (CLIP_MEAN, CLIP_STD))
        inputs = {"video": ((frames / 255 - mean) / deviation).transpose(1, 2)}
        if "audio" in towers:
            vision = towers["audio"].config.vision_config
            inputs["audio"] = torch.randn(3, 3, vision.num_mel_bins, vision.target_length)
        model = Original(towers, language_bind).eval()
        inputs["language"] = example_ids()
        if adapters:
            config = peft.LoraConfig(r=2, lora_alpha=4, lora_dropout=0.1, bias="all", **adapters)
            wrapped = peft.get_peft_model(model, config).eval()
            train(wrapped)
            with tempfile.TemporaryDirectory() as folder:
                wrapped.save_pretrained(folder)
                saved = load_file(Path(folder, "adapter_model.safetensors"))
                written = json.loads(Path(folder, "adapter_config.json").read_text())
        else:
            train(model)
            saved, written = model.state_dict(), None
        features = model.features(inputs)
        arrays = {f"saved.{key}": tensor for key, tensor in saved.items()}
        arrays |= {"frames": frames, "input_ids": inputs["language"], "features": features}
        arrays |= {"logits": model.linear(features)} | ({"mel": inputs["audio"]} if "audio" in inputs else {})
        metadata = {"reference": json.dumps({"adapter_config": written, "versions": versions}, sort_keys=True)}
        path = FOLDER / f"original_{name}.safetensors"
        save_file({key: tensor.detach().clone().contiguous() for key, tensor in arrays.items()}, path, metadata)
        print(path.name, path.stat().st_size, "bytes")  # noqa: T201


def train(model: torch.nn.Module) -> None:
    """Moves all that is trained, as a training does."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


def upstream_class() -> type:
    """The class LanguageBind of the package's `__init__`, which does not import here: its source is run alone."""
    (folder,) = sys.modules["languagebind"].__path__
    source = ast.parse(Path(folder, "__init__.py").read_text(encoding="utf-8"))
    found = [node for node in source.body if isinstance(node, ast.ClassDef) and node.name == "LanguageBind"]
    names: dict = {"nn": torch.nn, "torch": torch}
    exec(compile(ast.Module(found, []), "languagebind", "exec"), names)  # noqa: S102 - the installed package's own code
    return names["LanguageBind"]


def write_token_ids() -> None:
    import_past_init("languagebind.video")
    language_bind = importlib.import_module("languagebind.video.tokenization_video").LanguageBindVideoTokenizer
    with tempfile.TemporaryDirectory() as folder:
        bytes_alone = [letter for _, letter in sorted(bytes_to_unicode().items())]
        tokens = [*bytes_alone, *(f"{letter}</w>" for letter in bytes_alone), "<|startoftext|>", "<|endoftext|>"]
        vocabulary, merges = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocabulary.write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
        merges.write_text("#version: 0.2\n")
        tokenizer = language_bind(str(vocabulary), str(merges))
    versions = {name: importlib.metadata.version(name) for name in ("languagebind", "transformers", "ftfy")}
    found = {"versions": versions, "made": {text: tokenizer(text)["input_ids"] for text in TEXTS}}
    published = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ECF.glob("Subtask_*.json"))]
    texts = {row["text"] for file in published for conversation in file for row in conversation["conversation"]}
    if texts:
        every = [tokenizer(text)["input_ids"] for text in sorted(texts)]
        found["ecf2"] = {"texts": len(texts), "sha256": hashlib.sha256(json.dumps(every).encode()).hexdigest()}
    (FOLDER / "token_ids.json").write_text(json.dumps(found) + "\n", encoding="utf-8")
    print("token_ids.json", len(TEXTS), "texts,", len(texts), "of ECF", versions)  # noqa: T201


def import_past_init(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    module = types.ModuleType(package)
    module.__path__ = list(spec.submodule_search_locations or [])
    sys.modules[package] = module


def build(kind: str, settings: dict) -> torch.nn.Module:
    configuration = importlib.import_module(f"languagebind.{kind}.configuration_{kind}")
    modeling = importlib.import_module(f"languagebind.{kind}.modeling_{kind}")
    config_class = getattr(configuration, f"LanguageBind{kind.capitalize()}Config")
    act = {"hidden_act": settings["hidden_act"]}
    config = config_class(text_config={**TEXT, **act}, vision_config={**VISION, **settings}, projection_dim=20)
    config._attn_implementation = "eager"
    return getattr(modeling, f"LanguageBind{kind.capitalize()}")(config).eval()


def randomise(model: torch.nn.Module) -> None:
    """Give every weight a value that matters: LayerNorms and biases would be 1 and 0 otherwise."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_scale = "norm" in name and name.endswith("weight")
            parameter.normal_(mean=1.0 if is_scale else 0.0, std=0.3)
        model.logit_scale.fill_(1.25)


def reference_arrays(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    vision, cotangent = model.config.vision_config, torch.randn(3, model.config.projection_dim)
    if vision.num_mel_bins:
        pixels = torch.randn(3, 3, vision.num_mel_bins, vision.target_length)
    else:
        pixels = torch.randn(3, 3, vision.num_frames, vision.image_size, vision.image_size)
    pixels.requires_grad_()
    vision_embedding = model.get_image_features(pixel_values=pixels)
    (pixels_gradient,) = torch.autograd.grad((vision_embedding * cotangent).sum(), pixels)
    input_ids = example_ids()
    text_embedding = model.get_text_features(input_ids=input_ids)
    tokens = model.text_model.embeddings.token_embedding.weight
    (tokens_gradient,) = torch.autograd.grad((text_embedding * cotangent).sum(), tokens)
    arrays = {
        "pixels": pixels,
        "input_ids": input_ids,
        "cotangent": cotangent,
        "vision_embedding": vision_embedding,
        "text_embedding": text_embedding,
        "pixels_gradient": pixels_gradient,
        "tokens_gradient": tokens_gradient,
        **{f"weights.{name}": tensor for name, tensor in model.state_dict().items()},
    }
    return {name: tensor.detach().clone().contiguous() for name, tensor in arrays.items()}


def example_ids() -> torch.Tensor:
    """Three utterances: padded with end tokens, padded with zeros, and one that fills all positions."""
    start, end, length = TEXT["vocab_size"] - 2, TEXT["vocab_size"] - 1, TEXT["max_position_embeddings"]
    return torch.tensor(
        [
            [start, 5, 17, end] + [end] * (length - 4),
            [start, 9, 30, 2, 11, end] + [0] * (length - 6),
            [start, *range(20, 20 + length - 2), end],
        ]
    )


if __name__ == "__main__":
    main()
