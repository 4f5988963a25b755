"""Entry point: one command with a subcommand for every job, and one way to show an error."""

import ctypes
import os
import signal
import sys
from importlib import import_module

import click

from tramontana import __version__
from tramontana.cli.supervise import SUPERVISOR_PID
from tramontana.errors import TramontanaError

PR_SET_PDEATHSIG = 1  # prctl(2)

# Where each is, and one line on it: asking for help imports none of them.
COMMANDS = {
    "up": ("tramontana.cli.up:up", "Run the whole service on this machine."),
    "serve": ("tramontana.cli.serve:serve", "Run the server: accounts, delivery, calls, console."),
    "relay": ("tramontana.cli.media:relay", "Relay the media of calls (TURN)."),
    "player": ("tramontana.cli.media:player", "Play simulated paths on the media of phones."),
    "forwarder": ("tramontana.cli.forwarder:forwarder", "Forward conferences and talk groups."),
    "drain": ("tramontana.cli.drain:drain", "Take a forwarder out of service without dropping a call."),
    "sky": ("tramontana.cli.sky:sky", "Constellations: load, look at, compute paths."),
    "evidence": ("tramontana.cli.evidence:evidence", "Write the evidence pack: materials, keys, audit."),
    "invite": ("tramontana.cli.invite:invite", "Invite a phone: a link and its QR code."),
    "admin-link": ("tramontana.cli.invite:admin_link", "A one-time link to the console."),
    "auditor-link": ("tramontana.cli.invite:auditor_link", "A link with which an auditor follows the log."),
    "init": ("tramontana.cli.organisation:init", "Make an organisation: the key that certifies devices."),
    "organisation": ("tramontana.cli.organisation:organisation", "Bring an organisation and a server together."),
    "custodian": ("tramontana.cli.custodian:custodian", "Certify and revoke devices."),
    "log": ("tramontana.cli.log:log", "The organisation's transparency log."),
    "site": ("tramontana.cli.site:site", "A site's router: tunnels over all its uplinks."),
    "gateway": ("tramontana.cli.site:gateway", "A gateway: the tunnels of many sites."),
    "lab": ("tramontana.cli.lab:lab", "A site, gateways and carriers on this machine."),
    "phone": ("tramontana.cli.phone:phone", "A phone without a browser: answers, calls, measures."),
    "text": ("tramontana.cli.text:text", "Sealed texts: one SMS or one small datagram each."),
    "plan": ("tramontana.cli.plan:plan", "Compare the alternatives of a study by what they cost."),
    "warn": ("tramontana.cli.warn:warn", "Warn every phone in an area: submit, approve, follow."),
    "exercise": ("tramontana.cli.exercise:exercise", "Play a disaster, with and without satellites. Simulated."),
    "trial": ("tramontana.cli.trial:trial", "Measure a line for hours or weeks, with a report."),
}


class _Commands(click.Group):
    """Imports a command when it is asked for: the relay needs no web server, and the server no plotting."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tramontana")
def tramontana() -> None:
    """Encrypted telephone, internet and emergency messaging over any satellite or terrestrial network."""


def _end_with_supervisor() -> None:
    """A supervised process must not outlive its supervisor, even one that was killed (Linux; elsewhere it stays until it is stopped)."""
    supervisor = os.environ.pop(SUPERVISOR_PID, None)
    if supervisor is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(supervisor):  # it ended before the call above took effect
        sys.exit(1)


def main() -> None:
    """Run the command line. An expected error is one sentence on standard error and exit status 1."""
    _end_with_supervisor()
    try:
        tramontana.main(standalone_mode=False)
    except TramontanaError as error:
        click.secho(f"tramontana: {error}", fg="red", err=True)
        sys.exit(1)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
