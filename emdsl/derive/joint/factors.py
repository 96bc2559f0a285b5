"""The log joint as a value: factors, and what the algebra may know of the variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import Expr, Idx, Ix
from emdsl.derive.algebra.made import ORIGIN
from emdsl.errors import Span
from emdsl.language import model as m


@dataclass(frozen=True)
class Factor:
    """`sum over plates and gates of prod(gates) * prod(masks) * body`.

    `gates` are selectors of discrete latents (`Sel(El(z, n), k)`); `masks` are 0/1 expressions of
    data (conditions, presence). `plates` lists every index of the factor's measure, whether the
    body carries it or not. `about` is the variable whose density this is ("" for a potential).
    """

    about: str
    role: m.VariableKind | str
    gates: tuple[x.Sel, ...]
    masks: tuple[Expr, ...]
    body: Expr
    plates: tuple[Ix, ...]
    span: Span


POINTS = "[points]"
RUNNING = "running sum of "  # how names of sums that run along a plate begin; no user's name has a blank


@dataclass(frozen=True)
class Bend:
    """Where the density of an element bends, one place for each of `over`; `owner`: whose it is, where data say so."""

    at: Expr
    over: tuple[Ix, ...]
    owner: Expr | None = None


@dataclass(frozen=True)
class Cloud:
    """Latents of one plate whose values are weighted points, the same index for all; `points` in each dimension."""

    latents: tuple[str, ...]
    method: str
    points: int
    shared: bool = False  # whether all elements have the same points
    outer: str = ""  # the cloud that the points of this one are for: other ones at each of its points
    place: tuple[Idx, ...] = ()  # which element of it, in terms of this one's own plates
    ends: tuple[tuple[Expr, Expr], ...] = ()  # of the interval that data leave each of its dimensions, by element
    kinks: tuple[Expr, ...] = ()  # of the density of its one number, by element: its points lie between them
    bends: tuple[Bend, ...] = ()  # where it has kinks at each row that holds it, those of its own among them
    grows: bool = False  # whether no line says how many points: more are taken where these do not do
    tailed: bool = False  # whether the density of its one number falls in other ways than a Gaussian

    @property
    def lead(self) -> int:
        """How many axes its points have before the plates."""
        return 2 if self.outer else 1

    @property
    def name(self) -> str:
        """The latent that stands for all: which point it is is a discrete latent of this name."""
        return self.latents[0]

    @property
    def dimension(self) -> str:
        """The dimension of the points' index."""
        return f"{self.name}{POINTS}"


def is_of_points(index: Ix) -> bool:
    """Whether an index runs over the points of a cloud."""
    return index.dim.endswith(POINTS)


@dataclass(frozen=True)
class Configurations:
    """Discrete latents whose joint configurations are the states of one, `name`, on `plates`, their first ones.

    `pointed` says of latents that lie in these through givens where, as a function of their home: their elements are
    counted within each place. `written` is the joint as the model says it, in the latents themselves.
    """

    name: str
    latents: tuple[str, ...]
    dimension: str
    plates: tuple[m.Plate, ...]
    written: LogJoint
    pointed: Mapping[str, Idx] = field(default_factory=dict)

    def inner(self, latent: str) -> int:
        """How many of a latent's first plates are not within a configuration."""
        return 0 if latent in self.pointed else len(self.plates)


@dataclass(frozen=True)
class Events:
    """Discrete latents that say which addend of a sum an event is of, each element of them of several like events.

    An element stands for `coef * prod(number)` events, in the indices of its home, where the conditions `there` hold;
    `log` is that of the sum, as written.
    """

    latents: tuple[str, ...]
    coef: Fraction | float
    number: tuple[Expr, ...]
    there: tuple[Expr, ...]
    log: Expr


def origin(name: str) -> str:
    """The 0 of a latent's coordinates, which moves with its shift."""
    return ORIGIN.of(name)


@dataclass(frozen=True)
class Told:
    """What is told of a latent with points in branches: E[b] over `plates` and `row`, E[b b'] over `column`, too."""

    plates: tuple[Ix, ...]
    row: tuple[Ix, ...]
    column: tuple[Ix, ...]
    mean: tuple[Factor, ...]
    second: tuple[Factor, ...]


@dataclass(frozen=True)
class LogJoint:
    """The factors, and what the algebra may know of the variables."""

    model: m.ModelText
    factors: tuple[Factor, ...]
    tables: Mapping[str, tuple[object, ...]]  # literal constant arrays by name
    levels: Mapping[str, str]  # discrete latent -> dimension of its one-hot
    discrete: frozenset[str]
    deterministic: frozenset[str]
    incomplete: frozenset[str] = frozenset()  # observed, but some cells are missing: latents held at what was seen
    clouds: tuple[Cloud, ...] = ()  # continuous latents that stand at weighted points
    counted: frozenset[str] = frozenset()  # rows of ragged plates of which equal ones are one that counts
    events: tuple[Events, ...] = ()  # latents of which an element stands for several
    configurations: Configurations | None = None  # discrete latents of which every configuration is a state
    settled: tuple[Factor, ...] = ()  # what says nothing but between which ends such points lie
    told: Mapping[str, Told] = field(default_factory=dict)  # latents with a point mass in a branch
    multipliers: Mapping[str, str] = field(default_factory=dict)  # of constraints: latents that hold other ones
    asked: tuple[Factor, ...] = ()  # those whose moments are asked, where multipliers stand for them
    closed: Mapping[str, frozenset[str]] = field(default_factory=dict)  # ends of open domains that data may reach
    tails: frozenset[str] = frozenset()  # latents that are integrated out already: nothing but their tails is left
    cases: Mapping[tuple[str, int], Expr] = field(default_factory=dict)  # of their factors: the conditions on data

    @cached_property
    def holding(self) -> Mapping[str, tuple[Factor, ...]]:
        """Variable -> the factors that read it anywhere."""
        out: dict[str, list[Factor]] = {}
        for f in self.factors:
            for name in {n for e in (f.body, *f.masks, *f.gates) for n in x.variables(e)}:
                out.setdefault(name, []).append(f)
        return {name: tuple(found) for name, found in out.items()}

    def events_of(self, latent: str) -> Events | None:
        """How many events an element of a latent stands for; None where it is one."""
        return next((e for e in self.events if latent in e.latents), None)

    @property
    def unnamed(self) -> frozenset[str]:
        """Latents that the user has no name for."""
        own = {self.configurations.name} if self.configurations is not None else set()
        sums = (v.name for v in self.model.variables if v.name.startswith(RUNNING))
        return frozenset({*self.multipliers, *own, *sums, *(n for e in self.events for n in e.latents)})

    @property
    def in_clouds(self) -> frozenset[str]:
        return frozenset(n for c in self.clouds for n in c.latents)

    @property
    def as_written(self) -> LogJoint:
        """The joint in the model's own latents, where some are configurations here."""
        return self if self.configurations is None else self.configurations.written

    @property
    def configured(self) -> frozenset[str]:
        """The latents that are functions of which configuration they are in."""
        return frozenset(self.configurations.latents if self.configurations is not None else ())
