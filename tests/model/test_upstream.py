"""Published weights: those of the original's own classes give its logits, and what does not belong says why."""

import errno
import json
import pickle
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from support.learning_examples import TRAINING, encoder_settings, lora, settings, sources, tiny_model
from support.made_encoders import encoder_folder
from trimood.config.experiment_settings import ContextParams, HeadParams, LoraParams, Settings
from trimood.disk import DiskFull
from trimood.learning.setup import load_model, used_checkpoints
from trimood.model.checkpoints import checkpoint_digest
from trimood.model.classifier import EmotionClassifier, build_classifier, load_towers
from trimood.model.config import CheckpointError, read_config
from trimood.model.trained import load_trained_state, trained_state
from trimood.model.upstream import (
    Facts,
    Published,
    check_origin,
    facts_of,
    read_published,
    state_of,
    upstream_name,
    write_published,
)

__all__ = ["encoder_folder", "sources"]

REFERENCE = Path(__file__).parent / "reference"
FOUR, SIX = ("q_proj", "k_proj", "v_proj", "out_proj"), ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def facts(wanted: Settings) -> Facts:
    return facts_of("exp3", wanted, {"video": "0123456789abcdef"})


def small(*targets: str) -> LoraParams:
    return lora(*targets, r=2, alpha=4, dropout=0.1)


ORIGINALS = {
    "exp1": Settings(modalities=("text", "video"), train="everything", head=HeadParams(), lora=None, training=TRAINING),
    "exp2": Settings(
        modalities=("text", "video", "audio"), train="everything", head=HeadParams(), lora=None, training=TRAINING
    ),
    "exp4": Settings(
        modalities=("text", "video"), train="lora", head=HeadParams(trained=False), lora=small(*FOUR), training=TRAINING
    ),
    "exp6_head": Settings(
        modalities=("text", "video", "audio"), train="lora", head=HeadParams(), lora=small(*SIX), training=TRAINING
    ),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    """The checkpoints with which the reference's classifiers began, as upstream writes them."""
    folders = {}
    for kind, case in (("video", "video_gelu"), ("audio", "audio_gelu")):
        folder = folders[kind] = tmp_path_factory.mktemp(kind)
        with safe_open(REFERENCE / f"{case}.safetensors", framework="pt") as file:
            config = json.loads(file.metadata()["reference"])["config"]
        (folder / "config.json").write_text(json.dumps(config))
        weights = load_file(REFERENCE / f"{case}.safetensors").items()
        save_file(
            {k.removeprefix("weights."): v for k, v in weights if k.startswith("weights.")},
            folder / "model.safetensors",
        )
    return folders


def classifier_of(wanted: Settings, checkpoints: dict[Any, Path]) -> EmotionClassifier:
    used = used_checkpoints(wanted.modalities, checkpoints)  # type: ignore[arg-type]  # paths
    configs = {source: read_config(Path(folder)) for source, folder in used.items()}
    with torch.device("meta"):
        model = build_classifier(
            wanted.modalities, configs, wanted.train, head=wanted.head, lora=wanted.lora, seed=wanted.training.seed
        )
    load_towers(model, {source: Path(folder) for source, folder in used.items()})
    return model.eval()


def saved_original(name: str, folder: Path) -> dict[str, Tensor]:
    """Writes the folder that the original saves, and returns its inputs and outputs."""
    path = REFERENCE / f"original_{name}.safetensors"
    arrays = load_file(path)
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["reference"])
    saved = {key.removeprefix("saved."): value for key, value in arrays.items() if key.startswith("saved.")}
    if facts["adapter_config"]:
        save_file(saved, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps(facts["adapter_config"]))
    else:
        save_file(saved, folder / "model.safetensors")
    return arrays


