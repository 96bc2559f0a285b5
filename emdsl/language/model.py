"""The typed model: what `resolve` makes of a text, and what every later stage reads.

All values are frozen and compare by content; spans never take part in comparison. Every
expression knows its shape. Nothing here knows how a model is inferred.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from emdsl.errors import NOWHERE, Problem, Span

# ---------------------------------------------------------------------------- sizes


@dataclass(frozen=True, slots=True)
class Dim:
    """A length: an integer polynomial in named sizes, in canonical form.

    `terms` maps sorted tuples of size names to coefficients: `Q + 1` is `((("",)...` no: it is
    `(((), 1), (("Q",), 1))`.
    """

    terms: tuple[tuple[tuple[str, ...], int], ...]

    @staticmethod
    def of(value: str | int) -> Dim:
        if isinstance(value, int):
            return Dim((((), value),) if value else ())
        return Dim((((value,), 1),))

    def _merge(self, other: Dim, sign: int) -> Dim:
        out = dict(self.terms)
        for names, coefficient in other.terms:
            out[names] = out.get(names, 0) + sign * coefficient
        return Dim(tuple(sorted((n, c) for n, c in out.items() if c)))

    def __add__(self, other: Dim) -> Dim:
        return self._merge(other, 1)

    def __sub__(self, other: Dim) -> Dim:
        return self._merge(other, -1)

    def __mul__(self, other: Dim) -> Dim:
        out: dict[tuple[str, ...], int] = {}
        for n1, c1 in self.terms:
            for n2, c2 in other.terms:
                key = tuple(sorted(n1 + n2))
                out[key] = out.get(key, 0) + c1 * c2
        return Dim(tuple(sorted((n, c) for n, c in out.items() if c)))

    @property
    def constant(self) -> int | None:
        """The number, where no size takes part."""
        if not self.terms:
            return 0
        return self.terms[0][1] if len(self.terms) == 1 and self.terms[0][0] == () else None

    @property
    def name(self) -> str | None:
        """The size's name, where the length is a single named size."""
        return (
            self.terms[0][0][0]
            if len(self.terms) == 1 and len(self.terms[0][0]) == 1 and self.terms[0][1] == 1
            else None
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted({n for names, _ in self.terms for n in names}))

    def value(self, sizes: Mapping[str, int]) -> int:
        total = 0
        for names, coefficient in self.terms:
            for n in names:
                coefficient *= sizes[n]
            total += coefficient
        return total

    def __str__(self) -> str:
        out = ""
        for names, c in sorted(self.terms, key=lambda t: (-len(t[0]), t[0])):
            body = "*".join(([str(abs(c))] if abs(c) != 1 or not names else []) + list(names))
            out += (" - " if c < 0 else " + ") + body
        return (out[3:] if out.startswith(" + ") else out.strip()) or "0"


@dataclass(frozen=True, slots=True)
class Ragged:
    """The length `T[s]` of a ragged plate: its own for each element `s` of an enclosing plate."""

    name: str  # "T"
    by: str  # "s", the loop name it depends on

    def __str__(self) -> str:
        return f"{self.name}[{self.by}]"


Size = Dim | Ragged
Shape = tuple[Size, ...]

# ---------------------------------------------------------------------------- expressions


@dataclass(frozen=True, slots=True)
class Num:
    """A literal; decimal literals are floats, integer literals ints. Shape ()."""

    value: int | float | Fraction
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Pi:
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Var:
    """A whole variable, `let` or family argument; `Index` selects from it."""

    name: str
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Loop:
    """The value of a loop name, an integer from 0. `size` is the plate's (or comprehension's) length."""

    name: str
    size: Size
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class SizeOf:
    """A size as a number (`K`, `T[s]`)."""

    size: Size
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Index:
    """`base[a, b]`: the first axes of `base` fixed at integer expressions, the rest kept.

    Nested brackets are merged: `m[k][d]` is `Index(Var m, (k, d))`.
    """

    base: Expr
    args: tuple[Expr, ...]
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """An operator or a function of the language, by its fixed name.

    Operators: add sub mul div floordiv mod pow neg matmul transpose, eq ne lt le gt ge, and or not.
    Functions: exp log log1p sqrt abs min max logistic logit softmax logsumexp tanh sin cos Phi
    lgamma digamma beta_ln lchoose sum cumsum outer diag eye zeros ones logdet inv trace quad concat.
    `a + b` is elementwise on equal shapes or with a scalar. `eye/zeros/ones` take no argument
    here: their lengths are their `shape`. `min`/`max`/`sum` of one vector reduce it. A chained
    comparison is an `and` of comparisons.
    """

    fn: str
    args: tuple[Expr, ...]
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class If:
    """`then if cond else other`; only the branch taken is evaluated."""

    cond: Expr
    then: Expr
    other: Expr
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Stack:
    """`[a, b]`: stacked along a new first axis."""

    items: tuple[Expr, ...]
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Each:
    """`[body for index in size]`: shape (size, *body.shape)."""

    index: str
    size: Size
    body: Expr
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SumOver:
    """`sum(body for index in size if cond)`: shape of body."""

    index: str
    size: Size
    cond: Expr | None
    body: Expr
    shape: Shape
    span: Span = field(default=NOWHERE, compare=False, repr=False)


Expr = Num | Pi | Var | Loop | SizeOf | Index | Call | If | Stack | Each | SumOver

# ---------------------------------------------------------------------------- domains and families

