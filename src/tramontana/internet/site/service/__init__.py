"""What the carriers of a running site did."""
