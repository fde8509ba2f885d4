"""The classifier has the published sizes, combines embeddings as the experiments did, and trains what it says."""

import copy
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from support.learning_examples import lora
from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO, load_whole, made_checkpoint
from trimood.config.experiment_settings import HeadParams
from trimood.emotions import Modality
from trimood.model.adapters import AdapterError, is_adapter
from trimood.model.classifier import (
    CLIP_MEAN,
    CLIP_STD,
    EmotionClassifier,
    Source,
    Train,
    build_classifier,
    load_towers,
    normalise_frames,
)
from trimood.model.config import FULL_SIZE_AUDIO, FULL_SIZE_VIDEO, CheckpointError, LanguageBindConfig
from trimood.model.heads import classify
from trimood.model.trained import load_trained_state, parameter_counts, trained_state

ATTENTION = ("k_proj", "v_proj", "q_proj", "out_proj")
ATTENTION_AND_MLP = (*ATTENTION, "fc1", "fc2")
TWO: tuple[Modality, ...] = ("text", "video")
THREE: tuple[Modality, ...] = ("text", "video", "audio")
TINY: dict[Source, LanguageBindConfig] = {"video": TINY_VIDEO, "audio": TINY_AUDIO}
FULL: dict[Source, LanguageBindConfig] = {"video": FULL_SIZE_VIDEO, "audio": FULL_SIZE_AUDIO}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modalities", "train", "head", "targets", "expected"),
    [
        pytest.param(TWO, "everything", "trained", (), (528_634_624, 528_634_624), id="exp1"),
        pytest.param(THREE, "everything", "trained", (), (832_950_272, 832_950_272), id="exp2"),
        pytest.param(TWO, "head", "trained", (), (10_752, 528_634_624), id="exp3"),
        pytest.param(TWO, "lora", "frozen", ATTENTION, (7_968_512, 536_105_728), id="exp4"),
        pytest.param(TWO, "lora", "frozen", ATTENTION_AND_MLP, (13_375_232, 541_512_448), id="exp5"),
        pytest.param(THREE, "lora", "frozen", ATTENTION_AND_MLP, (20_725_504, 852_905_984), id="exp6"),
        pytest.param(TWO, "lora", "trained", ATTENTION, (7_968_512 + 10_752, 536_105_728), id="exp4_head"),
        pytest.param(TWO, "lora", "trained", ATTENTION_AND_MLP, (13_375_232 + 10_752, 541_512_448), id="exp5_head"),
        pytest.param(THREE, "lora", "trained", ATTENTION_AND_MLP, (20_725_504 + 16_128, 852_905_984), id="exp6_head"),
    ],
)
def test_published_experiments_have_their_parameter_counts_to_the_unit(
    modalities: tuple[Modality, ...],
    train: Train,
    head: str,
    targets: tuple[str, ...],
    expected: tuple[int, int],
) -> None:
    with torch.device("meta"):
        classifier = build_classifier(
            modalities, FULL, train, head=HeadParams.model_validate(head), lora=lora(*targets) if targets else None
        )
    counts = parameter_counts(classifier)
    assert counts.pop("all") == expected
    assert set(counts) == {*modalities, "head"}
    assert (sum(count for count, _ in counts.values()), sum(count for _, count in counts.values())) == expected
    assert counts["head"] == ((0 if head == "frozen" else 5_376 * len(modalities)), 5_376 * len(modalities))
    assert all(parameter.is_meta for parameter in classifier.parameters())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Source, Path]:
    return {
        "video": made_checkpoint(tmp_path_factory.mktemp("video"), TINY_VIDEO, seed=1),
        "audio": made_checkpoint(tmp_path_factory.mktemp("audio"), TINY_AUDIO, seed=2, file="safetensors"),
    }


def loaded(
    folders: dict[Source, Path],
    *,
    modalities: tuple[Modality, ...] = THREE,
    train: Train = "everything",
    head: str = "trained",
    targets: tuple[str, ...] = (),
    dropout: float = 0.0,
    seed: int = 42,
) -> EmotionClassifier:
    """Built on meta and filled from the tiny checkpoints, as a full-size model is."""
    adapters = lora(*targets, r=4, alpha=4, dropout=dropout) if targets else None
    with torch.device("meta"):
        classifier = build_classifier(
            modalities, TINY, train, head=HeadParams.model_validate(head), lora=adapters, seed=seed
        )
    load_towers(classifier, folders)
    return classifier


