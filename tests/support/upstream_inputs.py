"""The inputs of upstream_reference.npz, by formula: the script that writes it and the test that reads it share them."""

import numpy as np

STRIDE = 7

SIZES = [(224, 224), (225, 225), (640, 361), (361, 640), (1280, 720), (97, 131), (64, 48), (301, 300), (1000, 230)]
"""Width, height: as trained, odd, landscape, portrait, scaled down, scaled up, one pixel off square, elongated."""

LENGTHS = [1, 7, 518, 1035, 1036, 1037, 1038, 1039, 1500, 3000]
"""Time steps: far below, half of, just below, equal to and above the target; 1037 and 1038 leave thirds empty."""

AUDIO = {
    "audio_sample_rate": 16000,
    "num_mel_bins": 112,
    "target_length": 1036,
    "audio_mean": -4.2677393,
    "audio_std": 4.5689974,
}


def pixels_input(width: int, height: int) -> np.ndarray:
    """A frame [height, width, 3] uint8 of slopes and sharp edges in which no two corners are alike."""
    y, x, channel = np.mgrid[0:height, 0:width, 0:3]
    return ((7 * x + 13 * y + 31 * channel + x * y // 11) % 256).astype(np.uint8)


def waveform_input(rate_hz: int) -> np.ndarray:
    """0.4 s of a rising tone on a constant offset, [sample] float32."""
    seconds = np.arange(int(0.4 * rate_hz)) / rate_hz
    return (0.1 + 0.4 * np.sin(2 * np.pi * (200 + 4000 * seconds) * seconds)).astype(np.float32)


def log_mel_input(length: int) -> np.ndarray:
    """Energies [length, mel] float32 in which each time step differs from every other."""
    step, mel = np.mgrid[0:length, 0 : AUDIO["num_mel_bins"]]
    return (-8 + step / 300 + np.sin(step * 0.7) + mel / 50).astype(np.float32)
