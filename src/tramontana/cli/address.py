"""Where the server listens unless it is told otherwise."""

DEFAULT_PORT = 8440
