"""Identity, signed statements and the parts of MLS that a delivery service reads. No sockets, no clocks."""
