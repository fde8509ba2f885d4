"""The upstream part of clips.py, for the reference environment: reads the clips of each input line, prints seconds."""

import json
import os
import sys
import time
import types
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from make_reference import load_upstream

from support.upstream_inputs import AUDIO


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    video, audio = load_upstream("video"), load_upstream("audio")
    config = types.SimpleNamespace(vision_config=types.SimpleNamespace(video_decode_backend="decord"))
    frames, mel = video.get_video_transform(config), audio.AudioTransform(types.SimpleNamespace(**AUDIO))
    for line in sys.stdin:
        start = time.perf_counter()
        for clip, sound in json.loads(line):
            video.load_and_transform_video(clip, frames, video_decode_backend="decord")
            mel((torch.from_numpy(np.load(sound))[None], AUDIO["audio_sample_rate"]))
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
