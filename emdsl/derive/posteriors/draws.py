"""Latents that are drawn: given a draw a latent is data, and all that follows is the exact derivation of the rest.

    E[ T(b, h) | y ]  ~  mean over draws b_s of E[ T(b_s, h) | y, b_s ],        h summed out exactly given b_s

(Wei and Tanner 1990; the inner expectation is Rao and Blackwell's.) So the plan is that of the model in which drawn
latents are observed: statistics, closed forms and passes over the data are the same. What is added is how each group
is drawn given all else: by elimination, where its conditional closes (Gibbs), or by a kernel on its log conditional.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El, Idx, Ix
from emdsl.derive.algebra.made import PRESENT
from emdsl.derive.joint.centre import Shift, in_coordinates
from emdsl.derive.joint.element import Tensors
from emdsl.derive.joint.factors import LogJoint
from emdsl.derive.joint.joint import expand
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.ranges import range_of
from emdsl.derive.joint.sides import LATENT, PARAMETER
from emdsl.derive.joint.spikes import LEFT_OUT, refuse_switches
from emdsl.derive.joint.terms import Term, terms
from emdsl.derive.posteriors.block import MOST_TOGETHER, Block, place, touches, tries
from emdsl.derive.posteriors.blocks import Elimination, eliminate
from emdsl.derive.posteriors.discrete import groups
from emdsl.derive.posteriors.intervals import Interval, interval_of, jumps
from emdsl.derive.posteriors.tails import closed
from emdsl.errors import ModelError, Problem
from emdsl.language import model as m

METHODS = ("mcmc", "saem")


@dataclass(frozen=True)
class Kernel:
    """How a group is moved: the function of `emdsl.runtime.montecarlo.kernels`, and what a derivation says of it."""

    function: str
    said: str
    several: str = ""  # the function where the density may have several modes, as sums over classes and waves have
    whole: str = ""  # the function that moves whole numbers
    sloped: bool = False  # whether it follows the gradient: by differences where something is summed out


KERNELS = {  # by the word of the language, `emdsl.language.inference.KERNELS`
    "gibbs": Kernel("", "from their conditional itself (Gibbs)"),
    "slice": Kernel(
        "slice_kernel",
        "by univariate slice sampling, stepped out and shrunk (Neal 2003)",
        several="modes_kernel",
        whole="counts_kernel",
    ),
    "hmc": Kernel(
        "hmc_kernel",
        "by Hamiltonian Monte Carlo on the log conditional and its gradient, step sizes by dual averaging",
        several="roaming_hmc_kernel",
        sloped=True,
    ),
    "metropolis": Kernel("metropolis_kernel", "by random-walk Metropolis", several="roaming_metropolis_kernel"),
}
DOMAINS = (
    "real",
    "positive",
    "unit",
    "simplex",
    "ordered",
    "spd",
    "count",
)  # of what a kernel moves: those with free coordinates, and whole numbers
TURNING = ("cos", "sin", "abs")
DEFAULTS = {  # by method: sweeps, burn-in, chains, warm-up
    "mcmc": {"sweeps": 50, "burn_in": 10, "chains": 1, "warm": 100},
    "saem": {"sweeps": 1, "burn_in": 0, "chains": 1, "warm": 100},
}


@dataclass(frozen=True)
class Drawn:
    """A group of latents that are drawn together given all else: by `blocks`, or by a kernel on `terms`.

    Elements on the plates `batch` are independent of one another given the rest: a chain each, side by side. Of
    `terms` each lies on these plates; `whole` are the same where they stand in the joint, for the gradient.
    """

    latents: tuple[str, ...]
    kernel: str
    reason: str
    joint: LogJoint
    elimination: Elimination | None = None
    batch: tuple[Ix, ...] = ()
    terms: tuple[Term, ...] = ()
    whole: tuple[Term, ...] = ()
    asked: bool = False  # whether the kernel was named
    waves: bool = False  # whether the density may have several modes: it turns around, or has powers above squares
    collapsed: bool = False  # whether it moves on the density in which what is exact is summed out
    ends: tuple[tuple[str, Interval], ...] = ()  # of latents that data cut: the interval in which each number starts


@dataclass(frozen=True)
class Sampling:
    """Which latents are drawn, in the order of a sweep, and what is exact given them (`rest`, drawn to move others)."""

    method: str
    groups: tuple[Drawn, ...]
    rest: tuple[str, ...]
    sweeps: int
    burn_in: int
    chains: int
    warm: int
    units: tuple[Ix, ...] = ()  # the plate whose elements are independent of one another given parameters and data
    apart: tuple[Term, ...] = ()  # what holds latents, each term on this plate

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Those by which groups are drawn."""
        return tuple(b for g in self.groups if g.elimination is not None for b in g.elimination.blocks)

    @property
    def levels(self) -> dict[str, str]:
        """The dimension of each discrete latent that is drawn by elimination."""
        return {n: g.joint.levels[n] for g in self.groups for n in g.latents if n in g.joint.levels}

    @property
    def moved(self) -> tuple[str, ...]:
        """What is exact and drawn all the same, for groups that move given it."""
        return self.rest if any(not g.collapsed for g in self.groups) else ()

    @property
    def latents(self) -> tuple[str, ...]:
        return tuple(n for g in self.groups for n in g.latents)


