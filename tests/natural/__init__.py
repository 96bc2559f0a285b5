"""A reference for posteriors, from natural parameters to arguments and back; no stage of the package uses it."""

from natural.statistics import STATISTICS
from natural.table import NATURALS, Natural

__all__ = ["NATURALS", "STATISTICS", "Natural"]
