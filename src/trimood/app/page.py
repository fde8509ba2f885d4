"""The layout of the page: inputs on the left, answers of one or two models on the right."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trimood.app.answers import Answer, answer
from trimood.app.choices import Example, ModelsInMemory
from trimood.emotions import EMOTIONS

_NONE = "–"
_SIDES = 2

CSS = """
.note {min-height: 3em}
#clip video {max-height: 280px}
"""


def build_page(
    memory: ModelsInMemory, choices: Callable[[], Mapping[str, str]], examples: Sequence[Example], no_model: str
) -> Any:
    """A `gradio.Blocks`. `choices`: name on the page → argument of `load_trained`; `no_model`: said without any."""
    import gradio as gr

    with gr.Blocks(title="trimood", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown("# trimood\nWhich of seven emotions do the words, the face and the voice of an utterance express?")
        empty = gr.Markdown(no_model, visible=False, elem_id="no-model")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                clip = gr.Video(label="Clip", sources=["upload", "webcam"], include_audio=True, elem_id="clip")
                words = gr.Textbox(label="Words", placeholder="What is said", lines=2, elem_id="words")
                with gr.Row():
                    first = gr.Dropdown(list(choices().items()), label="Model", elem_id="first")
                    second = gr.Dropdown(_or_none(choices()), value=_NONE, label="Compare with", elem_id="second")
                button = gr.Button("Predict", variant="primary", elem_id="predict")
                in_memory = gr.Markdown(_loaded(memory), elem_id="in-memory")
                if examples:
                    gr.Examples(
                        [[clip, text] for clip, text, _ in examples],
                        [clip, words],
                        example_labels=[f"{emotion}: {text}" for _, text, emotion in examples],
                        label="Clips that were not used for training, and their emotion",
                        api_visibility="private",
                    )
            with gr.Column(scale=3, min_width=320), gr.Row():
                sides = [_side(gr, number) for number in range(_SIDES)]

        def predict(clip: str | None, words: str | None, first: str | None, second: str | None) -> list[Any]:
            names = [name for name in (first, second) if name and name != _NONE]
            found = choices()
            shown = {uri: name for name, uri in found.items()}
            answers = answer(memory, Path(clip) if clip else None, words or "", names) if found else [Answer(no_model)]
            titles = [shown.get(name, "") for name in names] or [""]
            return [*_updates(gr, titles, answers), _loaded(memory)]

        outputs = [part for side in sides for part in side]
        for event, shown_in_api in ((button.click, "public"), (words.submit, "private")):
            event(
                predict,
                [clip, words, first, second],
                [*outputs, in_memory],
                api_name="predict",
                api_visibility=shown_in_api,
                concurrency_id="predict",  # one at a time, as all requests share the models in memory
                concurrency_limit=1,
            )

        def offer() -> list[Any]:
            found = choices()
            return [
                gr.update(choices=list(found.items()), value=next(iter(found.values()), None)),
                gr.update(choices=_or_none(found), value=_NONE),
                gr.update(visible=not found),
                gr.update(interactive=bool(found)),
            ]

        page.load(offer, None, [first, second, empty, button], api_visibility="private")
    return page


def _or_none(found: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(_NONE, _NONE), *found.items()]


def _side(gr: Any, number: int) -> list[Any]:
    """The components of one model's column, in the order of `_updates`."""
    with gr.Column(min_width=280, visible=number == 0, elem_id=f"side-{number}") as column:
        title = gr.Markdown(elem_id=f"title-{number}")
        note = gr.Markdown("The answer appears here.", elem_id=f"note-{number}", elem_classes="note")
        label = gr.Label(label="Calibrated probabilities", num_top_classes=len(EMOTIONS), elem_id=f"label-{number}")
        frames = gr.Plot(show_label=False, format="png", visible=False, buttons=[], elem_id=f"frames-{number}")
        sound = gr.Plot(show_label=False, format="png", visible=False, buttons=[], elem_id=f"sound-{number}")
    return [column, title, note, label, frames, sound]


def _updates(gr: Any, titles: Sequence[str], answers: Sequence[Answer]) -> list[Any]:
    updates: list[Any] = []
    for number in range(_SIDES):
        is_shown = number < len(answers)
        one = answers[number] if is_shown else Answer("")
        updates += [
            gr.update(visible=is_shown),
            f"### {titles[number]}" if is_shown and titles[number] else "",
            one.note,
            one.probabilities,
            gr.update(value=one.frames, visible=one.frames is not None),
            gr.update(value=one.log_mel, visible=one.log_mel is not None),
        ]
    return updates


def _loaded(memory: ModelsInMemory) -> str:
    return f"In memory: {', '.join(memory.names) or 'no model yet; the first answer takes longer'}"
