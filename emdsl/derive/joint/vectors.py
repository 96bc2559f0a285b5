"""Gaussian vectors of which densities compare elements with something: their elements, each given those before it.

    latent u[n] ~ MvNormal(m, V)      is      latent a[n] ~ Normal(m[0], sd = L[0, 0])
                                              latent b[n] ~ Normal(m[1] + L[1, 0] (a[n] - m[0]) / L[0, 0], sd = L[1, 1])

with L the Cholesky factor of V. An element that is cut is no Gaussian any more, so that the vector has no family; of
its elements the last is a Normal in an interval given the others, and the others stand at points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from emdsl.families import PRELUDE
from emdsl.language import model as m
from emdsl.language.transform import expressions_of

MOST = 3  # elements: all but the last are points of one grid
CUTTING = ("lt", "le", "gt", "ge", "min", "max", "abs")


def of_cut_vectors(model: m.ModelText) -> tuple[str, ...]:
    """Gaussian vectors that point masses compare with something; none that another method is asked for."""
    named = {n for line in model.infer if line.method != "quadrature" for g in line.groups for n in g}
    found = {v.name for v in model.of_kind("latent") if _gaussian(v) is not None} - named
    cut = {n for v in model.variables for n in _compared(v, model)} if found else set[str]()
    return tuple(v.name for v in model.variables if v.name in found & cut)


def sizes_of(model: m.ModelText, names: tuple[str, ...]) -> set[str]:
    """The named sizes that these vectors have elements by."""
    return {n for v in model.variables if v.name in names for n in v.domain.dims[0].names}  # type: ignore[union-attr]


def told_sizes(model: m.ModelText) -> tuple[tuple[str, int], ...]:
    """Named sizes that other lengths of the text make numbers."""
    if model.written_out:
        return ()
    pairs = [(a, b) for one, other, _ in model.equal_sizes for a, b in ((one, other), (other, one))]
    named = {s.name for s in model.sizes}
    return tuple(
        (str(a), b.constant) for a, b in pairs
        if isinstance(b, m.Dim) and b.constant is not None and b.constant <= MOST and str(a) in named
    )  # fmt: skip


def in_elements(model: m.ModelText, names: tuple[str, ...]) -> m.ModelText | None:
    """The model in which these vectors are points that follow from latents of one number; None where one is long."""
    variables: list[m.Variable] = []
    vectors = []
    for v in model.variables:
        if v.name not in names:
            variables.append(v)
            continue
        (length,) = v.domain.dims
        count = length.constant if isinstance(length, m.Dim) else None
        if count is None or count > MOST:
            return None
        elements = _names(v, count, model)
        variables += _elements(v, elements)
        vectors.append((v, elements))
    at_points = {v.name: elements[:-1] for v, elements in vectors}  # the last is known given the others
    return replace(
        model,
        variables=tuple(variables),
        vectors=tuple(vectors),
        infer=tuple(_renamed(line, at_points) for line in model.infer),
    )


def rejoined(model: m.ModelText) -> m.ModelText:
    """The model with its vectors as they are written."""
    whole = {v.name: v for v, _ in model.vectors}
    names = {e: (v.name,) for v, elements in model.vectors for e in elements}
    variables = tuple(whole.get(v.name, v) for v in model.variables if v.name not in names)
    infer = tuple(_renamed(line, names) for line in model.infer)
    return replace(model, variables=variables, infer=infer, vectors=())


def _renamed(line: m.Infer, names: Mapping[str, tuple[str, ...]]) -> m.Infer:
    """The line about latents that go by other names, in a group where one name is several."""
    groups = tuple(tuple(dict.fromkeys(k for n in g for k in names.get(n, (n,)))) for g in line.groups)
    together = (b or len(g) > 1 for g, b in zip(groups, line.grouped, strict=True))
    return replace(line, groups=groups, grouped=tuple(together))


def _gaussian(v: m.Variable) -> m.FamilyCall | None:
    """The one density of a vector that is Gaussian in each row by itself."""
    call = v.distribution
    if v.array or len(v.domain.dims) != 1 or not v.domain.unbounded or not isinstance(call, m.FamilyCall):
        return None
    if call.family != PRELUDE().get("MvNormal") or any(e.name == v.name for e in _variables(call)):
        return None
    return call


def _variables(call: m.FamilyCall) -> list[m.Var]:
    return [e for a in expressions_of(call) for e in m.walk(a) if isinstance(e, m.Var)]


def _compared(v: m.Variable, model: m.ModelText) -> set[str]:
    """The names that stand in comparisons of a variable's point masses, and in `let`s that it reads."""
    if v.distribution is None:
        return set()
    lets = {let.name: let.body for let in model.lets}
    out: set[str] = set()
    opened: set[tuple[str, bool]] = set()  # a `let` reads others twice and they others twice: each is opened once
    todo = [(e, False) for e in expressions_of(v.distribution)]
    while todo:
        e, inside = todo.pop()
        if isinstance(e, m.Var):
            out |= {e.name} if inside else set()
            if e.name in lets and (e.name, inside) not in opened:
                opened.add((e.name, inside))
                todo.append((lets[e.name], inside))
        cuts = isinstance(e, m.Call) and e.fn in CUTTING
        todo += [(c, inside or cuts) for c in m.children(e)]
    return out


