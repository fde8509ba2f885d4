"""Measures how fast clips are prepared, compared with mere decoding and with upstream's processors.

    python benchmarks/clips.py [--clips FOLDER] [--count 12] [--repeats 5]

Without a folder, it generates clips like MELD's: 1280x720, 24 frames per second, 3 s, H.264 and AAC. Every round runs
all methods once on one core; the table has the median over rounds. Methods:

- floor: decodes all frames and the whole sound with PyAV, and discards them;
- trimood: prepares eight frames and the log-mel energies, and writes them to the cache;
- upstream: languagebind 0.1.0's frame and mel transforms, in the environment of `make reference`. Its sound is passed
  as decoded samples, because it cannot read sound from MP4, and nothing is written;
- one worker, two workers: trimood and decoding in worker processes, timed from the first finished clip to the last, so
  without their start. The gain of decoding with the second worker is the limit of the machine;
- read back: reads all bytes of prepared clips from the page cache (parts are memory-mapped, so reading is explicit).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch

from trimood.media.audio import read_waveform
from trimood.media.cache import load_part
from trimood.media.errors import ClipError
from trimood.media.execution import Execution, run_each
from trimood.media.parts import write_part
from trimood.media.recipes import Recipe

FLOOR = "floor: decoding alone"
HERE = Path(__file__).parent
UPSTREAM_PYTHON = HERE.parent / ".venv-reference/bin/python"
WIDTH, HEIGHT, FPS, SECONDS, RATE_HZ = 1280, 720, 24, 3, 48000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, help="a folder of MP4 files (default: generate clips)")
    parser.add_argument("--count", type=int, default=12, help="number of clips in each round")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.count < 2:
        parser.error("--count must be at least 2")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = made_clips(folder, arguments.count)
        if arguments.clips:
            clips = sorted(arguments.clips.rglob("*.mp4"))[: arguments.count]
        rows = measure(clips, folder, arguments.repeats)
    print_table(rows)


def measure(clips: list[Path], folder: Path, repeats: int) -> dict[str, list[float]]:
    """Clips per second of each method, one number per round."""
    recipe = Recipe()
    parts = [folder / "parts" / f"{number}.safetensors" for number in range(len(clips))]

    def prepare_all() -> None:
        shutil.rmtree(folder / "parts", ignore_errors=True)  # overwriting a file is slower than writing a new one
        for clip, part in zip(clips, parts, strict=True):
            write_part(clip, part, recipe)

    upstream = Upstream(clips, folder) if UPSTREAM_PYTHON.exists() else None
    ways: dict[str, Callable[[], float]] = {
        FLOOR: on_one_core(lambda: [decode(clip) for clip in clips]),
        "trimood": on_one_core(prepare_all),
        **({"upstream": upstream.seconds} if upstream else {}),
        **{
            f"{way}, {words}": partial(by_workers, count, function, clips, folder)
            for way, function in (("decoding", decode_only), ("trimood", prepare))
            for count, words in ((1, "one worker"), (2, "two workers"))
        },
        "read back": on_one_core(lambda: [tensor.clone() for part in parts for tensor in load_part(part).values()]),
    }
    rows: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(repeats + 1):
        for way, seconds in ways.items():
            taken = seconds()
            if number:  # the first round warms caches, imports and workers
                rows[way].append(len(clips) / taken)
    return rows


def print_table(rows: dict[str, list[float]]) -> None:
    print("\n| method | clips per second, median (lowest to highest) | relative to the floor |\n|---|--:|--:|")
    for way, rates in rows.items():
        span = f"{statistics.median(rates):,.1f} ({min(rates):,.1f} to {max(rates):,.1f})"
        print(f"| {way} | {span} | {ratio(rows, way, FLOOR):.2f} |")
    for over, under in (
        ("trimood", "upstream"),
        ("decoding, two workers", "decoding, one worker"),
        ("trimood, two workers", "trimood, one worker"),
    ):
        if under in rows:
            print(f"\n{over} / {under}: {ratio(rows, over, under):.2f}")
    print("\nRatios are medians over rounds.")


def ratio(rows: dict[str, list[float]], over: str, under: str) -> float:
    return statistics.median(a / b for a, b in zip(rows[over], rows[under], strict=True))


def made_clips(folder: Path, count: int) -> list[Path]:
    clips = []
    for number in range(count):
        generator = np.random.default_rng(number)
        clip = folder / f"dia1utt{number + 1}.mp4"
        with av.open(str(clip), "w") as container:
            video = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "medium"})
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            sound = container.add_stream("aac", rate=RATE_HZ, layout="stereo")
            coarse = generator.integers(0, 255, (HEIGHT // 40, WIDTH // 40, 3), dtype=np.uint8)
            scene = coarse.repeat(40, axis=0).repeat(40, axis=1).astype(np.int16)
            for time_step in range(FPS * SECONDS):
                moved = np.roll(scene, (time_step, 2 * time_step), axis=(0, 1))
                noisy = moved + generator.integers(-4, 5, moved.shape, dtype=np.int16)
                picture = av.VideoFrame.from_ndarray(noisy.clip(0, 255).astype(np.uint8), format="rgb24")
                container.mux(video.encode(picture))
            container.mux(video.encode(None))
            samples = generator.normal(0, 0.1, (2, RATE_HZ * SECONDS)).astype(np.float32)
            piece = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            piece.sample_rate = RATE_HZ
            container.mux([*sound.encode(piece), *sound.encode(None)])
        clips.append(clip)
    return clips


def decode(clip: Path) -> None:
    for kind in ("video", "audio"):
        with av.open(str(clip)) as container:
            track = getattr(container.streams, kind)[0]
            track.thread_type = "NONE"
            for _ in container.decode(track):
                pass


def on_one_core(work: Callable[[], object]) -> Callable[[], float]:
    """A function that returns the seconds of the work on one core."""

    def seconds() -> float:
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        try:
            start = time.perf_counter()
            work()
            return time.perf_counter() - start
        finally:
            os.sched_setaffinity(0, cores)

    return seconds


def by_workers(count: int, function: Callable[[tuple[Path, Path]], None], clips: list[Path], folder: Path) -> float:
    """The seconds for all clips with workers, extrapolated from the time between the first and the last finished clip.

    With two workers, the error is at most the time of one clip, as they may end at different times.
    """
    shutil.rmtree(folder / "others", ignore_errors=True)
    tasks = [(clip, folder / "others" / f"{number}.safetensors") for number, clip in enumerate(clips)]
    moments = []
    for _, result in run_each(function, tasks, Execution("processes", count), lambda task: task[0]):
        if isinstance(result, ClipError):
            raise result
        moments.append(time.perf_counter())
    return (moments[-1] - moments[0]) * len(clips) / (len(clips) - 1)


def decode_only(task: tuple[Path, Path]) -> None:
    decode(task[0])


def prepare(task: tuple[Path, Path]) -> None:
    write_part(*task, Recipe())


class Upstream:
    """upstream_clips.py in the reference environment: prints the seconds of one round for each input line."""

    def __init__(self, clips: list[Path], folder: Path) -> None:
        sounds = [folder / f"{clip.stem}.npy" for clip in clips]
        for clip, sound in zip(clips, sounds, strict=True):
            np.save(sound, read_waveform(clip, 16000).numpy())
        self._process = subprocess.Popen(
            [UPSTREAM_PYTHON, HERE / "upstream_clips.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._request = json.dumps([[str(c), str(s)] for c, s in zip(clips, sounds, strict=True)])

    def seconds(self) -> float:
        answers, requests = self._process.stdout, self._process.stdin
        if answers is None or requests is None:
            raise RuntimeError("upstream_clips.py was started without pipes")
        print(self._request, file=requests, flush=True)
        return float(answers.readline())


if __name__ == "__main__":
    sys.exit(main())
