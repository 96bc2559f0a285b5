"""Typed tensor expressions of the language -> scalar expressions in elements.

`element(e, idx)` is the element of `e` at index positions `idx`. One rule per construct of the
language; matrices are taken apart here, so that structure (`s * eye(D)`, `diag(v)`, literals) is
substituted before anything is derived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import LENGTH, POSITION, PRESENT, ROW, START, among
from emdsl.derive.joint.functions import call
from emdsl.derive.joint.odds import by_odds
from emdsl.derive.joint.rows import flattened, places_of
from emdsl.derive.joint.scope import Closure, Gates, Scope, operand, size_number, summed
from emdsl.derive.joint.spikes import reading, with_spikes
from emdsl.derive.joint.substituted import functions_of
from emdsl.derive.joint.symmetric import Known, by_symmetric
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m

MOST_PARTS = 20_000  # of an expression


class Tensors:
    """The element rules over one model. `gates` collects the discrete latents met since it was last cleared."""

    def __init__(self, model: m.ModelText) -> None:
        self.model = model
        self.variables = {v.name: v for v in model.variables}
        self.lets = {v.name: v for v in model.lets}
        self.tables: dict[str, tuple[object, ...]] = {}
        self.gates: Gates = {}
        self.known: dict[tuple[str, tuple[Idx, ...]], Expr] = {}  # lets: one that stands twice is opened once
        self.parts: dict[int, tuple[Expr, int]] = {}
        self.deterministic = frozenset(functions_of(model))
        self.discrete = frozenset(
            v.name for v in model.variables
            if v.kind == "latent" and v.name not in self.deterministic and self._enumerable(v)
        )  # fmt: skip

        self.spikes = with_spikes(model, self.discrete)
        self.around: dict[str, tuple[str, ...]] = {}
        for plates in [v.plates for v in model.variables] + [p.plates for p in model.potentials]:
            for k, plate in enumerate(plates):
                if isinstance(plate.size, m.Ragged):
                    self.around.setdefault(plate.size.name, tuple(str(p.size) for p in plates[:k]))

    def begin(self) -> None:
        """Start another factor: it has gates of its own."""
        self.gates.clear()
        self.known.clear()

    def is_parameter(self, name: str) -> bool:
        """Whether a name is that of a parameter."""
        return name in self.variables and self.variables[name].kind == "param"

    def is_data(self, name: str) -> bool:
        """Whether a name is that of data."""
        if among(name, (LENGTH, POSITION, ROW, START)):  # of ragged plates
            return True
        return name in self.variables and self.variables[name].kind in ("given", "observed")

    @property
    def continuous(self) -> frozenset[str]:
        """The latents that are numbers, not states."""
        return frozenset(n for n, v in self.variables.items() if v.kind == "latent" and n not in self.discrete)

    # -------------------------------------------------------------- plates

    def enter(self, plates: tuple[m.Plate, ...]) -> tuple[Scope, tuple[Ix, ...], tuple[Expr, ...]]:
        """The scope inside nested plates, the indices of the measure, and the masks of filtered plates."""
        loops: dict[str, Idx] = {}
        measure: list[Ix] = []
        for k, p in enumerate(plates):
            if isinstance(p.size, m.Ragged):
                row = Ix(p.index, f"{p.size.name}[]")
                loops = dict(zip([p.index for p in plates[: k + 1]], places_of(plates[: k + 1], row), strict=True))
                measure = [row]
            else:
                ix = Ix(p.index, str(p.size))
                loops[p.index] = ix
                measure.append(ix)
        scope = Scope(
            loops, around=self.around, gates=self.gates
        )  # conditions last: a ragged plate changes how the loops outside it are reached
        masks = [self.element(p.condition, (), scope) for p in plates if p.condition is not None]
        return scope, tuple(measure), tuple(masks)

    # -------------------------------------------------------------- variables

    def _enumerable(self, v: m.Variable) -> bool:
        d = v.domain
        return not d.dims and (d.kind in ("bool", "category", "index") or (d.kind == "count" and d.upper is not None))

    def levels(self, v: m.Variable) -> str:
        """The dimension of a discrete variable's one-hot."""
        d = v.domain
        if d.kind == "bool":
            return "2"
        if d.kind in ("category", "index"):
            assert d.levels is not None
            return f"{d.levels.name}[max]" if isinstance(d.levels, m.Ragged) else str(d.levels)
        match d.upper:
            case m.Num(value=n):
                return str(int(n) + 1)
            case m.SizeOf(size=m.Dim() as size):
                return str(size + m.Dim.of(1))
        return f"{v.name}[levels]"

    def leaf(self, v: m.Variable, idx: tuple[Idx, ...]) -> Expr:
        """An element of a variable; a discrete latent is its gate's index."""
        flat = flattened(v.shape, v.plates, idx)
        if len(flat) == len(v.shape):
            flat = tuple(self._reaching(i, size) for i, size in zip(flat, v.shape, strict=True))
        if v.name in self.discrete:
            key = (v.name, flat)
            if key not in self.gates:
                self.gates[key] = x.fresh(self.levels(v))
            return x.Val(self.gates[key])
        return El(v.name, flat, sort_of(v.domain))

    def _reaching(self, i: Idx, size: m.Size) -> Idx:
        """An index over another dimension than the axis (a part of a `concat`): read by its value, kept in range."""
        if not isinstance(size, m.Dim):
            return i
        if isinstance(i, Ix) and i.dim != str(size) and (not i.dim.endswith("]") or i.dim.endswith("[max]")):
            return DataIx(x.Fn("value", (x.Val(i),)))
        if isinstance(i, DataIx) and isinstance(i.value, x.Where):  # a case may be the index of a longer plate
            cases = [n.ix.dim for n in x.walk(i.value) if isinstance(n, x.Val)]
            return DataIx(x.Fn("value", (i.value,))) if any(dim != str(size) for dim in cases) else i
        if isinstance(i, DataIx) and isinstance(i.value, El) and i.value.var in self.variables:
            v = self.variables[i.value.var]
            if v.kind != "latent" and (v.domain.levels is None or str(v.domain.levels) != str(size)):
                return DataIx(x.Fn("value", (i.value,)))
        return i

    def variate(self, v: m.Variable, home: tuple[Idx, ...], event: tuple[Idx, ...]) -> Expr:
        """The variable's own element: `home` are its plates, `event` its own axes."""
        return self.leaf(v, home + event)

    def presence(self, v: m.Variable, home: tuple[Idx, ...], event: tuple[Ix, ...], body: Expr) -> tuple[Expr, ...]:
        """The 0/1 mask of an observed element: a missing one leaves its factor out."""
        if v.kind != "observed":
            return ()
        flat = flattened(v.shape, v.plates, home + event)
        return (El(PRESENT.of(v.name), flat),)

    # -------------------------------------------------------------- densities

    def family_scope(
        self, v: m.Variable, home: tuple[Idx, ...], event: tuple[Idx, ...], call: m.FamilyCall, scope: Scope
    ) -> Scope:
        """The scope inside a family: its variate and arguments bound to what the call gives them."""
        bindings = {call.family.x.name: Closure(None, None, home + event, v.name)}
        for name, arg in call.args:
            own = next(a for a in call.family.signatures[call.signature].arguments if a.name == name)
            leading = event if len(arg.shape) > len(own.domain.dims) else ()
            bindings[name] = Closure(arg, scope, leading)
        return Scope({}, bindings, dict(call.sizes), self.around, gates=self.gates)

    def density(
        self, v: m.Variable, home: tuple[Idx, ...], event: tuple[Idx, ...], call: m.FamilyCall, scope: Scope
    ) -> Expr:
        """log density of one element under one call, from the family's declaration."""
        inner = self.family_scope(v, home, event, call, scope)
        try:
            return by_odds(self.element(call.family.signatures[call.signature].log_density, (), inner))
        except ModelError as error:  # in a family's declaration: the user's line is where it is called
            here = [p if p.span.file == call.span.file else replace(p, span=call.span) for p in error.problems]
            raise ModelError(here) from None

    def condition(self, cond: m.Expr, holds: bool, scope: Scope) -> Expr:
        """A branch condition as 0 or 1; its negation for the other branch."""
        e = self.element(cond, (), scope)
        return e if holds else x.fn("not", e)

    # -------------------------------------------------------------- element rules

    def element(self, e: m.Expr, idx: tuple[Idx, ...], scope: Scope) -> Expr:
        """The element of a typed expression at index positions, as many as it has axes."""
        match e:
            case m.Num():
                return x.num(e.value)
            case m.Pi():
                return x.Fn("pi", ())
            case m.Loop():
                return x.value_of(scope.loops[e.name])
            case m.SizeOf():
                return size_number(e.size, scope)
            case m.Var():
                return self._named(e, idx, scope)
            case m.Index():
                positions = tuple(x.as_index(self.element(a, (), scope)) for a in e.args)
                return self.element(e.base, positions + idx, scope)
            case m.If():
                cond = self.element(e.cond, (), scope)
                return x.where(cond, lambda: self.element(e.then, operand(e.then, idx), scope),
                               lambda: self.element(e.other, operand(e.other, idx), scope))  # fmt: skip
            case m.Stack():
                return self._stack(e, idx, scope)
            case m.Each():
                inner = Scope(
                    {**scope.loops, e.index: idx[0]}, scope.bindings, scope.sizes, scope.around, gates=scope.gates
                )
                return self.element(e.body, idx[1:], inner)
            case m.SumOver():
                return self._sum_over(e, idx, scope)
            case m.Call():
                return self._call(e, idx, scope)

    def _call(self, e: m.Call, idx: tuple[Idx, ...], scope: Scope) -> Expr:
        """A function's value; where it sums over elements of a discrete latent (`W @ z[n]`), term by term."""
        if e.fn in ("inv", "logdet"):
            e = by_symmetric(e, Known(self.lets, lambda name: name in scope.bindings or self._symmetric(name)))
        before, under = dict(self.gates), list[Ix]()
        value = call(self.element, e, idx, replace(scope, under=under))
        places = {i for _, place in self.gates.keys() - before.keys() for i in x.free(El("", place))}
        summed_over = places.intersection(under)
        if not summed_over or not all(i.dim.isdigit() for i in summed_over):
            return value
        self._forget(before)
        return call(self.element, e, idx, replace(scope, written_out=True))

    def _symmetric(self, name: str) -> bool:
        return name in self.variables and self.variables[name].domain.symmetric

    def _forget(self, before: Mapping[tuple[str, tuple[Idx, ...]], Ix]) -> None:
        """The gates as they were: as many discrete elements as a sum has terms are selected each by one of its own."""
        self.gates.clear()
        self.gates.update(before)

    def _named(self, e: m.Var, idx: tuple[Idx, ...], scope: Scope) -> Expr:
        bound = scope.bindings.get(e.name)
        if bound is not None:
            if bound.ready is not None:
                return bound.ready
            if bound.variable is not None:
                return self.leaf(self.variables[bound.variable], bound.prefix + idx)
            assert bound.expression is not None and bound.scope is not None
            arg = bound.expression
            return self.element(arg, (bound.prefix + idx)[: len(arg.shape)], bound.scope)
        if e.name in self.lets:
            let = self.lets[e.name]
            key = (e.name, idx)
            if key not in self.known:
                loops = {p.index: i for p, i in zip(let.plates, idx, strict=False)}
                value = self.element(
                    let.body, idx[len(let.plates) :], Scope(loops, around=self.around, gates=self.gates)
                )
                if x.count_parts(value, self.parts) > MOST_PARTS:
                    text = f"`{e.name}` has more than {MOST_PARTS:,} parts when all lets in it are put in"
                    raise ModelError(Problem("E008", text, let.span))
                self.known[key] = value
            return self.known[key]
        v = self.variables[e.name]
        if e.name in self.deterministic:
            assert isinstance(v.distribution, m.FamilyCall)
            loops = {p.index: i for p, i in zip(v.plates, idx, strict=False)}
            body = v.distribution.args[0][1]
            return self.element(body, idx[len(v.plates) :], Scope(loops, around=self.around, gates=self.gates))
        return self.read(v, idx)

    def read(self, v: m.Variable, idx: tuple[Idx, ...], less: Expr = x.ZERO) -> Expr:
        """What an expression sees of a variable, `less` than that: in a branch where it is a point, the point."""
        if v.name not in self.spikes:
            return self.leaf(v, idx)
        assert v.distribution is not None
        plates = len(v.plates)
        scope = Scope({p.index: i for p, i in zip(v.plates, idx, strict=False)}, around=self.around, gates=self.gates)
        return reading(
            v.distribution, lambda: self.leaf(v, idx), lambda e: self.element(e, operand(e, idx[plates:]), scope), less
        )

    def _stack(self, e: m.Stack, idx: tuple[Idx, ...], scope: Scope) -> Expr:
        if isinstance(idx[0], int):
            return self.element(e.items[idx[0]], idx[1:], scope)
        literal = _literal(e)
        if literal is not None:
            if isinstance(number := _entry(literal, idx), x.Num):  # `[0, 0]`, as `zeros(2)`
                return number
            name = next((n for n, t in self.tables.items() if t == literal), None) or self._new_table()
            self.tables[name] = literal
            return El(name, idx, "ordered" if _increases(literal) else "real")
        rows = ((item, _literal(item) if isinstance(item, m.Stack) else None) for item in e.items)
        options = tuple(
            self.element(item, idx[1:], scope) if row is None else _entry(row, idx[1:]) for item, row in rows
        )
        alike = isinstance(idx[0], Ix) and len(set(options)) == 1 and isinstance(options[0], El)
        return options[0] if alike else x.Choose(idx[0], options)  # `[m, m, m]`

    def _new_table(self) -> str:
        """A name that the model does not have."""
        names = (f"table{n}" for n in range(len(self.tables), len(self.tables) + len(self.variables) + 1))
        return next(n for n in names if n not in self.variables and n not in self.tables)

    def _sum_over(self, e: m.SumOver, idx: tuple[Idx, ...], scope: Scope) -> Expr:
        under: list[Ix] = []

        def body(ix: Idx) -> Expr:
            under.extend([ix] if isinstance(ix, Ix) else [])
            inner = Scope({**scope.loops, e.index: ix}, scope.bindings, scope.sizes, scope.around, gates=scope.gates)
            value = self.element(e.body, idx, inner)
            return value if e.cond is None else x.mul(self.element(e.cond, (), inner), value)

        before, count = dict(self.gates), e.size.constant if isinstance(e.size, m.Dim) else None
        whole = summed(e.size, scope, e.span, body)
        if count is None or not any(
            set(under) & set(x.free(El("", place))) for _, place in self.gates.keys() - before.keys()
        ):
            return whole
        self._forget(before)
        return x.add(*(body(k) for k in range(count)))


