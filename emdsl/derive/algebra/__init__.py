"""Scalar expressions in elements with typed indices: what is known of them, and what sympy does with them."""