def own_parameters(joint: LogJoint, drawn: frozenset[str]) -> list[m.Variable]:
    """Parameters that stand in densities of drawn latents alone."""
    held = [(f.about in drawn, e) for f in joint.factors for e in (f.body, *f.masks, *f.gates)]
    params = joint.model.of_kind("param")
    return [v for v in params if {mine for mine, e in held if v.name in x.variables(e)} == {True}]


def drawn_names(model: m.ModelText) -> tuple[str, ...]:
    """The latents that `infer` lines give to a Monte Carlo method."""
    return tuple(n for line in _lines(model) for g in line.groups for n in g)


def _lines(model: m.ModelText) -> list[m.Infer]:
    """The `infer` lines by a Monte Carlo method, without data: of these what is missing is latent, where drawn."""
    seen, found = {v.name for v in model.of_kind("observed")}, []
    for line in model.infer:
        groups = [(tuple(n for n in g if n not in seen), b) for g, b in zip(line.groups, line.grouped, strict=True)]
        groups = [(g, b) for g, b in groups if g]
        if line.method in METHODS and groups:
            found.append(replace(line, groups=tuple(g for g, _ in groups), grouped=tuple(b for _, b in groups)))
    return found


def last_rung(model: m.ModelText, incomplete: tuple[str, ...]) -> Iterator[m.ModelText]:
    """The model with more latents drawn, as few as may do: one that no line names, then all of these.

    One alone is left out where too many others would still meet to be enumerated.

    None where lines ask for other methods, or cells are missing.
    """
    lines = [line for line in model.infer if line.method in METHODS]
    named = {n for line in model.infer for g in line.groups for n in g}
    free = [v.name for v in model.of_kind("latent") if v.name not in named]
    if incomplete or len(lines) < len(model.infer) or not free:
        return
    base = lines[0] if lines else m.Infer((), (), "saem", ())
    options = tuple(o for o in base.options if o[0] != "kernel")
    for some in [*([n] for n in _freeing(model, free)[: tries(len(free))]), *([free] if len(free) > 1 else [])]:
        span = model.variable(some[0]).span
        line = m.Infer(tuple((n,) for n in some), (False,) * len(some), base.method, options, span)
        yield replace(model, infer=(*model.infer, line))


def _freeing(model: m.ModelText, free: Sequence[str]) -> list[str]:
    """Of these latents those that may leave a tractable posterior of the others when they are known."""
    joint = expanded(model, drawn_names(model))
    everything = [(t, f) for f in joint.factors for t in terms(f, lambda n: "")]

    def most(known: str) -> int:
        left = [
            (replace(t, gates=tuple(g for g in t.gates if known not in x.variables(g.of))), f) for t, f in everything
        ]
        return max((len([n for n in g if n != known]) for g in groups(joint, left).values()), default=0)

    few = len(free) <= MOST_TOGETHER or most("") <= MOST_TOGETHER
    return list(free) if few else [n for n in free if most(n) <= MOST_TOGETHER]


def known(model: m.ModelText, names: Sequence[str]) -> m.ModelText:
    """The model in which these latents are data, without the `infer` lines about them."""
    variables = tuple(replace(v, kind="observed") if v.name in names else v for v in model.variables)
    lines = tuple(
        line for line in model.infer
        if line.method not in METHODS and not {n for g in line.groups for n in g} <= set(names)
    )  # fmt: skip
    return replace(model, variables=variables, infer=lines)


def expanded(model: m.ModelText, names: Sequence[str]) -> LogJoint:
    """The log joint in which these latents are data of which nothing is missing."""
    joint = expand(known(model, names), names)
    marks = {PRESENT.of(n) for n in names}
    factors = tuple(
        replace(f, masks=tuple(c for c in f.masks if not (isinstance(c, El) and c.var in marks)),
                role="latent" if f.about in names else f.role)
        for f in joint.factors
    )  # fmt: skip
    found = replace(joint, factors=factors)
    return closed(found, drawn_names(model))


def joint_of(
    model: m.ModelText, names: Sequence[str], shifts: Mapping[str, Shift], centred: tuple[str, ...]
) -> LogJoint:
    """`expanded`, in the coordinates of the plan."""
    return in_coordinates(expanded(model, names), shifts, centred, model)


