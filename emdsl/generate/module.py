"""Plan -> the text of a module that fits the model on numpy and scipy alone."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from emdsl.derive import expr as x
from emdsl.derive.blocks import Block
from emdsl.derive.expr import El, Expr, Ix
from emdsl.derive.plan import Plan
from emdsl.derive.solve import Numeric
from emdsl.derive.statistics import Statistic, drop_presence
from emdsl.derive.terms import Term
from emdsl.generate.arrays import Array
from emdsl.generate.context import Function, chunk_dimension, dimension, flat_axes, function, row_dimensions
from emdsl.generate.estep import Stacked, emit_block, emit_joint_probabilities
from emdsl.generate.mstep import emit_numeric, emit_update, forget
from emdsl.generate.posterior import posterior_lines
from emdsl.generate.preparation import default_lines, initial_lines, prepare_lines, reference_lines
from emdsl.generate.spec import spec_lines
from emdsl.language import model as m


def helper_names() -> frozenset[str]:
    """Everything at the top level of the helper files: names that generated code may not hide."""
    from emdsl.runtime import numerics, posteriors

    return frozenset(n for mod in (numerics, posteriors) for n in vars(mod) if not n.startswith("__"))


class Printer:
    """Prints one module; holds what its functions share: names, rows, the chunked plate, helpers used."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rows = row_dimensions(plan)
        self.chunk = chunk_dimension(plan)
        self.helpers = helper_names()
        self.used: set[str] = {"Degenerate", "chunks", "honest"}
        self.inference, self.stacks = self._inference()

    def function(self) -> Function:
        return function(self.plan, self.helpers, self.chunk, self.rows)

    def _inference(self) -> tuple[Function, list[Stacked]]:
        """The body of `expectations`: every block forward, then joint probabilities backward."""
        f = self.function()
        stacks = []
        for block in self.plan.elimination.blocks:
            stack = emit_block(f, block)
            if stack is not None:
                stacks.append(stack)
        emit_joint_probabilities(f, self.plan.elimination.blocks)
        self.used |= f.emitter.used
        return f, stacks

    # ------------------------------------------------------------ expectations

    def results(self) -> list[str]:
        """What `expectations` hands to the others: names of posteriors, normalisers, moments, features."""
        codes = [leaf.code.split("[")[0] for leaf in self.inference.runtime.values()]
        return list(dict.fromkeys([*codes, *(s.code for s in self.stacks)]))

    def expectations(self) -> list[str]:
        f = self.inference
        if not self.plan.elimination.blocks:
            return []
        inner = self._seeded(f.emitter.lines)
        body = ['sizes = prepared["the sizes"]', *f.prologue(), *f.emitter.outer]
        result = f"return {', '.join(self.results())}"
        body += ["", "def on(rows, rng=None):"] if self.chunk else ["", "def on(rng=None):"]
        if self.chunk:
            body.append(f"    {f.emitter.namer.rows} = row_count(rows)")
            self.used.add("row_count")
        body += _indent([*inner, result], 1)
        body.append("return on")
        doc = '"""Posteriors at these parameters: what lacks the rows once, then a function of the rows."""'
        return ["def expectations(params, prepared):", *_indent([doc, *body], 1)]

    def _seeded(self, lines: Sequence[str]) -> list[str]:
        """Where a seeded start is asked for, posteriors of discrete blocks are drawn, not computed."""
        out = []
        for line in lines:
            out.append(line)
            if " = normalise(" in line:
                q = line.split(",")[0].strip()
                states = line.rsplit(", ", 1)[1].rstrip(")")
                block = next(
                    b
                    for b in self.plan.elimination.blocks
                    if b.states and self.inference.runtime[f"c:{b.name}"].code == q
                )
                self.used.add("seeded")
                out += ["if rng is not None:", f"    {q} = seeded({q}, {states}, {self._rows_of_data(block)}, rng)"]
        return out

    def _rows_of_data(self, block: Block) -> str:
        """What rows are told apart by when a start is drawn: the observed arrays on the block's own plates."""
        f = self.inference
        home = [i.dim for i in block.home]
        parts = []
        for v in self.plan.joint.model.of_kind("observed"):
            if home and [dimension(p.size) for p in v.plates] == home:
                leaf = f.emitter.leaf(v.name)
                cut = f"[..., {f.emitter.namer.cut}]" if self.chunk else ""
                parts.append(f"{leaf.code}{cut}")
        return f"[{', '.join(parts)}]"

    # ------------------------------------------------------------ E-step

    def reader(self) -> Function:
        """A function that reads the results of `expectations` under the same names."""
        f = self.function()
        f.runtime.update(self.inference.runtime)
        f.emitter.namer.taken |= set(self.results())
        return f

    def opening(self, f: Function, call: str = "") -> list[str]:
        """What stands before the loop: unpacked arrays, the hoisted part, and without chunks the one pass."""
        names = ", ".join(self.results())
        lines = ['sizes = prepared["the sizes"]', *f.prologue()]
        if names:
            lines.append("on = expectations(params, prepared)")
        if names and not self.chunk:
            lines.append(f"{names} = on({call})")
        return [*lines, *f.emitter.outer]

    def loop(self, f: Function, lines: Sequence[str], call: str = "") -> list[str]:
        """The loop over chunks (or the lines alone) around lines that use the results."""
        names = ", ".join(self.results())
        if not self.chunk:
            return list(lines)
        arguments = ", ".join(["rows", *([call] if call else [])])
        self.used.add("row_count")
        count = f"{f.emitter.namer.rows} = row_count(rows)"
        body = [count, *([f"{names} = on({arguments})"] if names else []), *lines]
        return ['for rows in prepared["the chunks"]:', *_indent(body, 1)]

    def statistic_value(self, f: Function, s: Statistic) -> Array | None:
        """A statistic as a contraction; None where it is a slice of the stacked product."""
        factors, _ = drop_presence(s.factors)
        carried = {i for e in factors for i in x.free(e)}
        sizes = [x.SizeN(i.dim) for i in s.ixs if i not in carried and i not in s.axes]
        value = f.emitter.contract([*sizes, *self._weighted(f, factors)], tuple(s.axes))
        return f.emitter.broadcast(value, tuple(s.axes))

    def _weighted(self, f: Function, factors: Sequence[Expr]) -> list[Expr]:
        """q times the sample weights is one array, made once."""
        weights = [e for e in factors if isinstance(e, El) and e.var == ":weight"]
        for w in weights:
            for e in factors:
                if isinstance(e, El) and e.var.startswith("q:") and w.idx[0] in e.idx and e.idx[-1] == w.idx[0]:
                    name = f"w{e.var}"
                    if name not in f.runtime:
                        q = f.runtime[e.var]
                        code = f.emitter.namer.fresh(f"{q.code}_weighted")
                        weight = f.emitter.value(w)
                        f.emitter.lines.append(f"{code} = {q.code} * {weight.code}")
                        f.runtime[name] = type(q)(code, q.order, True, cut=q.cut)
                    swapped = El(name, e.idx)
                    return [swapped if g is e else g for g in factors if g is not w]
        return list(factors)

    def stack_lines(self, f: Function) -> tuple[list[str], dict[str, str]]:
        """The one product behind all statistics that are sums of features, and each one's slice of it."""
        lines: list[str] = []
        slices: dict[str, str] = {}
        em = f.emitter
        for stack in self.stacks:
            total = em.namer.fresh(f"sums_{stack.block.name}")
            found = {
                s.name: c for s in self.plan.expected.statistics if (c := self._slice(f, stack, s, total)) is not None
            }
            if not found:
                continue
            for dim in dict.fromkeys(i.dim for feature in stack.features for i in feature.axes):
                em.size(dim)  # the cuts of the stack are written with these lengths
            q: Expr = El(f"q:{stack.block.name}", (*stack.block.states, stack.row))
            if self.plan.weighted == stack.row.dim:
                (q,) = self._weighted(f, [q, El(":weight", (stack.row,))])
            assert isinstance(q, El)
            code = f.runtime[q.var].code
            flat = code if len(stack.block.states) == 1 else f"{code}.reshape(-1, {em.namer.rows})"
            product = f"{flat} @ {stack.code}.T"
            lines += [f"{total} = {total} + {product}"]
            em.outer.append(f"{total} = 0.0")
            slices.update(found)
        return lines, slices

    def _slice(self, f: Function, stack: Stacked, s: Statistic, total: str) -> str | None:
        em = f.emitter
        q = El(f"q:{stack.block.name}", (*stack.block.states, *stack.block.home))
        mine = [e for e in s.factors if isinstance(e, El) and e.var == q.var]
        if len(mine) != 1:
            return None
        states, row = mine[0].idx[:-1], mine[0].idx[-1]
        weights = [e for e in s.factors if isinstance(e, El) and e.var == ":weight"]
        if (self.plan.weighted == stack.row.dim) != bool(weights):
            return None
        rest = tuple(e for e in s.factors if e is not mine[0] and e not in weights)
        if any(i in x.free(e) for e in rest for i in states) or len(set(states)) < len(states):
            return None
        rest, _ = drop_presence(rest)
        own = tuple(i for i in s.axes if i not in states)
        if any(not isinstance(i, Ix) for i in states) or set(states) - set(s.axes):
            return None
        for feature in stack.features:
            named = _same_feature(feature.factors, feature.axes, stack.row, rest, own, row)
            if named is None:
                continue
            count = ", ".join(em.size(i.dim) for i in states)  # type: ignore[union-attr]
            part = f"{total}[:, {stack.cuts[feature]}]"
            if feature.symmetric:
                em.helper("unpacked")
                shaped = f"unpacked({part}, {em.size(own[0].dim)})"
                shaped = (
                    shaped
                    if len(states) == 1
                    else f"{shaped}.reshape({count}, {', '.join(em.size(i.dim) for i in own)})"
                )
            else:
                shape = ", ".join(em.size(i.dim) for i in (*states, *named))  # type: ignore[union-attr]
                shaped = f"{part}.reshape({shape})"
            return em.transposed(Array(shaped, (*states, *named)), tuple(s.axes))  # type: ignore[arg-type]
        return None

    def e_step(self) -> list[str]:
        f = self.reader()
        em = f.emitter
        inner, slices = self.stack_lines(f)
        outside: list[str] = []
        value_lines: list[str] = []
        entries = []
        for s in self.plan.expected.statistics:
            if s.name in slices:
                entries.append(f'"{s.name}": {slices[s.name]},')
                continue
            target = em.namer.of(f"S:{s.name}")
            value = self.statistic_value(f, s)
            assert value is not None
            if value.inner:
                em.outer.append(f"{target} = 0.0")
                em.lines.append(f"{target} = {target} + {value.code}")
            else:
                outside.append(f"{target} = {value.code}")
            entries.append(f'"{s.name}": {target},')
        outside_ll = self._log_likelihood(f, value_lines)
        body = [*em.lines, *inner, *value_lines]
        call = "rng" if self.plan.elimination.blocks else ""
        lines = [*self.opening(f, call), "log_likelihood = 0.0"]
        if body:
            lines += self.loop(f, body, call)
        lines += [*outside, *outside_ll]
        lines += ["return {", '    "log_likelihood": float(honest(log_likelihood)),', *_indent(entries, 1), "}"]
        self.used |= em.used
        doc = '"""Expected sufficient statistics (additive over data) and the log-likelihood, at these parameters."""'
        return ["def e_step(params, data, prepared, rng=None):", *_indent([doc, *lines], 1)]

    def _log_likelihood(self, f: Function, inner: list[str]) -> list[str]:
        em = f.emitter
        outside = []
        for t in self.plan.elimination.free:
            before = len(em.lines)
            value = self.term_value(f, t, ())
            made = em.lines[before:]
            del em.lines[before:]
            if value.inner:
                inner += [*made, f"log_likelihood += {value.code}"]
            else:
                outside.append(f"log_likelihood += {value.code}")
        return outside

    def term_value(self, f: Function, t: Term, out: tuple[Ix, ...]) -> Array:
        """A term without latents, summed over all but `out`."""
        factors, _ = drop_presence(t.factors)
        carried = {i for e in factors for i in x.free(e)}
        sizes = [
            x.num(int(i.dim)) if i.dim.isdigit() else x.SizeN(i.dim) for i in t.ixs if i not in carried and i not in out
        ]
        return f.emitter.contract([x.Num(t.coef), *sizes, *factors], tuple(i for i in out if i in carried))

    def rows_function(self) -> list[str]:
        """Log-likelihood of each element of the outermost plate, where every term lies on it."""
        head = "def log_likelihood_rows(params, data, prepared):"
        doc = '"""Log-likelihood of each row of the outermost plate of the data."""'
        dim = self.plan.weighted
        bad = dim is None or any(not any(i.dim == dim for i in t.ixs) for t in self.plan.elimination.free)
        if bad or dim is None:
            why = "the log-likelihood is no sum over one plate: its elements are tied by what they share"
            return [head, *_indent([doc, f'raise ValueError("{why}")'], 1)]
        f = self.reader()
        em = f.emitter
        total = em.namer.fresh("total")
        body: list[str] = []
        for t in self.plan.elimination.free:
            row = next(i for i in t.ixs if i.dim == dim)
            bare = Term(t.coef, t.gates, tuple(e for e in t.factors if e != El(":weight", (row,))), t.ixs)
            value = self.term_value(f, bare, (row,))
            body += em.lines
            em.lines = []
            body.append(f"{total} = {total} + {value.code}")
        length = em.size(dim) if not self.chunk else em.namer.rows
        start = [f"{total} = np.zeros({length})"]
        if self.chunk:
            parts = em.namer.fresh("parts")
            looped = self.loop(f, [*start, *body, f"{parts}.append(honest({total}))"])
            lines = [*self.opening(f), f"{parts} = [np.zeros(0)]", *looped, f"return np.concatenate({parts})"]
        else:
            lines = [*self.opening(f), *start, *body, f"return honest({total})"]
        self.used |= em.used
        return [head, *_indent([doc, *lines], 1)]

    # ------------------------------------------------------------ M-step and priors

    def m_step(self) -> list[str]:
        f = self.function()
        em = f.emitter
        em.chunk = None
        params = [v for v in self.plan.joint.model.variables if v.kind == "param"]
        for v in params:
            em.leaf(v.name)
        for u in self.plan.updates:
            emit_update(f, u)
        returned = []
        for v in params:
            code = em.leaf(v.name).code
            shift = self.plan.shifts.get(v.name)
            if shift is not None:
                forget(f, [p.name for p in params])
                value = em.value(shift.value)
                code = f"{code} + {em.align(value, shift.axes)}"
            returned.append(f'"{v.name}": {code},')
        lines = ['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, "return {", *_indent(returned, 1), "}"]
        self.used |= em.used
        doc = '"""The parameters that maximise the expected log joint with these statistics. Raises Degenerate."""'
        return ['def m_step(statistics, params, prepared, policy="raise"):', *_indent([doc, *lines], 1)]

    def refine(self) -> list[str]:
        """Parameters that do not come apart from the data: numeric, with passes over the data."""
        updates = [u for u in self.plan.updates if isinstance(u.rule, Numeric) and u.rule.data]
        if not updates:
            return []
        f = self.reader()
        em = f.emitter
        em.chunk = None
        f.runtime = {k: type(v)(v.code, v.order, False, cut=True) for k, v in f.runtime.items()}
        (update,) = updates
        rule = update.rule
        assert isinstance(rule, Numeric)
        em.comment(f"{', '.join(update.params)}: {update.kind}. {update.reason}", inner=False)
        mixed = tuple(self._sized(mx.term) for mx in self.plan.expected.mixed)
        emit_numeric(f, update.params, (*rule.terms, *mixed))
        model = self.plan.joint.model
        returned = []
        for v in model.of_kind("param"):
            if v.name in update.params:
                code = em.leaf(v.name).code
                shift = self.plan.shifts.get(v.name)
                if shift is not None:
                    forget(f, [p.name for p in model.of_kind("param")])
                    code = f"{code} + {em.align(em.value(shift.value), shift.axes)}"
                returned.append(f'"{v.name}": {code},')
        needs = any(line.startswith(tuple(f"{c} = statistics" for c in f.unpacked)) for line in f.prologue())
        statistics = ["statistics = e_step(before, data, prepared)"] if needs else []
        names = ", ".join(self.results())
        if names:
            rows = f"slice(0, {em.size(self.chunk)})" if self.chunk else ""
            statistics.append(f"{names} = expectations(before, prepared)({rows})")
        lines = ['sizes = prepared["the sizes"]', *[p for p in f.prologue() if '= sizes["' in p], *statistics]
        lines += [p for p in f.prologue() if '= sizes["' not in p]
        lines += [*em.outer, "return {", "    **params,", *_indent(returned, 1), "}"]
        self.used |= em.used
        doc = (
            '"""Raises the expected log joint in what the data do not come apart from, posteriors held at `before`."""'
        )
        return ["def refine(before, params, data, prepared):", *_indent([doc, *lines], 1)]

    def _sized(self, t: Term) -> Term:
        carried = {i for e in t.factors for i in x.free(e)}
        sizes = tuple(x.SizeN(i.dim) for i in t.ixs if i not in carried)
        factors, _ = drop_presence((*t.factors, *sizes))
        return Term(t.coef, (), factors, t.ixs)

    def log_prior(self) -> list[str]:
        f = self.function()
        em = f.emitter
        em.chunk = None
        parts = [self.term_value(f, t, ()) for t in self.plan.elimination.prior]
        total = em.sum(parts).code if parts else "0.0"
        lines = (['sizes = prepared["the sizes"]', *f.prologue(), *em.outer, *em.lines] if parts else []) + [
            f"return float({total})"
        ]
        self.used |= em.used
        doc = '"""Log density of the priors and penalties at these parameters."""'
        return ["def log_prior(params, prepared):", *_indent([doc, *lines], 1)]

    # ------------------------------------------------------------ the whole

    def functions(self) -> list[list[str]]:
        made = [
            default_lines(self), reference_lines(self), *(s.function for s in self.stacks), prepare_lines(self), self.expectations(), self.e_step(),
            self.m_step(), self.refine(), self.log_prior(), posterior_lines(self), self.rows_function(), initial_lines(self),
        ]  # fmt: skip
        return [fn for fn in made if fn]


def _same_feature(
    factors: tuple[Expr, ...],
    axes: tuple[Ix, ...],
    row: Ix,
    rest: tuple[Expr, ...],
    own: tuple[Ix, ...],
    own_row: object,
) -> tuple[Ix, ...] | None:
    """The statistic's axes in the feature's order, where its data factors are the feature's."""
    from itertools import permutations

    if len(axes) != len(own) or len(factors) != len(rest) or not isinstance(own_row, Ix):
        return None
    for order in permutations(own):
        to = dict(zip(axes, order, strict=True)) | {row: own_row}
        if sorted(repr(x.substitute(e, to)) for e in factors) == sorted(map(repr, rest)):
            return tuple(order)
    return None


def _indent(lines: Sequence[str], depth: int) -> list[str]:
    return [("    " * depth + line) if line else line for line in lines]


def helper_source(used: set[str]) -> list[str]:
    """The helpers that are used, and what they use, as they stand in the tested files."""
    from emdsl.runtime import numerics, posteriors

    out: list[str] = []
    constants = {"LOWEST": "LOWEST = -1e200", "REACH": "REACH = 20.0  # how far one numeric M-step may go"}
    available = {
        n: o
        for mod in (numerics, posteriors)
        for n, o in vars(mod).items()
        if inspect.isfunction(o) or inspect.isclass(o)
    }
    wanted: dict[str, None] = {}

    def add(name: str) -> None:
        if name in wanted or name not in available:
            return
        text = inspect.getsource(available[name])
        for other in available:
            if other != name and _mentions(text, other):
                add(other)
        wanted[name] = None

    for name in sorted(used):
        add(name)
    texts = {n: inspect.getsource(available[n]).rstrip() for n in wanted}
    joined = "\n".join(texts.values())
    out += [v for k, v in constants.items() if _mentions(joined, k)]
    blocks = [*texts.values()]
    if _mentions(joined, "_COORDINATES"):
        blocks.append(
            inspect.getsource(numerics).split("_COORDINATES = ")[1].join(["_COORDINATES = ", ""]).split("\n\n\n")[0]
        )
    return out + ["\n\n".join(["", *(f"\n{b}" for b in blocks)])]


def _mentions(text: str, name: str) -> bool:
    import re

    return re.search(rf"\b{name}\b", text) is not None


def print_module(plan: Plan) -> str:
    """The module's text: its model, specification, functions, the helpers they use, and the estimator."""
    from emdsl.runtime.bundle import bundle

    printer = Printer(plan)
    functions = printer.functions()
    spec = spec_lines(plan)
    imports, runtime = bundle()
    wanted = {"import numpy as np", "from scipy import linalg, optimize, special", "import sys", *imports}
    model = plan.joint.model
    name = class_name(model.name, runtime)
    doc = ['"""' + f"{model.name}, fitted by EM. Generated by emdsl; runs on numpy and scipy alone.", ""]
    source = model.source.replace("\\", "\\\\").replace('"""', "'''")
    doc += ["The model:", "", *[f"    {line}".rstrip() for line in source.strip().splitlines()], '"""']
    tables = [f"{k} = np.array({_nested(v)})" for k, v in plan.joint.tables.items()]
    parts = [
        "\n".join(doc), "from __future__ import annotations", "\n".join(sorted(wanted)), "\n".join([*spec, *tables]),
        *("\n" + "\n".join(fn) for fn in functions),
        "\n# " + "-" * 20 + " numeric helpers", "\n".join(helper_source(printer.used)), "\n" + runtime,
        f"\nclass {name}(Estimator):\n    \"\"\"The estimator of this model.\"\"\"\n\n    _module = sys.modules[__name__]",
    ]  # fmt: skip
    return "\n\n".join(p.rstrip() for p in parts) + "\n"


def class_name(name: str, runtime: str) -> str:
    """The estimator's class is called as the model, unless that name already means something in the module."""
    import builtins
    import keyword
    import re

    from emdsl.generate.names import RESERVED, plain

    taken = set(re.findall(r"^(?:class|def) (\w+)|^(\w+)\b.* = ", runtime, re.MULTILINE))
    taken_names = {n for pair in taken for n in pair if n} | RESERVED | helper_names() | set(dir(builtins))
    found = plain(name)
    while found in taken_names or keyword.iskeyword(found) or keyword.issoftkeyword(found):
        found += "_"
    return found


def _nested(v: object) -> str:
    return "[" + ", ".join(map(_nested, v)) + "]" if isinstance(v, tuple) else repr(v)


_ = flat_axes, m
