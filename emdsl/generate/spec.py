"""Printing SPEC: what the module tells its estimator about the model, as literals."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pprint import pformat
from typing import Any

from emdsl.derive.algebra import expr as x
from emdsl.derive.algebra.expr import El
from emdsl.derive.algebra.made import PRESENT, is_made
from emdsl.derive.joint.centre import raw
from emdsl.derive.joint.elements import has_elements
from emdsl.derive.joint.plates import home_of
from emdsl.derive.joint.ranges import narrowed
from emdsl.derive.joint.units import units
from emdsl.derive.plan import Plan
from emdsl.derive.posteriors.chains import distance
from emdsl.derive.posteriors.held import may_be_held
from emdsl.derive.posteriors.quadrature import finest
from emdsl.derive.posteriors.told import told_tails
from emdsl.derive.weighted import chained_plates
from emdsl.language import model as m
from emdsl.language.left_out import deciding, read_elsewhere
from emdsl.language.transform import names_in

CHECKED = frozenset({"positive", "unit", "simplex", "spd", "count"})  # domains of arguments that data are held against


def spec(plan: Plan) -> dict[str, Any]:
    """The module's SPEC as a dictionary of plain values."""
    model = plan.joint.model
    sizes = {s.name: s.default.constant if s.default is not None else None for s in model.sizes}
    defaults = [[s.name, str(s.default)] for s in model.sizes if s.default is not None and s.default.constant is None]
    ordered = tied_plates(plan)
    named = {v.name: v for v in model.by_name}
    serves, elsewhere = arguments_by_givens(model), read_elsewhere(model)
    unweighted = {p.removesuffix("[]"): why for p, why in plan.unweighted.items() if p not in ordered}
    told = told_tails(plan.joint, plan.elimination)
    return {
        "model": model.name,
        "sizes": sizes,
        "equal": [[str(a), str(b)] for a, b, _ in model.equal_sizes] + defaults,
        "variables": [
            variable(named.get(v.name, v), plan, serves, elsewhere)
            for v in model.variables
            if v.name not in plan.joint.unnamed | model.of_vectors
        ],
        "plan": {
            n: [c.method, c.reason] for n, c in plan.choices.items() if n not in plan.joint.unnamed | model.of_vectors
        },
        "updates": {n: [u.kind, "", u.reason] for u in plan.updates for n in u.params},
        "ordered": ordered,
        **({"written_out": dict(model.written_out)} if model.written_out else {}),
        **({"steps": steps} if (steps := stepped_plates(plan)) else {}),
        **({"unweighted": unweighted} if unweighted else {}),
        **({"tails": sorted(plan.joint.tails)} if plan.joint.tails else {}),
        **({"configurations": list(found.latents)} if (found := plan.joint.configurations) else {}),
        **({"untold": left} if (left := sorted(plan.joint.tails - {*told})) else {}),
        **({"finest": times} if (times := finest(plan.joint)) > 1 and not plan.elimination.parts else {}),
        **({"designs": [d.data for d in plan.designs]} if plan.designs else {}),
        **({"predictors": [asdict(p) for p in plan.predictors]} if plan.predictors else {}),
        **({"units": lies} if (lies := _nested_units(plan)) else {}),
    }


def _nested_units(plan: Plan) -> dict[str, list[str]]:
    """Groups of groups that rows reach through given indices: plate -> the plate that its elements lie in, by which.

    Nothing where the log-likelihood is no sum over them, or where one level alone is, which is added up by itself.
    """
    found = units(plan.joint)
    if found is None or len(found.up) < 2:
        return {}
    tree = {found.dim, *found.up}
    heads = {f.plates[0].dim for f in plan.joint.factors if f.plates and f.role != "param"}
    plain = all(isinstance(at, El) and at.idx == (own,) for _, own, at in found.up.values())
    sizes = {str(p.size) for v in plan.joint.model.variables for p in v.plates if p.condition is None}
    if not plain or not heads <= tree or not tree <= sizes:
        return {}
    return {dim: [above, at.var] for dim, (above, _, at) in found.up.items() if isinstance(at, El)}


def tied_plates(plan: Plan) -> list[str]:
    """Plates whose elements one density reads several of (a lag, an edge): weights on them mean nothing."""
    out: dict[str, None] = {}
    rows = {v.name for v in plan.joint.model.variables if _data_plates(plan) & {str(p.size) for p in v.plates}}
    for f in plan.joint.factors:
        dims = [i.dim for i in f.plates]
        out.update(dict.fromkeys(d for d in dims if dims.count(d) > 1 and d in _data_plates(plan)))
        for e in (f.body, *f.masks, *f.gates):
            for node in x.walk(e):
                if not (isinstance(node, El) and PRESENT.named(node.var) in rows):
                    continue  # `rate[y[n] - 1]` reads a parameter elsewhere, not another row
                for i in node.idx:
                    if isinstance(i, x.DataIx) and isinstance(i.value, x.Add):
                        out.update(dict.fromkeys(k.dim for k in x.free(i.value) if k.dim in _data_plates(plan)))
    out.update(dict.fromkeys(chained_plates(plan.joint)))
    return sorted(out)


def stepped_plates(plan: Plan) -> dict[str, list[str]]:
    """Ordered plates, along which a density reads what came before, and the variables that it reads there."""
    out: dict[str, set[str]] = {}
    joint = plan.joint
    while joint.configurations is not None:
        joint = joint.configurations.written  # where latents stand by themselves, and not as data of a configuration
    for f in joint.factors:
        for node in (n for e in (f.body, *f.masks, *f.gates) for n in x.walk(e) if isinstance(n, El)):
            if is_made(node.var):
                continue
            for i in node.idx:
                if (found := distance(i)) is not None and found[1] > 0:
                    out.setdefault(found[0].dim.removesuffix("[]"), set()).add(node.var)
    return {plate: sorted(names) for plate, names in sorted(out.items())}


