"""Heads of declarations: plates, brackets and domains; where no domain is written, the family's own."""

from __future__ import annotations

from dataclasses import replace

from emdsl.errors import Problem, Span
from emdsl.language import syntax as s
from emdsl.language.distributions import family_of
from emdsl.language.domains import domain_of, joined
from emdsl.language.entries import Circular
from emdsl.language.expressions import condition, typed
from emdsl.language.functions import COMPARISONS
from emdsl.language.integers import integral, plain_domain, rowed
from emdsl.language.kinds import KINDS
from emdsl.language.lengths import rename
from emdsl.language.mixed import is_atom, leaves
from emdsl.language.model import Call, Domain, Expr, Family, Num, Plate, Ragged, Shape, Size
from emdsl.language.positions import length
from emdsl.language.scope import Entry, Env, Item, Scope, Stop, wrong


def plates_of(headers: tuple[s.ForBlock, ...], scope: Scope, owner: str) -> tuple[tuple[Plate, ...], Env]:
    """The typed plates, and the environment inside them. Raises Stop."""
    env = Env(scope, owner)
    out: list[Plate] = []
    for header in headers:
        if header.span not in scope.plates:
            scope.plates[header.span] = _plate(header, env)
        plate = scope.plates[header.span]
        out.append(plate)
        env = env.inside(plate.index, plate.size)
        if plate.condition is not None:
            env = env.guarded(plate.condition, True)
    return tuple(out), env


def _plate(header: s.ForBlock, env: Env) -> Plate:
    size = length(header.size, env)
    if isinstance(size, Ragged) and not isinstance(header.size, s.Subscript):
        raise wrong("E026", f"`{size.name}` is ragged", header.size.span, f"write `{size}`")
    inner = env.inside(header.index, size)
    where = None if header.cond is None else condition(header.cond, inner)
    return Plate(header.index, size, where, header.span)


def array_of(target: s.Target, item: Item, env: Env) -> Shape:
    """The lengths in a declaration's brackets after the names of its plates. Raises Stop."""
    loops = [h.index for h in item.headers]
    written = target.indices or ()
    names = [n.name if isinstance(n, s.Name) else "" for n in written[: len(loops)]]
    if names != loops:
        right = f"{target.name}[{', '.join(loops)}]"
        if not written:
            raise wrong("E023", f"`{target.name}` stands in the plate `{loops[-1]}`", target.span, f"write `{right}`")
        raise wrong(
            "E023",
            f"the brackets begin with the names of the enclosing plates: `{', '.join(loops)}`",
            target.span,
            f"write `{right}`",
        )
    return tuple(length(n, env) for n in written[len(loops) :])


def entry_typing(name: str, scope: Scope) -> Entry:
    """The entry of a declared name, from its declaration alone. Raises Stop."""
    item = scope.items[name]
    statement = item.statement
    plates, env = plates_of(item.headers, scope, name)
    if isinstance(statement, s.LetLine):
        if len(statement.target.indices or ()) > len(item.headers):
            hint = "write `let name = [... for k in K]`"
            raise wrong("E023", "a `let` has brackets for its plates alone", statement.target.span, hint)
        array_of(statement.target, item, env)
        body = typed(statement.body, env)
        return Entry(
            "let", name, plates, tuple(p.size for p in plates) + body.shape, None, (), body, integral(body, env)
        )
    assert isinstance(statement, s.Declaration)
    array = array_of(statement.target, item, env)
    if statement.kind == "param" and any(isinstance(p.size, Ragged) for p in plates):
        raise wrong("E026", f"the param `{name}` stands in a ragged plate", statement.target.span)
    if statement.domain is not None:
        domain = domain_of(statement.domain, env)
    elif statement.value is None:
        raise wrong(
            "E042",
            f"`{name}` has no distribution",
            statement.target.span,
            f"write `{statement.kind} {name} ~ Family(...)`",
        )
    else:
        domain = inferred(statement.value, env)
        if domain.discrete:
            domain = _with_itself(domain, item, plates, array, env)
        if domain.kind == "count" and statement.kind == "observed" and _subtracts(statement.value, env):
            domain = replace(domain, kind="real")  # a difference of counts may be below 0
    shape = tuple(p.size for p in plates) + array + domain.dims
    return Entry(statement.kind, name, plates, shape, domain, array)


