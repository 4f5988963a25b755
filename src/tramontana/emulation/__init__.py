"""Plays a path profile on real packets: the simulated radio path."""
