"""Runs the system's own tools (`ip`, `tc`, `nft`) in this process's namespace; their refusals become errors that name the command."""

from __future__ import annotations

import subprocess

from tramontana.errors import LocalError


class CommandFailed(LocalError):
    """A tool of the system refused what the agent asked of it; that step opened nothing. The message has the command and its words."""


def run(*words: str, stdin: str | None = None) -> str:
    """Standard output of the command. Raises `CommandFailed`, also if the tool is not installed."""
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CommandFailed(f"`{words[0]}` is not installed (Debian: apt-get install iproute2 nftables)") from None
    if done.returncode:
        raise CommandFailed(f"`{' '.join(words)}`: {done.stderr.strip() or done.stdout.strip() or f'status {done.returncode}'}")
    return done.stdout
