"""The layout of the page: models above; one utterance with two answers, or many with a table and a timeline."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from trimood.app.answers import Answer, Question, answer, true_emotion
from trimood.app.choices import Choice, Example, ModelsInMemory
from trimood.app.many import MOST_UTTERANCES, answer_many
from trimood.emotions import EMOTIONS
from trimood.reports.html import in_markdown

_NONE = "–"
_SIDES = 2

READABLE = {
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_dark": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_background_fill_hover_dark": "*primary_800",
    "body_text_color_subdued": "*neutral_600",
}
"""Colours of the theme with a contrast of at least 4.5 (WCAG 2.2, 1.4.3), which Gradio's own do not have."""

_HOUR_SECONDS = 60 * 60
_CACHE = (_HOUR_SECONDS, 24 * _HOUR_SECONDS)
"""Gradio looks every hour for uploads and downloads that are older than a day, and deletes them."""

CSS = """
.note {min-height: 3em}
#clip video, #player video {max-height: 280px}
#player video {width: 100%; background: black}
:is(#first, #second) input {text-overflow: ellipsis; margin-right: 2rem}
#models table, .why table {display: block; overflow-x: auto}
#models :is(td, th), .why :is(td, th) {word-break: normal; overflow-wrap: normal}
#models td:last-child {min-width: 16rem}
"""

HEAD = """
<script>
document.addEventListener("click", (event) => {
    const bar = event.target.closest(".timeline a");
    const video = document.querySelector("#player video");
    if (!bar) return;
    event.preventDefault();
    if (video) { video.currentTime = Number(bar.dataset.second) + 0.01; video.play(); }
});
</script>
"""
"""A click on a bar of the timeline plays the video from there."""

INTRODUCTION = """# trimood
Which of seven emotions do the words, the face and the voice of an utterance express?

Give a clip, words, or both, and press Predict. The first answer of a model takes longer, because its checkpoints are
loaded: some seconds for the demo, up to a minute for LanguageBind's. Everything stays on this machine."""

OF_MANY = f"""Choose up to {MOST_UTTERANCES} clips, and if you like a CSV or JSON table with their words, or subtitles
beside them (`a.mp4` and `a.srt`). Of a video with subtitles, each cue is an utterance, and the answer is a timeline.
With a column `emotion` in the table, the answer is scored."""


def build_page(
    memory: ModelsInMemory,
    choices: Callable[[], Sequence[Choice]],
    examples: Sequence[Example],
    no_model: str,
    answers: Path,
) -> gr.Blocks:
    """The page.

    `choices`: the models that can be chosen, the best first; `no_model`: said without any; `answers`: a folder for
    files to download, outside of Gradio's own, which gets copies of them.
    """
    with gr.Blocks(title="trimood", analytics_enabled=False, fill_width=True, delete_cache=_CACHE) as page:
        gr.Markdown(INTRODUCTION)
        empty = gr.Markdown(no_model, visible=False, elem_id="no-model")
        offered = choices()
        with gr.Row():
            first = gr.Dropdown(
                _labels(offered), label="Model, the best on validation first", elem_id="first", min_width=320
            )
            second = gr.Dropdown(_or_none(offered), value=_NONE, label="Compare with", elem_id="second", min_width=320)
        with gr.Accordion("The models", open=False, elem_id="models"):
            listed = gr.Markdown(_listed(offered))
        in_memory = gr.Markdown(_loaded(memory), elem_id="in-memory")
        with gr.Tab("One utterance"):
            conversation, one = _one(memory, choices, examples, no_model, (first, second, in_memory))
        with gr.Tab("Many, or a video with subtitles"):
            many = _many(memory, (first, in_memory), answers)

        def offer() -> list[Any]:
            found = choices()
            return [
                gr.update(choices=_labels(found), value=found[0].argument if found else None),
                gr.update(choices=_or_none(found), value=_NONE),
                _listed(found),
                gr.update(visible=not found),
                gr.update(interactive=bool(found)),
                gr.update(interactive=bool(found)),
            ]

        def show_conversation(*chosen: str | None) -> Any:
            return gr.update(visible=any(not of.context.is_none for of in choices() if of.argument in chosen))

        outputs = [first, second, listed, empty, one, many]
        page.load(offer, None, outputs, api_visibility="private")
        gr.on([first.change, second.change], show_conversation, [first, second], conversation, api_visibility="private")
    return page


