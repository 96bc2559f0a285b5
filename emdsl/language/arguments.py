"""Arguments clearly outside their domains: expressions are trusted, a parameter or number that stands alone is not."""

from __future__ import annotations

from emdsl.language.constants import value as constant
from emdsl.language.definite import WORDS, not_a_number_of, not_probabilities
from emdsl.language.integers import plain_domain
from emdsl.language.kinds import KINDS
from emdsl.language.mixed import own_domains
from emdsl.language.model import Call, Domain, Expr, Family, Num, Stack
from emdsl.language.scope import Entry, Env, wrong
from emdsl.language.transform import names_in

_NOT = {
    "positive": frozenset({"real", "ordered", "zero_sum"}),
    "unit": frozenset({"real", "positive", "ordered", "zero_sum"}),
    "simplex": KINDS.keys() - {"simplex"},
    "spd": frozenset(k for k, row in KINDS.items() if not row.symmetric),
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
        outside = not_a_number_of(wanted, number)
        if outside is not None:
            raise wrong("E041", f"{family.name}'s `{argument}` {outside}", value.span)
        return
    if wanted.kind == "simplex" and isinstance(value, Stack):
        _check_probabilities(family, argument, value, env)
    found = plain_domain(value, env)
    if found is None:
        if wanted.kind in ("positive", "unit", "count") and not wanted.dims and sign(value, env) < 0:
            message = (
                f"{family.name}'s `{argument}` is {WORDS[wanted.kind]}, but this is negative whatever its values are"
            )
            raise wrong("E041", message, value.span)
        return
    domain, entry = found
    if entry is None or entry.kind not in ("param", "latent"):
        return
    if wanted.kind == "count" and not domain.discrete:
        raise wrong(
            "E041", f"{family.name}'s `{argument}` is a whole number, `{entry.name}` is {domain.kind}", value.span
        )
    if domain.kind in _NOT.get(wanted.kind, ()) and not _bounded(wanted, domain, entry, env):
        message = f"{family.name}'s `{argument}` is {wanted.kind}, `{entry.name}` is {domain.kind}"
        raise wrong("E041", message, value.span, _HINTS[wanted.kind])


def _bounded(wanted: Domain, domain: Domain, entry: Entry, env: Env) -> bool:
    """True where bounds may keep a real value inside: `real(min = 0)`, or a latent that is Uniform."""
    if wanted.dims:
        return False
    ends = [d.upper if wanted.kind == "unit" else d.lower for d in (domain, *own_domains(entry, env.scope))]
    return any(end is not None for end in ends)


def _check_probabilities(family: Family, argument: str, value: Stack, env: Env) -> None:
    """Numbers add up to 1, and expressions of numbers and scalar parameters do so wherever these are."""
    at = {n: (0.3137 + 0.2391 * k) % 1 for k, n in enumerate(sorted(names_in(value)))}
    entries = [env.scope.entries.get(n) for n in at]
    if not all(e is not None and e.kind == "param" and e.domain is not None for e in entries):
        return
    numbers = [constant(item, at) for item in value.items]
    known = [n for n in numbers if n is not None]
    if known and len(known) == len(numbers):
        where = f" where {', '.join(f'{n} is {v:g}' for n, v in at.items())}" if at else ""
        found = not_probabilities(known, where)
        if found is not None:
            raise wrong("E041", f"{family.name}'s `{argument}` {found}", value.span)


def sign(e: Expr, env: Env) -> int:
    """1 of what is positive and -1 of what is negative at all values of its variables; 0 where that is not known."""
    match e:
        case Num(value=v):
            return (v > 0) - (v < 0)
        case Call(fn="neg", args=(a,)):
            return -sign(a, env)
        case Call(fn="mul" | "div", args=(a, b)):
            return sign(a, env) * sign(b, env)
        case Call(fn="add", args=(a, b)):
            return sign(a, env) if sign(a, env) == sign(b, env) else 0
        case Call(fn="sub", args=(a, b)):
            return sign(a, env) if sign(a, env) == -sign(b, env) else 0
        case Call(fn="exp" | "sqrt"):
            return 1
    found = plain_domain(e, env)
    return int(found is not None and found[0].interval and found[0].ends[0] >= 0)
