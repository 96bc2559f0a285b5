"""Factors of q in turn, counted rows."""
