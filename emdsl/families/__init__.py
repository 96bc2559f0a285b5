"""Families: the prelude in the language itself, and beside each declaration what cannot be said there.

`PRELUDE()` are the declarations, `RECORDS` the kernels, `NATURAL` and `recognise` the families usable as
posteriors, by their statistics. `emdsl.families.split` (sympy, imported where it is needed) finds
exponential-family structure in any declared density; `emdsl.families.normalised` checks that it integrates to 1.
"""

from emdsl.families.naturals import NATURALS, recognise
from emdsl.families.records import Form, Kernel, Natural, Record
from emdsl.families.statistics import STATISTICS
from emdsl.families.table import NATURAL, PRELUDE, RECORDS, form, record

__all__ = [
    "NATURAL",
    "NATURALS",
    "PRELUDE",
    "RECORDS",
    "STATISTICS",
    "Form",
    "Kernel",
    "Natural",
    "Record",
    "form",
    "recognise",
    "record",
]