def batch(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((3, 77), 513)
    ids[:, 0] = 512
    ids[:, 1:5] = torch.randint(0, 512, (3, 4), generator=generator)
    return {
        "input_ids": ids,
        "frames": torch.randint(0, 256, (3, 2, 3, 16, 16), generator=generator, dtype=torch.uint8),
        "mel": torch.randn(3, 3, 16, 24, generator=generator),
        "labels": torch.tensor([0, 6, 3]),
    }


def test_logits_are_the_head_on_scaled_unit_embeddings_in_the_order_video_audio_text(
    folders: dict[Source, Path],
) -> None:
    classifier, inputs = loaded(folders), batch()
    video, audio = load_whole(folders["video"]), load_whole(folders["audio"])
    pixels = normalise_frames(inputs["frames"])
    expected = torch.cat(
        [
            F.normalize(video.embed_vision(pixels), dim=-1) * math.exp(video.logit_scale),
            F.normalize(audio.embed_vision(inputs["mel"]), dim=-1) * math.exp(audio.logit_scale),
            F.normalize(audio.embed_text(inputs["input_ids"]), dim=-1),
        ],
        dim=-1,
    )
    assert video.logit_scale != audio.logit_scale
    output = classifier(**inputs)
    torch.testing.assert_close(output["logits"], expected @ classifier.head.weight.T)
    torch.testing.assert_close(output["loss"], F.cross_entropy(output["logits"], inputs["labels"]))
    assert output["logits"].shape == (3, 7)


def test_logits_are_float32_and_nearly_the_same_under_bf16(folders: dict[Source, Path]) -> None:
    classifier, inputs = loaded(folders), batch()
    exact = classifier(**inputs)["logits"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = classifier(**inputs)["logits"]
    assert rounded.dtype == exact.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.3, rtol=0.05)


def test_frames_are_normalised_as_clip_was() -> None:
    frames = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1, 1).expand(1, 2, 3, 4, 4)
    pixels = normalise_frames(frames)
    assert pixels.shape == (1, 3, 2, 4, 4)
    assert pixels[0, 0, :, 0, 0].tolist() == pytest.approx([-0.48145466 / 0.26862954, (1 - 0.48145466) / 0.26862954])
    assert pixels[0, 2, 1, 0, 0].item() == pytest.approx((1 - 0.40821073) / 0.27577711)


def test_normalising_keeps_its_input_and_gives_the_bits_of_the_formula() -> None:
    frames = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 16, 16).expand(1, 2, 3, 16, 16).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    before = frames.clone()
    assert torch.equal(normalise_frames(frames), ((frames / 255 - mean) / std).transpose(1, 2))
    assert torch.equal(frames, before)


def test_every_module_changes_its_mode_with_the_classifier() -> None:
    classifier = build_classifier(TWO, TINY, "lora", lora=lora("q_proj", dropout=0.1))
    assert {module.training for module in classifier.modules()} == {True}
    assert {module.training for module in classifier.eval().modules()} == {False}
    assert {module.training for module in classifier.train().train().modules()} == {True}


@pytest.mark.parametrize(
    ("modalities", "given", "source", "parts"),
    [
        (TWO, TINY, "video", {"video": {"text", "vision"}}),
        (("audio", "text"), TINY, "audio", {"audio": {"text", "vision"}}),
        (THREE, TINY, "audio", {"video": {"vision"}, "audio": {"text", "vision"}}),
        (("video", "audio"), TINY, None, {"video": {"vision"}, "audio": {"vision"}}),
        (("text",), TINY, "video", {"video": {"text"}}),
        (("text",), {"audio": TINY_AUDIO}, "audio", {"audio": {"text"}}),
        (("video",), {"video": TINY_VIDEO}, None, {"video": {"vision"}}),
    ],
)
def test_there_is_one_text_tower_and_only_what_is_used_is_built(
    modalities: tuple[Modality, ...],
    given: dict[Source, LanguageBindConfig],
    source: Source | None,
    parts: dict[str, set[str]],
) -> None:
    classifier = build_classifier(modalities, given, "everything")
    assert classifier.text_source == source
    built = {
        name: {part for part in ("text", "vision") if hasattr(tower, f"{part}_model")}
        for name, tower in classifier.towers.items()
    }
    assert built == parts
    assert classifier.head.weight.shape == (7, 12 * len(modalities))
    inputs = {"text": "input_ids", "video": "frames", "audio": "mel"}
    examples = batch()
    assert (
        classifier(**{inputs[modality]: examples[inputs[modality]] for modality in modalities})["logits"]
        .isfinite()
        .all()
    )


