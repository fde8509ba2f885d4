"""The towers compute what upstream's own code computes, and have the published checkpoints' names, shapes and sizes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO, load_whole
from support.shared_data import SHARED, needs_shared
from trimood.model.config import FULL_SIZE_AUDIO, FULL_SIZE_VIDEO, LanguageBindConfig
from trimood.model.towers import LanguageBind, drop_patches

REFERENCE = Path(__file__).parent / "reference"
CASES = ("video_gelu", "video_quick_gelu", "audio_gelu")
# Both sides compute in float32 in another order; what differs in kind differs by more than 0.1 (tests below).
TOLERANCE = 1e-5


def reference(case: str) -> tuple[dict[str, Tensor], dict]:
    with safe_open(REFERENCE / f"{case}.safetensors", framework="pt") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return arrays, json.loads(file.metadata()["reference"])


def reference_towers(case: str, folder: Path, **vision: object) -> tuple[LanguageBind, dict[str, Tensor]]:
    """Our towers with upstream's weights, read from a checkpoint folder as upstream writes it."""
    arrays, facts = reference(case)
    facts["config"]["vision_config"] |= vision
    (folder / "config.json").write_text(json.dumps(facts["config"]))
    weights = {name.removeprefix("weights."): tensor for name, tensor in arrays.items() if name.startswith("weights.")}
    save_file(weights, folder / "model.safetensors")
    return load_whole(folder).eval(), arrays


def test_the_reference_was_made_with_the_versions_that_the_documents_name() -> None:
    for case in CASES:
        versions = reference(case)[1]["versions"]
        assert (versions["languagebind"], versions["transformers"], versions["torch"]) == ("0.1.0", "4.44.2", "2.11.0")


@pytest.mark.parametrize("case", CASES)
def test_embeddings_equal_upstream(case: str, tmp_path: Path) -> None:
    model, arrays = reference_towers(case, tmp_path)
    for ours, name in (
        (model.embed_vision(arrays["pixels"]), "vision_embedding"),
        (model.embed_text(arrays["input_ids"]), "text_embedding"),
    ):
        assert arrays[name].std() > 0.1
        torch.testing.assert_close(ours, arrays[name], atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("case", CASES)
def test_gradients_in_the_inputs_equal_upstream(case: str, tmp_path: Path) -> None:
    model, arrays = reference_towers(case, tmp_path)
    pixels = arrays["pixels"].requires_grad_()
    (ours,) = torch.autograd.grad((model.embed_vision(pixels) * arrays["cotangent"]).sum(), pixels)
    torch.testing.assert_close(ours, arrays["pixels_gradient"], atol=TOLERANCE, rtol=TOLERANCE)
    tokens = model.text_model.embeddings.token_embedding.weight
    (ours,) = torch.autograd.grad((model.embed_text(arrays["input_ids"]) * arrays["cotangent"]).sum(), tokens)
    torch.testing.assert_close(ours, arrays["tokens_gradient"], atol=TOLERANCE, rtol=TOLERANCE)


def test_without_temporal_attention_the_video_embedding_is_another_one(tmp_path: Path) -> None:
    model, arrays = reference_towers("video_gelu", tmp_path)
    for layer in model.vision_model.encoder.layers:
        layer.attends_over_time = False
    assert (model.embed_vision(arrays["pixels"]) - arrays["vision_embedding"]).abs().max() > 0.1


def test_without_the_temporal_embedding_the_video_embedding_is_another_one(tmp_path: Path) -> None:
    model, arrays = reference_towers("video_gelu", tmp_path)
    for layer in model.vision_model.encoder.layers:
        torch.nn.init.zeros_(layer.temporal_embedding)
    assert (model.embed_vision(arrays["pixels"]) - arrays["vision_embedding"]).abs().max() > 0.1


def test_the_order_of_frames_matters_and_the_order_of_utterances_does_not(tmp_path: Path) -> None:
    model, arrays = reference_towers("video_gelu", tmp_path)
    swapped = model.embed_vision(arrays["pixels"].flip(0)).flip(0)
    torch.testing.assert_close(swapped, arrays["vision_embedding"], atol=TOLERANCE, rtol=TOLERANCE)
    assert (model.embed_vision(arrays["pixels"].flip(2)) - arrays["vision_embedding"]).abs().max() > 0.1


def test_the_activation_comes_from_the_configuration(tmp_path: Path) -> None:
    model, arrays = reference_towers("video_gelu", tmp_path, hidden_act="quick_gelu")
    assert (model.embed_vision(arrays["pixels"]) - arrays["vision_embedding"]).abs().max() > 100 * TOLERANCE


def test_what_follows_the_end_token_changes_no_text_embedding(tmp_path: Path) -> None:
    model, arrays = reference_towers("audio_gelu", tmp_path)
    other = arrays["input_ids"].clone()
    other[0, 5:] = 7
    torch.testing.assert_close(model.embed_text(other), arrays["text_embedding"], atol=TOLERANCE, rtol=TOLERANCE)
    other[0, 1] = 7
    assert (model.embed_text(other) - arrays["text_embedding"])[0].abs().max() > 0.1


@pytest.mark.parametrize(
    ("config", "shape", "words"),
    [
        (TINY_VIDEO, (1, 3, 3, 16, 16), r"\[utterance, 3, frame, height, width\] with \[3, 2, 16, 16\]"),
        (TINY_VIDEO, (1, 3, 2, 16, 24), r"got \[1, 3, 2, 16, 24\]"),
        (TINY_AUDIO, (1, 3, 24, 16), r"\[utterance, 3, mel, time\] with \[3, 16, 24\]"),
    ],
)
def test_input_of_another_shape_is_refused(config: LanguageBindConfig, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LanguageBind(config).embed_vision(torch.zeros(shape))


def test_patch_dropout_keeps_the_class_token_and_the_same_patches_of_all_frames() -> None:
    tokens = torch.arange(11.0).view(1, 1, 11, 1).expand(4, 3, 11, 2)
    kept = drop_patches(tokens, 0.3)
    assert kept.shape == (4, 3, 8, 2)
    assert (kept[:, :, 0] == 0).all()
    assert (kept == kept[:, :1]).all()
    assert kept[0, 0, 1:, 0].unique().numel() == 7
    assert len({tuple(utterance[0, :, 0].sort().values.tolist()) for utterance in kept}) > 1


FULL_SIZE = {"Video_FT": FULL_SIZE_VIDEO, "Audio_FT": FULL_SIZE_AUDIO}


@needs_shared
@pytest.mark.parametrize("name", FULL_SIZE)
def test_names_and_shapes_are_those_of_the_published_checkpoints(name: str) -> None:
    assert SHARED is not None
    content = json.loads((SHARED / f"reference/languagebind/state_dict_keys_{name}.json").read_text())
    published = {key: shape for key, shape in content["keys"].items() if not key.endswith("position_ids")}
    assert len(published) > 500
    with torch.device("meta"):
        model = LanguageBind(FULL_SIZE[name])
    assert {key: list(tensor.shape) for key, tensor in model.state_dict().items()} == published
