"""How webtext is brought to machines that do its work."""
