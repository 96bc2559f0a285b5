"""Printing what givens decide: the defaults of those that are left out, and ends of domains."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple

import numpy as np

from emdsl.derive.algebra.expr import Ix
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.scope import Scope
from emdsl.generate.context import size_factor
from emdsl.generate.helpers import helper_names
from emdsl.generate.lines.arrays import Leaf
from emdsl.generate.lines.expressions import Emitter
from emdsl.generate.lines.names import Namer
from emdsl.generate.printer import Printer
from emdsl.generate.spec import literal, nested
from emdsl.language import model as m
from emdsl.language.constants import one_number
from emdsl.language.ends import known_of_each, of_data, of_givens
from emdsl.language.transform import names_in

_AT_ROWS = {
    "eq": "np.equal", "ne": "np.not_equal", "gt": "np.greater", "ge": "np.greater_equal", "lt": "np.less",
    "le": "np.less_equal", "and": "np.logical_and", "or": "np.logical_or", "not": "np.logical_not",
    "add": "np.add", "sub": "np.subtract", "mul": "np.multiply", "neg": "np.negative", "mod": "np.mod",
}  # fmt: skip


def default_lines(printer: Printer) -> list[str]:
    """`default_givens(sizes, given)`: the values of givens that the data leave out."""
    model = printer.plan.joint.model
    tensors = Tensors(model)
    lines = ["out = dict(given)"]
    for v in model.of_kind("given"):
        if v.default is None:
            continue
        body, code = _of_givens(v.default, v, tensors)
        body.append(f'out["{v.name}"] = np.array({code}, float)')
        lines += [f'if "{v.name}" not in out:', *("    " + b for b in body)]
    doc = '"""The givens, those that the data leave out at their defaults."""'
    return ["def default_givens(sizes, given):", *("    " + line for line in (doc, *lines, "return out"))]


def limit_lines(printer: Printer) -> list[str]:
    """`limits(sizes, given, ragged)`: the ends of domains that are more than a number."""
    model = printer.plan.joint.model
    tensors = Tensors(model)
    lines: list[str] = []
    for v in model.variables:
        ends = (v.domain.lower, v.domain.upper)
        judged = v.kind != "latent" or None not in ends  # of a latent, whether its ends leave anything
        if judged and (rows := _rows_of_ragged(v, model)) is not None:
            lines += _ends_at_rows(v, rows)
            continue
        if judged and any(_told_by_data(e, v, model) for e in ends):
            for e in ends:  # each is made before names are used again
                body, code = _of_givens(e, v, tensors) if e is not None and of_givens(e, model) else ([], "None")
                lines += [*body, f'out_of.setdefault("{v.name}", []).append({code})']
    doc = '"""The lower and upper ends of domains that givens set, by name; None is no end."""'
    head = ["def limits(sizes, given, ragged):", *("    " + line for line in (doc, "out, out_of = given, {}"))]
    return [*head, *("    " + line for line in (*lines, "return out_of"))] if lines else []


def kept_lines(printer: Printer) -> list[str]:
    """`kept(sizes, given)`: the entries that the conditions of plates keep; what stands at others is not looked at."""
    model = printer.plan.joint.model
    tensors = Tensors(model)
    lines: list[str] = []
    for v in model.variables:
        conditions = [p.condition for p in v.plates if p.condition is not None]
        if v.kind in ("observed", "given") and conditions and (found := _kept_of_ragged(v, model)):
            lines += found
            continue
        plain = all(isinstance(p.size, m.Dim) for p in v.plates) and all(of_data(c, model) for c in conditions)
        if v.kind in ("observed", "given") and conditions and plain:
            for c in conditions:
                body, code = _of_givens(c, v, tensors)
                found = [*body, f'out_of["{v.name}"] = out_of.get("{v.name}", True) & ({code} != 0)']
                seen = sorted(names_in(c) & {o.name for o in model.of_kind("observed")})
                if seen:  # what is missing decides nothing
                    whole = " and ".join(f'not np.isnan(out.get("{n}", np.nan)).any()' for n in seen)
                    found = [f"if {whole}:", *("    " + line for line in found)]
                lines += found
    doc = '"""The entries that conditions of plates keep, by name."""'
    head = ["def kept(sizes, given, ragged):", *("    " + line for line in (doc, "out, out_of = given, {}"))]
    return [*head, *("    " + line for line in (*lines, "return out_of"))] if lines else []


def _kept_of_ragged(v: m.Variable, model: m.ModelText) -> list[str]:
    """The same of a ragged plate's rows, which lie on one axis; none where a condition asks for what is not at hand."""
    rows = _rows_of_ragged(v, model)
    found = [] if rows is None else [rows.code(c) for c in (p.condition for p in v.plates) if c is not None]
    if rows is None or None in found:
        return []
    keep = " & ".join(f"({code} != 0)" for code in found)
    return [rows.line, f'out_of["{v.name}"] = ({keep}){rows.own}']


