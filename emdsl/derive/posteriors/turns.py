"""A continuous latent of which a term holds several elements as a product: each element is a factor of q, in turn.

    log p  =  sum over elements of <static, T(u_e)>  +  sum over rows of c * g_1(u_a) g_2(u_b) ...  +  the rest
    eta of u_a  =  static  +  sum over the rows that hold it of  c * E[g_2(u_b)] ...

where g_1, g_2, ... are statistics of the latent's family: given the other elements u_a has that family (a rate
`f[i] * f[j]`, a score `u[i] @ u[j]` under a Normal). All elements of one row are different ones: of one element
twice the product would be another function, which is refused, or looked for in the data.

(Coordinate ascent over elements: Bishop 2006, section 10.1; those that no row holds together go side by side.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import COV, MEAN, MOMENT
from emdsl.derive.algebra.show import show
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.ranges import range_of
from emdsl.derive.joint.records import function_of, recognise, slots_of, statistic_of
from emdsl.derive.joint.terms import Term, opened_by, settle, symmetry_of
from emdsl.derive.joint.weights import weigh
from emdsl.derive.posteriors.block import Block, Tied, place, touches
from emdsl.derive.posteriors.discrete import WAYS_OUT
from emdsl.derive.posteriors.gaussian import gaussian_axes, polynomial_role
from emdsl.derive.posteriors.networks import Clique
from emdsl.derive.posteriors.products import Pattern, Turn
from emdsl.derive.posteriors.roles import Role, merge_roles, quadratic_in
from emdsl.errors import ModelError, Problem, Span

Place = tuple[Idx, ...]
LINEAR, SQUARE = "mean", "outer"  # the statistics of a Gaussian vector


@dataclass(frozen=True)
class Atom:
    """A statistic of one element: where the element is, which function of it, and on which of its own axes."""

    place: Place
    kind: str
    slots: tuple[Idx, ...]
    factors: tuple[Expr, ...]


def atoms_at(t: Term, block: Block) -> tuple[tuple[Atom, ...], tuple[Expr, ...]] | str:
    """The statistics in a term, one for each element that it holds, and its other factors; or why it has none."""
    name, depth = block.latents[0], len(block.home)
    found: dict[Place, list[Expr]] = {}
    rest: list[Expr] = []
    for f in t.factors:
        places = {e.idx[:depth] for e in x.walk(f) if isinstance(e, El) and e.var == name}
        if len(places) > 1:
            return f"{show(f)} holds several elements of {name}, and not as a product"
        if places:
            found.setdefault(next(iter(places)), []).append(f)
        else:
            rest.append(f)
    out = []
    for at, mine in found.items():
        made = _vector_atom(at, mine, depth) if block.gaussian is not None else _atom(at, mine, name, depth)
        if isinstance(made, str):
            return f"{made} of {name}"
        out.append(made)
    return tuple(sorted(out, key=lambda a: (a.kind, repr(a.place)))), tuple(rest)


def _atom(at: Place, mine: Sequence[Expr], name: str, depth: int) -> Atom | str:
    whole = x.mul(*mine)
    leaf = next(e for e in x.walk(whole) if isinstance(e, El) and e.var == name)
    kind = function_of(whole, leaf)
    if kind is None:
        return f"{show(whole)} is no statistic"
    return Atom(at, kind, slots_of(whole, leaf, depth), tuple(mine))


def _vector_atom(at: Place, mine: Sequence[Expr], depth: int) -> Atom | str:
    slots: list[Idx] = []
    for f in mine:
        match f:
            case El():
                slots += f.idx[depth:]
            case x.Pow(El() as e, x.Num(v)) if v == 2:
                slots += [*e.idx[depth:], *e.idx[depth:]]
            case _:
                return f"{show(f)} is no statistic"
    if len(slots) > 2:
        return f"{show(x.mul(*mine))} is of degree {len(slots)}, which is no statistic"
    return Atom(at, LINEAR if len(slots) == 1 else SQUARE, tuple(slots), tuple(mine))


def block_in_turn(name: str, joint: LogJoint, pool: Sequence[Tied], weighted: str | None) -> Block | None:
    """The block of a latent whose single elements are factors of q, where terms hold several as products.

    None where no term does. Raises `ModelError` where one is no product of statistics, or may hold one element twice.
    """
    variable = joint.model.variable(name)
    home, dims = home_of(variable), [str(d) for d in variable.domain.dims]
    vector = len(dims) == 1 and variable.domain.kind == "real"
    own = tuple(Ix(f"{name}_{i}", d) for i, d in enumerate(dims))
    gaussian = gaussian_axes({name: dims}, frozenset()) if vector else None
    block = Block(name, (name,), home, (), (), (), own=() if vector else own, gaussian=gaussian)
    mine = [(p, span) for t, span, _ in pool if touches(t, (name,)) for p in _by_element(t, block)]
    if not home or not any(len(_places(t, block)) > 1 for t, _ in mine):
        return None
    kinds: set[str] = set()
    static: list[Term] = []
    roles: list[Role] = []
    turns: dict[object, Turn] = {}
    for t, span in mine:
        found = atoms_at(t, block)
        why = "it is tied to a discrete latent of its factor" if t.gates else found if isinstance(found, str) else ""
        if why or isinstance(found, str):
            raise _refused(name, why, span, joint)
        kinds |= {a.kind for a in found[0]}
        if len(found[0]) < 2:
            role = _static(t, block, weighted, joint)
            if isinstance(role, str):
                raise _refused(name, role, span, joint)
            static.append(role[1])
            roles.append(role[0])
            continue
        counted = weigh(t, weighted, joint)
        rest = (*found[1], *counted.factors[len(t.factors) :])
        _take(turns, _turn(counted, found[0], rest, block, span, joint))
    fixed = (*home, *own, *(i for axes in _axes(block) for i in axes))
    merged = merge_roles(static, roles, symmetry_of(joint), fixed)
    made = replace(block, terms=merged[0], roles=merged[1], turns=tuple(turns.values()), apart=True)
    return _in_family(made, kinds, joint)


def _axes(block: Block) -> tuple[tuple[Ix, ...], ...]:
    g, name = block.gaussian, block.latents[0]
    return () if g is None else (g.rows[name], g.columns[name])


def _in_family(block: Block, kinds: set[str], joint: LogJoint) -> Block:
    """The block with the family whose statistics these are. Raises `ModelError` where there is none."""
    v = joint.model.variable(block.name)
    if block.gaussian is None:
        record = recognise(frozenset(kinds), len(block.own), v)
        ends = range_of(v)
        why = record if isinstance(record, str) else ends if isinstance(ends, str) else ""
        if not isinstance(record, str) and not why and ends != record.ends:
            why = f"it is cut, and {record.name} is not, element by element"
        if why or isinstance(record, str):
            text = f"the posterior of {block.name} is not a known family: {why}"
            raise ModelError(Problem("E111", text, v.span, WAYS_OUT), joint.model.source)
        return replace(block, record=record)
    if quadratic_in(block.name, block.name) not in block.roles:
        text = f"the posterior of {block.name} is not a known family: it has no square that keeps it near its mean"
        raise ModelError(Problem("E111", text, v.span, WAYS_OUT), joint.model.source)
    return block


def _places(t: Term, block: Block) -> set[Place]:
    depth = len(block.home)
    return {e.idx[:depth] for f in t.factors for e in x.walk(f) if isinstance(e, El) and e.var == block.name}


def _static(t: Term, block: Block, weighted: str | None, joint: LogJoint) -> tuple[Role, Term] | str:
    """(statistic, rest) of a term of one element, in the block's own indices."""
    placed = place(t, block.latents, block.home, (), {}, joint.levels)
    if isinstance(placed, str):
        return placed
    placed = weigh(placed, weighted, joint, block.home)
    if block.gaussian is None:
        role = statistic_of(placed, block.name, block.home, block.own)
        return role if isinstance(role, str) else (role.name, role.rest)
    found = polynomial_role(placed, block.latents, block.home, block.gaussian)
    if isinstance(found, str):
        return found
    return found


