"""Tramontana: encrypted telephone, internet and emergency messaging over any satellite or terrestrial network."""

__version__ = "0.1.0"
