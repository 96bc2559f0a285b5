"""Whatever the user hands over, as checked arrays."""
