"""Telephony: what carries the media of calls."""
