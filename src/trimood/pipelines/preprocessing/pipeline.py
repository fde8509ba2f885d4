"""The preprocessing stage, with a separate node for each split: no node reads both training and test clips."""

from kedro.pipeline import Node, Pipeline

from trimood.pipelines import Stage, as_node

STAGE = Stage()

SPLITS = ("training", "validation", "held_out", "official_test")


def create_pipeline() -> Pipeline:
    """Prepares the clips of all splits; parts are cached by content, so a second experiment decodes nothing.

    The test set is chosen after its clips are prepared. All `prepare_…` nodes thus run before any training, and a bad
    test clip is found early.
    """
    from trimood.pipelines.preprocessing.nodes import choose_test, draw_contact_sheet, list_excluded

    return Pipeline(
        [
            _read_recipe(),
            *map(_prepare, SPLITS),
            as_node(list_excluded, [f"excluded_{split}_clips" for split in SPLITS], "excluded_clips"),
            as_node(choose_test, ["official_test_examples", "held_out_examples"], "test_examples"),
            as_node(draw_contact_sheet, ["training_examples", "prepared_clips"], "contact_sheet"),
        ],
        namespace="preprocessing",
        prefix_datasets_with_namespace=False,
    )


def create_submission_pipeline() -> Pipeline:
    """Prepares the clips of the whole official test file, including utterances without a label."""
    return Pipeline(
        [_read_recipe(), _prepare("submission")], namespace="preprocessing", prefix_datasets_with_namespace=False
    )


def _read_recipe() -> Node:
    from trimood.pipelines.preprocessing.nodes import read_recipe

    return as_node(read_recipe, ["video_checkpoint", "audio_checkpoint", "params:data.clips"], "recipe")


def _prepare(split: str) -> Node:
    from trimood.pipelines.preprocessing.nodes import prepare_split

    return Node(
        prepare_split,
        [f"{split}_utterances", "corpus", "recipe", "prepared_clips", "clip_digests", "params:data.clips"],
        [f"{split}_examples", f"excluded_{split}_clips"],
        name=f"prepare_{split}",
    )
