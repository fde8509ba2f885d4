import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DatasetError
from safetensors import SafetensorError
from upath import UPath

from support.learning_examples import settings
from trimood.config.parameters import CompareParams, SplitParams
from trimood.config.plan import ExampleFingerprints, Plan
from trimood.datasets import (
    GENERATED,
    CheckpointDataset,
    EmbeddingsDataset,
    FolderDataset,
    ModelDataset,
    WeightsDataset,
    WholeFileDataset,
)
from trimood.disk import DiskFull
from trimood.model.stored import AboutWeights, Embeddings, RunIdentity, TrainedWeights
from trimood.model.trained import weights_fingerprint
from trimood.tracked_datasets import MlflowArtifactsDataset, MlflowRunsDataset

MADE = {"made_by": {"pipeline": "demo"}}


def write_two(folder: Path) -> None:
    (folder / "clips").mkdir()
    (folder / "clips" / "one.txt").write_text("one")
    (folder / "two.txt").write_text("two")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name != GENERATED)


class FillFailed(Exception):
    pass


def fail_half_way(folder: Path) -> None:
    write_two(folder)
    raise FillFailed("no space")


def test_a_folder_is_saved_by_what_fills_it_and_loads_as_its_path(tmp_path: Path) -> None:
    dataset = FolderDataset(filepath=str(tmp_path / "raw" / "corpus"), metadata=MADE)
    assert not dataset.exists()
    dataset.save(write_two)
    assert dataset.exists()
    assert dataset.load() == tmp_path / "raw" / "corpus"
    assert names(dataset.load()) == ["clips", "clips/one.txt", "two.txt"]
    assert names(tmp_path / "raw") == ["corpus", "corpus/clips", "corpus/clips/one.txt", "corpus/two.txt"]


def test_a_folder_that_somebody_else_made_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "mine.txt").write_text("years of work")
    with pytest.raises(DatasetError, match=r"corpus: this folder was not made by trimood, so it is not replaced"):
        FolderDataset(filepath=str(tmp_path / "corpus"), metadata=MADE).save(write_two)
    assert names(tmp_path) == ["corpus", "corpus/mine.txt"]
    assert (tmp_path / "corpus" / "mine.txt").read_text() == "years of work"


def test_while_a_folder_is_filled_it_is_not_there(tmp_path: Path) -> None:
    dataset = FolderDataset(filepath=str(tmp_path / "corpus"), metadata=MADE)
    seen = []
    dataset.save(
        lambda folder: seen.append((dataset.exists(), folder.parent.parent == tmp_path, list(folder.iterdir())))
    )
    # On the same disk as the target, so that moving it there is one step.
    assert seen == [(False, True, [])]


def test_a_fill_that_raises_leaves_nothing(tmp_path: Path) -> None:
    dataset = FolderDataset(filepath=str(tmp_path / "corpus"), metadata=MADE)
    with pytest.raises(DatasetError, match="no space") as caught:
        dataset.save(fail_half_way)
    assert isinstance(caught.value.__cause__, FillFailed)
    assert names(tmp_path) == []


def test_a_fill_that_raises_leaves_an_earlier_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "earlier.txt").write_text("earlier")
    with pytest.raises(DatasetError):
        FolderDataset(filepath=str(tmp_path / "corpus"), metadata=MADE).save(fail_half_way)
    assert names(tmp_path) == ["corpus", "corpus/earlier.txt"]
    assert (tmp_path / "corpus" / "earlier.txt").read_text() == "earlier"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    dataset = FolderDataset(filepath=str(tmp_path / "corpus"), metadata=MADE)
    dataset.save(lambda folder: (folder / "earlier.txt").touch())
    dataset.save(write_two)
    assert names(tmp_path) == ["corpus", "corpus/clips", "corpus/clips/one.txt", "corpus/two.txt"]


def test_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"corpsu: no such folder\. Give the right one with --params"):
        FolderDataset(filepath=str(tmp_path / "corpsu")).load()
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="file: no such folder"):
        FolderDataset(filepath=str(tmp_path / "file")).load()


