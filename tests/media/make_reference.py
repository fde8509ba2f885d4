"""Writes upstream_reference.npz: what LanguageBind's own transforms make of frames and sounds that a formula gives.

Run in the reference environment (`make reference`): languagebind 0.1.0, transformers 4.44.2, torch 2.11, torchvision
0.26, pytorchvideo 0.1.5. The package's `__init__` does not import there, so its two processing modules are loaded from
their files. Only every STRIDE-th pixel is kept: the file stays small.
"""

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.upstream_inputs import AUDIO, LENGTHS, SIZES, STRIDE, log_mel_input, pixels_input, waveform_input


def load_upstream(name: str) -> types.ModuleType:
    """One processing module of the installed package, run without the package's `__init__`."""
    # pytorchvideo 0.1.5 imports this module for one function of colour jitter, which nothing here uses.
    gone = types.ModuleType("torchvision.transforms.functional_tensor")
    sys.modules.setdefault("torchvision.transforms.functional_tensor", gone)
    package = importlib.util.find_spec("languagebind")
    assert package is not None
    assert package.origin is not None
    spec = importlib.util.spec_from_file_location(name, Path(package.origin).parent / name / f"processing_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def video_reference(module: types.ModuleType) -> dict[str, np.ndarray]:
    """The frame of each size after upstream's transform, its normalisation undone: pixels 0..255 as float32."""
    config = types.SimpleNamespace(vision_config=types.SimpleNamespace(video_decode_backend="decord"))
    transform = module.get_video_transform(config)
    transform.transforms[-1].p = 0.0  # the flip that upstream makes at inference too
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (module.OPENAI_DATASET_MEAN, module.OPENAI_DATASET_STD)
    )
    arrays = {}
    for width, height in SIZES:
        frame = torch.from_numpy(pixels_input(width, height)).permute(2, 0, 1)[:, None]  # [3, 1, height, width]
        pixels = (transform(frame)[:, 0] * std + mean) * 255
        arrays[f"video_{width}x{height}"] = pixels[:, ::STRIDE, ::STRIDE].numpy()
    return arrays


def audio_reference(module: types.ModuleType) -> dict[str, np.ndarray]:
    """Log-mel energies of a sound at each rate, and images of each length with the first start of each third."""
    transform = module.AudioTransform(types.SimpleNamespace(**AUDIO))
    module.np = types.SimpleNamespace(
        array_split=np.array_split, random=types.SimpleNamespace(choice=lambda part: part[0])
    )
    arrays = {}
    for rate_hz in (16000, 24400, 44100, 48000):
        waveform = torch.from_numpy(waveform_input(rate_hz))[None]
        if rate_hz != AUDIO["audio_sample_rate"]:
            waveform = module.torchaudio.functional.resample(waveform, rate_hz, AUDIO["audio_sample_rate"])
        arrays[f"log_mel_{rate_hz}"] = transform.get_mel(waveform.clone()).numpy()
    for length in LENGTHS:
        transform.get_mel = lambda energies: energies
        image = transform.waveform2melspec(torch.from_numpy(log_mel_input(length)))
        arrays[f"image_{length}"] = image[:, :: STRIDE * 4, ::STRIDE].numpy()
    return arrays


if __name__ == "__main__":
    target = Path(__file__).with_name("upstream_reference.npz")
    arrays = video_reference(load_upstream("video")) | audio_reference(load_upstream("audio"))
    np.savez_compressed(target, **arrays)
    sys.stdout.write(f"{target}: {len(arrays)} arrays, {target.stat().st_size / 1000:.0f} kB\n")