def sampling(
    model: m.ModelText, shifts: Mapping[str, Shift], centred: tuple[str, ...],
    deterministic: frozenset[str], above: str = "",
) -> Sampling | None:  # fmt: skip
    """How each group is drawn; None where no `infer` line asks for draws. Raises `ModelError` where one cannot be."""
    lines = _lines(model)
    if not lines:
        return None
    options = _options(model, lines)
    every = tuple(v.name for v in model.of_kind("latent") if v.name not in deterministic)
    spikes = Tensors(model).spikes
    groups = []
    for line in lines:
        if pointed := sorted({n for group in line.groups for n in group} & spikes):
            text = f"{pointed[0]} is a point in some branches and has a density in others: no kernel moves between them"
            raise ModelError([Problem("E120", text, line.span, LEFT_OUT)], model.source)
        refuse_switches(model, spikes, {n for group in line.groups for n in group}, line.span)
        for group, grouped in zip(line.groups, line.grouped, strict=True):
            for latents in (group,) if grouped else tuple((n,) for n in group):
                groups.append(_group(model, latents, every, line, shifts, centred))
    if above:
        groups = [replace(g, reason=f"{g.reason}; not exact: {above}") for g in groups]
    drawn = {n for g in groups for n in g.latents}
    rest = tuple(n for n in every if n not in drawn)
    units, apart, _ = ((), (), ()) if rest else _conditional(joint_of(model, every, shifts, centred), every, 1)
    return Sampling(lines[0].method, tuple(groups), rest, **options, units=units, apart=apart if units else ())


def _options(model: m.ModelText, lines: Sequence[m.Infer]) -> dict[str, int]:
    """The counts that hold for the whole fit. Raises `ModelError` where lines disagree."""
    method = lines[0].method
    problems = []
    found: dict[str, int] = {}
    for line in lines:
        if line.method != method:
            text = f"latents by {method} and by {line.method} in one model: statistics are averaged in one way"
            problems.append(Problem("E120", text, line.span, f"write by {method} for all"))
        for name, value in line.options:
            if name != "kernel" and found.setdefault(name, int(value)) != int(value):
                text = f"two numbers of {name} in one model: all latents are drawn in the same sweeps"
                problems.append(Problem("E120", text, line.span))
    others = [line for line in model.infer if line.method not in (*METHODS, "exact")]
    for line in others:
        text = f"{line.method} beside {method} does not follow yet: what is not drawn is exact given the draws"
        names = ", ".join(n for g in line.groups for n in g)
        problems.append(Problem("E120", text, line.span, f"leave out the line of {names}, or write by {method}"))
    if problems:
        raise ModelError(problems, model.source)
    return {name: found.get(name, default) for name, default in DEFAULTS[method].items()}


def _group(
    model: m.ModelText, latents: tuple[str, ...], every: Sequence[str], line: m.Infer,
    shifts: Mapping[str, Shift], centred: tuple[str, ...],
) -> Drawn:  # fmt: skip
    """One group by the kernel asked for; else by Gibbs where its conditional closes, else slice or HMC."""
    variables = [model.variable(n) for n in latents]
    wanted, refused = dict(line.options).get("kernel"), None
    if wanted in (None, "gibbs"):
        others = [n for n in every if n not in latents]
        joint = joint_of(model, others, shifts, centred)
        try:
            found = drawable(eliminate(joint, None), model)
            names = ", ".join(dict.fromkeys(b.record.name for b in found.blocks if b.record is not None))
            closes = f"its conditional given all else closes{f' ({names})' if names else ''}"
            return Drawn(latents, "gibbs", closes, joint, found)
        except ModelError as refusal:
            if wanted == "gibbs":
                raise
            refused = refusal.problems[0].message
    counts = [v.name for v in variables if v.domain.kind == "count"]
    if counts and (wanted not in (None, "gibbs", "slice") or len(latents) > 1):
        text = f"{counts[0]} is whole: slices alone move it, by itself"
        hint = f"infer {counts[0]} by {line.method}(kernel = slice)"
        raise ModelError([Problem("E120", text, line.span, hint)], model.source)
    for v in variables:
        if v.domain.kind not in DOMAINS:
            text = f"{v.name} ({v.domain.kind}) moves by no kernel but gibbs"
            text += f", which cannot draw it: {refused}" if refused else ""
            hint = f"write by {line.method}, which takes gibbs"
            if refused and len(latents) > 1:
                hint = f"without the parentheses each of {', '.join(latents)} is drawn given the others"
            elif refused:
                hint = f"leave {v.name} out of the line: it is then exact, or the plan says why it cannot be"
            raise ModelError([Problem("E120", text, line.span, hint)], model.source)
        if v.domain.kind == "count" and v.domain.lower is None:
            continue  # beyond its ends there is no mass: its density says where
        if isinstance(ends := range_of(v), str):
            hint = f"write {v.name} as a function of a latent between two numbers: a + (b - a) * u, u ~ Uniform(0, 1)"
            raise ModelError([Problem("E120", f"no kernel moves {v.name}: {ends}", v.span, hint)], model.source)
    joint = joint_of(model, every, shifts, centred)
    batch, placed, whole = _conditional(joint, latents)
    single = all(not v.domain.dims and not v.array and len(home_of(v)) == len(batch) for v in variables)
    cut = any(jumps(f, n) for f in joint.factors for n in latents)  # a density that jumps has no slope to follow
    kernel = str(wanted or ("slice" if cut or counts or (single and len(latents) == 1) else "hmc"))
    told = {n: interval_of(joint, n, {n: LATENT.of(n)}) for n in latents if cut}
    between = tuple((n, i) for n, i in told.items() if i is not None)
    why = f"its conditional given all else is no known family ({refused})" if refused else "as asked for"
    return Drawn(latents, kernel, why, joint, None, batch, placed, whole, asked=wanted is not None,
                 waves=any(_turns(t, set(latents)) for t in whole), ends=between)  # fmt: skip


