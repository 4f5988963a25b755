"""The server: API, delivery service, directory, store, audit; it serves the phone and the console."""
