"""Network interfaces whose packets a process reads and writes."""
