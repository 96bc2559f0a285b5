"""Brackets: `m[k, d]`, latent indices, ragged rows; the lengths that an index equates."""

from __future__ import annotations

from collections.abc import Callable

from emdsl.errors import Span
from emdsl.language import syntax as s
from emdsl.language.entries import entry_of
from emdsl.language.functions import show
from emdsl.language.integers import integral, places, plain_domain, row_names
from emdsl.language.mixed import is_atom, unwritten
from emdsl.language.model import Dim, Expr, Index, Loop, Ragged, Shape, Size, SizeOf, Var
from emdsl.language.positions import ragged
from emdsl.language.scope import Entry, Env, IndexUse, Reference, wrong
from emdsl.language.transform import loops_in, names_in

Typing = Callable[[s.Node, Env], Expr]


def subscript(base: s.Node, args: tuple[s.Node, ...], span: Span, env: Env, typed: Typing) -> Expr:
    """`base[args]`. Raises Stop where there are too many indices, or one is no integer."""
    entry = None
    if isinstance(base, s.Name) and base.name not in env.loops:
        name = base.name
        if env.arguments is None and name in env.scope.ragged and name not in env.scope.items:
            return SizeOf(ragged(name, args, span, env), span)
        if env.arguments is None and name in env.scope.items:
            entry = entry_of(name, env.scope, base.span)
    value = Var(entry.name, entry.shape, base.span) if entry is not None else typed(base, env)
    if len(args) > len(value.shape):
        shown = show(env.scope.lengths.settle(value.shape))
        what = f"`{entry.name}`" if entry is not None else "this"
        hint = f"it takes at most {len(value.shape)}" if entry is not None and value.shape else None
        raise wrong("E031", f"too many indices: {what} is {shown}", span, hint)
    indices = tuple(_index(a, env, typed) for a in args)
    axes = _axes(value.shape, entry, indices)
    for k, (index, axis) in enumerate(zip(indices, axes, strict=False)):
        _match(index, axis, entry, env, indices[:k])
    if entry is not None:
        loops = tuple(env.loops.items())
        env.scope.references.append(Reference(env.owner, entry.name, indices, env.guards, loops, span))
    rest = axes[len(indices) :]
    if isinstance(value, Index):
        return Index(value.base, value.args + indices, rest, span)
    return Index(value, indices, rest, span)


def _element_hint(value: Expr, env: Env) -> str | None:
    """How the element of the row is written, where a whole variable of plates stands: `z[n]` for `z`."""
    if not isinstance(value, Var):
        return None
    plates = entry_of(value.name, env.scope, value.span).plates
    return f"write `{value.name}[{', '.join(p.index for p in plates)}]`" if plates else None


def _index(node: s.Node, env: Env, typed: Typing) -> Expr:
    value = typed(node, env)
    if value.shape:
        what = show(env.scope.lengths.settle(value.shape))
        raise wrong("E033", f"an index is an integer, not {what}", node.span, _element_hint(value, env))
    if not integral(value, env):
        hint = "declare it `index[N]` or `category[K]`" if isinstance(value, Var | Index) else None
        raise wrong("E033", "an index is an integer; this is a real number", node.span, hint)
    found = plain_domain(value, env)
    if found is not None and found[0].kind == "count" and env.arguments is None:
        _bounded(value, found[0].upper is not None, found[1], env)
    return value


def _bounded(value: Expr, has_bound: bool, entry: Entry | None, env: Env) -> None:
    """An unbounded count indexes nothing. An inferred domain gets its bound later: its family tells."""
    if has_bound or entry is None:
        return
    families = unwritten(entry, env.scope)
    if families and all(is_atom(f) or f.x.domain.upper is not None for f in families):
        return  # a sum of bounded terms, or a Binomial
    hint = "declare it `index[N]` or `category[K]`, or bound it: `count(max = 5)`"
    raise wrong("E033", f"`{entry.name}` has no bound, so it cannot be an index", value.span, hint)


def _axes(shape: Shape, entry: Entry | None, indices: tuple[Expr, ...]) -> Shape:
    """The shape with ragged lengths said in the loop names that stand in the brackets."""
    if entry is None or not any(isinstance(size, Ragged) for size in shape):
        return shape
    rows = row_names(entry, indices)
    return tuple(Ragged(x.name, rows.get(x.by, x.by)) if isinstance(x, Ragged) else x for x in shape)


def _match(index: Expr, axis: Size, entry: Entry | None, env: Env, before: tuple[Expr, ...]) -> None:
    """Equates the number of values of the index with the axis; leaves the range to be checked later."""
    lengths = env.scope.lengths
    name = entry.name if entry is not None else None
    use = IndexUse(index, axis, env.guards, tuple(env.loops.items()), name, env.owner, before)
    env.scope.uses.append(use)
    count = places(index, env)
    if count is None:
        return
    if isinstance(index, Loop) and any(index.name in loops_in(cond) for cond, _ in env.guards):
        return
    known = lengths.known(axis)
    if isinstance(lengths.known(count), Ragged) != isinstance(known, Ragged):
        return  # one length against many: the data are asked
    if isinstance(index, Loop) and isinstance(known, Ragged) and known.by == "?":
        return  # `w[g[s], t] for t in L[s]`: of another row, whose length the data tell
    if count == Dim.of(2) and _is_bool(index, env) and isinstance(known, Dim) and (known.constant or 0) >= 2:
        return
    here = lengths.known(count)
    if isinstance(here, Dim) and isinstance(known, Dim) and ((known - here).constant or 0) > 0 and not here.constant:
        return  # `f[t] for t in T-1`: a loop that is shorter by a number stays inside
    if _narrowed(index, env) and isinstance(here, Dim) and isinstance(known, Dim):
        if {*here.names, *known.names} <= env.scope.declared:
            return  # `e[z[n]] if z[n] < 3`: both lengths are told, and need not be one
    if not lengths.equate(count, axis, index.span):
        place = f"the axis of `{name}`" if name else "the axis"
        message = f"this index takes {lengths.known(count)} values, {place} that it indexes has length {known}"
        raise wrong("E030", message, index.span, lengths.because())


def _narrowed(index: Expr, env: Env) -> bool:
    """Whether a condition around the index speaks of what it reads, and may leave out some of its values."""
    return any(names_in(index) & names_in(cond) for cond, _ in env.guards)


def _is_bool(index: Expr, env: Env) -> bool:
    found = plain_domain(index, env)
    return found is not None and found[0].kind == "bool"
