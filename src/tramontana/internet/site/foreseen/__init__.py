"""Outages that a running site knows of before they come."""