def _literal(e: m.Expr) -> tuple[object, ...] | None:
    """The numbers of a literal list of (lists of) numbers."""
    if not isinstance(e, m.Stack):
        return None
    out: list[object] = []
    for item in e.items:
        value = _number(item) if not isinstance(item, m.Stack) else _literal(item)
        if value is None:
            return None
        out.append(value)
    return tuple(out)


def _entry(row: object, idx: tuple[Idx, ...]) -> Expr:
    """A number of a literal row that stands beside others: no table, so that what is 0 there is left out."""
    if not isinstance(row, tuple):
        assert isinstance(row, int | float)
        return x.num(row)
    if isinstance(idx[0], int):
        return _entry(row[idx[0]], idx[1:])
    options = tuple(_entry(value, idx[1:]) for value in row)
    return options[0] if len(set(options)) == 1 else x.Choose(idx[0], options)


def _increases(row: Sequence[object]) -> bool:
    """Whether the numbers of a row, or of each row of a table, become larger and larger."""
    numbers = [v for v in row if isinstance(v, int | float)]
    if len(numbers) < len(row):
        return all(isinstance(part, tuple) and _increases(part) for part in row)
    return all(a < b for a, b in pairwise(numbers))


def _number(e: m.Expr) -> float | int | None:
    match e:
        case m.Num(value=v):
            return v if isinstance(v, int) else float(v)
        case m.Call(fn="neg", args=(a,)):
            inner = _number(a)
            return None if inner is None else -inner
        case m.Call(fn="div", args=(a, b)):
            top, bottom = _number(a), _number(b)
            return None if top is None or bottom is None or bottom == 0 else top / bottom
    return None


def sort_of(d: m.Domain) -> x.Sort:
    if d.kind == "unit":
        return "unit"
    if d.kind in ("positive", "simplex"):
        return "positive"
    if d.symmetric:
        return "spd"
    if d.kind == "ordered":
        return "ordered"
    match d.lower:
        case m.Num(value=v) if v > 0:
            return "positive"
    return "real"
