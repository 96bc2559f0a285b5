"""The typed model: what `resolve` makes of a text, and what every later stage reads.

All values are frozen and compare by content; spans never take part in comparison. Every
expression (`tree`) knows its shape. Nothing here knows how a model is inferred.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from emdsl.errors import NOWHERE, Problem, Span
from emdsl.language.dims import Dim as Dim
from emdsl.language.dims import Ragged as Ragged
from emdsl.language.dims import Shape as Shape
from emdsl.language.dims import Size as Size
from emdsl.language.kinds import KINDS, DomainKind, Range
from emdsl.language.tree import Call as Call
from emdsl.language.tree import Each as Each
from emdsl.language.tree import Expr as Expr
from emdsl.language.tree import If as If
from emdsl.language.tree import Index as Index
from emdsl.language.tree import Loop as Loop
from emdsl.language.tree import Num as Num
from emdsl.language.tree import Pi as Pi
from emdsl.language.tree import SizeOf as SizeOf
from emdsl.language.tree import Stack as Stack
from emdsl.language.tree import SumOver as SumOver
from emdsl.language.tree import Var as Var
from emdsl.language.tree import children as children
from emdsl.language.tree import walk as walk

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

    @property
    def centred(self) -> bool:
        """Its values are all vectors that sum to 0."""
        return KINDS[self.kind].centred

    @property
    def linear(self) -> bool:
        """Its values are a linear space: what is quadratic in them has its maximum where linear equations hold."""
        return self.unbounded or self.centred


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
    A prior of a param is its `distribution`; `default` is a given's `= value`; `data_of` names the variable, latent
    where it is missing, of which this one holds what was seen; `says` what a latent that the compiler adds stands for.
    """

    kind: VariableKind
    name: str
    plates: tuple[Plate, ...]
    array: Shape
    domain: Domain
    distribution: Dist | None = None
    default: Expr | None = None
    data_of: str = ""
    says: str = field(default="", compare=False)
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
    # How latents known to lie somewhere leave: as is best, by tails, by tails where they are no Gaussians, not so.
    tails: Literal["", "closed", "needed", "kept"] = ""
    unreached: tuple[tuple[str, int], ...] = ()  # cases of theirs that no row of the data has
    enumerated: bool = True  # whether configurations may be, unasked: how many there are is known with the data
    together: bool = False  # whether one posterior of all latents is wanted: neither factors of q nor draws will do
    multiplied: Literal["", "by part", "by row"] = ""  # whether Gaussian densities have multipliers; what weights count
    written_out: tuple[tuple[str, int], ...] = ()  # sizes that are numbers here: what runs over them is written out
    by_name: tuple[Variable, ...] = ()  # the variables of a text that is written out, with these sizes by name
    vectors: tuple[tuple[Variable, tuple[str, ...]], ...] = ()  # as written; their elements, latents by themselves here
    copies: tuple[tuple[str, str], ...] = ()  # variables that hold elements of another, which have its reference point

    @property
    def of_vectors(self) -> frozenset[str]:
        """The latents that are elements of one that has a name."""
        return frozenset(n for _, elements in self.vectors for n in elements)

    def of_kind(self, kind: VariableKind) -> tuple[Variable, ...]:
        return tuple(v for v in self.variables if v.kind == kind)

    def variable(self, name: str) -> Variable:
        return next(v for v in self.variables if v.name == name)
