"""How wide a formula is when typeset, in letters: fractions are as wide as their wider side, indices are small."""

from __future__ import annotations

import re
from functools import lru_cache
from math import ceil

from emdsl.derive.algebra.made import STATISTIC
from emdsl.report import formula as f
from emdsl.report import unicode
from emdsl.report.formula import Formula

GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
).split()
LOWERED = re.compile(rf"([A-Za-z]|{'|'.join(GREEK)})(0|_[A-Za-z0-9]{{1,4}})")
SMALL = 0.7  # of a letter in an index or an exponent
WORD, UPRIGHT = 10, 1.2  # letters of a long name, and how wide one is
SIGN, SPACE = 3.0, 0.5  # of an operator with the room around it, and between factors


def lowered(name: str) -> tuple[str, str] | None:
    """A letter and what stands below it: `mu0` is μ with a 0, `sigma_b` σ with a b. Other digits count, or raise."""
    found = LOWERED.fullmatch(name)
    return (found[1], found[2].removeprefix("_")) if found else None


def one_below(e: Formula) -> bool:
    """`x`, `cov[k]`: a name of one sign, over whose index an exponent may stand."""
    bare = e.base if isinstance(e, f.At) else e
    return isinstance(bare, f.Name) and not (bare.text in STATISTIC or bare.text.endswith("'") or lowered(bare.text))


def measure(e: Formula) -> int:
    """The width in letters, rounded up."""
    return ceil(_wide(e))


@lru_cache(maxsize=8192)  # lines are broken by the widths of the same parts again and again
def _wide(e: Formula) -> float:
    match e:
        case f.At(base, places):
            return _wide(base) + SMALL * _listed(places)
        case f.Nth(base, numbers):
            return _wide(base) + SMALL * (_listed(numbers) + 2)
        case f.Raised(base, exponent):
            return _in(base, f.ATOM) + SMALL * _wide(exponent)
        case f.Root(body):
            return _wide(body) + 2
        case f.Apply(function, arguments):
            return _wide(function) + _listed(arguments) + 2
        case f.Bracket(body):
            return _wide(body) + 2
        case f.Rows(rows):
            return max(_listed(row) for row in rows) + 2
        case f.Mean(body, given):
            return _wide(body) + 3 + (_wide(given) + SIGN if given is not None else 0)
        case f.Plus(terms):
            return sum(_in(t, f.PRODUCT) + SIGN for _, t in terms)
        case f.Times(factors):
            return sum(_in(p, f.PRODUCT) + SPACE for p in factors)
        case f.Over(top, bottom):
            return max(_wide(top), _wide(bottom)) + SPACE
        case f.Big(indices, where, body):
            at = f.conditioned(indices, where) if where is not None else -1
            signs = sum(_sign(i, n, where if k == at else None) for k, (i, n) in enumerate(indices))
            return max(signs, SIGN) + _in(body, f.PRODUCT)
        case f.Relation(_, left, right):
            return _wide(left) + SIGN + _wide(right)
        case f.Listed(items):
            return _listed(items)
        case f.Name(text) if text in STATISTIC:
            return 1 + SMALL * _letters(len(text) - 2)
        case f.Name(text) if text.rstrip("'") in GREEK:
            return 1
        case f.Name(text) if low := lowered(text.rstrip("'")):
            return 1 + SMALL * len(low[1])
        case f.Name():
            return _letters(len(unicode.text(e)))
    return len(unicode.text(e))


def _letters(count: int) -> float:
    """Letters of a word stand upright and close: a long one is wider than as many signs with room between them."""
    return UPRIGHT * count if count >= WORD else count


def _sign(index: Formula, size: Formula, where: Formula | None) -> float:
    """The sign of a sum: as wide as what stands under it, or above."""
    if where is not None:
        own = isinstance(where, f.Relation) and where.left == index
        return max(SIGN, SMALL * (_wide(where) + (0 if own else _wide(index) + SIGN)))
    return max(SIGN, SMALL * max(_wide(index) + 2, _wide(size) + 2) if size != f.Word("") else SMALL * _wide(index))


def _listed(items: tuple[Formula, ...]) -> float:
    return sum(map(_wide, items)) + 1.5 * (len(items) - 1)


def _in(e: Formula, level: int) -> float:
    return _wide(e) + (2 if f.level(e) < level else 0)