@pytest.mark.parametrize("name", ORIGINALS)
def test_weights_that_the_original_saved_give_its_logits(
    name: str, checkpoints: dict[Any, Path], tmp_path: Path
) -> None:
    arrays, wanted = saved_original(name, tmp_path), ORIGINALS[name]
    model = classifier_of(wanted, checkpoints)
    untrained = model(arrays["input_ids"], arrays["frames"], arrays.get("mel"))["logits"]
    load_trained_state(model, state_of(read_published(str(tmp_path)), model, wanted))
    found = model(arrays["input_ids"], arrays["frames"], arrays.get("mel"))["logits"]
    # The file of exp4 has no head: there, logits are those of the seeded head on the original's features.
    golden = arrays["features"] @ model.head.weight.T if name == "exp4" else arrays["logits"]
    assert (untrained - golden).abs().max() > 0.05
    torch.testing.assert_close(found, golden, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["exp2", "exp6_head"])
def test_an_export_has_the_tensors_and_settings_that_the_original_saved(
    name: str, checkpoints: dict[Any, Path], tmp_path: Path
) -> None:
    """So the original's code, and PEFT for adapters, load it as they load their own."""
    folder, wanted = tmp_path / "original", ORIGINALS[name]
    folder.mkdir()
    saved_original(name, folder)
    model = classifier_of(wanted, checkpoints)
    load_trained_state(model, state_of(read_published(str(folder)), model, wanted))
    write_published(tmp_path, model, wanted, facts(wanted))
    file = "adapter_model.safetensors" if wanted.lora else "model.safetensors"
    ours, theirs = load_file(tmp_path / file), load_file(folder / file)
    assert ours.keys() == {key for key in theirs if not key.endswith("position_ids")}
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    if wanted.lora:
        config, saved = (json.loads((of / "adapter_config.json").read_text()) for of in (tmp_path, folder))
        alike = ("peft_type", "r", "lora_alpha", "lora_dropout", "bias", "modules_to_save", "use_rslora")
        assert {key: config[key] for key in alike} == {key: saved[key] for key in alike}
        assert sorted(config["target_modules"]) == sorted(saved["target_modules"])


def test_the_reference_was_made_by_the_versions_that_the_documents_name() -> None:
    for name in ORIGINALS:
        with safe_open(REFERENCE / f"original_{name}.safetensors", framework="pt") as file:
            versions = json.loads(file.metadata()["reference"])["versions"]
        assert (versions["languagebind"], versions["transformers"], versions["torch"]) == ("0.1.0", "4.44.2", "2.11.0")


def test_an_absent_head_is_the_seeded_one_and_only_if_it_was_frozen(
    checkpoints: dict[Any, Path], tmp_path: Path
) -> None:
    saved_original("exp4", tmp_path)
    published, model = read_published(str(tmp_path)), classifier_of(ORIGINALS["exp4"], checkpoints)
    assert "linear.weight" not in published.tensors
    assert torch.equal(state_of(published, model, ORIGINALS["exp4"])["head.weight"], model.head.weight)
    trained = ORIGINALS["exp4"].model_copy(update={"head": HeadParams()})
    with pytest.raises(CheckpointError, match=r"1 missing: linear\.weight"):
        state_of(published, classifier_of(trained, checkpoints), trained)


def test_one_file_shards_a_pickle_and_half_precision_are_read_alike(sources, tmp_path: Path) -> None:
    state = published_state(tiny_model(sources).model)
    first, second = dict(list(state.items())[::2]), dict(list(state.items())[1::2])
    folders = [tmp_path / name for name in ("whole", "shards", "bin", "half")]
    for folder in folders:
        folder.mkdir()
    save_file(state, folders[0] / "model.safetensors")
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    for part, name in zip((first, second), names, strict=True):
        save_file(part, folders[1] / name)
    index = {"weight_map": {key: names[key in second] for key in state}}
    (folders[1] / "model.safetensors.index.json").write_text(json.dumps(index))
    torch.save({**state, "model.modality_encoder.video.embeddings.position_ids": torch.arange(5)}, folders[2] / BIN)
    save_file({key: tensor.bfloat16() for key, tensor in state.items()}, folders[3] / "model.safetensors")
    whole, shards, pickled, half = (read_published(str(folder)) for folder in folders)
    assert whole.digest == shards.digest == pickled.digest != half.digest
    assert all(torch.equal(half.tensors[key], tensor.bfloat16().float()) for key, tensor in state.items())
    (folders[1] / names[1]).unlink()
    with pytest.raises(CheckpointError, match=rf"index\.json names {names[1]}, missing here"):
        read_published(str(folders[1]))


