"""Measures how small prepared frames become without loss, and what reading them back then costs.

    python benchmarks/part_compression.py FOLDER [FOLDER …] [--clips 8] [--json OUT.json]

Takes clips of each folder, prepares their frames as in the published recipe ([8, 3, 224, 224] uint8, 1.2 MB), and
compresses them with codecs that are installed already: general ones of pyarrow and zlib, on the values as they are or
on differences to the pixel on the left, and codecs of pictures and video. Every result is read back and compared.
Prints medians of one thread: share of the size that remains, and CPU milliseconds to write and to read the frames of
one clip. "plain" reads what safetensors wrote, from the disk's cache.
"""

import argparse
import io
import json
import statistics
import time
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import av
import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from trimood.media.recipes import VideoRecipe
from trimood.media.video import read_frames

ROUNDS = 3

Result = TypeVar("Result")

Way = tuple[Callable[[np.ndarray], bytes], Callable[[bytes, tuple[int, ...]], np.ndarray]]
"""Functions from frames [frame, 3, height, width] to bytes, and back."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--clips", type=int, default=8, help="of each folder")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = {folder.name: measure(sorted(folder.rglob("*.mp4"))[: arguments.clips]) for folder in arguments.folders}
    for name, of in rows.items():
        print(f"\n{name}\n\n| codec | size | ms to write | ms to read |\n|---|--:|--:|--:|")
        for way, (share, write_ms, read_ms) in of.items():
            print(f"| {way} | {share:.2f} | {write_ms:.1f} | {read_ms:.2f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"date": time.strftime("%Y-%m-%d"), "rows": rows}, indent=1) + "\n")


def measure(clips: list[Path]) -> dict[str, tuple[float, float, float]]:
    """For each codec: share of the size, and milliseconds to write and to read, as medians over the clips."""
    frames = [read_frames(clip, VideoRecipe()).numpy() for clip in clips]
    measured = {"plain": [plain(of) for of in frames]}
    for name, (write, read) in WAYS.items():
        measured[name] = []
        for of in frames:
            write_ms, packed = fastest(lambda: write(of))  # noqa: B023
            read_ms, back = fastest(lambda: read(packed, of.shape))  # noqa: B023
            if not np.array_equal(back, of):
                raise SystemExit(f"{name} is not lossless")
            measured[name].append((len(packed) / of.nbytes, write_ms, read_ms))
    return {
        name: tuple(statistics.median(column) for column in zip(*of, strict=True))  # type: ignore[misc]
        for name, of in measured.items()
    }


def plain(frames: np.ndarray) -> tuple[float, float, float]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "part.safetensors"
        write_ms, _ = fastest(lambda: save_file({"frames": torch.from_numpy(frames)}, path))
        # load_file maps the file: the pages are read when the values are used.
        read_ms, _ = fastest(lambda: load_file(path)["frames"].clone())  # noqa: PLW0108
    return 1.0, write_ms, read_ms


def fastest(work: Callable[[], Result]) -> tuple[float, Result]:
    """CPU milliseconds of the fastest round, and its result."""
    spent = []
    for _ in range(ROUNDS):
        start = time.process_time()
        result = work()
        spent.append(1e3 * (time.process_time() - start))
    return min(spent), result


def pyarrows(name: str, level: int | None = None) -> Way:
    codec = pa.Codec(name, compression_level=level)
    return (
        lambda frames: codec.compress(np.ascontiguousarray(frames), asbytes=True),
        lambda packed, shape: np.frombuffer(
            codec.decompress(packed, decompressed_size=int(np.prod(shape))), np.uint8
        ).reshape(shape),
    )


def on_differences(way: Way) -> Way:
    """The codec on differences to the pixel on the left, modulo 256."""
    write, read = way

    def undo(packed: bytes, shape: tuple[int, ...]) -> np.ndarray:
        return np.cumsum(read(packed, shape), axis=-1, dtype=np.uint8)

    return lambda frames: write(np.diff(frames, axis=-1, prepend=np.uint8(0))), undo


def png() -> Way:
    def write(frames: np.ndarray) -> bytes:
        file = io.BytesIO()
        tall = frames.transpose(0, 2, 3, 1).reshape(-1, frames.shape[3], 3)
        Image.fromarray(np.ascontiguousarray(tall)).save(file, "PNG", compress_level=6)
        return file.getvalue()

    def read(packed: bytes, shape: tuple[int, ...]) -> np.ndarray:
        count, _, height, width = shape
        with Image.open(io.BytesIO(packed)) as picture:
            return np.ascontiguousarray(np.asarray(picture).reshape(count, height, width, 3).transpose(0, 3, 1, 2))

    return write, read


def video(codec: str, pixels: str, options: dict[str, str]) -> Way:
    """A video codec; pictures are RGB in planes, which nothing converts."""

    def write(frames: np.ndarray) -> bytes:
        file = io.BytesIO()
        with av.open(file, "w", format="matroska") as container:
            track = container.add_stream(codec, rate=1, options={**options, "threads": "1"})
            track.height, track.width = frames.shape[2:]
            track.pix_fmt, track.time_base = pixels, Fraction(1, 1)
            for picture in frames.transpose(0, 2, 3, 1):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                container.mux(track.encode(frame.reformat(format=pixels)))
            container.mux(track.encode(None))
        return file.getvalue()

    def read(packed: bytes, shape: tuple[int, ...]) -> np.ndarray:
        with av.open(io.BytesIO(packed)) as container:
            container.streams.video[0].thread_count = 1
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))

    return write, read


def zlibs(level: int) -> Way:
    return (
        lambda frames: zlib.compress(np.ascontiguousarray(frames), level),
        lambda packed, shape: np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape),
    )


WAYS: dict[str, Way] = {
    "lz4": pyarrows("lz4_raw"),
    "zstd 1": pyarrows("zstd", 1),
    "zstd 9": pyarrows("zstd", 9),
    "zlib 6": zlibs(6),
    "differences, lz4": on_differences(pyarrows("lz4_raw")),
    "differences, zstd 1": on_differences(pyarrows("zstd", 1)),
    "differences, zstd 9": on_differences(pyarrows("zstd", 9)),
    "PNG": png(),
    "FFV1": video("ffv1", "bgr0", {}),
    "H.264 RGB, lossless": video("libx264rgb", "rgb24", {"qp": "0", "preset": "ultrafast"}),
}


if __name__ == "__main__":
    main()
