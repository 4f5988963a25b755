"""The agent of a site: uplinks in a namespace of their own, tunnels to gateways, one of them carries."""
