"""Arrays with named axes as code, and the lines of numpy that make them.

An `Array` is code with the indices of its axes; axes of rows come last. A line that lacks the row index of the loop is
hoisted out of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from emdsl.derive.algebra.expr import El, Expr, Ix
from emdsl.derive.algebra.made import PAIR
from emdsl.generate.lines.names import Namer
from emdsl.generate.lines.spelling import Binding, numbered


@dataclass(frozen=True)
class Array:
    """Code whose value has these axes; `inner` where it must stand inside the loop over chunks."""

    code: str
    axes: tuple[Ix, ...]
    inner: bool = False
    binds: Binding = Binding.ATOM
    symmetric: bool = False  # in its last two axes

    @property
    def wrapped(self) -> str:
        """The code, in parentheses where it needs them."""
        return self.code if self.binds is Binding.ATOM else f"({self.code})"


@dataclass(frozen=True)
class Leaf:
    """How an array is stored: the code that names it, and for each stored axis its position in the element's index.

    One that is never made is a product of `parts`, each a name and the positions of its own index.
    """

    code: str
    order: tuple[int, ...]
    inner: bool = False
    integer: bool = False
    called: int = 0  # a function of the rows, which makes it for them: they run over the first of its last axes
    cut: bool = False  # its last stored axis runs over the rows of the chunk alone
    parts: tuple[tuple[str, tuple[int, ...]], ...] = ()
    table: bool = False  # no longer than the parameters are: functions of it are taken before it is read at the rows


@dataclass
class Lines(ABC):
    """Lines in two scopes, with common subexpressions named once; what makes arrays of expressions is below.

    `leaf` answers how a variable is stored; `rows` are the dimensions whose axes come last;
    `chunk` is the index that the loop runs over, if any.
    """

    leaf: Callable[[str], Leaf]
    namer: Namer
    rows: frozenset[str]
    chunk: str | None = None
    once: bool = False  # products of matrices on rows are named: they may be read again
    outer: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    known: dict[Expr, Array] = field(default_factory=dict)
    named: dict[tuple[str, bool], str] = field(default_factory=dict)
    tables: dict[tuple[str, ...], None] = field(default_factory=dict)  # dimensions of what stands beside rows
    guarded: bool = False  # whether 1 / 0 of rows is 0
    far: frozenset[str] = frozenset()  # points that follow a tail to where an exp of them may be infinite
    sized: Callable[[str, str], object] = lambda dim, code: None  # told of each length that is read

    @abstractmethod
    def value(self, e: Expr, hint: str = "t") -> Array:
        """The array of an expression, over its free indices."""

    @abstractmethod
    def product(self, e: Expr) -> Array:
        """A product without a sum."""

    # ------------------------------------------------------------ naming and scopes

    def size(self, dim: str) -> str:
        """Code for the length of a dimension."""
        if dim.isdigit():
            return dim
        code = self.namer.size(dim)
        self.sized(dim, code)
        return code

    def name(self, hint: str, value: Array) -> Array:
        """Give a value a name in the scope it belongs to."""
        if value.code.isidentifier():
            return value
        key = (value.code, value.inner)
        if key in self.named:
            return Array(self.named[key], value.axes, value.inner)
        target = self.named[key] = self.namer.fresh(hint)
        (self.lines if value.inner else self.outer).append(f"{target} = {value.code}")
        if value.inner and self._chunked(value.axes):
            self.tables[tuple(i.dim for i in value.axes if i.dim != self.chunk)] = None
        return Array(target, value.axes, value.inner)

    def comment(self, text: str, inner: bool = True) -> None:
        """A comment line in one of the two scopes."""
        (self.lines if inner else self.outer).append(f"# {text}")

    def mark(self) -> tuple[int, int]:
        """Where the two scopes are now: what `number` takes up from."""
        return len(self.lines), len(self.outer)

    def number(self, since: tuple[int, int], *numbers: object) -> None:
        """The lines made since a mark carry the numbers of their equations."""
        for scope, start in zip((self.lines, self.outer), since, strict=True):
            scope[start:] = numbered(scope[start:], *numbers)

    def order(self, axes: Sequence[Ix]) -> tuple[Ix, ...]:
        """Axes without repeats, those of rows last."""
        return tuple(sorted(self.stored_order(axes), key=lambda i: i.dim == self.chunk and i.dim in self.rows))

    def stored_order(self, axes: Sequence[Ix]) -> tuple[Ix, ...]:
        """The same where no plate is cut into chunks: as factors of q are kept between sweeps."""
        unique = list(dict.fromkeys(axes))
        return tuple(sorted(unique, key=lambda i: (i.dim in self.rows, unique.index(i))))

    # ------------------------------------------------------------ alignment

    def align(self, a: Array, axes: tuple[Ix, ...]) -> str:
        """The code of `a` broadcastable against `axes`: transposed, new axes where it lacks one."""
        if not a.axes or a.axes == axes[len(axes) - len(a.axes) :]:
            return a.wrapped
        have = [i for i in axes if i in a.axes]
        code = self.transposed(a, tuple(have))
        first = axes.index(have[0])
        if all(i in a.axes for i in axes[first:]):
            return code
        slots = ", ".join(":" if i in a.axes else "None" for i in axes[first:])
        return f"{code}[{slots}]"

    def transposed(self, a: Array, axes: tuple[Ix, ...]) -> str:
        """The code of `a` with its own axes in another order."""
        if a.axes == axes:
            return a.wrapped
        if len(axes) == 2:
            return f"{a.wrapped}.T"
        return f"{a.wrapped}.transpose({', '.join(str(a.axes.index(i)) for i in axes)})"

    def broadcast(self, a: Array, axes: tuple[Ix, ...], hint: str = "full") -> Array:
        """`a` with exactly these axes."""
        if a.axes == axes:
            return a
        if set(a.axes) == set(axes):
            return Array(self.transposed(a, axes), axes, a.inner)
        shape = ", ".join(self.length(i) for i in axes)
        comma = "," if len(axes) == 1 else ""
        return Array(f"np.broadcast_to({self.align(a, axes)}, ({shape}{comma}))", axes, a.inner or self._chunked(axes))

    def length(self, i: Ix) -> str:
        """Code for the length of an axis: of the chunk, where the axis is cut."""
        if i.dim == self.chunk:
            return self.namer.rows
        return self.size(i.dim)

    def _chunked(self, axes: Sequence[Ix]) -> bool:
        return any(i.dim == self.chunk for i in axes)

    # ------------------------------------------------------------ sums

    def sum(self, parts: Sequence[Array]) -> Array:
        """A sum of broadcast parts, those that are subtracted last."""
        axes = self.order([i for p in parts for i in p.axes])
        if len(parts) == 1 and parts[0].axes == axes:
            return parts[0]
        parts = sorted(parts, key=lambda p: (p.code.startswith("-"), len(p.axes)))
        texts = [self.align(p, axes) for p in parts]
        terms = [p.code if t == p.wrapped and p.binds else t for t, p in zip(texts, parts, strict=True)]
        code = terms[0] + "".join(f" - {t[1:]}" if t.startswith("-") else f" + {t}" for t in terms[1:])
        return Array(code, axes, any(p.inner for p in parts), binds=Binding.SUM)

    def reduce(self, a: Array, ixs: Sequence[Ix]) -> Array:
        """Sums over some axes of one array."""
        gone = [i for i in a.axes if i in ixs]
        if not gone:
            return a
        kept = tuple(i for i in a.axes if i not in ixs)
        if not kept:
            return Array(f"{a.wrapped}.sum()" if a.binds is Binding.ATOM else f"np.sum({a.code})", (), a.inner)
        axis = ", ".join(str(a.axes.index(i)) for i in gone)
        return Array(f"{a.wrapped}.sum(axis={axis if len(gone) == 1 else f'({axis})'})", kept, a.inner)

    def parts(self, f: Expr) -> tuple[Expr, ...]:
        """The factors of an element that is kept as a product; anything else is its own."""
        if not isinstance(f, El) or f.var not in PAIR:
            return (f,)
        made = self.leaf(f.var).parts
        return tuple(El(name, tuple(f.idx[i] for i in at)) for name, at in made) if made else (f,)