def _turn(
    t: Term, atoms: Sequence[Atom], rest: Sequence[Expr], block: Block, span: Span, joint: LogJoint
) -> Turn:  # fmt: skip
    """A term of several elements as a turn of its own; raises `ModelError` where two of them may be one."""
    factors, ixs = list(rest), list(t.ixs)
    slots, names = _own_axes(atoms, block, joint)
    for i, (axis, *more) in names.items():
        factors += [x.delta(axis, other) for other in more]
        if isinstance(i, Ix) and i in ixs:
            factors = [x.substitute(f, {i: axis}) for f in factors]
            ixs = [axis if j == i else j for j in ixs]
        else:
            factors.append(x.sel(i.value, axis) if isinstance(i, DataIx) else x.delta(i, axis))
            ixs.append(axis)
    own_axes = tuple(axis for axes in names.values() for axis in axes)
    masks = tuple(f for f in factors if _is_condition(f))
    met = [_meet(a.place, b.place, masks) for k, a in enumerate(atoms) for b in atoms[:k]]
    if "plain" in met:
        text = f"a row may hold one element of {block.name} twice, and so a power that is no statistic of a family"
        raise _refused(block.name, text, span, joint, _left_out(atoms))
    held = [El("", a.place) for a in atoms]
    plates = tuple(i for i in ixs if i not in own_axes and any(i in x.free(e) for e in (*held, *masks)))
    own = tuple(f for f in factors if f not in masks and f != x.ONE)
    summed = tuple(i for i in ixs if i not in plates and i not in own_axes)
    clique = Clique(tuple((block.name, a.place) for a in atoms), (), plates, masks, ())
    term = Term(t.coef, (), own, tuple(dict.fromkeys((*own_axes, *plates, *summed))))
    pattern = Pattern(tuple(a.kind for a in atoms), slots, (term,))
    return Turn(clique, (pattern,), tuple(_shares(t, atoms, rest, block, joint)))


