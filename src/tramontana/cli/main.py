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

COMMANDS = {
    "up": "tramontana.cli.up:up",
    "serve": "tramontana.cli.serve:serve",
    "relay": "tramontana.cli.media:relay",
    "player": "tramontana.cli.media:player",
    "forwarder": "tramontana.cli.forwarder:forwarder",
    "drain": "tramontana.cli.drain:drain",
    "sky": "tramontana.cli.sky:sky",
    "evidence": "tramontana.cli.evidence:evidence",
    "invite": "tramontana.cli.invite:invite",
    "admin-link": "tramontana.cli.invite:admin_link",
    "auditor-link": "tramontana.cli.invite:auditor_link",
    "init": "tramontana.cli.organisation:init",
    "organisation": "tramontana.cli.organisation:organisation",
    "custodian": "tramontana.cli.custodian:custodian",
    "log": "tramontana.cli.log:log",
    "site": "tramontana.cli.site:site",
    "gateway": "tramontana.cli.site:gateway",
    "lab": "tramontana.cli.lab:lab",
    "phone": "tramontana.cli.phone:phone",
    "trial": "tramontana.cli.trial:trial",
}


class _Commands(click.Group):
    """Imports a command when it is asked for: the relay needs no web server, and the server no plotting."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


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
