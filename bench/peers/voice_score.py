"""Codes speech with libopus, plays it as each frame arrived, and rates what is heard; for bench/voice_quality.py, in `.venv-voice`.

stdin: JSON {"speech": path, "frame_ms", "bitrate", "fec_loss_percent", "runs": [{"name", "fec": bool, "played": [...]}], "visqol": bool}.
`played` says for each frame what the receiver had when its time came: "frame", "next" (only the frame after it, for in-band FEC) or "none".
stdout: JSON {name: {"pesq": float, "visqol": float|null, "concealed_s": float, "kbit_s": float}}, PESQ as the mean over 8 s pieces.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
import numpy as np
import opuslib_next
from opuslib_next.api import ctl, encoder
from opuslib_next.api import decoder as raw_decoder
from pesq import pesq
from scipy.signal import resample_poly
from visqol import VisqolApi

CODEC_HZ = 48_000
MEASURE_HZ = 16_000
PIECE_S = 8
PRE_SKIP = 312  # look-ahead of libopus at 48 kHz for the application "voip", RFC 7845 §4.2


def read_speech(path: Path) -> np.ndarray:
    """(N,) float at 16 kHz in -1…1, of any file that the codec library reads."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=MEASURE_HZ)
        pieces = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(pieces).astype(np.float64) / 32768


def encode(speech: np.ndarray, frame: int, bitrate: int, fec_loss_percent: int | None) -> list[bytes]:
    coder = opuslib_next.Encoder(CODEC_HZ, 1, opuslib_next.APPLICATION_VOIP)
    coder.bitrate = bitrate
    if fec_loss_percent is not None:
        encoder.encoder_ctl(coder.encoder_state, ctl.set_inband_fec, 1)
        encoder.encoder_ctl(coder.encoder_state, ctl.set_packet_loss_perc, fec_loss_percent)
    pcm = (np.clip(resample_poly(speech, CODEC_HZ, MEASURE_HZ), -1, 1) * 32767).astype("<i2")
    pcm = pcm[: pcm.size // frame * frame]
    return [coder.encode(pcm[at : at + frame].tobytes(), frame) for at in range(0, pcm.size, frame)]


def play(packets: list[bytes], played: list[str], frame: int) -> np.ndarray:
    decoder = opuslib_next.Decoder(CODEC_HZ, 1)
    out = []
    for i, what in enumerate(played):
        if what == "frame":
            pcm = decoder.decode(packets[i], frame)
        elif what == "next":
            pcm = decoder.decode(packets[i + 1], frame, decode_fec=True)
        else:  # concealment is asked for by no data at all, RFC 6716 §4.4
            pcm = raw_decoder.decode(decoder.decoder_state, None, 0, frame, False, channels=1)
        out.append(np.frombuffer(pcm, dtype="<i2"))
    heard: np.ndarray = resample_poly(np.concatenate(out).astype(np.float64)[PRE_SKIP:] / 32768, MEASURE_HZ, CODEC_HZ)
    return heard


def main() -> None:
    order = json.load(sys.stdin)
    speech = read_speech(Path(order["speech"]))
    frame = CODEC_HZ * order["frame_ms"] // 1000
    coded = {fec: encode(speech, frame, order["bitrate"], order["fec_loss_percent"] if fec else None) for fec in (False, True)}
    visqol = VisqolApi()
    visqol.create(mode="speech", use_lattice_model=True)
    results = {}
    for run in order["runs"]:
        packets = coded[run["fec"]]
        played = run["played"][: len(packets)]
        heard = play(packets, played, frame)
        piece = PIECE_S * MEASURE_HZ
        scores: list[tuple[float, float | None]] = []
        for at in range(0, min(heard.size, speech.size) - piece + 1, piece):
            reference, degraded = speech[at : at + piece], heard[at : at + piece]
            rating = visqol.measure_from_arrays(reference, degraded, MEASURE_HZ).moslqo if order["visqol"] else None
            scores.append((pesq(MEASURE_HZ, reference, degraded, "wb"), rating))
        results[run["name"]] = {
            "pesq": float(np.mean([score for score, _ in scores])),
            "visqol": float(np.mean([rating for _, rating in scores if rating is not None])) if order["visqol"] else None,
            "concealed_s": sum(what == "none" for what in played) * order["frame_ms"] / 1000,
            "kbit_s": sum(map(len, packets)) * 8 / (len(packets) * order["frame_ms"]),
        }
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