def _left_out(atoms: Sequence[Atom]) -> str:
    """What to write where plates say which elements meet; other ways where latents do."""
    pairs = [(i, j) for a, b in pairwise(atoms) for i, j in zip(a.place, b.place, strict=True)]
    named = [(i, j) for i, j in pairs if isinstance(i, Ix) and isinstance(j, Ix) and i != j and i.dim == j.dim]
    if not named or any(n.startswith("_") for i, j in named for n in (i.name, j.name)):
        return WAYS_OUT
    i, j = named[0]
    return f"leave such rows out: `for {j.name} in {j.dim} if {j.name} < {i.name}`"


def _shares(
    t: Term, atoms: Sequence[Atom], rest: Sequence[Expr], block: Block, joint: LogJoint
) -> list[tuple[Role, Term]]:
    """What a row adds to each of its elements: (statistic, rest), the others averaged, in the block's own indices."""
    out = []
    for k, own in enumerate(atoms):
        parts = [own.factors]
        for other in (a for n, a in enumerate(atoms) if n != k):
            parts = [(*p, *more) for p in parts for more in _moments(other, block.name, block)]
        for p in parts:
            found = _static(Term(t.coef, (), (*rest, *p), t.ixs), block, None, joint)
            if not isinstance(found, str):
                out.append(found)
    return out


def _own_axes(
    atoms: Sequence[Atom], block: Block, joint: LogJoint
) -> tuple[tuple[tuple[Ix, ...], ...], dict[Idx, list[Ix]]]:
    """Axes of each atom's own indices, and which axes stand for each: within one atom no axis stands twice."""
    names: dict[Idx, list[Ix]] = {}
    dims = [str(d) for d in joint.model.variable(block.name).domain.dims]
    slots, count = [], 0
    for a in atoms:
        mine: list[Ix] = []
        for k, i in enumerate(a.slots):
            axis = next((j for j in names.get(i, []) if j not in mine), None)
            if axis is None:
                axis = Ix(f"{block.name}_s{count}", dims[min(k, len(dims) - 1)])
                names.setdefault(i, []).append(axis)
                count += 1
            mine.append(axis)
        slots.append(tuple(mine))
    return tuple(slots), names


def _is_condition(f: Expr) -> bool:
    return isinstance(f, x.Fn) and f.name in x.COMPARISONS


def _meet(a: Place, b: Place, masks: Sequence[Expr]) -> str:
    """Whether two places may be one element: "" if not, "data" where data tell, "plain" where some rows surely do."""
    to: dict[Ix, Idx] = {}
    told = False
    for i, j in zip(a, b, strict=True):
        apart = x.add(x.value_of(i), x.neg(x.value_of(j)))
        if isinstance(apart, x.Num) and apart.value != 0:
            return ""
        if isinstance(i, Ix) and i != j:
            to[i] = j
        elif isinstance(j, Ix) and i != j:
            to[j] = i
        told |= i != j and (isinstance(i, DataIx) or isinstance(j, DataIx))
    held = [x.substitute(f, to) for f in masks]
    if _contradict(held):
        return ""
    return "data" if told or any(x.variables(f) for f in held) else "plain"


