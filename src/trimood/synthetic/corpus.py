"""The generated corpus as a folder in ECF 2.0's layout, with real H.264 video and AAC sound."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np

from trimood.synthetic.dialogues import (
    IN_TEST,
    IN_TRAINING,
    Conversation,
    Line,
    official_test_record,
    train_record,
    write_dialogues,
)
from trimood.synthetic.faces import draw_clip
from trimood.synthetic.voices import speak

FRAMES_PER_SECOND = 8
SIZE_PIXELS = 96
SOUNDS = ((16000, "mono"), (16000, "mono"), (44100, "stereo"))  # both occur in real clips; stereo decodes slower


def write_clip(line: Line, folder: Path) -> None:
    """Writes the line's clip into `folder`, under ECF's name; the same line gives the same content."""
    rng = np.random.default_rng(line.seed)
    sample_rate_hz, layout = SOUNDS[int(rng.integers(len(SOUNDS)))]
    speaker, duration = line.speaker, line.duration_seconds
    frames = draw_clip(line.expression, speaker.look, round(duration * FRAMES_PER_SECOND), SIZE_PIXELS, rng)
    voice = speak(line.prosody, speaker.usual_pitch_hz, duration, sample_rate_hz, rng)
    with av.open(str(folder / line.clip_name), "w", options={"movflags": "+faststart"}) as container:
        # One thread: with more, x264's output depends on the machine.
        options = {"preset": "ultrafast", "crf": "30", "threads": "1"}
        video = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=options)
        video.width, video.height, video.pix_fmt = SIZE_PIXELS, SIZE_PIXELS, "yuv420p"
        audio = container.add_stream(
            "aac", rate=sample_rate_hz, layout=layout, options={"b": "48k", "aac_coder": "fast"}
        )
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(_to_channels(voice, layout), format="fltp", layout=layout)
        sound.sample_rate, sound.pts = sample_rate_hz, 0
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


def _to_channels(voice: np.ndarray, layout: str) -> np.ndarray:
    """[channel, sample]; in stereo the voice is a little to the left."""
    channels = (1.0,) if layout == "mono" else (1.0, 0.7)
    return np.ascontiguousarray(np.outer(channels, voice).astype(np.float32))


def write_corpus(
    folder: Path, seed: int, train_count: int = IN_TRAINING, test_count: int = IN_TEST, threads: int = 2
) -> None:
    """Fills `folder` with Subtask_2_train.json, Subtask_2_test.json and the clips of both in train/ and test/."""
    train, test = write_dialogues(seed, train_count, test_count)
    _write_split(folder, "train", train, train_record, threads)
    _write_split(folder, "test", test, official_test_record, threads)


def _write_split(
    folder: Path,
    split: str,
    conversations: list[Conversation],
    as_record: Callable[[Conversation], dict[str, object]],
    threads: int,
) -> None:
    clips = folder / split
    clips.mkdir()
    records = [as_record(conversation) for conversation in conversations]
    # As in ECF's files: indented by four, with unescaped curly quotes.
    content = json.dumps(records, indent=4, ensure_ascii=False)
    (folder / f"Subtask_2_{split}.json").write_text(content, encoding="utf-8")
    lines = [line for conversation in conversations for line in conversation]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(write_clip, lines, [clips] * len(lines)):
            pass
