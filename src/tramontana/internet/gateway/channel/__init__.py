"""The control connections of a gateway."""
