"""The stage check_data: from the corpus folder alone to a manifest and a report."""

from kedro.pipeline import Pipeline

from trimood.pipelines import Stage, as_node

STAGE = Stage(tracked="reports")


def create_pipeline() -> Pipeline:
    """Checks the corpus; needs neither checkpoints nor outputs of other stages."""
    from trimood.corpus.corpus_files import read_annotations
    from trimood.corpus.data_summary import summarise
    from trimood.pipelines.check_data.nodes import (
        assemble_manifest,
        assign_splits,
        draw_report,
        measure_leakage,
        probe_clips,
    )

    return Pipeline(
        [
            as_node(read_annotations, ["corpus", "meld", "params:data.corpus"], ["annotated", "annotation_files"]),
            as_node(assign_splits, ["annotated", "params:data.split"], ["assigned_splits", "split_state"]),
            as_node(
                probe_clips, ["annotated", "corpus", "clip_facts", "clip_digests", "params:data.clips"], "probed_clips"
            ),
            as_node(assemble_manifest, ["annotated", "assigned_splits", "probed_clips"], "manifest"),
            as_node(measure_leakage, ["manifest", "params:data.split"], "leakage"),
            as_node(summarise, ["manifest", "annotation_files", "split_state", "leakage"], "data_report"),
            as_node(
                draw_report,
                ["manifest", "data_report", "corpus", "params:data.clips"],
                ["data_report_page", "class_balance", "clip_durations", "problem_clips"],
            ),
        ],
        namespace="check_data",
        prefix_datasets_with_namespace=False,
    )
