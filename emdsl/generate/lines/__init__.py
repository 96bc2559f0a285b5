"""Expressions with named indices as lines of numpy."""
