"""Forecasts: how rows ahead are found."""
