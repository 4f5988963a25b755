"""Entry point: one command with a subcommand for every job, and one way to show an error."""

import ctypes
import os
import signal
import sys

import click

from tramontana import __version__
from tramontana.cli.invite import admin_link, invite
from tramontana.cli.media import player, relay
from tramontana.cli.serve import serve
from tramontana.cli.sky import sky
from tramontana.cli.supervise import SUPERVISOR_PID
from tramontana.cli.up import up
from tramontana.errors import TramontanaError

PR_SET_PDEATHSIG = 1  # prctl(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tramontana")
def tramontana() -> None:
    """Encrypted telephone, internet and emergency messaging over any satellite or terrestrial network."""


for command in (up, serve, relay, player, sky, invite, admin_link):
    tramontana.add_command(command)


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