def _with_itself(domain: Domain, item: Item, plates: tuple[Plate, ...], array: Shape, env: Env) -> Domain:
    """Integers by the branches that do not read the variable itself: whether the others have integers, too, if so.

    `Delta(0) if t == 0 else Delta(0.5*v[t-1] + x[t])` is real, with `v[t-1] + z[t]` a count.
    """
    statement, entries = item.statement, env.scope.entries
    assert isinstance(statement, s.Declaration) and statement.value is not None
    name, shape = statement.target.name, tuple(p.size for p in plates) + array + domain.dims
    if not all(is_atom(family) for _, family in (family_of(leaf, env) for leaf in leaves(statement.value))):
        return domain
    entries[name] = Entry(statement.kind, name, plates, shape, domain, array)
    try:
        return inferred(statement.value, env)
    finally:
        del entries[name]


def _subtracts(value: s.Node, env: Env) -> bool:
    """Whether every branch is a point mass, and some at a difference."""
    calls = [family_of(leaf, env) for leaf in leaves(value)]
    points = [call for call, family in calls if is_atom(family)]
    values = [*(a for c in points for a in c.args), *(k.value for c in points for k in c.keywords)]
    return len(points) == len(calls) and any(isinstance(v, s.Chain) and "-" in dict(v.rest) for v in values)


# ---------------------------------------------------------------------------- domains that nobody wrote


def inferred(value: s.Node, env: Env) -> Domain:
    """The domain that the families after `~` have in common. Raises Stop."""
    calls = [family_of(leaf, env) for leaf in leaves(value)]
    out: Domain | None = None
    for _, family in calls:
        if is_atom(family):
            continue
        own = fresh_domain(family, env)
        both = own if out is None else joined(out, own, env)
        if both is None:
            raise wrong("E044", "the branches are about values of different shapes", value.span)
        out = both
    atoms = [call for call, family in calls if is_atom(family)]
    if out is None:
        return _of_atoms(atoms, env, value.span)
    for atom in atoms:
        out = _with_atom(out, atom)
    return out


def fresh_domain(family: Family, env: Env) -> Domain:
    """The family's own domain with lengths to be found, and without its bounds (they speak of its arguments)."""
    sizes: dict[str, Size] = {n: env.scope.lengths.fresh() for n in family.sizes}
    own = family.x.domain
    dims = tuple(rename(d, sizes) for d in own.dims)
    levels = None if own.levels is None else rename(own.levels, sizes)
    return Domain(own.kind, dims, levels, span=own.span)


def _with_atom(domain: Domain, atom: s.Apply) -> Domain:
    """The domain widened to hold a point mass, as far as its text tells: `Delta(0)` beside a Gamma."""
    value = atom.args[0] if atom.args else None
    if isinstance(value, s.Number):
        whole, fits = isinstance(value.value, int), KINDS[domain.kind].holds(value.value)
        if domain.discrete:
            return domain if whole and fits else replace(domain, kind="count" if whole else "real", levels=None)
        return domain if fits or domain.structured else replace(domain, kind="real")
    if isinstance(value, s.Unary) and domain.kind in ("positive", "unit", "count"):
        return replace(domain, kind="real")
    return domain


def _of_atoms(atoms: list[s.Apply], env: Env, span: Span) -> Domain:
    """Nothing but point masses: the domain of their values, of the first that can be typed."""
    circular: Problem | None = None
    domains: list[Domain] = []
    for atom in atoms:
        if not atom.args and not atom.keywords:
            raise wrong("E040", f"{atom.name} takes one value", atom.span)
        node = atom.args[0] if atom.args else atom.keywords[0].value
        uses, references = len(env.scope.uses), len(env.scope.references)
        try:
            domains.append(_of_value(typed(node, env), env))
        except Circular as stop:
            circular = stop.problem
        except Stop as stop:
            if stop.problem is None and circular is None:
                circular = None
            elif stop.problem is not None:
                raise
        finally:
            del env.scope.uses[uses:], env.scope.references[references:]
    if not domains:
        raise Stop(circular)
    out = domains[0]
    for other in domains[1:]:
        both = joined(out, other, env)
        if both is None:
            raise wrong("E044", "the branches are about values of different shapes", span)
        out = both
    return out


def _of_value(value: Expr, env: Env) -> Domain:
    found = plain_domain(value, env)
    if found is not None and found[0].discrete:
        domain, entry = found
        levels = None if domain.levels is None else rowed(domain.levels, entry, value)
        return Domain(domain.kind, value.shape, levels, domain.lower, domain.upper, value.span)
    if isinstance(value, Call) and value.fn in COMPARISONS:
        return Domain("bool", value.shape, span=value.span)
    if isinstance(value, Num) and value.value in (0, 1) and isinstance(value.value, int):
        return Domain("count", (), span=value.span)
    return Domain("count" if integral(value, env) else "real", value.shape, span=value.span)
