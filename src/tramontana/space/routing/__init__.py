"""Lasers and routes: planes inferred from elements, +grid links over time, shortest and disjoint routes, policy and failures."""
