"""Speech for fake microphones, and a measure of how well it arrived."""

from __future__ import annotations

import subprocess
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pystoi import stoi
from scipy.signal import fftconvolve, resample_poly

Samples = NDArray[np.float64]

# STOI of the same recording after Opus at these losses is above 0.9; of the other recording it is about 0.3.
SAME_SPEECH = 0.75
OTHER_SPEECH = 0.5

MICROPHONE_HZ = 48_000
MEASURE_HZ = 16_000


def speak(text: str, voice: str, path: Path) -> Path:
    """Have espeak-ng read a text into a 48 kHz mono WAV file that a fake microphone can loop."""
    raw = path.with_suffix(".raw.wav")
    subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", str(raw), text], check=True, capture_output=True)
    samples, rate = read_wav(raw)
    at_microphone = resample_poly(samples, MICROPHONE_HZ, rate)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(MICROPHONE_HZ)
        out.writeframes((np.clip(at_microphone, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def read_wav(path: Path) -> tuple[Samples, int]:
    """Samples (N,) in -1…1 and the rate in Hz of a 16-bit mono file."""
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return pcm.astype(np.float64) / 32768, file.getframerate()


@dataclass(frozen=True)
class Match:
    """How a recording compares with what was sent: intelligibility (STOI, 0–1) at the best alignment."""

    stoi: float
    level_rms: float


def match(received: Samples, received_hz: int, sent: Path) -> Match:
    """Align the recording with the looped original and rate it by STOI (Taal et al. 2011), as pystoi computes it.

    Alignment and rating are made on 3 s pieces, since a receiver's jitter buffer stretches time; the median counts.
    """
    original, rate = read_wav(sent)
    loop = resample_poly(original, MEASURE_HZ, rate)
    heard = resample_poly(received, MEASURE_HZ, received_hz)
    piece = 3 * MEASURE_HZ
    looped = np.concatenate([loop, loop[: 2 * piece]]) if loop.size >= 2 * piece else np.tile(loop, 2 + 2 * piece // loop.size)
    scores = []
    for start in range(0, heard.size - piece + 1, piece):
        segment = heard[start : start + piece]
        if np.sqrt(np.mean(segment**2)) < 1e-4:
            scores.append(0.0)
            continue
        correlation = fftconvolve(looped, segment[::-1], mode="valid")
        energy = np.sqrt(np.maximum(fftconvolve(looped**2, np.ones(piece), mode="valid"), 1e-9))
        at = int(np.argmax(correlation / energy))
        scores.append(float(stoi(looped[at : at + piece], segment, MEASURE_HZ, extended=False)))
    return Match(stoi=float(np.median(scores)) if scores else 0.0, level_rms=float(np.sqrt(np.mean(heard**2))) if heard.size else 0.0)
