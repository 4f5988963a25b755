"""Forwards the sealed frames of conferences and talk groups (docs/protocols.md, "Conferences and talk groups")."""
