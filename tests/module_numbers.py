"""Which lines of a module compute something, and whether they carry the number of an equation: off its syntax tree."""

from __future__ import annotations

import ast
import re

from emdsl.report.derivation import Derivation
from emdsl.report.page import Show, labels
from emdsl.report.places import END, places, told_lines, whole

# Functions that lay out data or find where to start: no equation of the derivation is computed in them.
LAYING_OUT = {
    "default_givens",
    "limits",
    "kept",
    "prepare",
    "initial",
    "initial_given",
    "first_draws",
    "start",
    "division",
    "regrouped",
    "settle",
    "finer",
    "indices_inside",
}
# What only makes room, looks something up, changes a layout, or calls another of the module's functions.
PLAIN = {
    "append", "np.array", "np.asarray", "np.concatenate", "np.zeros", "np.errstate", "plates_first", "row_count",
    "dict", "update", "float", "honest", "on", "expectations", "e_step", "settle", "settled", "slice", "DataError",
    "copy", "items", "get", "np.random.default_rng", "side_by_side", "one_by_one", "chunks",
    "np.unravel_index", "row_numbers", "at_its_limit",
}  # fmt: skip
LENGTH = re.compile(r" *\w+ = sizes\[")  # `Q_1 = sizes["Q"] + 1`


def silent_lines(source: str) -> list[str]:
    """Lines that compute and carry no number."""
    numbered = {n for found in places(source).values() for p in found for n in range(p.first, p.last + 1)}
    own, lines = dict(told_lines(source)), source.splitlines()
    functions = [f for f in ast.parse(source).body if isinstance(f, ast.FunctionDef) and f.lineno in own]
    out = []
    for f in functions:
        if f.name not in LAYING_OUT:
            known = PLAIN | {g.name for g in functions}
            bad = ({n.lineno for n in ast.walk(f) if _computes(n, known)} & own.keys()) - numbered
            bad = {n for n in bad if not LENGTH.match(lines[n - 1])}
            out += [f"{f.name} {n}: {lines[n - 1].strip()}" for n in sorted(bad)]
    return out


def _computes(node: ast.AST, known: set[str]) -> bool:
    if isinstance(node, ast.BinOp):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func.func if isinstance(node.func, ast.Call) else node.func)
    return name not in known and name.rpartition(".")[2] not in known


def faults(source: str, derivation: Derivation) -> list[str]:
    """Lines that compute and carry no number, numbers that no equation has, equations that no line computes."""
    source = source.partition(f"{END}\n")[0]
    found = [f"no number: {line}" for line in silent_lines(source)]
    known, named = set(), set(places(source))
    for k, step in enumerate(derivation.steps, 1):
        mine = {whole(n) for n in labels(k, step) if n}
        known |= {str(k), *mine}
        apart = step.facts["kind"] == "statistics" or len(step.parts) > 1
        if apart:
            found += [f"no line computes ({n})" for n in sorted(mine - named)]
            shown = {line.part or line.name for line in step.body if isinstance(line, Show)} - {""}
            found += [f"step {k} has no equation of {part}" for part in step.parts if part not in shown]
            found += [f"step {k} has no part {part}" for part in sorted(shown.difference(step.parts)) if step.parts]
        elif step.facts["kind"] in ("posterior", "update", "objective", "reference") and not named & {str(k), *mine}:
            found.append(f"no line computes step {k}, {step.title}")
    return found + [f"({n}) is no equation" for n in sorted(named - known)]


def targets(html: str) -> tuple[set[str], set[str]]:
    """(the places that links of a page point to, the anchors it has)."""
    return set(re.findall(r'href="#([^"]+)"', html)), set(re.findall(r' id="([^"]+)"', html))


ODD = {  # models of no gallery, whose posteriors are found in other ways
    "a ragged chain of vectors": """param A : real[2,2]
param Q : spd[2]
param C : real[D,2]
param r : positive
for s in S:
    for t in T[s]:
        latent h[s,t] ~ MvNormal([0,0], 1.0*eye(2)) if t == 0 else MvNormal(A @ h[s,t-1], Q)
        observed y[s,t] ~ MvNormal(C @ h[s,t], r*eye(D))
""",
    "a chain of order two": """size K = 2
param a : simplex[K]
param b[K] : simplex[K]
param c[K,K] : simplex[K]
param mu[K] : real
param s : positive
for t in T:
    latent z[t] ~ Categorical(a) if t == 0 else Categorical(b[z[t-1]]) if t == 1 else Categorical(c[z[t-2],z[t-1]])
    observed y[t] ~ Normal(mu[z[t]], s)
""",
    "mean-field of a mixture": """size K = 3
param s : positive
latent w ~ Dirichlet(ones(K))
for k in K:
    latent m[k] ~ Normal(0, 10)
    latent tau[k] ~ Gamma(2, 1)
for n in N:
    latent z[n] ~ Categorical(w)
    observed x[n] ~ Normal(m[z[n]], var = s/tau[z[n]])
infer w, m, tau, z by meanfield
""",
    "a gated field, element by element": """size K = 2
param p : simplex[K]
param q[K] : positive
param r : positive
for t in T:
    latent z[t] ~ Categorical(p)
    latent h[t] ~ Normal(0, 1) if t == 0 else Normal(h[t-1], q[z[t]])
    observed y[t] ~ Normal(h[t], r)
infer z, h by meanfield
""",
    "drawn beside what is exact": """size K = 2
param w : simplex[K]
param m[K] : real
param s : positive
for g in G:
    latent z[g] ~ Categorical(w)
    latent b[g] ~ Normal(m[z[g]], s)
    for n in N:
        observed y[g,n] ~ Poisson(exp(b[g]))
infer b by saem
""",
    "points": """param m : real
param s : positive
for g in G:
    latent b[g] ~ Normal(m, s)
    for n in N[g]:
        given x[g,n] : real
        observed y[g,n] ~ Bernoulli(logistic(b[g] + x[g,n]))
""",
    "censored": """param b : real[P]
param s : positive
for n in N:
    given x[n] : real[P]
    given lim[n] : real
    latent u[n] ~ Normal(x[n] @ b, s)
    observed y[n] ~ Delta(min(u[n], lim[n]))
""",
    "products of vectors": """param su : positive
param sv : positive
param s : positive
for i in I:
    latent u[i] ~ MvNormal(zeros(R), su*eye(R))
for j in J:
    latent v[j] ~ MvNormal(zeros(R), sv*eye(R))
for n in N:
    given a[n] : index[I]
    given b[n] : index[J]
    observed y[n] ~ Normal(u[a[n]] @ v[b[n]], s)
infer u, v by meanfield
""",
}
