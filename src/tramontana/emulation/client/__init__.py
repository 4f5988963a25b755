"""The server's side of the path player's control socket."""
