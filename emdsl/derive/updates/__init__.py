"""Q and the rules for parameters."""
