"""Makes `vectors.json`: sealed texts, for every implementation of them.

Datagrams come from the definition in docs/protocols.md and `cryptography` alone, so that they can disagree with ours. Alphabet, small
texts and counts of short messages are what the server does, and a story is what happens to one pair of devices, with what our own code
says to each step: another implementation has to say the same.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tramontana.cell import gsm_alphabet
from tramontana.cell.short_message import MAX_PARTS, TextTooLong, write
from tramontana.cell.small_text import encode_text
from tramontana.keys.sealed_text import EXPORT_BYTES, LABEL, CannotSeal, Gone, NotYet, Refused, SealedTexts, Seen, export_context

FILE = Path(__file__).parent / "vectors.json"
TEXTS = [
    "",
    "a",
    "Il varco nord è aperto.",
    "12345678",
    "[€]{~}|^\\",
    "Ελλάδα",
    "ΔΦΓ",
    "Площадь закрыта",
    "🚑 a Norcia",
    "\x00\x1b",
    "x" * 132,
    "è" * 116,
    "ș" * 58,
    "line\nand line",
]
COUNTED = [
    *TEXTS,
    "a" * 160,
    "a" * 161,
    "a" * 306,
    "a" * 307,
    "€" * 80,
    "€" * 81,
    "a" * 152 + "€" + "a" * 20,
    "ж" * 70,
    "ж" * 71,
    "🚑" * 35,
]
COUNTED += ["ж" * 66 + "🚑" + "ж" * 20, "a" * 1530, "a" * 1531, "ж" * 670, "ж" * 671]
PLAINTEXTS = [0, 1, 20, 116, 117]
COUNTERS = [0, 1, 255, 2**32, 2**40 - 1]


def secret(*name: object) -> bytes:
    return hashlib.shake_256(repr(name).encode()).digest(46)


def datagram(exported: bytes, counter: int, plaintext: bytes) -> bytes:
    key, salt, key_id = exported[:32], exported[32:44], exported[44:]
    header = key_id + counter.to_bytes(5, "big")
    nonce = (int.from_bytes(salt, "big") ^ counter).to_bytes(12, "big")
    return header + AESGCM(key).encrypt(nonce, plaintext, header)


def datagrams() -> list[dict[str, Any]]:
    made = []
    for size, counter in zip(PLAINTEXTS, COUNTERS, strict=True):
        exported, plaintext = secret("vector", size), hashlib.shake_256(b"text").digest(size)
        made.append(
            {
                "exported": exported.hex(),
                "counter": counter,
                "plaintext": plaintext.hex(),
                "datagram": datagram(exported, counter, plaintext).hex(),
            }
        )
    return made


def counted(text: str) -> dict[str, Any]:
    try:
        messages = len(write(text, 0))
    except TextTooLong:
        messages = MAX_PARTS + 1
    return {"text": text, "lacking": gsm_alphabet.missing(text), "messages": messages}


def outcome(work: Any) -> Any:
    try:
        return work()
    except Seen:
        return "seen"
    except Gone:
        return "gone"
    except NotYet:
        return "not_yet"
    except (Refused, CannotSeal):
        return "refused"


def story(seed: int, steps: int) -> list[dict[str, Any]]:
    """What happens to the first of two devices; the second one makes what it opens, and a third person's octets come along."""
    chance = random.Random(seed)
    first, second = SealedTexts(), SealedTexts()
    epochs = {"first": 0, "second": 0}
    now = 1000.0
    told: list[dict[str, Any]] = []
    theirs: list[bytes] = []
    for _ in range(steps):
        now += chance.choice([0, 1, 60, 3600, 86400, 3 * 86400]) if chance.random() < 0.4 else 1
        step: dict[str, Any] = {"now": now}
        match chance.choices(["epoch", "peer", "seal", "open", "open", "open", "strange", "confirm", "out"], [2, 3, 6, 6, 6, 6, 1, 1, 0.3])[
            0
        ]:
            case "epoch":
                epochs["first"] += 1
                number = epochs["first"]
                ways = secret(seed, number, 0), secret(seed, number, 1)
                first.add_epoch(number, *ways, now)
                step |= {"do": "epoch", "epoch": number, "sending": ways[0].hex(), "receiving": ways[1].hex()}
            case "peer":  # the other one goes on, and writes
                epochs["second"] = max(epochs["second"], chance.randint(max(1, epochs["first"] - 1), epochs["first"] + 1))
                number = epochs["second"]
                second.add_epoch(number, secret(seed, number, 1), secret(seed, number, 0), now)
                second.confirm(number)
                theirs += [second.seal(b"%d" % len(theirs), now) for _ in range(chance.randint(1, 5))]
                continue
            case "seal":
                text = b"text %d" % len(told)
                sealed = outcome(lambda text=text, now=now: first.seal(text, now).hex())
                step |= {"do": "seal", "plaintext": text.hex(), "says": sealed}
            case "open":
                if not theirs:
                    continue
                octets = chance.choice(theirs[-12:] if chance.random() < 0.8 else theirs)
                if chance.random() < 0.1:
                    octets = octets[:9] + bytes([octets[9] ^ 1]) + octets[10:]
                said = outcome(lambda octets=octets, now=now: _opened(first, octets, now))
                step |= {"do": "open", "datagram": octets.hex(), "says": said}
            case "strange":
                octets = chance.randbytes(chance.choice([22, 23, 60, 140, 141]))
                step |= {
                    "do": "open",
                    "datagram": octets.hex(),
                    "says": outcome(lambda octets=octets, now=now: _opened(first, octets, now)),
                }
            case "confirm":
                number = chance.randint(0, epochs["first"])
                first.confirm(number)
                step |= {"do": "confirm", "epoch": number}
            case "out":
                first.forget_before(epochs["first"])
                step |= {"do": "forget_before", "epoch": epochs["first"]}
        told.append(step | {"epochs": first.epochs, "sending_epoch": first.sending_epoch})
    return told


def _opened(texts: SealedTexts, octets: bytes, now: float) -> dict[str, Any]:
    opened = texts.open(octets, now)
    return {"plaintext": opened.plaintext.hex(), "epoch": opened.epoch, "counter": opened.counter}


def vectors() -> dict[str, Any]:
    sender, receiver = bytes(range(16)), bytes(range(16, 32))
    exporter = {"label": LABEL, "octets": EXPORT_BYTES, "sender": sender.hex(), "receiver": receiver.hex()}
    return {
        "exporter": exporter | {"context": export_context(sender, receiver).hex()},
        "alphabet": [[character, list(septets)] for character, septets in sorted(gsm_alphabet._SEPTETS.items())],
        "datagrams": datagrams(),
        "texts": [{"text": text, "plaintext": encode_text(text).hex()} for text in TEXTS],
        "counts": [counted(text) for text in COUNTED],
        "stories": [story(seed, 120) for seed in (1, 2, 3)],
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n", "utf-8")