def _contradict(conditions: Sequence[Expr]) -> bool:
    """Whether no values have all of these comparisons: `a < b` with `b < a`, or with `b < c` and `c < a`."""
    below: set[tuple[Expr, Expr, bool]] = set()
    unlike: set[tuple[Expr, Expr]] = set()
    todo = list(conditions)
    while todo:
        match todo.pop():
            case x.Fn("and", (a, b)):
                todo += [a, b]
            case x.Fn("lt" | "le" as name, (a, b)):
                below.add((a, b, name == "lt"))
            case x.Fn("gt" | "ge" as name, (a, b)):
                below.add((b, a, name == "gt"))
            case x.Fn("ne", (a, b)):
                unlike |= {(a, b), (b, a)}
            case x.Num(v) if v == 0:
                return True
    while True:
        more = {(a, d, s or t) for a, b, s in below for c, d, t in below if b == c} - below
        if not more:
            return any(a == b and (strict or (a, b) in unlike) for a, b, strict in below) or any(
                a == b for a, b in unlike
            )
        below |= more


def _take(turns: dict[object, Turn], new: Turn) -> None:
    """Turns of the same rows are one; patterns of the same statistics too."""
    key = (new.clique.places, new.clique.plates, new.clique.masks)
    old = turns.get(key)
    if old is None:
        turns[key] = new
        return
    (own,) = new.patterns
    patterns = list(old.patterns)
    for k, p in enumerate(patterns):
        if (p.kinds, p.slots) == (own.kinds, own.slots):
            patterns[k] = replace(p, terms=(*p.terms, *own.terms))
            break
    else:
        patterns.append(own)
    turns[key] = replace(old, patterns=tuple(patterns), shares=(*old.shares, *new.shares))


def _refused(name: str, why: str, span: Span, joint: LogJoint, hint: str = WAYS_OUT) -> ModelError:
    return ModelError(Problem("E110", f"the posterior of {name} is not tractable: {why}", span, hint),
                      joint.model.source)  # fmt: skip


def _by_element(t: Term, block: Block) -> list[Term]:
    """A term opened until each function in it holds one element: `cos(u[i] - u[j])` by the theorem of addition."""
    if all(len(_places(replace(t, factors=(f,)), block)) < 2 for f in t.factors):
        return [t]
    depth = len(block.home)

    def held(e: Expr) -> frozenset[str]:
        return frozenset(repr(n.idx[:depth]) for n in x.walk(e) if isinstance(n, El) and n.var == block.name)

    out = []
    for c, factors, sums in opened_by(x.mul(*t.factors), held):
        inner, rest = x.split_number(x.mul(*factors))
        body = tuple(f for f in x.factors_of(rest) if f != x.ONE)
        out.append(settle(Term(t.coef * c * inner, t.gates, body, (*t.ixs, *sums))))
    return [p for p in out if p.coef != 0]


def averaged_in_turn(t: Term, block: Block) -> list[Term] | str:
    """A term under q of single elements: the products of their moments (no row holds one of them twice)."""
    out: list[Term] = []
    for p in _by_element(t, block):
        found = _product_of_moments(p, block)
        if isinstance(found, str):
            return found
        out += found
    return out


def _product_of_moments(t: Term, block: Block) -> list[Term] | str:
    found = atoms_at(t, block)
    if isinstance(found, str):
        return f"no closed expectation: {found}"
    atoms, rest = found
    name, parts = block.latents[0], [tuple[Expr, ...](())]
    for a in atoms:
        parts = [(*p, *more) for p in parts for more in _moments(a, name, block)]
    if block.gaussian is None and any(a.kind not in _known(block) for a in atoms):
        return f"no closed expectation of {name} under its posterior"
    return [Term(t.coef, t.gates, (*rest, *p), t.ixs) for p in parts]


def _known(block: Block) -> tuple[str, ...]:
    return block.record.moments if block.record is not None else ()


def _moments(a: Atom, name: str, block: Block) -> list[tuple[Expr, ...]]:
    if block.gaussian is None:
        return [(El(MOMENT.of(name, a.kind), (*a.place, *a.slots)),)]
    means = tuple(El(MEAN.of(name), (*a.place, i)) for i in a.slots)
    return [means] if a.kind == LINEAR else [means, (El(COV.of(name, name), (*a.place, *a.slots)),)]
