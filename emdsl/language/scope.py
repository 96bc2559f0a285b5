"""What resolving one file knows: its names, lengths and problems, and what must be checked at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from emdsl.errors import NOWHERE, Problem, Span, nearest
from emdsl.language import syntax as s
from emdsl.language.functions import FUNCTIONS, MAKERS, PRELUDE_FUNCTIONS
from emdsl.language.lengths import Lengths
from emdsl.language.model import Domain, Expr, Family, Plate, Shape, Size

MOST_PROBLEMS = 500  # more are not collected
MOST_HINTS = 50  # nor are nearest names looked for after so many


class Stop(Exception):
    """Resolving of one statement ends; without a problem where it was told already."""

    def __init__(self, problem: Problem | None = None) -> None:
        super().__init__(problem)
        self.problem = problem


def wrong(code: str, message: str, span: Span, hint: str | None = None) -> Stop:
    return Stop(Problem(code, message, span, hint))


@dataclass(frozen=True, slots=True)
class Item:
    """A statement with the `for` lines around it, outermost first."""

    statement: s.Statement
    headers: tuple[s.ForBlock, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A variable or `let` as expressions see it."""

    kind: str  # param, given, latent, observed, let
    name: str
    plates: tuple[Plate, ...]
    shape: Shape
    domain: Domain | None = None  # of a variable
    array: Shape = ()
    body: Expr | None = None  # of a let
    whole: bool = False  # of a let: its values are integers


@dataclass(frozen=True, slots=True)
class IndexUse:
    """`base[... arg ...]`, to be checked against the axis it indexes once all lengths are known."""

    arg: Expr
    axis: Size
    guards: tuple[tuple[Expr, bool], ...]
    loops: tuple[tuple[str, Size], ...]
    target: str | None
    owner: str
    before: tuple[Expr, ...] = ()  # the indices on the axes before


@dataclass(frozen=True, slots=True)
class Reference:
    """`owner` speaks of `target[args]`, where the guards hold."""

    owner: str
    target: str
    args: tuple[Expr, ...]
    guards: tuple[tuple[Expr, bool], ...]
    loops: tuple[tuple[str, Size], ...]
    span: Span


