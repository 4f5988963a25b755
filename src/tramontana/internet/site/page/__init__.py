"""The site's own page, for people in its local network."""
