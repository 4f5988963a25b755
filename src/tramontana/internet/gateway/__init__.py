"""The agent of a gateway: tunnels of many sites, their routes, their way to the internet."""