def test_a_folder_that_fills_itself_is_made_when_it_is_loaded(tmp_path: Path) -> None:
    dataset = FolderDataset(filepath=str(tmp_path / "feature" / "prepared"), create=True)
    assert not dataset.exists()
    assert dataset.load().is_dir()
    (dataset.load() / "part").touch()
    assert names(dataset.load()) == ["part"]  # loading again empties nothing


def test_a_folder_that_fills_itself_may_lie_on_another_file_system() -> None:
    dataset = FolderDataset(filepath="memory://feature/prepared", create=True)
    assert not dataset.exists()
    folder = dataset.load()
    assert isinstance(folder, UPath)
    (folder / "recipe" / "part").write_bytes(b"frames")
    assert dataset.exists()
    assert (dataset.load() / "recipe" / "part").read_bytes() == b"frames"
    assert "memory://feature/prepared" in str(dataset)
    folder.fs.rm("/feature", recursive=True)
    with pytest.raises(DatasetError, match="no such folder"):  # a corpus has to lie here
        FolderDataset(filepath="memory://feature/corpus").load()


def test_a_folder_below_home_may_be_written_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ecf").mkdir()
    assert FolderDataset(filepath="~/ecf").load() == tmp_path / "ecf"


def test_data_is_generated_only_where_the_catalog_says_so(tmp_path: Path) -> None:
    for dataset in (
        FolderDataset(filepath=str(tmp_path / "ecf")),
        CheckpointDataset(filepath=str(tmp_path / "LanguageBind"), source="LanguageBind"),
    ):
        with pytest.raises(DatasetError, match=r"nothing is generated here.*run without --env"):
            dataset.save(write_two)
    assert names(tmp_path) == []


def test_a_checkpoint_is_a_folder_where_there_is_one(tmp_path: Path) -> None:
    dataset = CheckpointDataset(filepath=str(tmp_path / "video"), source="video", metadata=MADE)
    assert not dataset.exists()
    dataset.save(write_two)
    assert dataset.exists()
    assert dataset.load() == str(tmp_path / "video")


def test_a_name_on_the_hub_is_handed_on_as_it_is(tmp_path: Path) -> None:
    name = "LanguageBind/LanguageBind_Video_FT"
    dataset = CheckpointDataset(filepath=str(tmp_path / name), source=name)
    assert dataset.load() == name
    assert not dataset.exists()


def weights(tensors: dict[str, torch.Tensor]) -> TrainedWeights:
    """Weights of a made-up training of exp3."""
    plan = Plan(title="fünf", settings=settings("head"), checkpoints={"video": "V"}, parameters={}, reader="pyav")
    examples = ExampleFingerprints(training="aa", validation="bb", test="cc")
    identity = RunIdentity(
        experiment="exp3", plan=plan, examples=examples, checkpoints={"video": "dd"}, recipe="ee", code="ff"
    )
    return TrainedWeights(
        AboutWeights(identity=identity, epoch="best", fingerprint=weights_fingerprint(tensors)), tensors
    )


def test_weights_come_back_to_the_bit_with_what_is_known_about_them(tmp_path: Path) -> None:
    dataset = WeightsDataset(filepath=str(tmp_path / "exp4" / "best.safetensors"))
    draws = torch.Generator().manual_seed(0)
    tensors = {
        "head.weight": torch.randn(7, 24, generator=draws).T,  # not contiguous
        "lora": torch.randn(3, generator=draws),
        "step": torch.tensor(5),
    }
    saved = weights(tensors)
    dataset.save(saved)
    loaded = dataset.load()
    assert loaded.about == saved.about
    assert set(loaded.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)
    assert torch.equal(loaded.head["weight"], tensors["head.weight"])
    assert names(tmp_path) == ["exp4", "exp4/best.safetensors"]