def _turns(t: Term, latents: set[str]) -> bool:
    """Whether a term may go up and down more than once: by functions that do, or by powers above squares."""
    inside = [e for f in t.factors for e in x.walk(f) if isinstance(e, x.Fn) and e.name in TURNING]
    return any(x.variables(e) & latents for e in inside) or sum(_degree(f, latents) for f in t.factors) > 2


def _degree(e: x.Expr, latents: set[str]) -> int:
    """Of an expression as a polynomial in the latents; any other function of them counts as one of degree 1."""
    match e:
        case x.Mul():
            return sum(_degree(f, latents) for f in e.factors)
        case x.Add():
            return max(_degree(a, latents) for a in e.terms)
        case x.Pow(base, x.Num(value)) if value == int(value) > 0:
            return int(value) * _degree(base, latents)
    return int(bool(x.variables(e) & latents))


def drawable(found: Elimination, model: m.ModelText) -> Elimination:
    """The same blocks, of which each can be drawn from. Raises `ModelError` where one cannot yet."""
    for b in found.blocks:
        why = ""
        if b.field is not None and b.gates:
            why = f"{b.name} is tied along a plate in ways that depend on discrete latents"
        elif b.gaussian is not None and (b.by_pattern or b.gaussian.seen):
            why = f"{', '.join(b.latents)} are Gaussian with missing cells"
        if why:
            span = model.variable(b.latents[0]).span
            raise ModelError([Problem("E120", f"no draws from this conditional yet: {why}", span)], model.source)
    return found


def _conditional(
    joint: LogJoint, latents: Sequence[str], most: int = 99
) -> tuple[tuple[Ix, ...], tuple[Term, ...], tuple[Term, ...]]:
    """The plates on which a group's elements are independent given the rest; its terms there, and as they are."""
    parameters = {v.name for v in joint.model.of_kind("param")}
    everything = [t for f in joint.factors for t in terms(f, lambda n: PARAMETER if n in parameters else "")]
    mine = tuple(_without_constants(t, latents) for t in everything if touches(t, latents))
    homes = [home_of(joint.model.variable(n)) for n in latents]
    shared = 0
    while shared < most and all(len(h) > shared for h in homes) and len({h[shared].dim for h in homes}) == 1:
        shared += 1
    for count in range(shared, -1, -1):
        batch = tuple(Ix(i.name, i.dim) for i in homes[0][:count])
        placed = [_placed(t, latents, batch) for t in mine]
        if all(p is not None for p in placed):
            return batch, tuple(p for p in placed if p is not None), mine
    raise AssertionError


def _without_constants(t: Term, latents: Sequence[str]) -> Term:
    """The term without addends that lack the latents, where the rest of it lacks them too."""
    held = [n for n, f in enumerate(t.factors) if x.variables(f) & set(latents)]
    whole = t.factors[held[0]]
    if len(held) != 1 or not isinstance(whole, x.Add):
        return t
    kept = x.add(*(a for a in whole.terms if x.variables(a) & set(latents)))
    return replace(t, factors=(*t.factors[: held[0]], kept, *t.factors[held[0] + 1 :]))


def _placed(t: Term, latents: Sequence[str], batch: tuple[Ix, ...]) -> Term | None:
    """The term on the batch's plates; None where it holds two elements of these, or all under a sum of its own."""
    if not batch:
        return t
    refs: set[tuple[Idx, ...]] = {
        e.idx[: len(batch)] for f in t.factors for e in x.walk(f) if isinstance(e, El) and e.var in latents
    }
    if len(refs) != 1 or not set(x.free(El("", next(iter(refs))))) <= set(t.ixs):
        return None
    found = place(t, tuple(latents), batch, (), {})
    return None if isinstance(found, str) else found
