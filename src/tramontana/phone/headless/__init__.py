"""A phone without a browser: it answers, calls, plays, records and measures. Needs the extra `headless`."""
