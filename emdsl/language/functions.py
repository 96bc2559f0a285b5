"""The functions of the language: how many arguments, and the shape that comes of theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emdsl.language.lengths import Lengths
from emdsl.language.model import Dim, Shape


class BadShape(Exception):
    """The arguments' shapes do not fit; the message says how."""


@dataclass(frozen=True, slots=True)
class Function:
    """`least` to `most` arguments (None: any number); `form` shows them in messages."""

    form: str
    least: int
    most: int | None
    shape: Callable[[tuple[Shape, ...], Lengths], Shape]


def show(shape: Shape) -> str:
    """A shape in words: `a number`, `a vector of length D`, `a D x Q matrix`."""
    known = not any("?" in str(size) for size in shape)
    match len(shape):
        case 0:
            return "a number"
        case 1:
            return f"a vector of length {shape[0]}" if known else "a vector"
        case 2:
            return f"a {shape[0]} x {shape[1]} matrix" if known else "a matrix"
        case _:
            return "an array of " + " x ".join(map(str, shape)) if known else f"an array of {len(shape)} axes"


def elementwise(shapes: tuple[Shape, ...], lengths: Lengths) -> Shape:
    """Equal shapes, or numbers beside one shape: no other broadcasting."""
    out: Shape = ()
    for shape in shapes:
        if not shape:
            continue
        if not out:
            out = shape
        elif not lengths.equate_shapes(out, shape):
            hint = "" if len(out) != len(shape) else ": their lengths differ"
            raise BadShape(f"{show(lengths.settle(out))} and {show(lengths.settle(shape))} do not combine{hint}")
    return out


def matmul(shapes: tuple[Shape, ...], lengths: Lengths) -> Shape:
    a, b = shapes
    if len(a) not in (1, 2) or len(b) not in (1, 2):
        raise BadShape(f"`@` takes vectors and matrices, not {show(a if len(a) not in (1, 2) else b)}")
    if not lengths.equate(a[-1], b[0]):
        raise BadShape(f"{show(lengths.settle(a))} @ {show(lengths.settle(b))}: the inner lengths differ")
    return a[:-1] + b[1:]


def transpose(shapes: tuple[Shape, ...], _: Lengths) -> Shape:
    if len(shapes[0]) != 2:
        raise BadShape(f"`.T` is for matrices, not for {show(shapes[0])}")
    return shapes[0][::-1]


def _need(shape: Shape, rank: int, what: str) -> None:
    if len(shape) != rank:
        names = {0: "a number", 1: "a vector", 2: "a matrix"}
        raise BadShape(f"{what} takes {names[rank]}, not {show(shape)}")


def _square(shape: Shape, lengths: Lengths, what: str) -> None:
    _need(shape, 2, what)
    if not lengths.equate(shape[0], shape[1]):
        raise BadShape(f"{what} takes a square matrix, not {show(lengths.settle(shape))}")


def _reduce(name: str) -> Callable[[tuple[Shape, ...], Lengths], Shape]:
    def shape(shapes: tuple[Shape, ...], lengths: Lengths) -> Shape:
        if len(shapes) == 1 and not shapes[0]:
            raise BadShape(f"{name} takes a vector or an array, not a number")
        return () if len(shapes) == 1 else elementwise(shapes, lengths)

    return shape


def _vector_to(name: str, keeps: bool) -> Callable[[tuple[Shape, ...], Lengths], Shape]:
    def shape(shapes: tuple[Shape, ...], _: Lengths) -> Shape:
        _need(shapes[0], 1, name)
        return shapes[0] if keeps else ()

    return shape


def _of_square(name: str, keeps: bool) -> Callable[[tuple[Shape, ...], Lengths], Shape]:
    def shape(shapes: tuple[Shape, ...], lengths: Lengths) -> Shape:
        _square(shapes[0], lengths, name)
        return shapes[0] if keeps else ()

    return shape


