"""Is an argument clearly outside its domain? Expressions are trusted; a parameter or number that stands alone is not."""

from __future__ import annotations

from emdsl.language.integers import DISCRETE, plain_domain
from emdsl.language.model import Domain, Expr, Family
from emdsl.language.scope import Env, wrong
from emdsl.language.transform import constant

_SAFE = {
    "positive": {"positive", "unit", "count", "category", "index", "bool"},
    "unit": {"unit", "bool", "positive", "count", "category", "index"},
    "simplex": {"simplex", "positive", "unit", "count", "bool"},
    "spd": {"spd", "correlation"},
}
_HINTS = {
    "positive": "declare it `positive`, or write `exp(...)`",
    "unit": "declare it `unit`, or write `logistic(...)`",
    "simplex": "declare it `simplex[K]`, or write `softmax(...)`",
    "spd": "declare it `spd[D]`",
}


def check_domain(family: Family, argument: str, wanted: Domain, value: Expr, env: Env) -> None:
    """Raises Stop for a number outside the domain, or a parameter or latent whose domain is another."""
    number = constant(value)
    if number is not None:
        _check_number(family, argument, wanted, number, value)
        return
    found = plain_domain(value, env)
    if found is None or found[1] is None:
        return
    domain, entry = found
    if entry.kind not in ("param", "latent"):
        return
    if wanted.kind == "count" and domain.kind not in DISCRETE:
        raise wrong(
            "E041", f"{family.name}'s `{argument}` is a whole number, `{entry.name}` is {domain.kind}", value.span
        )
    safe = _SAFE.get(wanted.kind)
    bounded = domain.lower is not None and (wanted.kind == "positive" or domain.upper is not None)
    if safe is not None and domain.kind not in safe and not bounded:
        message = f"{family.name}'s `{argument}` is {wanted.kind}, `{entry.name}` is {domain.kind}"
        raise wrong("E041", message, value.span, _HINTS[wanted.kind])


def _check_number(family: Family, argument: str, wanted: Domain, number: float, value: Expr) -> None:
    outside = {
        "positive": number <= 0,
        "unit": not 0 <= number <= 1,
        "count": number < 0 or number != int(number),
    }.get(wanted.kind, False)
    if outside and not wanted.dims:
        words = {"positive": "positive", "unit": "between 0 and 1", "count": "a whole number"}[wanted.kind]
        raise wrong("E041", f"{family.name}'s `{argument}` is {words}, not {number:g}", value.span)
