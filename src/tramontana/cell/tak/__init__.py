"""The link to a TAK server."""