def _one(
    memory: ModelsInMemory,
    choices: Callable[[], Sequence[Choice]],
    examples: Sequence[Example],
    no_model: str,
    shared: tuple[gr.Dropdown, gr.Dropdown, gr.Markdown],
) -> tuple[gr.Accordion, gr.Button]:
    """The inputs and answers for one utterance; returns the fields of its conversation, and the button."""
    first, second, in_memory = shared
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            clip = gr.Video(label="Clip", sources=["upload", "webcam"], include_audio=True, elem_id="clip")
            words = gr.Textbox(label="Words", placeholder="What is said", lines=2, elem_id="words")
            with gr.Accordion("Conversation", visible=False, elem_id="conversation") as conversation:
                speaker = gr.Textbox(label="Who says it", placeholder="Name", elem_id="speaker")
                hint = "Name: words, a line for each utterance"
                before = gr.Textbox(label="What was said before", placeholder=hint, lines=2, elem_id="before")
                after = gr.Textbox(label="What is said after", placeholder=hint, lines=2, elem_id="after")
            button = gr.Button("Predict", variant="primary", elem_id="predict")
            inputs = [clip, words, speaker, before, after]
            if examples:
                gr.Examples(
                    [[of.clip, of.text, of.speaker, of.before, of.after] for of in examples],
                    inputs,
                    example_labels=[f"{of.emotion}: {of.text}" for of in examples],
                    label="Clips that were not used for training, and their emotion",
                    api_visibility="private",
                )
        with gr.Column(scale=3, min_width=320), gr.Row():
            sides = [_side(number) for number in range(_SIDES)]

    def predict(
        first: str | None,
        second: str | None,
        clip: str | None,
        words: str | None,
        speaker: str | None,
        before: str | None,
        after: str | None,
    ) -> list[Any]:
        names = [name for name in (first, second) if name and name != _NONE]
        found = {of.argument: of.name for of in choices()}
        path = Path(clip) if clip else None
        true = true_emotion(examples, path, words or "")
        question = Question(path, words or "", speaker or "", before or "", after or "", true)
        answers = answer(memory, question, names) if found else [Answer(no_model)]
        titles = [found.get(name, "") for name in names] or [""]
        return [*_updates(titles, answers), _loaded(memory)]

    outputs = [part for side in sides for part in side]
    for event, shown_in_api in ((button.click, "public"), (words.submit, "private")):
        event(_loading(memory), [first, second], in_memory, queue=False, api_visibility="private").then(
            predict,
            [first, second, *inputs],
            [*outputs, in_memory],
            api_name="predict",
            api_visibility=shown_in_api,
            show_progress_on=sides[0][2:4],  # not on what says that a model is being loaded
            concurrency_id="predict",  # one at a time, as all requests share the models in memory
            concurrency_limit=1,
        )
    return conversation, button