def test_a_missing_input_and_missing_or_contradictory_settings_are_refused() -> None:
    classifier = build_classifier(TWO, TINY, "everything")
    with pytest.raises(ValueError, match="a classifier of video, text needs `frames` and got none"):
        classifier(input_ids=batch()["input_ids"])
    with pytest.raises(ValueError, match="at least one modality"):
        build_classifier((), TINY, "everything")
    with pytest.raises(ValueError, match="the modality audio needs the audio checkpoint"):
        build_classifier(THREE, {"video": TINY_VIDEO}, "everything")
    with pytest.raises(ValueError, match="trains nothing"):
        build_classifier(TWO, TINY, "head", head=HeadParams(trained=False))
    with pytest.raises(ValueError, match="if, and only if, train is 'lora'"):
        build_classifier(TWO, TINY, "lora")
    with pytest.raises(ValueError, match="if, and only if, train is 'lora'"):
        build_classifier(TWO, TINY, "head", lora=lora("q_proj"))
    with pytest.raises(AdapterError, match="'head' matches no linear layer"):
        build_classifier(TWO, TINY, "lora", lora=lora("head"))


def changed_by_a_step(classifier: EmotionClassifier) -> set[str]:
    """Names of the tensors, buffers included, that one optimiser step changes by as much as a bit."""
    before = copy.deepcopy(classifier.state_dict())
    optimiser = torch.optim.AdamW((p for p in classifier.parameters() if p.requires_grad), lr=0.01, weight_decay=0.0)
    classifier.train()
    classifier(**batch())["loss"].backward()
    optimiser.step()
    return {name for name, tensor in classifier.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("head", ["trained", "frozen"])
def test_a_step_of_full_training_changes_every_tower_parameter(folders: dict[Source, Path], head: str) -> None:
    classifier = loaded(folders, head=head)
    expected = {name for name, _ in classifier.named_parameters()} - ({"head.weight"} if head == "frozen" else set())
    # A bias of the keys shifts all scores of a query alike, which the softmax undoes: its gradient is rounding.
    unmoved = {name for name in expected if name.endswith("k_proj.bias")}
    assert len(unmoved) == 2 * 2 + 2 + 2
    assert changed_by_a_step(classifier) | unmoved == expected


def test_a_step_of_head_training_changes_only_the_head(folders: dict[Source, Path]) -> None:
    assert changed_by_a_step(loaded(folders, train="head")) == {"head.weight"}


@pytest.mark.parametrize("head", ["trained", "frozen"])
def test_a_step_of_lora_changes_adapters_and_biases_and_a_frozen_head_stays_to_the_bit(
    folders: dict[Source, Path], head: str
) -> None:
    classifier = loaded(folders, train="lora", head=head, targets=ATTENTION_AND_MLP)
    changed = changed_by_a_step(classifier)
    names = {name for name, _ in classifier.named_parameters()}
    # A starts beside B = 0 and so has no gradient in the first step.
    expected = {name for name in names if ".lora_B." in name or name.endswith(".bias")}
    unmoved = {name for name in expected if "k_proj" in name and name.endswith(".bias")}
    assert changed | unmoved == expected | ({"head.weight"} if head == "trained" else set())
    assert ("head.weight" in changed) == (head == "trained")
    again = changed_by_a_step(classifier)
    assert {name for name in names if ".lora_A." in name} <= again


@pytest.mark.slow
def test_head_and_adapters_start_alike_for_a_seed_wherever_they_are_built(folders: dict[Source, Path]) -> None:
    torch.manual_seed(1)
    first = loaded(folders, train="lora", head="frozen", targets=ATTENTION)
    torch.manual_seed(2)
    built = build_classifier(THREE, TINY, "lora", lora=lora(*ATTENTION, r=4, alpha=4))
    other = loaded(folders, train="lora", targets=ATTENTION, seed=43)
    without_adapters = loaded(folders, train="head")
    new = {name for name, _ in first.named_parameters() if is_adapter(name) or name == "head.weight"}
    state, built_state, other_state = first.state_dict(), built.state_dict(), other.state_dict()
    assert len(new) > 10
    assert all(torch.equal(state[name], built_state[name]) for name in new)
    assert not any(torch.equal(state[name], other_state[name]) for name in new if ".lora_B." not in name)
    assert torch.equal(first.head.weight, without_adapters.head.weight)


@pytest.mark.parametrize(
    ("train", "head", "targets"),
    [
        ("everything", "trained", ()),
        ("head", "trained", ()),
        ("lora", "frozen", ATTENTION),
        ("lora", "trained", ATTENTION),
    ],
)
def test_reloading_what_was_trained_gives_the_same_logits_to_the_bit(
    folders: dict[Source, Path], train: Train, head: str, targets: tuple[str, ...]
) -> None:
    classifier = loaded(folders, train=train, head=head, targets=targets)
    fresh = classifier.eval()(**batch(1))["logits"].detach()
    changed_by_a_step(classifier)
    expected = classifier.eval()(**batch(1))["logits"].detach()
    assert not torch.equal(fresh, expected)
    state = copy.deepcopy(trained_state(classifier))
    assert "head.weight" in state
    assert len(state) == sum(p.requires_grad for p in classifier.parameters()) + (head == "frozen")
    again = loaded(folders, train=train, head=head, targets=targets, seed=7)
    load_trained_state(again, state)
    assert torch.equal(again.eval()(**batch(1))["logits"], expected)


def test_a_trained_state_of_another_classifier_is_refused_and_changes_nothing(folders: dict[Source, Path]) -> None:
    classifier = loaded(folders, train="lora", targets=ATTENTION)
    state = trained_state(classifier)
    before = copy.deepcopy(classifier.state_dict())
    shifted = {name: tensor + 1 for name, tensor in state.items()}
    head = shifted.pop("head.weight")
    with pytest.raises(CheckpointError, match=r"1 missing: head\.weight; 1 unexpected: other"):
        load_trained_state(classifier, {**shifted, "other": head})
    with pytest.raises(CheckpointError, match=r"1 of another shape: head\.weight \(\[7, 35\] in the file, \[7, 36\]"):
        load_trained_state(classifier, {**shifted, "head.weight": head[:, :35]})
    with pytest.raises(CheckpointError, match=r"weights are damaged: 1 tensors have inf or nan: head\.weight"):
        load_trained_state(classifier, {**shifted, "head.weight": head / 0})
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())