def fill_the_disk(tensors: object, path: Path, metadata: object) -> None:
    """As safetensors does on a full disk: part of the file, and an error of its own kind."""
    path.write_bytes(b"half")
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_weights_that_cannot_be_written_leave_the_earlier_ones_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = WeightsDataset(filepath=str(tmp_path / "best.safetensors"))
    dataset.save(weights({"a": torch.ones(2)}))
    shared = torch.zeros(4)
    with pytest.raises(DatasetError):
        dataset.save(weights({"a": shared, "b": shared}))
    monkeypatch.setattr("safetensors.torch.save_file", fill_the_disk)
    with pytest.raises(DatasetError) as caught:
        dataset.save(weights({"a": torch.zeros(2)}))
    assert isinstance(caught.value.__cause__, DiskFull)
    assert torch.equal(dataset.load().tensors["a"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


SPLIT = SplitParams(unit="conversation", validation_fraction=0.1, test_fraction=1 / 3, seed=42)


def stored_split(folder: Path) -> ModelDataset:
    return ModelDataset(
        filepath=str(folder / "split.json"),
        model="trimood.config.parameters.SplitParams",
        command="kedro run --pipelines=preprocessing",
    )


def test_an_instance_of_a_pydantic_class_comes_back_equal_from_readable_json(tmp_path: Path) -> None:
    stored = stored_split(tmp_path)
    assert not stored.exists()
    stored.save(SPLIT)
    assert stored.exists()
    assert stored.load() == SPLIT
    assert stored.preview().startswith('{\n  "unit": "conversation"')


def test_floats_come_back_from_json_to_the_bit(tmp_path: Path) -> None:
    stored = stored_split(tmp_path)
    generator = torch.Generator().manual_seed(0)
    for fraction in torch.rand(200, generator=generator, dtype=torch.float64).tolist():
        stored.save(SPLIT.model_copy(update={"test_fraction": fraction}))
        assert stored.load().test_fraction == fraction


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"unit": "conversation", "validation_fraction": 0.1, "seed": 42}', "test_fraction: Field required"),
        (SPLIT.model_dump_json().replace("unit", "by"), "unknown key 'by'"),
        ("{", "the file: Invalid JSON"),
    ],
)
def test_a_stored_file_that_does_not_fit_its_class_is_refused_with_the_command_to_run(
    tmp_path: Path, content: str, words: str
) -> None:
    stored = stored_split(tmp_path)
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(DatasetError) as refused:
        stored.load()
    message = str(refused.value)
    assert str(tmp_path / "split.json") in message
    assert words in message
    assert message.endswith("Write it again with: kedro run --pipelines=preprocessing")


def test_a_missing_file_is_refused_with_the_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"split\.json: no such file.*kedro run --pipelines=preprocessing"):
        stored_split(tmp_path).load()


def test_an_instance_of_another_class_is_not_saved(tmp_path: Path) -> None:
    other = CompareParams(baseline="exp1", resamples=100, confidence=0.95, seed=0, runs=())
    with pytest.raises(DatasetError, match="got CompareParams, expected SplitParams"):
        stored_split(tmp_path).save(other)
    assert not (tmp_path / "split.json").exists()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("trimood.config.parameters.SplitParam", "cannot be imported"),
        ("trimood.config.parametres.SplitParams", "cannot be imported"),
        ("trimood.config.parameters.flatten", "is not a pydantic class"),
    ],
)
def test_a_path_that_leads_to_no_pydantic_class_is_refused_when_the_catalog_is_made(model: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        ModelDataset(filepath="split.json", model=model, command="kedro run")


def test_weights_of_another_version_and_damaged_ones_are_refused_with_what_to_do(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "plain.safetensors", {"about": '{"settings": {}}'})
    with pytest.raises(DatasetError, match=r"another version of trimood .*identity.*Run the experiment again"):
        WeightsDataset(filepath=str(tmp_path / "plain.safetensors")).load()
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "plain.safetensors").read_bytes()[:20])
    with pytest.raises(DatasetError, match=r"not a whole file of weights"):
        WeightsDataset(filepath=str(tmp_path / "cut.safetensors")).load()


