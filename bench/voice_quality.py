"""What redundancy is worth: PESQ and ViSQOL of five senders on the same seeded paths, beside the clean path, in one run.

- *plain*: Opus alone. *in-band FEC*: libopus' own. *RED ×1*: a copy of the last frame in every packet (what browsers do).
- *sky-aware*: the phone's planner (web/src/phone/engine/redundancy.ts, run by node) with the forecast of the path's gaps.
- *two carriers*: every packet on a second path as well, whose gaps fall at other instants.

Packets meet their fate in the product's own emulation (`tramontana.emulation.link.Link`), so everything follows from the seed. Frames are
played at a fixed delay after their sending: what the sky-aware receiver waits for is planned by the phone too, and printed as its price.
Goal: sky-aware within 0.1 PESQ of the clean path at gaps of 200 ms every 15 s; the run fails if it is missed.

Speech: Debian's asterisk-core-sounds-en-g722 (real speech) if it is there or named by --speech, else espeak-ng.

Run: make .venv-voice && python bench/voice_quality.py [--speech FILE] [--visqol] [--paths NAME,...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tramontana.emulation.link import Direction, Fate, Link
from tramontana.path_profile import NO_SATELLITE, PathProfile

HERE = Path(__file__).resolve().parent
WEB = HERE.parent / "web"
PEER_PYTHON = HERE.parent / ".venv-voice" / "bin" / "python"  # `make .venv-voice`
RECORDING = Path("/usr/share/asterisk/sounds/en_US_f_Allison/demo-instruct.g722")
TEXT = (
    "The duty officer of the ship reports a calm sea south of Malta. Wind from the north west, twelve knots. We continue towards Augusta. "
    "Civil protection in Perugia speaking. The road to Norcia is closed after the landslide, and the second team waits near the river. "
)

FRAME_MS = 20
BITRATE = 24_000
SPEECH_S = 64
SEED = 20260730
ONE_WAY_S = 0.04
PLAYOUT_MS = 60
"""What a receiver holds back that waits for no copies: jitter, and the next packet for FEC and RED."""
CLOCK_ERROR_MS = 100
START = 1_000_000.0
GOAL = 0.1
PACKET_OVERHEAD_BYTES = 93  # as in web/src/phone/engine/rate.ts
FEC_LOSS_PERCENT = 10


@dataclass(frozen=True)
class Kind:
    """One kind of path. `bursts`: gaps that no forecast knows, (length in s, share of time)."""

    name: str
    loss: float = 0.0
    gap_s: float = 0.0
    bursts: tuple[float, float] | None = None

    def gaps(self, first_s: float) -> list[tuple[float, float]]:
        return [(START + at, self.gap_s) for at in np.arange(first_s, SPEECH_S, 15.0)] if self.gap_s else []

    def profile(self, first_s: float, seed: int) -> PathProfile:
        windows = self.gaps(first_s)
        if self.bursts is not None:
            length, share = self.bursts
            draw = np.random.default_rng(seed)
            at = START
            while (at := at + length + draw.exponential(length / share - length)) < START + SPEECH_S:
                windows.append((at, length))
        starts = np.array([at for at, _ in windows])
        times = START - 1 + np.arange(0.0, SPEECH_S + 10, 15.0)
        n = times.shape[0]
        return PathProfile(
            place="bench",
            carrier="bench",
            source="simulated, bench",
            point_of_presence="bench",
            satellite_names=(),
            gateway_names=(),
            time_unix_s=times,
            one_way_delay_s=np.full(n, ONE_WAY_S),
            capacity_down_bps=np.full(n, 1e8),
            capacity_up_bps=np.full(n, 2e7),
            loss=np.full(n, self.loss),
            elevation_deg=np.full(n, np.nan),
            serving=np.full(n, NO_SATELLITE, dtype=np.int32),
            gateway=np.full(n, NO_SATELLITE, dtype=np.int32),
            outage_start_unix_s=starts,
            outage_end_unix_s=starts + np.array([length for _, length in windows]),
            handover_unix_s=starts,
        )


PATHS = (
    Kind("clean"),
    Kind("1 % random", loss=0.01),
    Kind("5 % random", loss=0.05),
    Kind("5 % in bursts of 3", bursts=(0.06, 0.05)),
    Kind("100 ms every 15 s", gap_s=0.1),
    Kind("200 ms every 15 s", gap_s=0.2),
    Kind("400 ms every 15 s", gap_s=0.4),
    Kind("1 % random + 200 ms every 15 s", loss=0.01, gap_s=0.2),
)
PHASES_S = (7.3, 0.4)
"""Where the gaps of the first and of the second carrier begin."""


def arrivals(profile: PathProfile, frames: int, payload_bytes: int, seed: int) -> list[float | None]:
    """When each packet comes out, in ms after the first was sent; None if it is lost."""
    link: Link[int] = Link(profile, Direction.UP, seed)
    out: list[float | None] = [None] * frames
    for n in range(frames):
        now = START + n * FRAME_MS / 1000
        if link.handle_packet(n, payload_bytes, now) is Fate.FORWARDED:
            release = link.next_release()
            assert release is not None
            link.release(release)
            out[n] = (release - START) * 1000
    return out


def played(arrived: list[float | None], offsets_ms: list[list[int]], playout_ms: float, *, fec: bool = False) -> list[str]:
    """What the receiver has of each frame when its time comes: the frame, by itself or as a copy, the packet after it, or nothing."""
    due = [n * FRAME_MS + ONE_WAY_S * 1000 + playout_ms for n in range(len(arrived))]
    had = [at is not None and at <= when for at, when in zip(arrived, due, strict=True)]
    for n, at in enumerate(arrived):
        for offset in offsets_ms[n] if at is not None else ():
            copy_of = n - offset // FRAME_MS
            had[copy_of] = had[copy_of] or (copy_of >= 0 and at is not None and at <= due[copy_of])
    after = [fec and n + 1 < len(arrived) and (at := arrived[n + 1]) is not None and at <= due[n] for n in range(len(arrived))]
    return ["frame" if have else "next" if follows else "none" for have, follows in zip(had, after, strict=True)]


def planned(module: Path, gaps: list[tuple[float, float]], loss: float, frames: int) -> tuple[list[list[int]], float]:
    """Offsets of every frame and the playout delay, as the phone plans them."""
    order = {
        "module": str(module),
        "gaps": [{"at": (at - START) * 1000, "lastsMs": length * 1000} for at, length in gaps],
        "loss": loss,
        "clockErrorMs": CLOCK_ERROR_MS,
        "frames": frames,
        "frameMs": FRAME_MS,
    }
    words = ["node", str(HERE / "peers" / "copy_offsets.mjs")]
    answer = json.loads(subprocess.run(words, input=json.dumps(order), text=True, capture_output=True, check=True).stdout)
    return answer["offsetsMs"], max(PLAYOUT_MS, answer["playoutMs"] or 0)


def bundled(folder: Path) -> Path:
    target = folder / "redundancy.mjs"
    words = ["npx", "--no-install", "esbuild", "src/phone/engine/redundancy.ts", "--bundle", "--format=esm", f"--outfile={target}"]
    subprocess.run(words, cwd=WEB, check=True, capture_output=True)
    return target


def speech_of(chosen: Path | None, folder: Path) -> Path:
    recording = chosen or RECORDING
    if recording.exists():
        return recording
    print("  (no recorded speech: espeak-ng speaks; install asterisk-core-sounds-en-g722 for a human voice)")
    spoken = folder / "speech.wav"
    subprocess.run(["espeak-ng", "-v", "en-gb", "-s", "150", "-w", str(spoken), TEXT * 5], check=True, capture_output=True)
    return spoken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--visqol", action="store_true", help="also rate with ViSQOL, which takes about a second for each 8 s")
    parser.add_argument("--paths", help="only these, comma-separated")
    arguments = parser.parse_args()
    if not PEER_PYTHON.exists():
        print("left out: PESQ and ViSQOL are not installed; `make .venv-voice` puts them into an environment of their own.")
        return 0
    wanted = arguments.paths.split(",") if arguments.paths else [path.name for path in PATHS]
    frames = SPEECH_S * 1000 // FRAME_MS
    payload = BITRATE * FRAME_MS // 8000
    none: list[list[int]] = [[] for _ in range(frames)]
    last: list[list[int]] = [[FRAME_MS] for _ in range(frames)]
    scores: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        module, speech = bundled(folder), speech_of(arguments.speech, folder)
        print(
            f"{speech.name}, {SPEECH_S} s, Opus {BITRATE // 1000} kbit/s, {FRAME_MS} ms; PESQ-WB{' / ViSQOL' if arguments.visqol else ''}"
        )
        print("(concealed seconds; kbit/s of payload; playout delay)")
        for path in (path for path in PATHS if path.name in wanted):
            first, second = (
                arrivals(path.profile(phase, SEED + i), frames, payload + PACKET_OVERHEAD_BYTES, SEED + i)
                for i, phase in enumerate(PHASES_S)
            )
            either = [min((at for at in pair if at is not None), default=None) for pair in zip(first, second, strict=True)]
            loss = path.loss + (path.bursts[1] if path.bursts else 0.0)
            offsets, playout = planned(module, path.gaps(PHASES_S[0]), loss, frames)
            runs = {
                "plain": (played(first, none, PLAYOUT_MS), False, 0.0, float(PLAYOUT_MS)),
                "in-band FEC": (played(first, none, PLAYOUT_MS, fec=True), True, 0.0, float(PLAYOUT_MS)),
                "RED x1": (played(first, last, PLAYOUT_MS), False, 1.0, float(PLAYOUT_MS)),
                "sky-aware": (played(first, offsets, playout), False, sum(map(len, offsets)) / frames, playout),
                "two carriers": (played(either, none, PLAYOUT_MS), False, 1.0, float(PLAYOUT_MS)),
            }
            order = {
                "speech": str(speech),
                "frame_ms": FRAME_MS,
                "bitrate": BITRATE,
                "fec_loss_percent": FEC_LOSS_PERCENT,
                "visqol": arguments.visqol,
                "runs": [{"name": name, "fec": fec, "played": what} for name, (what, fec, _, _) in runs.items()],
            }
            words = [str(PEER_PYTHON), str(HERE / "peers" / "voice_score.py")]
            done = subprocess.run(words, input=json.dumps(order), text=True, capture_output=True, check=False)
            if done.returncode:
                print(done.stderr)
                return 1
            scores[path.name] = json.loads(done.stdout)
            print(f"\n{path.name}")
            for name, score in scores[path.name].items():
                _, _, copies, delay = runs[name]
                visqol = f" / {score['visqol']:.2f}" if arguments.visqol else ""
                rate = score["kbit_s"] * (1 + copies)
                print(f"  {name:13} {score['pesq']:.2f}{visqol}   {score['concealed_s']:5.2f} s   {rate:5.1f} kbit/s   {delay:3.0f} ms")
    if not {"clean", "200 ms every 15 s"} <= scores.keys():
        return 0
    short = scores["clean"]["plain"]["pesq"] - scores["200 ms every 15 s"]["sky-aware"]["pesq"]
    print(f"\nsky-aware at 200 ms every 15 s is {short:.2f} below the clean path (goal: {GOAL})")
    return 0 if short <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
