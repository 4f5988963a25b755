"""The disaster world: a night in which the ground network fails, played on the product's own cores in virtual time. Simulated."""