def _names(v: m.Variable, count: int, model: m.ModelText) -> tuple[str, ...]:
    """Names of a vector's elements that nothing else has."""
    taken = {*(o.name for o in model.variables), *(e.name for e in model.lets), *(s.name for s in model.sizes)}
    joint = "_"
    while any(f"{v.name}{joint}{k}" in taken for k in range(count)):
        joint += "_"
    return tuple(f"{v.name}{joint}{k}" for k in range(count))


def _elements(v: m.Variable, names: tuple[str, ...]) -> list[m.Variable]:
    """The elements of a vector as latents of their own, and the vector as the point that they make."""
    call = _gaussian(v)
    assert call is not None
    args = dict(call.args)
    matrix = args["cov"] if "cov" in args else _call("inv", (args["precision"],), args["precision"].shape)
    count = len(names)
    means = [_at(args["mean"], k) for k in range(count)]
    factor = _cholesky(matrix, count)
    here = tuple(m.Loop(p.index, p.size) for p in v.plates)
    plates = tuple(p.size for p in v.plates)
    latents, scores = [], list[m.Expr]()
    normal = PRELUDE()["Normal"]
    for k in range(count):
        mean = means[k]
        for j in range(k):
            mean = _call("add", (mean, _call("mul", (factor[k][j], scores[j]))))
        own = m.FamilyCall(normal, 0, (("mean", mean), ("sd", factor[k][k])), (), (), v.span)
        name = names[k]
        latents.append(m.Variable("latent", name, v.plates, (), m.Domain("real"), own, span=v.span))
        element = m.Index(m.Var(name, plates), here, ()) if here else m.Var(name, ())
        scores.append(_call("div", (_call("sub", (element, mean)), factor[k][k])))
    elements = tuple(m.Index(m.Var(e.name, plates), here, ()) if here else m.Var(e.name, ()) for e in latents)
    point = m.FamilyCall(
        PRELUDE()["Delta"], 0, (("value", m.Stack(elements, v.domain.dims)),), v.domain.dims, (), v.span
    )
    return [*latents, replace(v, distribution=point)]


def _cholesky(matrix: m.Expr, count: int) -> list[list[m.Expr]]:
    """The lower factor, row by row (Cholesky and Banachiewicz)."""
    factor: list[list[m.Expr]] = []
    for k in range(count):
        row: list[m.Expr] = []
        for j in range(k + 1):
            left = _at(matrix, k, j)
            other = row if j == k else factor[j]
            for i in range(j):
                left = _call("sub", (left, _call("mul", (row[i], other[i]))))
            row.append(_call("sqrt", (left,)) if j == k else _call("div", (left, factor[j][j])))
        factor.append(row)
    return factor


def _at(e: m.Expr, *places: int) -> m.Expr:
    """An element of a vector or matrix."""
    if isinstance(e, m.Stack):
        inner = e.items[places[0]]
        return _at(inner, *places[1:]) if places[1:] else inner
    at = tuple(map(m.Num, places))
    if isinstance(e, m.Index):
        return m.Index(e.base, (*e.args, *at), ())
    return m.Index(e, at, ())


def _call(fn: str, args: tuple[m.Expr, ...], shape: m.Shape = ()) -> m.Call:
    return m.Call(fn, args, shape)
