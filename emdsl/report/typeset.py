"""Expr -> Formula: the algebra in the user's names, with plates as sums and posteriors as `q(z[n] = k)`.

Sample weights are left out (a note says that every sum carries them); what is missing becomes a condition of
its sum; the rows of a ragged plate are written by their two indices again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import PRESENT
from emdsl.derive.algebra.show import arguments
from emdsl.derive.joint.factors import POINTS
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.clouds import without_clouds
from emdsl.language import model as m
from emdsl.report import formula as f
from emdsl.report.axes import own_axes
from emdsl.report.bounds import bounded, only, place
from emdsl.report.conditions import filters
from emdsl.report.elements import Elements
from emdsl.report.factored import halved, numbers_first, sizes_in_order
from emdsl.report.flat import in_own
from emdsl.report.formula import Formula
from emdsl.report.indices import Names, in_order, in_sight, letters
from emdsl.report.known import known
from emdsl.report.lets import matrices, numbers
from emdsl.report.pieces import (
    assembled,
    function,
    in_order_of_kind,
    joined_logs,
    literal,
    number,
    signed_sum,
    started,
)
from emdsl.report.ragged import length, parents_at, quotient, ranges
from emdsl.report.spelled import spelled
from emdsl.report.structured import paired
from emdsl.report.tidy import tidy
from emdsl.report.together import means_of_products
from emdsl.report.vectors import chain, tensor

RELATIONS = {"eq": "=", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "and", "or": "or"}
OPPOSITE = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


class Typeset(Elements):
    """Writes expressions, each kind in its way."""

    # ------------------------------------------------------------ indices

    def index(self, i: Idx, names: Names) -> tuple[Formula, ...]:
        """An index position; a row of a ragged plate is the indices of its parents and its own."""
        match i:
            case Ix() if i.dim.endswith("[]"):
                return (*map(f.Name, self.parents.get(i.dim[:-2], ())), f.Name(names.get(i, i.name)))
            case Ix():
                return (f.Name(names.get(i, i.name)),)
            case int():
                return (f.Number(str(i)),)
            case DataIx(value) if parents := parents_at(self, value):
                return tuple(map(f.Name, parents))
        row = started(i.value)
        if row is not None:
            parent = self.index(row[0], names)
            return (*parent, self.of(row[1], names))
        return (self.of(i.value, names),)

    def range(self, i: Ix, names: Names) -> tuple[tuple[Formula, Formula], ...]:
        """What a sum over an index says: the index with its length."""
        if i.dim.endswith("[]"):
            return ranges(self, f.Name(names[i]), i.dim[:-2])
        if i.dim.endswith(POINTS):  # how many there are, no size of the model says
            return ((f.Name(names[i]), f.Word("")),)
        dim = i.dim.removesuffix("[max]")
        return ((f.Name(names[i]), f.Number(dim) if dim.isdigit() else f.Name(dim)),)

    # ------------------------------------------------------------ expressions

    def of(self, e: Expr, names: Names) -> Formula:
        """The expression; `names` are those of its free indices."""
        match e:
            case x.Num(v):
                return number(v)
            case El():
                return self._element(e, names)
            case x.Val():
                return self.index(e.ix, names)[-1]
            case x.SizeN():
                return length(self, e.dim)
            case x.Sel() | x.Delta():
                return f.Bracket(self.condition(e, names))
            case x.Fn():
                return self._function(e, names)
            case x.Add():
                key = e, tuple(names.items())
                if key not in self.sums:  # each of hundreds of terms may hold one sum
                    whole = self.joined(e)
                    terms = numbers_first(whole.terms) if isinstance(whole, x.Add) else (whole,)
                    self.sums[key] = self.plus([self._signed(t, names) for t in terms])
                return self.sums[key]
            case x.Mul() | x.Pow() | x.Sum():
                return self._product(e, names)
            case x.MatInv():
                return f.At(f.Raised(self.matrix(e, names), f.Number("-1")), self.places(e.at, names))
            case x.LogDet():
                return f.Apply(f.Word("logdet"), (self.matrix(e, names),))
            case x.Where():
                yes, no = self.of(e.then, names), self.of(e.other, names)
                rest = no.options if isinstance(no, f.Cases) and _exclude(e) else ((no, None),)
                return f.Cases(((yes, self.condition(e.cond, names)), *rest))
            case x.Choose():
                options = f.Listed(tuple(self.of(o, names) for o in e.options))
                return f.At(f.Bracket(options), self.index(e.at, names))

    def matrix(self, e: x.MatInv | x.LogDet, names: Names) -> Formula:
        """The matrix whose element is the body: its name, where it is one array in order, else its element."""
        match e.body:
            case El(var, idx) if idx[-2:] in ((e.i, e.j), (e.j, e.i)):
                return self._named(var, idx[:-2], names)
        for name, i, j, body in self.matrices:
            if body in (x.substitute(e.body, {e.i: i, e.j: j}), x.substitute(e.body, {e.i: j, e.j: i})):
                return f.Name(name)
        whole = tensor(self, e.body, (e.i, e.j), names)
        if whole is not None:
            return whole
        inner = self.letters.extend({i: n for i, n in names.items() if i not in (e.i, e.j)}, (e.i, e.j))
        at = (*self.index(e.i, inner), *self.index(e.j, inner))
        return f.Apply(f.Word("matrix"), (f.Relation("|", self.of(e.body, inner), f.Listed(at)),))

    def _signed(self, t: Expr, names: Names) -> tuple[bool, Formula]:
        c, rest = x.split_number(t)
        if c < 0:
            return True, self.of(x.mul(x.Num(-c), rest), names)
        return False, self.of(t, names)

    def plus(self, terms: list[tuple[bool, Formula]]) -> Formula:
        return signed_sum(joined_logs(terms))

    # ------------------------------------------------------------ functions and conditions

    def _function(self, e: x.Fn, names: Names) -> Formula:
        if e.name in x.COMPARISONS:
            return f.Bracket(self.condition(e, names))
        if e.name == "q":  # of one element of a network
            return f.Apply(f.Word("q"), tuple(self.condition(a, names) for a in e.args))
        args = tuple(self.of(halved(a), names) for a in arguments(e))
        match e.name:
            case "pi":
                return f.Word("pi")
            case "E":  # under q, of what is not opened
                return self.mean(args[0], e.args[1:], names)
            case "value" | "whole":  # an index that stands for a number of its own; constants that are not opened
                return args[0]
            case "floordiv" | "mod":
                return quotient(self, e, names)
            case "log1p":
                return f.of("log", f.plus(f.Number("1"), args[0]))
            case "log1mexp" | "log_rest" if (power := _as_power(e.args[0])) is not None:
                return self.of(x.Fn("log", (x.Add((x.ONE, x.neg(power))),)), names)
        return function(e.name, args)

    def mean(self, value: Formula, given: Sequence[Expr], names: Names) -> Formula:
        """The mean under q of a value, where conditions hold."""
        return f.Mean(value, f.Listed(tuple(self._held(g, names) for g in given)) if given else None)

    def _held(self, e: Expr, names: Names) -> Formula:
        """A condition of a mean; of a latent at points the point."""
        match e:
            case x.Sel(El(var, idx), at) if var in self.points:
                return self._event(var, idx, self.index(at, names)[-1], names)
        return self.condition(e, names)

    def condition(self, e: Expr, names: Names) -> Formula:
        match e := only(e, self.known.whole):
            case x.Sel():
                return f.Relation("=", self.of(e.of, names), self.index(e.at, names)[-1])
            case x.Delta():
                a, b = (e.b, e.a) if isinstance(e.a, int) else (e.a, e.b)
                return f.Relation("=", self.index(a, names)[-1], self.index(b, names)[-1])
            case x.Fn(name, (a, b)) if name in ("and", "or"):
                return f.Relation(name, self.condition(a, names), self.condition(b, names))
            case x.Fn(name, (a, b)) if name in RELATIONS:
                return f.Relation(RELATIONS[name], self.of(a, names), self.of(b, names))
            case x.Fn("not", (a,)):
                inner = self.condition(a, names)
                if isinstance(inner, f.Relation) and inner.op in OPPOSITE:
                    later = isinstance(a, x.Fn) and place(a.args[0]) and inner.right == f.Number("0")
                    op = ">" if later and inner.op == "=" else OPPOSITE[inner.op]  # an index is not below 0
                    return f.Relation(op, inner.left, inner.right)
                return f.Apply(f.Word("not"), (inner,))
            case El() if e.var in PRESENT:
                return self._seen(e, names)
        return f.Relation("!=", self.of(e, names), f.Number("0"))

    # ------------------------------------------------------------ products

    def _product(self, e: Expr, names: Names) -> Formula:
        """A product: number, what stands above and below the line, conditions as brackets, sums last."""
        if any(isinstance(p, x.Sum) for p in x.factors_of(e)):
            matrices = chain(self, e, (), names)
            if matrices is not None:
                return matrices
        c, rest = x.split_number(e)
        above: list[Formula] = []
        below: list[Formula] = []
        last: list[Formula] = []
        for p in sizes_in_order(x.factors_of(rest), list(self.letters.loops)):
            match p:
                case x.Sum():
                    last.append(self.total(p, names))
                case x.Pow(base, x.Num(v)) if v < 0:
                    below.append(self._power(base, x.Num(-v), names))
                case x.Pow(base, exponent):
                    above.append(self._power(base, exponent, names))
                case x.Num(v) if v == 1:
                    continue
                case _:
                    above.append(self.of(p, names))
        above = in_order_of_kind(above)
        logs = [p for p in above if isinstance(p, f.Apply) and p.function == f.Word("log")]
        if len(last) == 1 and isinstance(big := last[0], f.Big) and logs:  # `sum_n q[n] log t`, not `log t sum_n q[n]`
            above = [p for p in above if p not in logs]
            last = [f.Big(big.indices, big.where, f.times(big.body, *logs))]
        return assembled(c, [*above, *last], below)

    def _power(self, base: Expr, exponent: Expr, names: Names) -> Formula:
        if exponent == x.ONE:
            return self.of(base, names)
        if exponent == x.HALF:
            return f.Root(self.of(base, names))
        return f.Raised(self.of(base, names), self.of(exponent, names))

    def filters(self, e: Expr, ixs: Sequence[Ix]) -> bool:
        """Whether a factor stands under the sign of a sum; `subject[n] = g` of data that point does, too."""
        if isinstance(e, x.Sel) and isinstance(e.of, El) and e.of.var in self.known.indices:
            return e.at not in ixs and bool({*x.free(e.of)} & {*ixs})
        return filters(e, ixs)

    def total(self, e: Expr, names: Names) -> Formula:
        """Nested sums as one; presence becomes the condition under the sign."""
        match e:
            case x.Sum(ix, x.Fn("E", (inner, *given))) if ix not in x.free(x.mul(*given)):
                bare = inner.base if isinstance(inner, x.Pow) and inner.exponent == x.num(2) else inner
                whole = chain(self, x.Sum(ix, inner), (), names) if in_own(self, bare, ix) else None  # `E[wᵀ w]`
                if whole is not None:
                    return self.mean(whole, given, names)
        ixs: list[Ix] = []
        body = e
        while isinstance(body, x.Sum):
            ix, body = body.ix, body.body
            if ix in ixs or ix in names:
                fresh = x.fresh(ix.dim)
                ix, body = fresh, x.substitute(body, {ix: fresh})
            ixs.append(ix)
        return self.sum(ixs, body, names)

    def sum(self, ixs: Sequence[Ix], body: Expr, names: Names) -> Formula:
        c, whole = x.split_number(body)
        factors = x.factors_of(whole)
        ixs = in_order(ixs, factors)
        inner = self.letters.extend(names, in_sight(ixs, factors))
        seen = [p for p in factors if self.filters(p, ixs)]
        rest = x.mul(*(p for p in factors if p not in seen))
        seen = list(dict.fromkeys(bounded([*seen, *paired(self, factors, ixs)], self.known.whole)))
        if (rows := self._rows_of_one(ixs, seen, rest, inner)) is not None:
            return assembled(c, [rows], [])
        return assembled(c, [self.big(ixs, seen, self.of(rest, inner), inner)], [])

    def _above(self, e: Expr, names: Names) -> tuple[Formula, ...]:
        """The parent's indices where a condition says that a row is of the parent in sight, which has these names."""
        if not isinstance(e, x.Sel) or not isinstance(e.at, Ix):
            return ()
        said = self.condition(e, names)
        return self.index(e.at, names) if isinstance(said, f.Relation) and said.left == said.right else ()

    def _rows_of_one(self, ixs: Sequence[Ix], seen: Sequence[Expr], rest: Expr, names: Names) -> Formula | None:
        """`J[i] c` for a sum of c over the rows j of one i, where c is the same for all of them."""
        if len(ixs) != 1 or not ixs[0].dim.endswith("[]") or ixs[0] in x.free(rest):
            return None
        size = ixs[0].dim.removesuffix("[]")
        parents = self.parents.get(size, ())
        if {*map(f.Name, parents)} != {n for p in seen for n in self._above(p, names)} or len(seen) != 1:
            return None
        places = {Ix(p, size): p for p in parents}
        return self.of(x.mul(El(size, tuple(places)), rest), {**names, **places})

    def big(self, ixs: Sequence[Ix], seen: Sequence[Expr], value: Formula, names: Names) -> Formula:
        """The sum over indices of a value, where what is needed is seen; the indices have their names."""
        above = {p: n for p in seen if (n := self._above(p, names))}  # `[d = d]` of the rows of one d: no sum over d
        known = {n for parents in above.values() for n in parents}
        ixs = sorted(ixs, key=lambda i: self.letters.rank(i, names))
        conditions = list(dict.fromkeys(self.condition(p, names) for p in seen if p not in above))
        where = f.Listed(tuple(conditions)) if len(conditions) > 1 else conditions[0] if conditions else None
        each = [self.range(i, names) for i in ixs]
        over = tuple(r for rs in each for r in rs if r[0] not in known or r is rs[-1])
        if over and isinstance(value, f.Big) and where is None and value.where is None:
            value = f.Big((*over, *value.indices), None, value.body)
        elif over:
            value = f.Big(over, where, value)
        return value


