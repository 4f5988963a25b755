"""Sites that stay connected over any carrier: tunnels and their keys, choice of carrier, precedence on the wire, gateways."""
