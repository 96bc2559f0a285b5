"""How numbers and functions of numbers are spelled in numpy and scipy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from fractions import Fraction


class Binding(IntEnum):
    """How tightly code holds together: what it may stand in without parentheses."""

    SUM = 0  # an operand of nothing: a sum, a comparison
    PRODUCT = 1  # a term of a sum: products, quotients, powers, what a minus stands before
    ATOM = 2  # an operand of anything


LONGEST = 1000  # bits of an integer that a float can hold


def number(v: Fraction | float) -> str:
    """A number as Python source."""
    if isinstance(v, Fraction) and max(v.numerator.bit_length(), v.denominator.bit_length()) > LONGEST:
        try:
            v = float(v)
        except OverflowError:
            v = float("inf") if v > 0 else float("-inf")
    if isinstance(v, Fraction):
        if v.denominator == 1:
            return str(int(v)) if abs(v) < 10**15 else repr(float(v))
        if float(v).as_integer_ratio() == (v.numerator, v.denominator) and len(repr(float(v))) < 8:
            return repr(float(v))
        return f"{v.numerator} / {v.denominator}"
    if v != v or v in (float("inf"), float("-inf")):
        return {"inf": "np.inf", "-inf": "-np.inf"}.get(repr(v), "np.nan")
    return repr(v)


INFIX: Mapping[str, str] = {
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "mod": "%", "floordiv": "//",
}  # fmt: skip

FUNCTIONS: Mapping[str, str] = {
    "log": "log0", "exp": "np.exp", "sin": "np.sin", "cos": "np.cos", "tanh": "np.tanh", "abs": "np.abs",
    "sign": "np.sign", "log1p": "np.log1p", "softplus": "softplus", "logistic": "scipy.special.expit",
    "logit": "scipy.special.logit", "lgamma": "scipy.special.gammaln", "digamma": "scipy.special.digamma",
    "trigamma": "trigamma", "atan2": "np.arctan2",
    "Phi": "scipy.special.ndtr", "log_Phi": "scipy.special.log_ndtr",
    "min": "np.minimum", "max": "np.maximum", "and": "np.logical_and", "or": "np.logical_or", "not": "np.logical_not",
    "pi": "np.pi", "log_bessel_i0": "log_bessel_i0", "bessel_ratio": "bessel_ratio", "phi": "normal_density",
    "log1mexp": "log1mexp", "log_rest": "log_rest", "exp_odds": "exp_odds",
    "log_mass": "log_mass", "log_gamma_sf": "log_gamma_sf", "log_gamma_cdf": "log_gamma_cdf",
    "log_between": "log_between", "log_inside": "log_inside",
    "polygamma": "scipy.special.polygamma",
    "gamma_cdf": "scipy.special.gammainc", "gamma_sf": "scipy.special.gammaincc",
    "beta_cdf": "scipy.special.betainc", "student_cdf": "scipy.special.stdtr", "gamma_cdf_a": "gamma_cdf_a",
    "gamma_cdf_a2": "gamma_cdf_a2", "beta_cdf_a": "beta_cdf_a", "beta_cdf_a2": "beta_cdf_a2",
    "beta_cdf_ab": "beta_cdf_ab", "student_cdf_df": "student_cdf_df", "student_cdf_df2": "student_cdf_df2",
}  # fmt: skip


READS = re.compile(r' *(?:\w+ = \w+(?:\["[^"]*"\])+|(?:return|\w+ =)? ?[{(]|[])}]+)')  # or opens and closes brackets
A_START = "  # no equation: a start"  # where a fit starts divides the rows; places does not count what is below


def references(numbers: Iterable[object]) -> str:
    """Numbers of equations as comments name them."""
    found = list(dict.fromkeys(str(n) for n in numbers))
    out: list[str] = []
    while found:
        run = 1
        while run < len(found) and found[run] == _next(found[run - 1]):
            run += 1
        out += [f"({found[0]}) to ({found[run - 1]})"] if run > 2 else [f"({n})" for n in found[:run]]
        found = found[run:]
    return ", ".join(out)


def _next(number: str) -> str:
    """`4.2` after `4.1`."""
    step, dot, place = number.partition(".")
    return f"{step}.{int(place) + 1}" if dot else ""


def numbered(lines: Sequence[str], *numbers: object) -> list[str]:
    """Lines that carry the numbers of their equations behind them; those that have some, or are comments, keep them,
    and those that only read an array have none."""
    behind = f"  # {references(numbers)}" if numbers else ""
    kept = (not line.strip() or "# (" in line or line.startswith("# ") or READS.fullmatch(line) for line in lines)
    return [line if keep else f"{line}{behind}" for line, keep in zip(lines, kept, strict=True)]


def indent(lines: Sequence[str], depth: int) -> list[str]:
    """Lines moved to the right; empty ones stay empty."""
    return [("    " * depth + line) if line else line for line in lines]


def apart_by(lines: Sequence[str], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hoisted lines, and those among them that read one of these names, or what is made of it."""
    outside: list[str] = []
    inside: list[str] = []
    read = {*names}
    for line in lines:
        if read & set(re.findall(r"\w+", line)):
            inside.append(line)
            read.add(line.partition(" = ")[0].strip())
        else:
            outside.append(line)
    return outside, inside
