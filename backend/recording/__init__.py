"""What a run leaves for people and their tools: sinks that make files of its events."""
