"""A phone that listens to a talk group."""
