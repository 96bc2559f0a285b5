"""Printing the posterior of each kind of block, and what it takes from data."""
