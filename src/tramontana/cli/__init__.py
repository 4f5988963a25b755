"""The command `tramontana`: builds the objects and wires them together."""