DomainKind = Literal[
    "real", "positive", "unit", "bool", "count", "category", "index",
    "simplex", "spd", "ordered", "correlation", "zero_sum",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Domain:
    """What one element may be. `dims` are the element's own axes: `simplex[K]` (K,), `spd[D]` (D, D).

    `levels` is the number of categories of `category[K]`, or the plate's size of `index[N]`.
    `lower`/`upper` are the bounds written as `min=`, `max=` (scalar expressions of givens and numbers).
    """

    kind: DomainKind
    dims: Shape = ()
    levels: Size | None = None
    lower: Expr | None = None
    upper: Expr | None = None
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    domain: Domain


@dataclass(frozen=True, slots=True)
class Signature:
    """One parameterisation: argument names and the log density in `x` and these arguments."""

    arguments: tuple[Argument, ...]
    log_density: Expr  # Var nodes name x and the arguments; free sizes are the family's own
    optional: tuple[str, ...] = ()  # arguments that may be left out (Multinomial's trials)


@dataclass(frozen=True, slots=True)
class Family:
    """A family as the language knows it; kernels (samplers, moments) are registered beside it in `emdsl.families`.

    `x` is the variate's name and domain in the declaration. `sizes` are its local size names.
    """

    name: str
    x: Argument
    signatures: tuple[Signature, ...]
    sizes: tuple[str, ...] = ()
    user: bool = False
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class FamilyCall:
    """`Normal(m, sd)`: a family, the index of the signature used, and its arguments by name.

    `sizes` binds the family's local sizes to lengths of the model. `event` is the shape of the
    variate that this call describes; where it has more axes than the family's own variate, the
    family is independent over the leading ones, and arguments are either of the family's own
    shape or carry these leading axes too.
    """

    family: Family
    signature: int
    args: tuple[tuple[str, Expr], ...]
    event: Shape
    sizes: tuple[tuple[str, Size], ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Branch:
    """`A if cond else B` between distributions."""

    cond: Expr
    then: Dist
    other: Dist
    span: Span = field(default=NOWHERE, compare=False, repr=False)


Dist = FamilyCall | Branch

# ---------------------------------------------------------------------------- declarations


@dataclass(frozen=True, slots=True)
class Plate:
    """`for index in size if condition`."""

    index: str
    size: Size
    condition: Expr | None = None
    span: Span = field(default=NOWHERE, compare=False, repr=False)


VariableKind = Literal["param", "given", "latent", "observed"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A declared array. Its axes are: enclosing plates, then `array` brackets, then the domain's `dims`.

    `shape` lists all three. An element (what `~` speaks of) has the axes of the domain alone.
    For latent and observed variables without a written domain the resolver fills it in from the family.
    A prior of a param is its `distribution`; `default` is a given's `= value`.
    """

    kind: VariableKind
    name: str
    plates: tuple[Plate, ...]
    array: Shape
    domain: Domain
    distribution: Dist | None = None
    default: Expr | None = None
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    @property
    def shape(self) -> Shape:
        return tuple(p.size for p in self.plates) + self.array + self.domain.dims


@dataclass(frozen=True, slots=True)
class Let:
    """`let name[idx] = body`; `plates` are the enclosing loops in whose names `body` may speak.

    `let tau[n] = ...` inside `for n in N:` has shape (N, *body.shape).
    """

    name: str
    plates: tuple[Plate, ...]
    body: Expr
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    @property
    def shape(self) -> Shape:
        return tuple(p.size for p in self.plates) + self.body.shape


@dataclass(frozen=True, slots=True)
class Potential:
    """`factor expression` under its plates."""

    expression: Expr
    plates: tuple[Plate, ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SizeDecl:
    """A named size. `default` is `size K = 3`'s; a size found only in positions has none."""

    name: str
    default: Dim | None = None
    declared: bool = False
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Infer:
    """`infer z, (mean, prec) by METHOD(options)`."""

    groups: tuple[tuple[str, ...], ...]
    grouped: tuple[bool, ...]  # True where the group was written in parentheses
    method: str
    options: tuple[tuple[str, str | int | float], ...]
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ModelText:
    """A whole resolved model. Order of declarations is the file's."""

    name: str
    sizes: tuple[SizeDecl, ...]
    variables: tuple[Variable, ...]
    lets: tuple[Let, ...]
    potentials: tuple[Potential, ...]
    families: tuple[Family, ...]  # those declared in this file
    infer: tuple[Infer, ...]
    source: str = field(default="", compare=False, repr=False)
    warnings: tuple[Problem, ...] = ()
    equal_sizes: tuple[tuple[Size, Size, Span], ...] = ()  # lengths equated by use, beyond equal names

    def of_kind(self, kind: VariableKind) -> tuple[Variable, ...]:
        return tuple(v for v in self.variables if v.kind == kind)

    def variable(self, name: str) -> Variable:
        return next(v for v in self.variables if v.name == name)


def children(e: Expr) -> tuple[Expr, ...]:
    """The direct sub-expressions, in reading order."""
    match e:
        case Num() | Pi() | Var() | Loop() | SizeOf():
            return ()
        case Index():
            return (e.base, *e.args)
        case Call():
            return e.args
        case If():
            return (e.cond, e.then, e.other)
        case Stack():
            return e.items
        case Each():
            return (e.body,)
        case SumOver():
            return (e.body,) if e.cond is None else (e.cond, e.body)


def walk(e: Expr) -> Iterator[Expr]:
    """The expression and all below it, parents first, without recursion."""
    stack = [e]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))
