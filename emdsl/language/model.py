"""The typed model: what `resolve` makes of a text, and what every later stage reads.

All values are frozen and compare by content; spans never take part in comparison. Every
expression knows its shape. Nothing here knows how a model is inferred.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from emdsl.errors import NOWHERE, Problem, Span
from emdsl.language.dims import Dim as Dim
from emdsl.language.dims import Ragged as Ragged
from emdsl.language.dims import Shape as Shape
from emdsl.language.dims import Size as Size
from emdsl.language.kinds import KINDS, DomainKind, Range

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

    @property
    def discrete(self) -> bool:
        return KINDS[self.kind].discrete

    @property
    def interval(self) -> bool:
        return KINDS[self.kind].interval

    @property
    def structured(self) -> bool:
        return KINDS[self.kind].structured

    @property
    def symmetric(self) -> bool:
        return KINDS[self.kind].symmetric

    @property
    def ends(self) -> Range:
        """Of its kind, apart from `min` and `max`."""
        return KINDS[self.kind].ends

    @property
    def unbounded(self) -> bool:
        """Each number is any real number, whatever the others are."""
        return self.kind == "real" and self.lower is None and self.upper is None


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
class Lookup:
    """An index that data decide, to be checked where its guards hold; `before` are those on the axes before it."""

    index: Expr
    axis: Size
    guards: tuple[tuple[Expr, bool], ...]
    loops: tuple[tuple[str, Size], ...]
    target: str
    before: tuple[Expr, ...]
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
    lookups: tuple[Lookup, ...] = ()
    exact: tuple[str, ...] = ()  # observed without noise, of which the derivation makes constraints of latents
    weights_over: str = ""  # the plate that is weighed, where observed data lie on several
    tails: Literal["", "closed", "kept"] = ""  # how latents known to lie somewhere leave: as is best, by tails, not so
    unreached: tuple[tuple[str, int], ...] = ()  # cases of theirs that no row of the data has

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