def _outer(shapes: tuple[Shape, ...], _: Lengths) -> Shape:
    for shape in shapes:
        _need(shape, 1, "outer")
    return shapes[0] + shapes[1]


def _diag(shapes: tuple[Shape, ...], lengths: Lengths) -> Shape:
    if len(shapes[0]) == 1:
        return shapes[0] * 2
    _square(shapes[0], lengths, "diag")
    return shapes[0][:1]


def _quad(shapes: tuple[Shape, ...], lengths: Lengths) -> Shape:
    _square(shapes[0], lengths, "quad")
    _need(shapes[1], 1, "the second argument of quad")
    if not lengths.equate(shapes[0][0], shapes[1][0]):
        raise BadShape(f"quad of {show(lengths.settle(shapes[0]))} and {show(lengths.settle(shapes[1]))}")
    return ()


def _concat(shapes: tuple[Shape, ...], lengths: Lengths) -> Shape:
    total = Dim(())
    for shape in shapes:
        if len(shape) > 1:
            raise BadShape(f"concat joins vectors and numbers, not {show(shape)}")
        size = lengths.known(shape[0]) if shape else Dim.of(1)
        if not isinstance(size, Dim):
            raise BadShape(f"concat cannot join a vector of ragged length {size}")
        total = total + size
    return (total,)


def _elementwise(form: str, count: int) -> Function:
    return Function(form, count, count, elementwise)


_SCALAR = ("exp", "log", "log1p", "sqrt", "abs", "logistic", "logit", "tanh", "sin", "cos", "Phi", "lgamma", "digamma")

FUNCTIONS: dict[str, Function] = {
    **{name: _elementwise(f"{name}(x)", 1) for name in _SCALAR},
    "beta_ln": _elementwise("beta_ln(a, b)", 2),
    "lchoose": _elementwise("lchoose(n, k)", 2),
    "min": Function("min(a, b, ...) or min(vector)", 1, None, _reduce("min")),
    "max": Function("max(a, b, ...) or max(vector)", 1, None, _reduce("max")),
    "sum": Function("sum(vector) or sum(expression for i in SIZE)", 1, 1, _reduce("sum")),
    "softmax": Function("softmax(vector)", 1, 1, _vector_to("softmax", True)),
    "logsumexp": Function("logsumexp(vector)", 1, 1, _vector_to("logsumexp", False)),
    "cumsum": Function("cumsum(vector)", 1, 1, _vector_to("cumsum", True)),
    "outer": Function("outer(u, v)", 2, 2, _outer),
    "diag": Function("diag(vector) or diag(matrix)", 1, 1, _diag),
    "logdet": Function("logdet(matrix)", 1, 1, _of_square("logdet", False)),
    "trace": Function("trace(matrix)", 1, 1, _of_square("trace", False)),
    "inv": Function("inv(matrix)", 1, 1, _of_square("inv", True)),
    "quad": Function("quad(matrix, vector)", 2, 2, _quad),
    "concat": Function("concat(a, b, ...)", 1, None, _concat),
}

# Their arguments are lengths, not values: name -> (form, least, most number of lengths).
MAKERS = {"eye": ("eye(D)", 1, 1), "zeros": ("zeros(D) or zeros(D, Q)", 1, 3), "ones": ("ones(D) or ones(D, Q)", 1, 3)}

# Known to the prelude alone.
PRELUDE_FUNCTIONS: dict[str, Function] = {
    "log_bessel_i0": _elementwise("log_bessel_i0(x)", 1),
    "sign": _elementwise("sign(x)", 1),
    "gamma_cdf": _elementwise("gamma_cdf(shape, x)", 2),
    "gamma_sf": _elementwise("gamma_sf(shape, x)", 2),
    "beta_cdf": _elementwise("beta_cdf(a, b, x)", 3),
    "student_cdf": _elementwise("student_cdf(df, x)", 2),
}

OPERATORS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod", "@": "matmul",
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge",
}  # fmt: skip
COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not"})
