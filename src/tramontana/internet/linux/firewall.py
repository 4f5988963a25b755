"""nftables: a rule set is one text, and comes into force as a whole or not at all (nft(8), 11–18 ms)."""

from __future__ import annotations

import json

from tramontana.internet.linux.namespace import Namespace, run


def apply_rules(namespace: Namespace, text: str) -> None:
    """Raises `HostRefused`, and then what was in force still is."""
    run(["nft", "-f", "-"], stdin=text, namespace=namespace)


def has_table(namespace: Namespace, family: str, name: str) -> bool:
    listed = json.loads(run(["nft", "-j", "list", "tables"], namespace=namespace))
    return any(each.get("table", {}).get("name") == name and each["table"]["family"] == family for each in listed["nftables"])


def counted_packets(namespace: Namespace, family: str, table: str) -> int:
    """Sum of the table's named counters."""
    listed = json.loads(run(["nft", "-j", "list", "counters", "table", family, table], namespace=namespace))
    return sum(int(each["counter"]["packets"]) for each in listed["nftables"] if "counter" in each)
