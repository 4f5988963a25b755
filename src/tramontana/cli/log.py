"""`tramontana log follow`: an auditor's eye on the transparency log, from outside."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click

from tramontana.cli.server_api import ServerApi, ServerUnreachable, begin_following, follow, split_link
from tramontana.errors import LocalError
from tramontana.keys.certificate import Certificate, LogKeyStatement, Revocation
from tramontana.keys.federation import Federation
from tramontana.keys.follow import Alarm, Follower
from tramontana.keys.organisation import Root, parse_fingerprint
from tramontana.keys.refused import Refused
from tramontana.keys.register import Entry
from tramontana.private_file import read_private, replace_private

ALARM_STATUS = 3
"""Exit status: the server was caught. 1 is for what is wrong here or on the way."""


@click.group()
def log() -> None:
    """The organisation's transparency log."""


def _say(index: int, entry: Entry, peers: Mapping[str, Root]) -> None:
    match entry:
        case Certificate(grant=grant):
            roles, approvers = ", ".join(grant.roles), len(entry.approvers)
            guest = f", guest of {peers[entry.organisation_id].name}" if entry.organisation_id in peers else ""
            rights = f"{roles}; ceiling {grant.ceiling.label}; {approvers} approvals"
            text = f"certificate of {grant.display_name}{guest} ({rights}), {grant.device_id}"
        case Revocation():
            text = f"revocation of {entry.device_id or entry.serial}: {entry.reason}"
        case Federation():
            text = f"cross-certification of {entry.peer_name}, ceiling {entry.ceiling.label}"
        case LogKeyStatement():
            text = "log key"
        case Root():
            text = f"organisation {entry.name}, profile {entry.profile.name}"
    click.echo(f"{index:>6}  {text}")


@log.command("follow")
@click.argument("url")
@click.option("--org", "fingerprint_text", required=True, metavar="FINGERPRINT", help="The organisation, as in its invitations.")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE", help="What was seen so far.")
@click.option("--every", default=30.0, show_default=True, type=click.FloatRange(1, 86400), help="Seconds between two looks.")
@click.option("--once", is_flag=True, help="Look once and end.")
def follow_log(url: str, fingerprint_text: str, state: Path, every: float, once: bool) -> None:
    """Follow the log of a server, checking every entry, and alarm if the server hides, rewrites or forks it.

    URL is an auditor's link (`tramontana auditor-link`). Ends with exit status 3 on an alarm; the state then stays as it was before, and
    what the server signed stands beside it in FILE.alarm.
    """
    fingerprint = parse_fingerprint(fingerprint_text)
    origin, fields = split_link(url)
    api = ServerApi(origin, token=fields.get("audit"))
    click.get_current_context().call_on_close(api.close)
    while True:
        try:
            _look(api, fingerprint, state)
        except Alarm as alarm:
            evidence = {"sentence": str(alarm), "signed": alarm.evidence}
            replace_private(state.with_name(state.name + ".alarm"), (json.dumps(evidence, indent=1) + "\n").encode())
            click.secho(f"ALARM: {alarm}", fg="red", bold=True, err=True)
            sys.exit(ALARM_STATUS)
        except Refused as refused:
            if refused.reason == "wrong_organisation":
                raise LocalError(f"{refused}: check the fingerprint and the state file") from refused
            raise
        except ServerUnreachable as error:
            if once:
                raise
            click.echo(str(error), err=True)
        if once:
            return
        time.sleep(every)


def _look(api: ServerApi, fingerprint: bytes, state: Path) -> None:
    follower = Follower.load(read_private(state), fingerprint) if state.exists() else begin_following(api, fingerprint)
    before = follower.edge.size
    follow(api, follower, now=time.time(), seen=lambda index, entry: _say(index, entry, follower.register.peers))
    replace_private(state, follower.dump())
    if follower.edge.size == before:
        click.echo(f"        {before} entries, nothing new")
