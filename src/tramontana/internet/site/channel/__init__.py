"""The control connection of a site to one gateway."""
