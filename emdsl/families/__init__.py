"""Families: the prelude in the language itself, and beside each declaration what cannot be said there.

`PRELUDE()` are the declarations, `RECORDS` the kernels. `emdsl.families.split` (sympy, imported where it is
needed) finds exponential-family structure in any declared density; `emdsl.families.normalised` checks that it
integrates to 1.
"""

from emdsl.families.records import Form, Kernel, Record
from emdsl.families.table import PRELUDE, RECORDS, form, record

__all__ = [
    "PRELUDE",
    "RECORDS",
    "Form",
    "Kernel",
    "Record",
    "form",
    "record",
]
