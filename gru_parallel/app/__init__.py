"""The commands: from a command line to a checked config, and from errors to exit statuses."""