def _data_plates(plan: Plan) -> set[str]:
    return {str(p.size) for v in plan.joint.model.of_kind("observed") for p in v.plates}


def arguments_by_givens(model: m.ModelText) -> dict[str, list[str]]:
    """What givens must be beyond their own domains, where a family takes them as they stand: `Categorical(p[n])`.

    Not where a condition chooses the family, nor where a place is fixed (`h[1]`): other entries may be anything.
    """
    out: dict[str, set[str]] = {}
    kinds = {v.name: v.domain.kind for v in model.variables if v.kind == "given"}
    for call in (v.distribution for v in model.variables if isinstance(v.distribution, m.FamilyCall)):
        wanted = {a.name: a.domain.kind for a in call.family.signatures[call.signature].arguments}
        for name, value in call.args:
            match value:
                case m.Var(given) | m.Index(base=m.Var(given), args=_) if given in kinds:
                    at = value.args if isinstance(value, m.Index) else ()
                    other = kinds[given] != wanted[name] and wanted[name] in CHECKED
                    if other and all(isinstance(i, m.Loop | m.Var | m.Index) for i in at):
                        out.setdefault(given, set()).add(wanted[name])
    return {n: sorted(kinds) for n, kinds in out.items()}


def variable(v: m.Variable, plan: Plan, serves: Mapping[str, list[str]], elsewhere: Collection[str]) -> dict[str, Any]:
    """One entry of `SPEC["variables"]`."""
    bounded = any(b is not None and literal(b) is None for b in (v.domain.lower, v.domain.upper))
    hidden = v.name in plan.drawn or v.kind == "latent"
    low, high = narrowed(v) if hidden else (None, None)
    return {
        "name": v.name,
        "kind": "latent" if v.name in plan.drawn else v.kind,
        "plates": [[p.index, str(p.size), None if p.condition is None else "filtered"] for p in v.plates],
        "array": [str(d) for d in v.array],
        "event": [str(d) for d in v.domain.dims],
        "domain": v.domain.kind,
        "levels": None if v.domain.levels is None else str(v.domain.levels),
        "lower": literal(v.domain.lower) if low is None else low,
        "upper": literal(v.domain.upper) if high is None else high,
        "default": v.default is not None,
        "missing": missing_policy(v, plan),
        "support": None,
        **({"closed": sorted(closed)} if (closed := plan.joint.closed.get(v.name)) else {}),  # ends that data may reach
        **({"data_of": v.data_of} if v.data_of else {}),
        **({"serves": serves[v.name]} if v.name in serves else {}),
        **({"bounded": True} if bounded and v.kind == "param" else {}),  # by givens
        **({"elsewhere": True} if v.name in elsewhere else {}),  # entries that its plates leave out are read
    }


def missing_policy(v: m.Variable, plan: Plan) -> str:
    """What a missing entry gets: its factor is left out ("drop"); it is a latent of its row ("complete"), or is one
    where others of its element were seen ("cells"); an error ("refuse").
    """
    if v.kind != "observed" or v.name in plan.drawn or v.name in deciding(plan.joint.model):
        return "refuse"
    gaussian = v.domain.unbounded
    if v.name in plan.joint.incomplete:
        return "drop"
    if not _needed_by_others(v, plan):
        own = len(v.array) + len(v.domain.dims)
        return "cells" if (gaussian or may_be_held(v)) and plan.presence_axes(v) < own else "drop"
    single = not v.domain.dims and v.domain.kind in ("bool", "category", "index", "count", "real", "positive", "unit")
    return "complete" if single or gaussian or has_elements(v) else "refuse"


def _needed_by_others(v: m.Variable, plan: Plan) -> bool:
    """Whether the density of another element reads an observed one: a missing entry cannot simply be left out."""
    if any(v.name in names_in(p.expression) for p in plan.joint.model.potentials):
        return True
    plates = len(home_of(v))
    names = (v.name, raw(v.name))
    for f in (f for n in names for f in plan.joint.holding.get(n, ())):
        nodes = [e for whole in (f.body, *f.masks, *f.gates) for e in x.walk(whole)]
        places = {e.idx[:plates] for e in nodes if isinstance(e, x.El) and e.var in names}
        there = {e.idx[:plates] for e in f.masks if isinstance(e, x.El) and e.var == PRESENT.of(v.name)}
        if len(places) > 1 or not (f.about == v.name or places <= there):
            return True
    return False


def literal(e: m.Expr | None) -> float | None:
    """The number of a literal bound; None where it is an expression of givens."""
    match e:
        case m.Num(value=v):
            return float(v)
        case m.Call(fn="neg", args=(m.Num(value=v),)):
            return -float(v)
        case m.Pi():
            return 3.141592653589793
        case m.Call(fn="neg", args=(m.Pi(),)):
            return -3.141592653589793
    return None


def spec_lines(plan: Plan) -> list[str]:
    """The line of `SPEC`."""
    return [f"SPEC = {pformat(spec(plan), width=118, sort_dicts=False, compact=True)}"]


def nested(table: object) -> str:
    """A table of numbers as the literal of nested lists."""
    return "[" + ", ".join(map(nested, table)) + "]" if isinstance(table, tuple) else repr(table)