def test_embeddings_come_back_to_the_bit_also_of_a_split_without_utterances(tmp_path: Path) -> None:
    dataset = EmbeddingsDataset(filepath=str(tmp_path / "exp3" / "embeddings.safetensors"))
    rows = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    splits = {"validation": {"video": rows, "text": rows + 1}, "test": {"video": rows[:0], "text": rows[:0]}}
    saved = Embeddings("0a1b2c3d4e5f6071", {"validation": ["dia1utt1", "dia1utt2"], "test": []}, splits)
    dataset.save(saved)
    loaded = dataset.load()
    assert (loaded.weights, loaded.utterances) == (saved.weights, saved.utterances)
    for split, embeddings in splits.items():
        assert list(loaded.splits[split]) == ["video", "text"]
        assert all(np.array_equal(loaded.splits[split][name], array) for name, array in embeddings.items())
    (tmp_path / "exp3" / "embeddings.safetensors").write_bytes(b"half")
    with pytest.raises(DatasetError, match="not a whole file of embeddings"):
        dataset.load()


@pytest.mark.parametrize(
    "dataset",
    [
        FolderDataset(filepath="a", metadata={"kedro-viz": {"layer": "raw"}}),
        CheckpointDataset(filepath="a/b", source="a/b", metadata={"kedro-viz": {"layer": "raw"}}),
        WeightsDataset(filepath="a.safetensors", metadata={"kedro-viz": {"layer": "raw"}}),
        ModelDataset(
            filepath="a.json",
            model="trimood.config.parameters.SplitParams",
            command="kedro run",
            metadata={"kedro-viz": {"layer": "raw"}},
        ),
        MlflowRunsDataset(
            tracking_uri="sqlite:///a.db", path=".", experiment="a", metadata={"kedro-viz": {"layer": "raw"}}
        ),
        MlflowArtifactsDataset(tracking_uri="sqlite:///a.db", path=".", metadata={"kedro-viz": {"layer": "raw"}}),
    ],
    ids=lambda dataset: type(dataset).__name__,
)
def test_every_dataset_keeps_its_metadata_and_describes_itself(dataset: FolderDataset) -> None:
    assert dataset.metadata == {"kedro-viz": {"layer": "raw"}}
    assert json.dumps(dataset._describe())
    assert type(dataset).__name__ in repr(dataset)


def test_cells_that_a_spreadsheet_would_run_are_text_in_the_file_and_unchanged_when_loaded(tmp_path: Path) -> None:
    words = ["=1+1", "+1", "-2", "@A1", "\t=1", "\r=1", "'quoted'", "'=1", "plain", "a=b", "- a dash", "x@y"]
    table = pd.DataFrame({"utterance": [f"u{number}" for number in range(len(words))], "message": words, "size": -1.5})
    dataset = WholeFileDataset(filepath=str(tmp_path / "refused.csv"), of="trimood.datasets.SpreadsheetDataset")
    dataset.save(table)
    stored = pd.read_csv(tmp_path / "refused.csv")
    assert not stored["message"].str.match(r"[=+@\t\r-]").any()
    assert stored["size"].tolist() == [-1.5] * len(words)
    pd.testing.assert_frame_equal(dataset.load(), table, check_dtype=False)


def test_every_table_with_words_under_reporting_is_safe_in_a_spreadsheet() -> None:
    conf = Path(__file__).parents[1] / "conf" / "base"
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(conf.rglob("catalog.yml")))
    kinds = dict(re.findall(r"of: (\S+)\n\s+filepath: \S+/(\w+\.csv)", text))
    assert {"trimood.datasets.SpreadsheetDataset", "pandas.CSVDataset"} == set(kinds)
    plain = re.findall(r"of: pandas\.CSVDataset\n\s+filepath: \S+/(\w+\.csv)", text)
    assert set(plain) == {"modality_ablation.csv", "trials.csv"}  # numbers, and names of ours