def typeset(plan: Plan) -> Typeset:
    """The writing of one plan."""
    parents: dict[str, tuple[str, ...]] = {}
    around: dict[str, tuple[Formula, ...]] = {}
    together: dict[str, int] = {}
    for v in plan.joint.model.variables:
        ragged = [n for n, p in enumerate(v.plates) if isinstance(p.size, m.Ragged)]
        for before, n in zip([0, *ragged], ragged, strict=False):
            size = v.plates[n].size
            assert isinstance(size, m.Ragged)
            parents[size.name], together[size.name] = tuple(q.index for q in v.plates[:n]), before + 1
            around[size.name] = tuple(_long(q.size, parents) for q in v.plates[:n])
    blocks = {b.name: b for b in plan.elimination.blocks}
    lets = {literal(let.body): let.name for let in plan.joint.model.lets}
    tables = {n: lets[t] for n, t in plan.joint.tables.items() if t in lets}
    facts, parts = known(plan), means_of_products(plan)
    both = {t.whole.var: facts.pairs[t.first.var] for t in parts if {t.first.var, t.second.var} <= {*facts.pairs}}
    facts = replace(facts, complete=True, together={t.first.var: t for t in parts}, pairs={**facts.pairs, **both})
    points = {n: c for c in plan.joint.clouds for n in c.latents}
    own = own_axes(plan) | {let.name: len(let.body.shape) for let in spelled(plan.joint.model).lets}
    own |= {t.whole.var: own[t.first.var] for t in parts}
    facts = replace(facts, meanings=numbers(without_clouds(plan.joint.as_written), facts))
    named = [(n, i, j, e) for n, i, j, body in matrices(spelled(plan.joint.model)) for e in {body, tidy(body, facts)}]
    return Typeset(
        letters(plan.joint.model), blocks, parents, facts, tables, own, points, together, around, tuple(named)
    )


def _long(size: m.Size, parents: Mapping[str, tuple[str, ...]]) -> Formula:
    """How long a plate is that encloses a ragged one."""
    if isinstance(size, m.Ragged):
        return f.at(f.Name(size.name), *map(f.Name, parents[size.name]))
    return f.Number(str(size)) if str(size).isdigit() else f.Name(str(size))


def _exclude(one: x.Where) -> bool:
    """Whether the conditions of cases inside one another ask whether one thing is one of several numbers."""
    seen: set[Expr] = set()
    asked: Expr | None = None
    e: Expr = one
    while isinstance(e, x.Where):
        match e.cond:
            case x.Fn("eq", (of, x.Num() as number)) if number not in seen and asked in (None, of):
                asked, e = of, e.other
                seen.add(number)
            case _:
                return False
    return True


def _as_power(exponent: Expr) -> Expr | None:
    """exp(a log b) as b^a; None of any other exponent."""
    factors = exponent.factors if isinstance(exponent, x.Mul) else (exponent,)
    logs = [f for f in factors if isinstance(f, x.Fn) and f.name == "log"]
    if len(logs) != 1:
        return None
    return x.power(logs[0].args[0], x.mul(*(f for f in factors if f is not logs[0])))