def _ends_at_rows(v: m.Variable, rows: _Rows) -> list[str]:
    """The ends of each row of a ragged plate, where they are more than a number."""
    ends = (v.domain.lower, v.domain.upper)
    if all(e is None or literal(e) is not None for e in ends) or any(p.condition is not None for p in v.plates):
        return []
    codes = [None if e is None else rows.code(e) for e in ends]
    told = ", ".join(
        "None" if c is None else f"np.asarray({c}){rows.own if 'rows.' in c or 'out[' in c else ''}" for c in codes
    )
    return [] if codes == [None, None] else [rows.line, f'out_of["{v.name}"] = [{told}]']


class _Rows(NamedTuple):
    """A ragged plate's rows as code: the line that finds them, code of loop names, and the givens that can be read.

    own : what makes of a number for each row one for each element; alike : givens that lie on the same rows.
    """

    line: str
    own: str
    loops: Mapping[str, str]
    given: Set[str]
    alike: Set[str]

    def code(self, e: m.Expr) -> str | None:
        return _at_rows(e, self.loops, self.given, self.alike)


def _rows_of_ragged(v: m.Variable, model: m.ModelText) -> _Rows | None:
    sizes = [p.size for p in v.plates]
    if len(sizes) != 2 or not isinstance(sizes[0], m.Dim) or not isinstance(sizes[1], m.Ragged):
        return None
    loops = {v.plates[0].index: "rows.row", v.plates[1].index: "rows.position"}
    given = {o.name for o in model.of_kind("given")}
    alike = {o.name for o in model.of_kind("given") if [p.size for p in o.plates] == sizes and not o.array}
    own = f".reshape({', '.join(['-1', *['1'] * (len(v.shape) - 2)])})" if len(v.shape) > 2 else ""
    return _Rows(f'rows = ragged["{sizes[1].name}"]', own, loops, given, alike)


def _at_rows(e: m.Expr, loops: Mapping[str, str], given: Set[str], alike: Set[str]) -> str | None:
    """Code of a number at each row of a ragged plate; None for what is neither loop names nor givens at these.

    loops : code of the loop names; given : names of givens; alike : of those that lie on the same rows.
    """
    match e:
        case m.Num(value=value):
            return repr(float(value))
        case m.Loop(name=name):
            return loops.get(name)
        case m.SizeOf(size=m.Ragged()):
            return "rows.lengths[rows.row]"
        case m.Var(name=name, shape=()) if name in given:
            return f'out["{name}"]'
        case m.Index(base=m.Var(name=name), args=args) if name in given and all(isinstance(a, m.Loop) for a in args):
            at = [a.name for a in args if isinstance(a, m.Loop)]
            if name in alike:
                return f'out["{name}"]' if at == list(loops) else None
            return f'out["{name}"][{loops[at[0]]}]' if len(at) == 1 and at[0] == next(iter(loops)) else None
        case m.Call(fn=fn, args=args) if fn in _AT_ROWS and len(args) <= 2:
            parts = [_at_rows(a, loops, given, alike) for a in args]
            return None if None in parts else f"{_AT_ROWS[fn]}({', '.join(p for p in parts if p)})"
    return None


def ends_by_element(v: m.Variable) -> bool:
    """Whether an end of a domain is written with arrays of givens."""
    return any(e is not None and not one_number(e) for e in (v.domain.lower, v.domain.upper))


def _told_by_data(e: m.Expr | None, v: m.Variable, model: m.ModelText) -> bool:
    """Whether an end is no number that the spec holds: it is written with givens, sizes, or a table by row."""
    return e is not None and literal(e) is None and known_of_each(e, v, model)


def _of_givens(e: m.Expr, v: m.Variable, tensors: Tensors) -> tuple[list[str], str]:
    """Lines, and the code of a number for each element of a variable, of an expression of givens in `out`."""
    axes = tuple(Ix(f"i{n}", str(d)) for n, d in enumerate(v.shape))
    scope = Scope(dict(zip([p.index for p in v.plates], axes, strict=False)))
    em = Emitter(lambda n: _given_leaf(n, tensors.model, tensors), Namer((), helper_names()), frozenset())
    em.size = size_factor  # type: ignore[method-assign]
    value = em.value(tensors.element(e, axes[len(v.plates) :] if e.shape else (), scope))
    code = em.broadcast(value, axes).code if axes else value.code
    tables = [f"{n} = np.array({nested(t)})" for n, t in tensors.tables.items()]
    return [*tables, *em.outer, *em.lines], code


def _given_leaf(name: str, model: m.ModelText, tensors: Tensors) -> Leaf:
    if name in tensors.tables:
        return Leaf(name, tuple(range(np.asarray(tensors.tables[name]).ndim)))
    return Leaf(f'out["{name}"]', tuple(range(len(model.variable(name).shape))))
