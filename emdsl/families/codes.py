"""The codes of problems that evaluating and drawing bring up, with what each means."""

from __future__ import annotations

CODES: dict[str, str] = {
    "E090": "a family whose density does not integrate to 1",
    "E091": "a model or family that cannot be drawn from",
    "D050": "an index out of range, found when it is reached",
    "D051": "a parameter or given that drawing needs, or a domain that draws miss",
    "D052": "a size that nothing determines, or an axis that disagrees",
    "D053": "data that make elements depend on themselves",
    "D054": "a marginal or a truncated density that is not known",
    "D055": "an argument of a draw outside its domain, or a draw that is not finite",
}
