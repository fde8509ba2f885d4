"""The import stage on a tiny model: its predictions are those of the training, and its identity is its own."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from kedro.pipeline import Pipeline

from support.learning_examples import (
    CLIPS,
    EMBEDDINGS,
    TRAINING,
    example_table,
    settings,
    tiny_identity,
    tiny_model,
    tiny_plan,
)
from trimood.config.experiment_settings import CROSS_ENTROPY, ExperimentParams
from trimood.config.plan import Plan
from trimood.learning.experiment import identify_run
from trimood.model.checkpoints import checkpoint_digest
from trimood.model.config import CheckpointError
from trimood.model.stored import AboutWeights, TrainedWeights, write_weights
from trimood.model.trained import trained_state, weights_fingerprint
from trimood.model.upstream import facts_of, write_published
from trimood.pipeline_registry import register_pipelines
from trimood.pipelines.experiment.nodes import embed, predict
from trimood.pipelines.experiment.nodes import plan as plan_training
from trimood.pipelines.import_weights.nodes import CannotImport, identify, read_weights, store
from trimood.pipelines.import_weights.nodes import plan as plan_import


def exported(sources, folder: Path, head: str = "trained") -> tuple[Plan, TrainedWeights]:
    """A folder of LoRA weights, the plan of their training, and the weights as the training has stored them."""
    model = tiny_model(sources, train="lora", head=head).model
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator) * parameter.requires_grad)
    plan = tiny_plan(sources, train="lora", head=head)
    digests = {source: checkpoint_digest(place, source) for source, place in plan.checkpoints.items()}
    facts = facts_of("exp4", plan.settings, digests)
    folder.mkdir()
    write_published(folder, model, settings(train="lora", head=head), facts)
    tensors = {name: tensor.clone() for name, tensor in trained_state(model).items()}
    identity = identify_run("exp4", plan, training=example_table(7), **split_tables())
    about = AboutWeights(identity=identity, epoch="best", fingerprint=weights_fingerprint(tensors))
    return plan, TrainedWeights(about, tensors)


def split_tables() -> dict[str, pd.DataFrame]:
    whole = example_table(21).assign(conversation_id=1, utterance_id=range(21), speaker="Ross")
    return {"validation": whole.iloc[:14], "test": whole.iloc[14:]}


def evaluate(weights: TrainedWeights, prepared_clips: Path, cache: Path) -> pd.DataFrame:
    tables = tuple(split_tables().values())
    embeddings = embed(weights.about.identity, weights, *tables, prepared_clips, cache, EMBEDDINGS)
    return predict(embeddings, weights, *tables)


@pytest.mark.slow
def test_imported_weights_predict_to_the_bit_what_the_training_predicted(
    sources, prepared_clips, tmp_path: Path
) -> None:
    plan, trained = exported(sources, tmp_path / "exported")
    tensors, origin = read_weights(plan, str(tmp_path / "exported"))
    identity = identify("exp4", plan, origin, *split_tables().values())
    weights, history = store(identity, tensors, tmp_path)
    assert history["epochs"] == []
    assert weights.about.fingerprint == trained.about.fingerprint
    (tmp_path / "cache").mkdir()
    found, wanted = (evaluate(of, prepared_clips, tmp_path / "cache") for of in (weights, trained))
    pd.testing.assert_frame_equal(found, wanted, check_exact=True)
    assert found["p_joy"].nunique() == 7  # the examples of seven emotions


OWN = ExperimentParams(modalities=("text", "video"), train="lora", head="frozen")


def shared(sources) -> tuple[Any, ...]:
    adapters = settings(train="lora").lora
    assert adapters is not None
    return TRAINING, adapters, CROSS_ENTROPY, CLIPS, sources["video"], sources["audio"], "not read"


def planned(sources, models: Path, weights: str = "not read before") -> Plan:
    return plan_import(
        "exp4", {"exp4": OWN.model_dump(mode="json", exclude_unset=True)}, *shared(sources), weights, models
    )


def test_an_import_is_planned_as_a_training_of_its_experiment(sources, tmp_path: Path) -> None:
    plan = planned(sources, tmp_path)
    assert plan == plan_training(OWN, *shared(sources))
    assert plan == tiny_plan(sources, train="lora", head="frozen")


def test_an_imported_run_has_an_identity_of_its_own_whatever_the_folder(sources, tmp_path: Path) -> None:
    plan, trained = exported(sources, tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "other")
    tensors, origin = read_weights(plan, str(tmp_path / "other"))
    identity = identify("exp4", plan, origin, *split_tables().values())
    assert identity.imported is not None
    assert (identity.imported.head, identity.examples.training) == ("given", "")
    elsewhere = identity.model_copy(
        update={"imported": identity.imported.model_copy(update={"source": "organisation/a"})}
    )
    others = identity.model_copy(update={"imported": identity.imported.model_copy(update={"digest": "0" * 16})})
    trained_here = identify_run("exp4", plan, training=example_table(0), **split_tables())
    assert identity.digest == elsewhere.digest
    assert len({identity.digest, others.digest, trained.about.identity.digest, trained_here.digest}) == 4
    with pytest.raises(CheckpointError, match="the stored weights are of another run than the stored plan"):
        store(identity, tensors, tmp_path)[0].check_identity(trained_here)


def test_the_identity_of_a_training_does_not_know_of_imports(sources) -> None:
    """So that what was trained before is finished still."""
    assert "imported" not in tiny_identity(tiny_plan(sources))._decisive()


def test_an_absent_head_is_said(sources, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from safetensors.torch import load_file, save_file

    plan, _ = exported(sources, tmp_path / "exported", head="frozen")
    path = tmp_path / "exported" / "adapter_model.safetensors"
    save_file({name: of for name, of in load_file(path).items() if "linear" not in name}, path)
    with caplog.at_level(logging.WARNING, logger="trimood"):
        _, origin = read_weights(plan, str(tmp_path / "exported"))
    assert origin.head == "seeded"
    assert "has no head: it has its initial values for training.seed 1" in caplog.text


def test_a_trained_experiment_is_never_replaced_and_an_imported_one_is(
    sources, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan, trained = exported(sources, tmp_path / "exported")
    tensors, origin = read_weights(plan, str(tmp_path / "exported"))
    imported = store(identify("exp4", plan, origin, *split_tables().values()), tensors, tmp_path)[0]
    path = tmp_path / "exp4" / "best.safetensors"
    write_weights(path, imported)
    with caplog.at_level(logging.INFO, logger="trimood"):
        planned(sources, tmp_path)
    assert f"the weights of exp4 imported from {tmp_path / 'exported'} are replaced" in caplog.text
    for content in (trained, None):
        if content:
            write_weights(path, content)
        else:
            path.write_bytes(b"of another version")
        why = "exp4 has been trained here" if content else "cannot be read, so it may be a training of exp4"
        with pytest.raises(CannotImport, match=rf"{why}.*Move the folder .* away, or .*data_root="):
            planned(sources, tmp_path)
        with pytest.raises(CannotImport, match=why):  # a command may start after the plan
            store(imported.about.identity, tensors, tmp_path)


def test_no_weights_and_those_of_another_checkpoint_are_refused(sources, tmp_path: Path) -> None:
    plan, _ = exported(sources, tmp_path / "exported")
    with pytest.raises(CannotImport, match=r"weights: nothing is given.*experiment=exp4,weights=FOLDER"):
        planned(sources, tmp_path, weights="")
    moved = plan.model_copy(update={"checkpoints": {"video": sources["audio"]}})
    with pytest.raises(CheckpointError, match=r"not the video checkpoint with which .*exported was trained"):
        read_weights(moved, str(tmp_path / "exported"))


def test_weights_are_read_before_a_clip_is_decoded_and_no_training_example_is_made() -> None:
    pipeline: Pipeline = register_pipelines()["import_weights"]
    order = [node.name for node in pipeline.nodes]
    prepared = [position for position, name in enumerate(order) if ".prepare_" in name]
    assert len(prepared) == 3
    assert order.index("import_weights.read_weights") < min(prepared)
    assert not {"training_examples", "excluded_training_clips"} & pipeline.all_outputs()
    # What a check has read is kept for the node after the checks: no other check reads it.
    assert [node.name for node in pipeline.nodes if "import_weights.tensors" in node.inputs] == ["import_weights.store"]
    ours, experiment = (
        {name.partition(".")[2] for name in register_pipelines()[of].all_outputs() if name.startswith(of)}
        for of in ("import_weights", "exp4")
    )
    assert ours - experiment == {"tensors", "origin"}
    assert experiment - ours == {"last_weights", "learning_curves"}
