"""What the internet rooms ask of Linux: network namespaces, WireGuard, routes, nftables, traffic control."""
