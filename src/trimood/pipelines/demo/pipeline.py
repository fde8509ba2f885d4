"""The demo stage: from a seed to a corpus in ECF's layout, two tiny LanguageBind checkpoints, and a text encoder."""

from kedro.pipeline import Pipeline

from trimood.config.parameters import DemoParams
from trimood.pipelines import Stage, as_node

STAGE = Stage(parameters={"demo": DemoParams})


def create_pipeline() -> Pipeline:
    """Generates the raw data that users otherwise provide: clips, annotations and pre-trained towers."""
    from trimood.pipelines.demo.nodes import make_checkpoints, make_corpus, make_text_encoder

    return Pipeline(
        [
            as_node(make_corpus, "params:demo", "corpus"),
            as_node(make_checkpoints, "params:demo", ["video_checkpoint", "audio_checkpoint"]),
            as_node(make_text_encoder, "params:demo", "text_tower"),
        ],
        namespace="demo",
        prefix_datasets_with_namespace=False,
        parameters={"params:demo"},
    )