def test_a_checkpoint_must_fit_whole_even_if_a_part_of_it_is_used(folders: dict[Source, Path], tmp_path: Path) -> None:
    folder = made_checkpoint(tmp_path, TINY_VIDEO, seed=1)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    del weights["text_projection.weight"]
    torch.save(weights, folder / "pytorch_model.bin")
    classifier = build_classifier(THREE, TINY, "head")
    with pytest.raises(CheckpointError, match=r"1 missing: text_projection\.weight"):
        load_towers(classifier, {**folders, "video": folder})


def test_a_checkpoint_of_other_sizes_or_none_is_refused(folders: dict[Source, Path]) -> None:
    classifier = build_classifier(THREE, TINY, "head")
    with pytest.raises(CheckpointError, match="does not describe the video towers that were built"):
        load_towers(classifier, {**folders, "video": folders["audio"]})
    with pytest.raises(CheckpointError, match="no checkpoint folder for audio; got: video"):
        load_towers(classifier, {"video": folders["video"]})


def test_lora_dropout_acts_in_training_only(folders: dict[Source, Path]) -> None:
    classifier = loaded(folders, train="lora", targets=ATTENTION, dropout=0.5)
    changed_by_a_step(classifier)
    classifier.train()
    assert not torch.equal(classifier(**batch())["logits"], classifier(**batch())["logits"])
    classifier.eval()
    assert torch.equal(classifier(**batch())["logits"], classifier(**batch())["logits"])


EVERYWHERE = torch.ones(3, 3, dtype=torch.bool)


