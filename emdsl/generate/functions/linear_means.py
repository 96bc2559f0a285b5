"""Printing `e_step_once`: statistics and log-likelihood from sums of data, without a pass over the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Ix
from emdsl.derive.algebra.made import COEFFICIENT, COV, FEATURES, NORM, PRESENT, SLOPE, STATISTIC
from emdsl.derive.joint.terms import Term
from emdsl.derive.linear_means import Linear
from emdsl.generate.blocks.chains import add_up
from emdsl.generate.blocks.gaussian import precision_code
from emdsl.generate.blocks.once import contracted, made, sums_lines
from emdsl.generate.context import Function, function, size_expression
from emdsl.generate.lines.arrays import Array, Leaf
from emdsl.generate.lines.spelling import Binding, indent
from emdsl.generate.printer import Printer
from emdsl.generate.shared import MOMENTS


def once_lines(printer: Printer) -> list[str]:
    """`e_step_once(params, prepared)`; none where rows stay."""
    if printer.once is None:
        return []
    f = function(printer.plan, printer.helpers, None, printer.rows)
    f.sums = printer.moments
    em = f.emitter
    number = printer.numbers
    for v in printer.once.linear:
        with f.printing(number.posterior[v.name], behind=False):
            _emit_linear(f, v)
    entries = []
    em.comment(f"({number.statistics}) expected statistics")
    for s in printer.plan.expected.statistics:
        target = em.namer.of(STATISTIC.of(s.name))
        with f.printing(number.statistic[s.name]):
            value = em.broadcast(_total(f, printer.once.statistics[s.name], s.axes), s.axes)
            em.lines.append(f"{target} = {value.code}")
        entries.append(f'"{s.name}": {target},  # ({number.statistic[s.name]})')
    em.comment(f"({number.objective}) the log-likelihood, term by term")
    with f.printing(number.objective):
        values = [_total(f, [t], ()).code for t in printer.once.free]
    em.lines += ["log_likelihood = 0.0", *(f"log_likelihood += {v}" for v in values)]
    said = f'"log_likelihood": float(honest(log_likelihood)),  # ({number.objective})'
    doc = '"""`e_step` where nothing is missing: means are linear in data, which enter through their moments alone."""'
    lines = ['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, *em.lines]
    return [
        "def e_step_once(params, prepared):",
        *indent([doc, *lines, "return {", *indent([said, *entries], 1), "}"], 1),
    ]


def _total(f: Function, terms: Sequence[Term], axes: Sequence[Ix]) -> Array:
    """A sum of products, each with its sum of data read."""
    em, parts = f.emitter, []
    for t in terms:
        parts.append(contracted(f, t, axes))
    return em.sum(parts) if parts else Array("0.0", ())


def _emit_linear(f: Function, v: Linear) -> None:
    """The covariance of a block, the coefficients of its linear terms, the slopes of its means, its normaliser."""
    em, name = f.emitter, v.name
    latents = ", ".join(v.latents)
    em.comment(f"({f.equation}) one covariance of {latents} for all rows; means as multiples of data", inner=False)
    log_det = _covariance(f, v)
    dims = " + ".join(" * ".join([em.size(i.dim) for i in v.rows[n]]) or "1" for n in v.latents)
    with f.part(v.block, "normaliser"):
        norm = em.name(f"norm_{name}", Array(f"0.5 * (({dims}) * math.log(2 * np.pi) - {log_det})", ()))
    f.runtime[NORM.of(name)] = Leaf(norm.code, ())
    every = Ix("every", v.dimension)
    with f.part(v.block, "linear"):
        _coefficients(f, v, every)
    with f.part(v.block, "moments"):
        for n in v.latents:
            parts_of = [_slope(f, v, n, other, every) for other in v.latents]
            _keep(f, SLOPE.of(n), f"slope_{n}", f.emitter.broadcast(em.sum(parts_of), (*v.rows[n], every)))


def _coefficients(f: Function, v: Linear, every: Ix) -> None:
    """The coefficients of the linear terms, all features side by side."""
    count = f.emitter.size(v.dimension)
    for n in v.latents:
        parts = [_cell(f, v, n, k) for k in range(len(v.features))]
        shape = "".join(f"{f.emitter.size(i.dim)}, " for i in v.rows[n])
        code = parts[0] if len(parts) == 1 else f"np.concatenate([{', '.join(parts)}], axis=-1)"
        used = any((n, k) in v.coefficients for k in range(len(v.features)))
        _keep(
            f,
            COEFFICIENT.of(n),
            f"linear_{n}",
            Array(code if used else f"np.zeros(({shape}{count},))", (*v.rows[n], every)),
        )


def _cell(f: Function, v: Linear, n: str, k: int) -> str:
    """Code of the coefficients of one feature, its axes as one."""
    em, axes = f.emitter, (*v.rows[n], *v.features[k].axes)
    shape = ", ".join([*(em.size(i.dim) for i in v.rows[n]), _width(v, k, em.size)])
    if (n, k) not in v.coefficients:
        return f"np.zeros(({shape},))"
    value = em.broadcast(add_up(f, v.coefficients[n, k], axes), axes)
    if len(v.features[k].axes) == 1:
        return value.code
    return f"np.reshape({value.code}, ({shape},))"


def _width(v: Linear, k: int, size: Callable[[str], str]) -> str:
    """Code of how many numbers a feature has."""
    return " * ".join(size(i.dim) for i in v.features[k].axes) or "1"


def _keep(f: Function, key: str, hint: str, value: Array) -> None:
    named = f.emitter.name(hint, value)
    f.runtime[key] = Leaf(named.code, tuple(range(len(value.axes))))


def _slope(f: Function, v: Linear, n: str, other: str, k: Ix) -> Array:
    """inv(J)[n, other] @ C[other]."""
    own = tuple(x.fresh(i.dim) for i in v.rows[other])
    first = v.latents.index(n) <= v.latents.index(other)
    cov = El(COV.of(n, other), (*v.rows[n], *own)) if first else El(COV.of(other, n), (*own, *v.rows[n]))
    return f.emitter.contract([cov, El(COEFFICIENT.of(other), (*own, k))], (*v.rows[n], k))


def _covariance(f: Function, v: Linear) -> str:
    """Emits the covariance; code of log det of the precision."""
    with f.part(v.block, "precision", "moments"):
        return _inverted(f, v)


def _inverted(f: Function, v: Linear) -> str:
    em, block, name = f.emitter, v.block, v.name
    if block.gaussian is None:
        value = em.sum(
            [add_up(f, [replace(t, ixs=tuple(i for i in t.ixs if i not in block.home)) for t in block.terms], ())]
        )
        var = em.name(f"cov_{name}", Array(f"-0.5 / {value.wrapped}", (), binds=Binding.PRODUCT))
        f.runtime[COV.of(name, name)] = Leaf(var.code, ())
        return f"-np.log({var.code})"
    cov, log_det = (em.namer.fresh(f"{part}_{name}") for part in ("cov", "log_det"))
    nested, shape, _ = precision_code(f, block, block.home)
    em.outer.append(f"{cov}, {log_det} = gaussian_covariance([{nested}], {shape})")
    for k, a in enumerate(block.latents):
        for m, b in enumerate(block.latents[k:], k):
            axes = len(v.rows[a]) + len(v.columns[b])
            f.runtime[COV.of(a, b)] = Leaf(f"{cov}[{k}][{m - k}][..., 0]", tuple(range(axes)))
    return f"{log_det}.item()"


# ------------------------------------------------------------------ where it is prepared and chosen


def moments_lines(printer: Printer) -> list[str]:
    """`moments_of_data(prepared, rows)`: features of these rows, and sums of their products."""
    if printer.once is None:
        return []
    f = printer.row_function()
    em = f.emitter
    for v in printer.once.linear:
        home = em.order(v.home)
        rows = ", ".join(em.length(i) for i in home)
        cells, since = [], em.mark()
        for feature in v.features:
            value = em.broadcast(em.contract([x.ONE, *feature.factors], (*feature.axes, *home)), (*feature.axes, *home))
            cells.append(value.code if len(feature.axes) == 1 else f"np.reshape({value.code}, (-1, {rows}))")
        code = em.namer.of(FEATURES.of(v.name))
        em.lines.append(f"{code} = np.concatenate([{', '.join(cells)}])")
        em.number(since, printer.numbers.of(v.name, "linear"))
        order = (len(v.home), *(v.home.index(i) for i in home))
        f.runtime[FEATURES.of(v.name)] = Leaf(code, order, True, cut=True)
    return sums_lines(f, printer.moments)


def prepare_moments(printer: Printer) -> list[str]:
    """The lines of `prepare` that add the moments up, where nothing is missing and they are fewer than the rows."""
    if printer.once is None:
        return []
    masked = dict.fromkeys(
        PRESENT.named(e.var) for t, _ in printer.plan.elimination.terms for f in t.factors for e in x.walk(f)
        if isinstance(e, El) and e.var in PRESENT
    )  # fmt: skip
    gapless = " and ".join(f'data.masks.get("{n}") is None' for n in masked) or "True"
    size = size_expression
    lines, few = [], []
    for v in printer.once.linear:
        widths = " + ".join(_width(v, k, lambda d: f"({size(d)})") for k in range(len(v.features)))
        lines.append(f'sizes["{v.dimension}"] = {widths}')
        few.append(f'sizes["{v.dimension}"] <= {" * ".join(f"({size(i.dim)})" for i in v.home)}')
    lines += [f"few, gapless = {' and '.join(few)}, {gapless}"]
    return [*lines, f'out["{MOMENTS}"] = {made(printer.moments, bool(printer.chunk))} if few and gapless else None']
