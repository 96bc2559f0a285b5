"""Scalar expressions with named indices -> lines of numpy on arrays with named axes.

Products under sums are contracted pairwise, so that they become BLAS calls; a selector of data becomes a gather or a
segment sum, never a one-hot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import DataIx, El, Expr, Idx, Ix
from emdsl.derive.algebra.made import START
from emdsl.errors import InternalError
from emdsl.generate.lines.arrays import Array, Lines
from emdsl.generate.lines.contraction import contract
from emdsl.generate.lines.exponentials import log_of_sum, of_difference, with_powers_met, without_fractions
from emdsl.generate.lines.guards import guarded
from emdsl.generate.lines.reading import read_at_lags, rows_read
from emdsl.generate.lines.spelling import FUNCTIONS, INFIX, Binding, number
from emdsl.generate.lines.sums import expression_sum, factors_to_multiply


@dataclass
class Emitter(Lines):
    """Makes arrays of expressions, each once."""

    def value(self, e: Expr, hint: str = "t") -> Array:
        """The array of an expression, over its free indices."""
        if e in self.known:
            return self.known[e]
        out = self._value(e, hint)
        kinds = x.Fn | x.Pow | x.MatInv | x.LogDet | x.Sum
        kept = isinstance(e, kinds) or (self.guarded and isinstance(e, x.Add))  # slopes hold a sum again and again
        if kept and out.axes and not out.code.isidentifier():
            out = self.name(hint, out)
        self.known[e] = out
        return out

    def _value(self, e: Expr, hint: str) -> Array:
        match e:
            case x.Num(v):
                plain = v >= 0 and " " not in number(v)
                return Array(number(v), (), binds=Binding.ATOM if plain else Binding.PRODUCT)
            case x.SizeN():
                return Array(self.size(e.dim), ())
            case x.Val(ix):
                if ix.dim == self.chunk:
                    return Array(f"np.arange({self.size(ix.dim)})[{self.namer.cut}]", (ix,), True)
                return Array(f"np.arange({self.size(ix.dim)})", (ix,))
            case El():
                return self.element(e)
            case x.Sel():
                return self._equal(self.value(e.of), e.at)
            case x.Delta():
                return self._equal(self.value(x.value_of(e.a)), e.b)
            case x.Fn():
                return self.function(e, hint)
            case x.Add():
                return expression_sum(self, e, hint)
            case x.Mul():
                return self.product(e)
            case x.Pow():
                return self.power(e, hint)
            case x.Sum():
                return self.summed(e, hint)
            case x.Where():
                parts = [self.value(p) for p in (e.cond, e.then, e.other)]
                axes = self.order([i for p in parts for i in p.axes])
                inner = any(p.inner for p in parts)
                return Array(f"np.where({', '.join(self.align(p, axes) for p in parts)})", axes, inner)
            case x.Choose():
                return self.choose(e)
            case x.MatInv():
                return self._matrix(e.i, e.j, e.body, e.at)
            case x.LogDet():
                body = self.value(e.body, "matrix")
                lead = tuple(i for i in body.axes if i not in (e.i, e.j))
                code = self.transposed(self.broadcast(body, (*lead, e.i, e.j)), (*lead, e.i, e.j))
                low = self.name("cholesky", Array(f"cholesky({code})", (*lead, e.i, e.j), body.inner))
                return Array(f"log_determinant({low.code})", lead, body.inner)

    def _equal(self, a: Array, at: Idx) -> Array:
        b = self.value(x.value_of(at))
        axes = self.order([*a.axes, *b.axes])
        return Array(f"(({self.align(a, axes)} == {self.align(b, axes)}) + 0.0)", axes, a.inner or b.inner)

    def _matrix(self, i: Ix, j: Ix, body: Expr, at: tuple[Idx, Idx]) -> Array:
        whole = x.MatInv(i, j, body, (i, j))
        if whole not in self.known:
            value = self.value(body, "matrix")
            lead = tuple(k for k in value.axes if k not in (i, j))
            code = self.transposed(self.broadcast(value, (*lead, i, j)), (*lead, i, j))
            low = self.name("cholesky", Array(f"cholesky({code})", (*lead, i, j), value.inner))
            self.known[whole] = self.name("precision", Array(f"inverse({low.code})", (*lead, i, j), value.inner))
        kept = self.known[whole]
        taken = self._take(kept.code, kept.inner, [*kept.axes[:-2], *at])
        return replace(taken, symmetric=taken.code == kept.code)

    def choose(self, e: x.Choose) -> Array:
        """One of several options, by an integer array."""
        options = [self.value(o) for o in e.options]
        at = self.value(x.value_of(e.at))
        own = self.order([i for o in options for i in o.axes])
        axes = self.order([*at.axes, *own])
        cases = ", ".join(f"{self.align(at, axes)} == {n}" for n in range(len(options)))
        values = ", ".join(self.align(o, axes) for o in options)
        return Array(f"np.select([{cases}], [{values}])", axes, at.inner or any(o.inner for o in options))

    def element(self, e: El) -> Array:
        """A leaf: stored axes cut at fixed places, gathered through data, or kept."""
        leaf = self.leaf(e.var)
        positions: list[Idx] = [e.idx[p] for p in leaf.order]
        code, inner, whole = rows_read(self, leaf, positions)
        return self._take(code, inner, positions, whole)

    def _take(self, code: str, inner: bool, positions: Sequence[Idx], whole: str | None = None) -> Array:
        """An array at positions; `whole` is its code before it was cut to the rows of the chunk."""
        axes = [p for p in positions if isinstance(p, Ix)]
        if len(axes) == len(positions) and len(set(axes)) == len(axes):
            return Array(code, tuple(axes), inner)
        read, positions = read_at_lags(self, code, inner, positions)
        code, whole = read, whole if read == code else None
        axes = [p for p in positions if isinstance(p, Ix)]
        datas = [p for p in positions if isinstance(p, DataIx)]
        if not datas:
            return self._diagonal(code, inner, positions)
        if len(datas) == 1 and len(set(axes)) == len(axes):
            value = self.index(datas[0], code, list(positions).index(datas[0]))
            if len(value.axes) == 1 and value.axes[0] not in axes:
                slots = [
                    value.code if isinstance(p, DataIx) else (str(p) if isinstance(p, int) else ":") for p in positions
                ]
                if sum(isinstance(p, int) for p in positions) == 0:
                    kept = tuple(value.axes[0] if isinstance(p, DataIx) else p for p in positions)
                    taken = Array(f"{code}[{', '.join(slots)}]", kept, inner or value.inner)  # type: ignore[arg-type]
                    return self.name("picked", taken) if self.guarded and len(kept) > 1 else taken
        return self._fancy(code, inner, positions, whole)

    def _fancy(self, code: str, inner: bool, positions: Sequence[Idx], whole: str | None) -> Array:
        code, cut = (code, True) if whole is None else (whole, False)
        values = [self.index(p, code, n, cut) for n, p in enumerate(positions)]
        axes = self.order([i for v in values for i in v.axes])
        slots = ", ".join(self.align(v, axes) for v in values)
        picked = Array(f"{code}[{slots}]", axes, inner or any(v.inner for v in values))
        return picked if cut else self.name("picked", picked)

    def index(self, p: Idx, code: str, axis: int, cut: bool = False) -> Array:
        """An index position as an integer array; rows of the chunk count from its first where the array is cut to it.

        A computed one is kept inside the axis: a branch that is not taken may leave it, as the first element of a
        sequence that is empty does.
        """
        if cut and isinstance(p, Ix) and p.dim == self.chunk:
            return Array(f"np.arange({code}.shape[{axis}])", (p,), True)
        value = self.value(x.value_of(p))
        if isinstance(p, DataIx) and (not isinstance(p.value, El) or p.value.var in START):
            whole = "" if _integers(p.value) and all(map(self._whole, x.walk(p.value))) else ".astype(np.int64)"
            return Array(f"np.clip({value.code}, 0, {code}.shape[{axis}] - 1){whole}", value.axes, value.inner)
        return value

    def _whole(self, e: Expr) -> bool:
        """Whether what an integer expression reads is stored as integers: counts, which may be drawn, are floats."""
        return not isinstance(e, El) or self.leaf(e.var).integer

    def _diagonal(self, code: str, inner: bool, positions: Sequence[Idx]) -> Array:
        """Fixed places cut, repeated indices read along the diagonal."""
        if any(isinstance(p, int) for p in positions):
            code += "[" + ", ".join(str(p) if isinstance(p, int) else ":" for p in positions) + "]"
            positions = [p for p in positions if not isinstance(p, int)]
        axes = tuple(dict.fromkeys(p for p in positions if isinstance(p, Ix)))
        if len(axes) == len(positions):
            return Array(code, axes, inner)
        letters = {ix: "abcdefghijklm"[n] for n, ix in enumerate(axes)}
        spec = "".join(letters[p] for p in positions) + "->" + "".join(letters[i] for i in axes)  # type: ignore[index]
        return Array(f'np.einsum("{spec}", {code})', axes, inner)

    def function(self, e: x.Fn, hint: str) -> Array:
        """An elementwise function of broadcast arguments; the logarithm of a mass at once, where that is known."""
        if e.name == "log_mass" and isinstance(mass := e.args[0], x.Fn) and f"log_{mass.name}" in FUNCTIONS:
            e = x.Fn(f"log_{mass.name}", mass.args)
        if len(e.args) == 1 and isinstance(e.args[0], El) and any(isinstance(i, DataIx) for i in e.args[0].idx):
            if (read := self._read_after(e, e.args[0])) is not None:
                return read
        if e.name == "log" and (log := log_of_sum(self, e.args[0])) is not None:
            return log
        args = [self.value(a, hint) for a in e.args]
        axes, inner = self.order([i for a in args for i in a.axes]), any(a.inner for a in args)
        aligned = [self.align(a, axes) for a in args]
        if e.name in x.COMPARISONS and e.name in INFIX:
            return Array(f"(({aligned[0]} {INFIX[e.name]} {aligned[1]}) + 0.0)", axes, inner)
        if e.name in ("and", "or", "not"):
            return Array(f"({FUNCTIONS[e.name]}({', '.join(aligned)}) + 0.0)", axes, inner)
        if e.name in INFIX:
            return Array(f" {INFIX[e.name]} ".join(aligned), axes, inner, binds=Binding.SUM)
        if e.name in ("value", "whole"):
            return args[0]
        target = FUNCTIONS.get(e.name)
        if e.name == "exp" and self.far and self.far & x.variables(e):
            target = "bounded_exp"  # a state has no mass at points that another follows a tail to, and 0 * inf is NaN
        if target is None:
            raise InternalError("generate", f"no numpy for the function {e.name}")
        if e.name == "pi":
            return Array("np.pi", ())
        if e.name == "log" and ((isinstance(e.args[0], x.Num) and e.args[0].value > 0) or e.args[0] == x.Fn("pi", ())):
            return Array(f"math.log({aligned[0]})", ())
        return Array(f"{target}({', '.join(aligned)})", axes, inner)

    def _read_after(self, e: x.Fn, of: El) -> Array | None:
        """f(p[n]) as f(p)[n], where p is a table of parameters that data are looked up in."""
        if not self.leaf(of.var).table:
            return None
        places = tuple(Ix(f"place{n}", "table") for n in range(len(of.idx)))
        whole = self.value(x.Fn(e.name, (El(of.var, places, of.sort),)))
        if set(whole.axes) != set(places):
            return None
        return self._take(whole.code, whole.inner, [of.idx[places.index(i)] for i in whole.axes])

    def power(self, e: x.Pow, hint: str) -> Array:
        """A power; reciprocals, squares and roots in their own spelling."""
        if self.guarded and (found := of_difference(self, e)) is not None:
            return found
        base = self.value(e.base, hint)
        match e.exponent:
            case x.Num(v) if v == -1:
                return Array(f"1 / {base.wrapped}", base.axes, base.inner, binds=Binding.PRODUCT)
            case x.Num(v) if v == 2:
                return Array(f"{base.wrapped} ** 2", base.axes, base.inner, binds=Binding.PRODUCT)
            case x.Num(v) if v == Fraction(1, 2):
                return Array(f"np.sqrt({base.code})", base.axes, base.inner)
            case x.Num(v) if v == int(v) and v < 0:
                return Array(f"{base.wrapped} ** {number(float(v))}", base.axes, base.inner, binds=Binding.PRODUCT)
        power = self.value(e.exponent, hint)
        axes = self.order([*base.axes, *power.axes])
        code = f"{self.align(base, axes)} ** {self.align(power, axes)}"
        return Array(code, axes, base.inner or power.inner, binds=Binding.PRODUCT)

    def product(self, e: Expr) -> Array:
        """A product without a sum."""
        return self.contract(factors_to_multiply(e), None)

    def summed(self, e: x.Sum, hint: str) -> Array:
        """A sum of products as a contraction."""
        ixs, body = [e.ix], e.body
        while isinstance(body, x.Sum):
            ixs.append(body.ix)
            body = body.body
        if isinstance(body, x.Mul):
            out = tuple(i for i in self.order(x.free(body)) if i not in ixs)
            return self.contract(body.factors, out)
        a = self.value(body, hint)
        return self.reduce(a, ixs)

    # ------------------------------------------------------------ contractions

    def contract(self, factors: Sequence[Expr], out: tuple[Ix, ...] | None) -> Array:
        """The product of factors summed over every index that is not in `out` (None: over none)."""
        if out is None:
            out = self.order([i for f in factors for i in x.free(f)])
        return contract(self, with_powers_met(without_fractions(guarded(factors))), out)


def _integers(e: Expr) -> bool:
    """Whether code of an integer expression gives integers: comparisons and sums are added up as floats."""
    floats = (x.Sum, x.Sel, x.Delta)
    return not any(isinstance(n, floats) or (isinstance(n, x.Fn) and n.name in x.COMPARISONS) for n in x.walk(e))
