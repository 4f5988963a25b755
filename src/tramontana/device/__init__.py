"""A device of the organisation in Python: it enrols, follows the log and holds conversations, for headless phones, sites and gateways."""
