"""The step of a derivation that says what the families in a model are: statistics, natural parameters, log-partition.

Where a family has no finite statistics, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator

from emdsl.derive.algebra import expr as x
from emdsl.derive.joint.exponential import Exponential, NotExponential, Pair, exponential
from emdsl.derive.numbering import families_called
from emdsl.derive.plan import Plan
from emdsl.language import model as m
from emdsl.report import formula as f
from emdsl.report.formula import Formula
from emdsl.report.indices import Letters
from emdsl.report.known import Known
from emdsl.report.page import Say, Show, Step, names_of
from emdsl.report.tidy import tidy
from emdsl.report.typeset import Typeset
from emdsl.report.vectors import tensor

ETA, T, H, X, J = f.Word("eta"), f.Name("T"), f.Word("h"), f.Name("x"), f.Name("j")
A = f.Apply(f.Word("A"), (ETA,))


def family_steps(plan: Plan) -> list[Step]:
    """One step for all families of a model, in the order in which it calls them; none where it calls none."""
    used = families_called(plan.joint.model)
    if not used:
        return []
    terms = f.Big(((J, f.Word("")),), None, f.Times((f.At(ETA, (J,)), f.Apply(f.At(T, (J,)), (X,)))))
    body: list[Say | Show] = [
        Say("An exponential family has statistics T(x), natural parameters η, log-partition A(η):"),
        Show(f.Relation("=", _log("p", X), f.Plus(((False, terms), (True, A), (False, _log("h", X)))))),
        Say("Of the families that the model calls, with h(x) = 1 where none is told:"),
    ]
    facts = []
    for family, signature in used:
        found = exponential(family, signature)
        body += list(_family(family, signature, found))
        facts.append(
            {
                "family": family.name,
                "arguments": [a.name for a in family.signatures[signature].arguments],
                "exponential": isinstance(found, Exponential),
                "user": family.user,
            }
        )
    return [Step("The families", tuple(body), {"kind": "families", "families": facts})]


def _family(family: m.Family, signature: int, found: Exponential | NotExponential) -> Iterator[Say | Show]:
    t = _typeset(family, signature)
    name = f"`{family.name}({', '.join(a.name for a in family.signatures[signature].arguments)})`"
    if isinstance(found, Exponential):
        yield Say(f"{name}{', declared here' if family.user else ''}:")
        yield from _parts(family, found, t)
        return
    yield Say(f"{name}{', declared here,' if family.user else ''} is not an exponential family: {_because(found)}")
    if found.tie is not None:
        yield Show(t.of(tidy(found.tie, t.known), {}))
    if family.user:
        yield Say("So it has no finite statistics: parameters in it are found numerically, in passes over the data.")
    if found.given is not None:
        yield Say(f"With {names_of(*found.given.fixed)} known it is one:")
        yield from _parts(family, found.given, t)


def _because(found: NotExponential) -> str:
    return found.reason + ("." if found.tie is None else ", in")


def _parts(family: m.Family, found: Exponential, t: Typeset) -> Iterator[Show]:
    statistics, naturals = zip(*(_pair(p, t) for p in found.pairs), strict=True) if found.pairs else ((), ())
    variate = f.Name(family.x.name)
    yield Show(f.Relation("=", f.Apply(T, (variate,)), f.listed(statistics)))
    yield Show(f.Relation("=", ETA, f.listed(naturals)))
    yield Show(f.Relation("=", A, t.of(tidy(found.log_partition, t.known), {})))
    if (base := tidy(found.log_base, t.known)) != x.ZERO:
        yield Show(f.Relation("=", _log("h", variate), t.of(base, {})))


def _log(function: str, of: Formula) -> Formula:
    return f.Apply(f.Word("log"), (f.Apply(H if function == "h" else f.Word(function), (of,)),))


def _pair(p: Pair, t: Typeset) -> tuple[Formula, Formula]:
    """A statistic with its natural parameter, as vectors or matrices where both can be written so."""
    statistic, natural = tidy(p.statistic, t.known), tidy(p.natural, t.known)
    if p.ixs:
        sides = tensor(t, statistic, p.ixs, {}), tensor(t, natural, p.ixs, {})
        if sides[0] is not None and sides[1] is not None:
            return sides[0], sides[1]
    names = t.letters.extend({}, p.ixs)
    return t.of(statistic, names), t.of(natural, names)


def _typeset(family: m.Family, signature: int) -> Typeset:
    """How the expressions of one declaration are written: in its own names."""
    declared = (family.x, *family.signatures[signature].arguments)
    pairs = {a.name: (0, 1) for a in declared if a.domain.symmetric}
    letters = Letters({}, frozenset((*(a.name for a in declared), *family.sizes)))
    return Typeset(letters, {}, {}, Known(pairs, {}), {}, {a.name: len(a.domain.dims) for a in declared})
