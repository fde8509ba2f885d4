"""Clips of the demo's utterances: real H.264 video with AAC sound, as users have them."""

from pathlib import Path

import av
import numpy as np

from trimood.pipelines.demo.dialogues import Utterance
from trimood.pipelines.demo.faces import draw_clip
from trimood.pipelines.demo.voices import speak

FRAMES_PER_SECOND = 8
SIZE_PIXELS = 96
SOUNDS = ((16000, "mono"), (16000, "mono"), (44100, "stereo"))  # both kinds that users meet; the second costs more


def write_clip(utterance: Utterance, folder: Path) -> None:
    """Performs the utterance into `folder`, under ECF's name; the same utterance gives the same content."""
    rng = np.random.default_rng(utterance.seed)
    sample_rate_hz, layout = SOUNDS[int(rng.integers(len(SOUNDS)))]
    speaker, duration = utterance.speaker, utterance.duration_seconds
    frames = draw_clip(utterance.expression, speaker.look, round(duration * FRAMES_PER_SECOND), SIZE_PIXELS, rng)
    voice = speak(utterance.prosody, speaker.usual_pitch_hz, duration, sample_rate_hz, rng)
    with av.open(str(folder / utterance.clip_name), "w", options={"movflags": "+faststart"}) as container:
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
    """[channel, sample]; in stereo the voice stands a little to the left."""
    channels = (1.0,) if layout == "mono" else (1.0, 0.7)
    return np.ascontiguousarray(np.outer(channels, voice).astype(np.float32))