BIN = "pytorch_model.bin"


def test_a_name_on_the_hub_may_name_a_folder_in_the_repository(
    sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the cache of downloads, without a network."""
    repository, commit = tmp_path / "models--owner--published", "0" * 40
    folder = repository / "snapshots" / commit / "kosenko_exp_1"
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    state = published_state(tiny_model(sources).model)
    torch.save(state, folder / BIN)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = read_published("owner/published/kosenko_exp_1")
    assert found.source == "owner/published/kosenko_exp_1"
    assert all(torch.equal(found.tensors[key], state[key]) for key in state)
    for name, words in (
        ("owner/published", "no weights here"),
        ("owner/published/other", "no weights here"),
        ("owner/absent", "no folder has this name, and the download from the Hugging Face hub failed"),
    ):
        with pytest.raises(CheckpointError, match=words):
            read_published(name)


def test_a_full_disk_is_not_taken_for_a_missing_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_the_disk(*args: object, **kwargs: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fill_the_disk)
    with pytest.raises(DiskFull, match=r"owner/published could not be downloaded, and .* MB are free"):
        read_published("owner/published")


def published_state(model: EmotionClassifier) -> dict[str, Tensor]:
    return {upstream_name(name): tensor.detach() for name, tensor in model.named_parameters()}


@pytest.mark.parametrize(
    ("train", "head", "modalities"),
    [
        ("everything", "trained", ("text", "video")),
        ("head", "trained", ("text", "video", "audio")),
        ("lora", {"kind": "attention", "heads": 3, "trained": False}, ("text", "video")),
        ("lora", "frozen", ("text", "video")),
        ("lora", "trained", ("text", "video", "audio")),
    ],
)
def test_what_is_exported_and_imported_is_equal_to_the_bit(sources, train, head, modalities, tmp_path: Path) -> None:
    wanted = settings(train=train, head=head, modalities=modalities)
    model = tiny_model(sources, train=train, head=head, modalities=modalities).model
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    write_published(tmp_path, model, wanted, facts(wanted))
    published = read_published(str(tmp_path))
    assert published.facts == facts(wanted)
    found = state_of(published, tiny_model(sources, train=train, head=head, modalities=modalities).model, wanted)
    state = trained_state(model)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert read_published(str(tmp_path)).digest == published.digest


@pytest.mark.parametrize(("train", "modalities"), [("lora", ("text",)), ("head", ("text", "video"))])
def test_a_text_encoder_comes_back_too_under_a_name_of_its_own(
    sources, encoder_folder: Path, train, modalities, tmp_path: Path
) -> None:
    wanted = encoder_settings(train, modalities)
    used = used_checkpoints(wanted.modalities, sources, str(encoder_folder))
    model = load_model(wanted, used).model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * parameter.requires_grad)
    write_published(tmp_path, model, wanted, facts(wanted))
    published = read_published(str(tmp_path))
    assert any(name.startswith("model.modality_encoder.text.") for name in published.tensors)
    found, state = state_of(published, load_model(wanted, used).model, wanted), trained_state(model)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_exported_adapters_are_a_folder_that_peft_reads(sources, tmp_path: Path) -> None:
    from peft import PeftConfig

    wanted = settings(train="lora")
    write_published(tmp_path, tiny_model(sources, train="lora").model, wanted, facts(wanted))
    config = PeftConfig.from_pretrained(str(tmp_path))
    assert (config.r, config.lora_alpha, config.bias) == (4, 4, "all")  # type: ignore[attr-defined]
    assert set(config.target_modules) == {"q_proj", "v_proj"}  # type: ignore[attr-defined]
    names = set(load_file(tmp_path / "adapter_model.safetensors"))
    assert "base_model.model.linear.weight" in names
    stem = "base_model.model.model.modality_encoder.video.encoder.layers.0.temporal_attn.q_proj"
    assert {f"{stem}.lora_A.weight", f"{stem}.lora_B.weight", f"{stem}.base_layer.bias"} <= names


def whole(sources, train="everything", **changes: Any) -> Published:
    model = tiny_model(sources, train=train).model
    state = published_state(model)
    if train == "everything":
        state = {name: tensor + 0.01 for name, tensor in state.items()}
    return Published("folder", {**state, **changes}, None, None)


def test_weights_of_another_experiment_are_refused_with_the_towers_that_they_have(sources) -> None:
    three = settings(modalities=("text", "video", "audio"))
    with pytest.raises(
        CheckpointError, match=r"folder: the weights do not fit .*missing: model\.modality.*language, video"
    ):
        state_of(whole(sources), tiny_model(sources, modalities=three.modalities).model, three)
    audio = published_state(tiny_model(sources, modalities=three.modalities).model)
    with pytest.raises(
        CheckpointError, match=r"unexpected: model\.modality_\S+\.audio.*towers of: audio, language, video"
    ):
        state_of(Published("folder", audio, None, None), tiny_model(sources).model, settings())


def test_missing_unexpected_and_misshapen_tensors_are_counted_and_named(sources) -> None:
    model, published = tiny_model(sources).model, whole(sources)
    tensors = dict(published.tensors)
    del tensors["model.modality_proj.video.weight"]
    tensors |= {"linear.bias": torch.zeros(7), "linear.weight": torch.zeros(7, 5)}
    with pytest.raises(CheckpointError) as refusal:
        state_of(Published("folder", tensors, None, None), model, settings())
    for words in (
        "1 missing: model.modality_proj.video.weight",
        "1 unexpected: linear.bias",
        "1 of another shape: linear.weight ([7, 5] in the file, [7, 24] in the model)",
        "experiment=",
    ):
        assert words in str(refusal.value)


def test_towers_that_a_training_of_the_head_would_not_have_changed_are_refused(sources) -> None:
    with pytest.raises(CheckpointError, match=r"\d+ of \d+ tensors of the towers differ from the checkpoint's: model"):
        state_of(whole(sources), tiny_model(sources, train="head").model, settings(train="head"))
    with pytest.raises(CheckpointError, match=r"all \d+ tensors of the towers equal the checkpoint's"):
        state_of(whole(sources, train="head"), tiny_model(sources).model, settings())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"r": 8}, "r is 8, expected 4"),
        ({"lora_alpha": 16}, "lora_alpha is 16, expected 4"),
        ({"bias": "none"}, "bias is none, expected all"),
        ({"target_modules": ["q_proj"]}, "target_modules is q_proj, expected q_proj, v_proj"),
        ({"target_modules": "all-linear"}, "target_modules is all-linear, expected q_proj, v_proj"),
        ({"peft_type": "IA3"}, "peft_type is IA3, expected LORA"),
        ({"use_rslora": True}, "use_rslora is True, which is not supported"),
        ({"alpha_pattern": {"q_proj": 2}}, "alpha_pattern is"),
    ],
)
def test_other_adapters_than_the_experiments_are_refused(sources, changes, words: str, tmp_path: Path) -> None:
    wanted = settings(train="lora")
    model = tiny_model(sources, train="lora").model
    write_published(tmp_path, model, wanted, facts(wanted))
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=rf"adapter_config\.json: not the adapters.*{words}.*block lora"):
        state_of(read_published(str(tmp_path)), model, wanted)


def test_adapters_and_whole_models_are_not_taken_for_each_other(sources, tmp_path: Path) -> None:
    write_published(
        tmp_path, tiny_model(sources, train="lora").model, settings(train="lora"), facts(settings(train="lora"))
    )
    with pytest.raises(CheckpointError, match=r"LoRA adapters .*but the experiment has train: everything"):
        state_of(read_published(str(tmp_path)), tiny_model(sources).model, settings())
    with pytest.raises(CheckpointError, match=r"whole model, but the experiment trains LoRA adapters"):
        state_of(whole(sources), tiny_model(sources, train="lora").model, settings(train="lora"))


def test_exported_weights_know_their_experiment_and_their_checkpoints(sources, tmp_path: Path) -> None:
    head = settings(train="head")
    write_published(tmp_path, tiny_model(sources, train="head").model, head, facts(head))
    published = read_published(str(tmp_path))
    with pytest.raises(CheckpointError, match=r"exported from exp3 with train: head, but .* train: everything"):
        state_of(published, tiny_model(sources).model, settings())
    reading = head.model_copy(update={"context": ContextParams(previous=1)})
    with pytest.raises(
        CheckpointError, match=r"with context: none, but the experiment has context: 1 before\. Give exp"
    ):
        state_of(published, tiny_model(sources, train="head").model, reading)
    places = {"video": sources["video"]}
    digests = {"video": checkpoint_digest(sources["video"])}
    with pytest.raises(CheckpointError, match=r"not the video checkpoint with which .*--params video_checkpoint="):
        check_origin(published, digests, places)  # type: ignore[arg-type]
    check_origin(published, {"video": "0123456789abcdef"}, places)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ('{"format": 2, "towers": 5}', r"its format is 2, .*this one reads 1\. Update trimood"),
        ('{"format": 1}', "not written by export_weights"),
        ("no JSON", "not written by export_weights"),
    ],
)
def test_a_header_of_a_later_version_or_of_nobody_is_refused(header: str, words: str, tmp_path: Path) -> None:
    save_file({"linear.weight": torch.zeros(7, 2)}, tmp_path / "model.safetensors", {"trimood": header})
    with pytest.raises(CheckpointError, match=words):
        read_published(str(tmp_path))


class Unsafe:
    def __reduce__(self) -> tuple:
        return (print, ("this was run",))


def test_files_that_are_no_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pytorch_model.bin"

    def refused(words: str) -> None:
        with pytest.raises(CheckpointError, match=words):
            read_published(str(tmp_path))

    refused(r"no weights here\. Expected: model\.safetensors .*The folder has: nothing")
    (tmp_path / "optimizer.pt").touch()
    refused(r"The folder has: optimizer\.pt")
    torch.save({"linear.weight": Unsafe()}, path)
    refused(r"pytorch_model\.bin: a pickle of [\d,]+ bytes that cannot .*other objects than tensors")
    path.write_bytes(pickle.dumps({"linear.weight": Unsafe()}, protocol=2))
    refused(r"pytorch_model\.bin: ")
    assert "this was run" not in capsys.readouterr().out
    torch.save({"model": {"linear.weight": torch.zeros(7, 2)}, "epoch": 3}, path)
    refused("not a state dict")
    torch.save({"linear.weight": torch.zeros(7, 2, dtype=torch.int8)}, path)
    refused(r"1 tensors have no floating-point numbers: linear\.weight")
    torch.save({"linear.weight": torch.full((7, 2), torch.nan)}, path)
    refused(r"1 tensors have inf or nan: linear\.weight")
    (tmp_path / "adapter_config.json").write_text("{}")
    refused(r"adapter_model\.safetensors is missing; adapters need both files")
    save_file({"x": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text("[]")
    refused(r"adapter_config\.json: an object is expected")
    with pytest.raises(CheckpointError, match=r"weights=nowhere: no such folder\. Give a folder with model"):
        read_published("nowhere")
    with pytest.raises(CheckpointError, match=r"a file\. Give the folder that contains model"):
        read_published(str(path))