def _many(memory: ModelsInMemory, shared: tuple[gr.Dropdown, gr.Markdown], answers: Path) -> gr.Button:
    """The inputs and answers for many utterances; returns the button."""
    first, in_memory = shared
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            gr.Markdown(OF_MANY)
            files = gr.File(label="Clips, words and subtitles", file_count="multiple", height=180, elem_id="files")
            folder = gr.UploadButton("Choose a folder", file_count="directory", elem_id="folder")
            button = gr.Button("Predict all", variant="primary", elem_id="predict-all")
            downloads = gr.File(label="Downloads", visible=False, interactive=False, elem_id="downloads")
        with gr.Column(scale=3, min_width=320):
            note = gr.Markdown("The answers appear here.", elem_id="note-many", elem_classes="note")
            player = gr.HTML(visible=False, elem_id="player")
            timeline = gr.HTML(visible=False, elem_id="timeline")
            table = gr.Dataframe(visible=False, interactive=False, wrap=True, elem_id="table", max_height=600)
    folder.upload(lambda chosen: chosen, folder, files, api_visibility="private")

    def predict(name: str | None, given: list[str] | None, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008 - as Gradio finds it
        def tell(done: int, of: int) -> None:
            progress((done, of), desc="predicting", unit="utterances")

        for earlier in answers.iterdir():  # Gradio has copied its files
            shutil.rmtree(earlier)
        own = Path(tempfile.mkdtemp(dir=answers))
        found = answer_many(memory, name or "", [Path(path) for path in given or ()], own, tell)
        return [
            found.note,
            gr.update(value=_player(found.video), visible=found.video is not None),
            gr.update(value=found.timeline, visible=bool(found.timeline)),
            gr.update(value=found.table, visible=found.table is not None),
            gr.update(value=[str(file) for file in found.files] or None, visible=bool(found.files)),
            _loaded(memory),
        ]

    button.click(_loading(memory), [first], in_memory, queue=False, api_visibility="private").then(
        predict,
        [first, files],
        [note, player, timeline, table, downloads, in_memory],
        api_name="predict_many",
        show_progress_on=note,
        concurrency_id="predict",
        concurrency_limit=1,
    )
    return button


def _player(video: Path | None) -> str:
    """A player of an uploaded file. That of Gradio would run ffmpeg, without limits, on what a browser may not play."""
    return f'<video controls preload="metadata" src="gradio_api/file={quote(str(video))}"></video>' if video else ""


def _labels(found: Sequence[Choice]) -> list[tuple[str, str]]:
    return [(of.label, of.argument) for of in found]


def _or_none(found: Sequence[Choice]) -> list[tuple[str, str]]:
    return [(_NONE, _NONE), *_labels(found)]


def _listed(found: Sequence[Choice]) -> str:
    """A Markdown table of the models, and how the first was chosen."""
    rows = ["| model | validation macro F1 | test macro F1 | trained |", "|---|--:|--:|---|"]
    for of in found:
        scores = ("–" if score is None else f"{score:.3f}" for score in (of.validation, of.test))
        rows.append(f"| {in_markdown(of.name)} | {' | '.join(scores)} | {in_markdown(of.trained)} |")
    chosen = (
        "The best on the validation split stands first: the test split must not choose. Models that were validated on "
        "other utterances, and imported ones, come last, in no order of quality."
    )
    return "\n".join([*rows, "", chosen])


def _side(number: int) -> list[Any]:
    """The components of one model's column, in the order of `_updates`."""
    with gr.Column(min_width=280, visible=number == 0, elem_id=f"side-{number}") as column:
        title = gr.Markdown(elem_id=f"title-{number}")
        note = gr.Markdown("The answer appears here.", elem_id=f"note-{number}", elem_classes="note")
        label = gr.Label(
            label="Calibrated probabilities", num_top_classes=len(EMOTIONS), visible=False, elem_id=f"label-{number}"
        )
        why = gr.Markdown(elem_id=f"why-{number}", elem_classes="why")
        frames = gr.Plot(show_label=False, format="png", visible=False, buttons=[], elem_id=f"frames-{number}")
        sound = gr.Plot(show_label=False, format="png", visible=False, buttons=[], elem_id=f"sound-{number}")
    return [column, title, note, label, why, frames, sound]


def _updates(titles: Sequence[str], answers: Sequence[Answer]) -> list[Any]:
    updates: list[Any] = []
    for number in range(_SIDES):
        is_shown = number < len(answers)
        one = answers[number] if is_shown else Answer("")
        updates += [
            gr.update(visible=is_shown),
            f"## {titles[number]}" if is_shown and titles[number] else "",
            one.note,
            gr.update(value=one.probabilities, visible=one.probabilities is not None),
            one.why,
            gr.update(value=one.frames, visible=one.frames is not None),
            gr.update(value=one.log_mel, visible=one.log_mel is not None),
        ]
    return updates


def _loading(memory: ModelsInMemory) -> Callable[..., str]:
    def loading(*names: str | None) -> str:
        missing = [name for name in names if name and name != _NONE and name not in memory.names]
        return f"Loading {', '.join(missing)}: this takes a while …" if missing else _loaded(memory)

    return loading


def _loaded(memory: ModelsInMemory) -> str:
    return f"In memory: {', '.join(memory.names) or 'no model yet; the first answer takes longer'}"
