"""Connections to base-station controllers."""
