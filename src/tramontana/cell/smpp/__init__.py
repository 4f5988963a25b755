"""SMPP 3.4: units, sessions, receipts; `driver.py` runs them over TCP."""
