"""How the server speaks to a forwarder."""