@dataclass(slots=True)
class Scope:
    """One file's names. Lives as long as one call of `parse_model`."""

    families: dict[str, Family]
    typing: Callable[[str, Scope], Entry]  # how a declaration becomes an entry
    items: dict[str, Item] = field(default_factory=dict)
    sizes: dict[str, Span] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)  # sizes with a `size` line
    ragged: dict[str, Span] = field(default_factory=dict)
    parents: dict[str, Size] = field(default_factory=dict)  # ragged size -> the size of the plate it depends on
    unread: frozenset[str] = frozenset()
    prelude: bool = False
    lengths: Lengths = field(default_factory=Lengths)
    problems: list[Problem] = field(default_factory=list)
    entries: dict[str, Entry | None] = field(default_factory=dict)  # None: failed, and told
    busy: list[str] = field(default_factory=list)
    plates: dict[Span, Plate] = field(default_factory=dict)
    uses: list[IndexUse] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    size_uses: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Collects the problem that ends a statement."""
        try:
            yield
        except Stop as stop:
            if stop.problem is not None and len(self.problems) < MOST_PROBLEMS:
                self.problems.append(stop.problem)

    def taken(self, name: str) -> bool:
        return name in self.items or name in self.sizes or name in self.ragged


@dataclass(frozen=True, slots=True)
class Env:
    """Where an expression stands: the loop names in sight, the conditions under which it is reached."""

    scope: Scope
    owner: str
    loops: Mapping[str, Size] = field(default_factory=dict)
    guards: tuple[tuple[Expr, bool], ...] = ()
    arguments: Mapping[str, Domain] | None = None  # inside a family's declaration: x and its arguments
    sizes: frozenset[str] = frozenset()  # inside a family's declaration: its own sizes

    def guarded(self, cond: Expr, holds: bool) -> Env:
        return replace(self, guards=(*self.guards, (cond, holds)))

    def inside(self, index: str, size: Size) -> Env:
        return replace(self, loops={**self.loops, index: size})

    def is_size(self, name: str) -> bool:
        return name in self.sizes if self.arguments is not None else name in self.scope.sizes


def undeclared(name: str, env: Env, span: Span) -> Stop:
    """The problem of a name that nothing declares; silent where its declaration could not be read."""
    scope = env.scope
    if name in scope.unread:
        return Stop()
    functions = {**FUNCTIONS, **MAKERS, **PRELUDE_FUNCTIONS}
    if name in functions:
        return wrong("E021", f"`{name}` is a function", span, f"write `{name}(...)`")
    if name in scope.families:
        return wrong("E021", f"`{name}` is a family", span, f"write `{name}(...)` after `~`")
    known: list[str] = [*env.loops]
    known += [*env.arguments, *env.sizes] if env.arguments is not None else [*scope.items, *scope.sizes, *scope.ragged]
    near = nearest(name, known) if len(scope.problems) < MOST_HINTS else None
    inner = next((i for i in scope.items.values() for h in i.headers if h.index == name), None)
    if near is None and inner is not None:
        return wrong(
            "E021", f"`{name}` is not declared here", span, f"it is a loop name of another block: `for {name} in ...:`"
        )
    where = " in this family" if env.arguments is not None else ""
    return wrong("E021", f"`{name}` is not declared{where}", span, f"did you mean `{near}`?" if near else None)


ABBREVIATED = {
    **dict.fromkeys(("N", "Gaussian", "Gauss"), "Normal"),
    **dict.fromkeys(("t", "T", "TDist"), "StudentT"),
    **dict.fromkeys(("NB", "NegBin", "NegBinomial"), "NegativeBinomial"),
    **dict.fromkeys(("MVN", "MultiNormal", "MultivariateNormal", "MultivariateGaussian"), "MvNormal"),
    **dict.fromkeys(("MVT", "MultiStudentT", "MultivariateT", "MultivariateStudentT"), "MvStudentT"),
    **dict.fromkeys(("Discrete", "CategoricalLogit"), "Categorical"),
}  # in print, and in other languages

HABITS: dict[str, str] = {
    **dict.fromkeys(("dot", "inner", "inprod", "dot_product", "matmul"), "`a @ b`"),
    **dict.fromkeys(("ln", "log10", "log2"), "`log(x)`, the natural logarithm"),
    **dict.fromkeys(("expit", "inv_logit", "sigmoid", "ilogit", "plogis"), "`logistic(x)`"),
    **dict.fromkeys(("pnorm", "normcdf", "normal_cdf", "ndtr", "phi"), "`Phi(x)`"),
    **dict.fromkeys(("ifelse", "if_else", "where", "switch", "cond"), "`a if condition else b`"),
    **dict.fromkeys(("pow", "power", "square"), "`x ^ 2`"),
    **dict.fromkeys(("det", "determinant", "log_determinant", "logabsdet"), "`logdet(A)`"),
    **dict.fromkeys(("inverse", "solve"), "`inv(A)`"),
    **dict.fromkeys(("transpose", "t"), "`A.T`"),
    **dict.fromkeys(("quad_form", "quadform"), "`quad(A, x)`"),
    **dict.fromkeys(("step", "indicator", "equals"), "a comparison, `x > 0`: it is 1 or 0"),
    **dict.fromkeys(("mean", "average"), "`sum(x) / D`, D the length of x"),
    **dict.fromkeys(("len", "length", "nrow", "size"), "the size's own name: `D` of `real[D]`"),
    **dict.fromkeys(("gammaln", "lgam", "loggamma"), "`lgamma(x)`"),
    **dict.fromkeys(("c", "list", "vector", "array"), "`[a, b]`"),
    **dict.fromkeys(("log_sum_exp", "logaddexp"), "`logsumexp(x)`"),
}  # what other languages call a function
FAMILY_HABITS: dict[str, str] = {
    "Cauchy": "`StudentT(1, mean, scale)`",
    **dict.fromkeys(("ChiSquared", "ChiSquare", "Chisq", "Chi2"), "`Gamma(df / 2, 1 / 2)`"),
}


def unknown_function(name: str, scope: Scope, span: Span, families: bool) -> Stop:
    if name in scope.unread:
        return Stop()
    known = list(scope.families) if families else [*FUNCTIONS, *MAKERS]
    near = (ABBREVIATED.get(name) if families else None) or nearest(name, known)
    if near is None:
        near = nearest(name, list(scope.families))
    if near is None and families:
        near = next((f for f in known if f.lower().startswith(name.lower())), None)
    hint = f"did you mean `{near}`?" if near else None
    if habit := (FAMILY_HABITS if families else HABITS).get(name):
        hint = f"write {habit}"
    elif families and near is None:
        hint = f"families are {', '.join(sorted(known))}"
    if name in scope.items:
        hint = f"`{name}` is a variable: its elements are `{name}[...]`"
    what = "family" if families else "function"
    return wrong("E024", f"there is no {what} `{name}`", span, hint)


__all__ = [
    "NOWHERE",
    "Entry",
    "Env",
    "IndexUse",
    "Item",
    "Reference",
    "Scope",
    "Stop",
    "undeclared",
    "unknown_function",
    "wrong",
]
