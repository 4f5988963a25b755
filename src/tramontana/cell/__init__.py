"""Direct-to-cell service: warnings to every phone in an area, SOS and texts of people who are cut off, sealed texts, beam time."""
