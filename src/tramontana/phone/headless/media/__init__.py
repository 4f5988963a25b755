"""Voice and its way: Opus from and to files, WebRTC over the relay."""
