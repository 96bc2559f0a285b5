"""`infer` lines: whose names, which method, which options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from emdsl.errors import NOWHERE, Problem, Span, nearest
from emdsl.language import syntax as s
from emdsl.language.lexing import lex
from emdsl.language.model import Infer
from emdsl.language.parser import parse_line
from emdsl.language.scope import Scope, wrong

KERNELS = ("gibbs", "slice", "hmc", "metropolis")
# method -> option -> what it takes
METHODS: dict[str, dict[str, str]] = {
    "exact": {},
    "meanfield": {},
    "mcmc": {"kernel": "kernel", "sweeps": "count", "burn_in": "count", "chains": "count"},
    "saem": {"kernel": "kernel", "warm": "count", "sweeps": "count", "burn_in": "count", "chains": "count"},
    "quadrature": {"points": "count"},
}
POINTWISE = frozenset({"mcmc", "saem", "quadrature"})  # these evaluate the density pointwise
LARGEST = 10**7


def infer_lines(lines: list[s.InferLine], scope: Scope) -> list[Infer]:
    """The lines checked; problems go to the scope."""
    out: list[Infer] = []
    seen: set[str] = set()
    for line in lines:
        with scope.catching():
            _check_names(line, seen, scope)
            _check_method(line)
            options = tuple((o.name, o.value) for o in line.options)
            names = tuple(g.names for g in line.groups)
            out.append(Infer(names, tuple(g.grouped for g in line.groups), line.method, options, line.span))
    return out


def overridden(lines: list[Infer], infer: Mapping[str, str], scope: Scope) -> list[Infer]:
    """The lines with the methods of `infer` (`{"z": "mcmc(kernel = hmc)", "(a, b)": "meanfield"}`) in place of theirs.

    Neighbours of one method become one line, as if written so.
    """
    made: list[Infer] = []
    for key, method in infer.items():
        text = f"infer {key} by {method}"
        lexed = lex(text, "<infer>")
        found = parse_line(lexed.lines[0].tokens) if len(lexed.lines) == 1 and not lexed.problems else None
        if not isinstance(found, s.InferLine):
            reason = found.message if isinstance(found, Problem) else "not a name and a method"
            scope.problems.append(Problem("E064", f"infer: `{key}` by `{method}`: {reason}", NOWHERE))
            continue
        known = len(scope.problems)
        made += [replace(line, span=_declared(line, scope)) for line in infer_lines([found], scope)]
        scope.problems[known:] = [
            replace(p, span=NOWHERE, message=f"infer: {p.message}") for p in scope.problems[known:]
        ]
    names = {n for line in made for g in line.groups for n in g}
    kept = [_without(line, names) for line in lines]
    return _merged([line for line in kept if line.groups] + made)


def _declared(line: Infer, scope: Scope) -> Span:
    """Where the model declares what a line from elsewhere begins with."""
    item = scope.items.get(line.groups[0][0])
    return item.statement.span if item is not None and isinstance(item.statement, s.Declaration) else NOWHERE


def _without(line: Infer, names: set[str]) -> Infer:
    left = [(tuple(n for n in g if n not in names), b) for g, b in zip(line.groups, line.grouped, strict=True)]
    left = [(g, b) for g, b in left if g]
    return replace(line, groups=tuple(g for g, _ in left), grouped=tuple(b for _, b in left))


def _merged(lines: list[Infer]) -> list[Infer]:
    out: list[Infer] = []
    for line in lines:
        if out and (out[-1].method, out[-1].options) == (line.method, line.options):
            out[-1] = replace(out[-1], groups=out[-1].groups + line.groups, grouped=out[-1].grouped + line.grouped)
        else:
            out.append(line)
    return out


def _check_names(line: s.InferLine, seen: set[str], scope: Scope) -> None:
    for group in line.groups:
        for name, span in zip(group.names, group.spans, strict=True):
            if name in seen:
                raise wrong("E063", f"`{name}` is already in an `infer` line", span)
            seen.add(name)
            item = scope.items.get(name)
            if item is None and name in scope.unread:
                continue
            kind = item.statement.kind if item is not None and isinstance(item.statement, s.Declaration) else None
            if kind not in ("latent", "observed"):
                latents = [
                    n
                    for n, i in scope.items.items()
                    if isinstance(i.statement, s.Declaration) and i.statement.kind == "latent"
                ]
                near = nearest(name, latents)
                what = f"is a {kind or 'let'}, not a latent" if item is not None else "is no latent"
                hint = f"did you mean `{near}`?" if near else (f"latents: {', '.join(latents)}" if latents else None)
                raise wrong("E060", f"`{name}` {what}", span, hint)


def _check_method(line: s.InferLine) -> None:
    if line.method not in METHODS:
        near = nearest(line.method, list(METHODS))
        hint = f"did you mean `{near}`?" if near else f"methods: {', '.join(METHODS)}"
        raise wrong("E061", f"there is no method `{line.method}`", line.method_span, hint)
    options = METHODS[line.method]
    names = [o.name for o in line.options]
    for name, value, span in ((o.name, o.value, o.span) for o in line.options):
        if name not in options:
            near = nearest(name, list(options))
            known = f"options: {', '.join(options)}" if options else f"`{line.method}` takes no options"
            raise wrong(
                "E062", f"`{line.method}` has no option `{name}`", span, f"did you mean `{near}`?" if near else known
            )
        if names.count(name) > 1:
            raise wrong("E062", f"`{name}` is given twice", span)
        _check_option(name, value, options[name], span)


def _check_option(name: str, value: str | int | float, takes: str, span: Span) -> None:
    if takes == "kernel" and value not in KERNELS:
        near = nearest(str(value), KERNELS)
        raise wrong(
            "E062",
            f"there is no kernel `{value}`",
            span,
            f"did you mean `{near}`?" if near else f"kernels: {', '.join(KERNELS)}",
        )
    least = 0 if name in ("burn_in", "warm") else 1
    if takes == "count" and not (isinstance(value, int) and least <= value <= LARGEST):
        raise wrong("E062", f"`{name}` is a whole number from {least} to {LARGEST:,}, not {value}", span)
