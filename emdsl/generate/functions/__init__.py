"""Printing the functions of a module."""