def gradients(classifier: EmotionClassifier) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in classifier.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("modalities", "train", "head", "targets"),
    [
        pytest.param(TWO, "everything", "trained", (), id="exp1"),
        pytest.param(THREE, "everything", "trained", (), id="exp2"),
        pytest.param(TWO, "head", "trained", (), id="exp3"),
        pytest.param(TWO, "lora", "frozen", ATTENTION, id="exp4"),
        pytest.param(TWO, "lora", "frozen", ATTENTION_AND_MLP, id="exp5"),
        pytest.param(THREE, "lora", "frozen", ATTENTION_AND_MLP, id="exp6"),
    ],
)
def test_where_nothing_is_absent_a_published_experiment_is_the_same_to_the_bit_with_and_without_the_mask(
    folders: dict[Source, Path], modalities: tuple[Modality, ...], train: Train, head: str, targets
) -> None:
    def step(present: Tensor | None) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        classifier = loaded(folders, modalities=modalities, train=train, head=head, targets=targets).train()
        trained = [p for p in classifier.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trained, lr=0.01)
        output = classifier(**batch(), present=present)
        output["loss"].backward()
        found = gradients(classifier)
        optimiser.step()
        return output, found, classifier.state_dict()

    for without, with_mask in zip(step(None), step(EVERYWHERE), strict=True):
        assert without.keys() == with_mask.keys()
        assert len(without) >= 1
        assert all(torch.equal(without[name], with_mask[name]) for name in without)


@pytest.mark.parametrize("column", range(3), ids=["video", "audio", "text"])
def test_the_input_of_an_absent_modality_has_no_influence_and_gets_no_gradient(
    folders: dict[Source, Path], column: int
) -> None:
    present = EVERYWHERE.clone()
    present[1, column] = False
    name = ("frames", "mel", "input_ids")[column]

    def learn(other: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        inputs = batch()
        inputs[name][1] = other
        inputs["mel"].requires_grad_()
        classifier = loaded(folders)
        output = classifier(**inputs, present=present)
        output["loss"].backward()
        return output, gradients(classifier), inputs["mel"].grad

    given = batch()[name]
    output, learnt, mel_gradient = learn(given[1])
    other_output, other_learnt, _ = learn(torch.full_like(given[1], torch.nan) if name == "mel" else given[2])
    assert all(torch.equal(output[key], other_output[key]) for key in output)
    assert all(torch.equal(learnt[key], other_learnt[key]) for key in learnt)
    # The others of the batch are what they are without the gap, and the gap makes a difference where it is.
    whole = loaded(folders)(**batch())["logits"]
    assert torch.equal(output["logits"][[0, 2]], whole[[0, 2]])
    assert not torch.equal(output["logits"][1], whole[1])
    assert mel_gradient.any(dim=(1, 2, 3)).tolist() == present[:, 1].tolist()


def test_the_embedding_of_an_absent_modality_is_exactly_zero(folders: dict[Source, Path]) -> None:
    present = torch.tensor([[True, True, False], [False, True, True], [True, False, True]])
    classifier, inputs = loaded(folders), batch()
    del inputs["labels"]
    embeddings = classifier.embed(**inputs, present=present)
    assert list(embeddings) == ["video", "audio", "text"]
    for column, embedding in enumerate(embeddings.values()):
        assert embedding.any(dim=1).tolist() == present[:, column].tolist()
    assert torch.equal(classify(embeddings, classifier.head), classifier(**inputs, present=present)["logits"])


def test_an_utterance_of_which_nothing_is_there_has_zero_logits_and_teaches_nothing(
    folders: dict[Source, Path],
) -> None:
    classifier = loaded(folders, modalities=TWO)
    present = torch.tensor([[False, True, False]] * 3)  # sound, which is not this classifier's
    output = classifier(**batch(), present=present)
    assert not output["logits"].any()
    assert output["loss"].item() == pytest.approx(math.log(7))
    output["loss"].backward()
    learnt = gradients(classifier)
    assert len(learnt) == len(list(classifier.parameters()))
    assert not any(gradient.any() for gradient in learnt.values())


@pytest.mark.parametrize(
    "present", [torch.ones(3, 2, dtype=torch.bool), torch.ones(3, 3), torch.ones(3, dtype=torch.bool)]
)
def test_a_mask_of_another_shape_or_type_is_refused(present: Tensor) -> None:
    classifier = build_classifier(TWO, TINY, "everything")
    with pytest.raises(ValueError, match=r"it must be \[utterance, 3\] bool, in the order video, audio, text"):
        classifier(**batch(), present=present)
