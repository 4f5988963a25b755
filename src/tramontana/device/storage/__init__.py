"""Where a device keeps its rows."""
