"""Errors that every floor speaks.

The message of an exception is the sentence a person reads, so it says what happened *and* what to do next.
`LocalError` is ours or the caller's doing; `RemoteError` means that a peer, a carrier or a downloaded file misbehaved: it is
counted and the offending input dropped, and it never ends a process.
"""


class TramontanaError(Exception):
    """Base of every error that Tramontana raises on purpose."""


class LocalError(TramontanaError):
    """This machine, its configuration or the caller is at fault; the message says what to change."""


class RemoteError(TramontanaError):
    """A peer, a carrier or foreign input is at fault; the input was dropped."""
