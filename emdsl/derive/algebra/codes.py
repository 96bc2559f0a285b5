"""Every code of a model that is right but that the planner refuses, with what it means."""

from __future__ import annotations

CODES: dict[str, str] = {
    # densities
    "E101": "the support of a family depends on a parameter",
    "E102": "a function of a vector whose length is not known where it stands",
    "E103": "a family cut by its variable's domain, whose normaliser is not known",
    "E104": "a parameter that is discrete",
    "E105": "a parameter that decides where a latent is cut",
    "E106": "a log joint that has no value: the log or a root of a negative number",
    "E107": "a bound of a parameter that does not follow from givens",
    "E108": "more names than equations can be written for",
    "E109": "more cases of a density than equations can be written for",
    # posteriors
    "E110": "a posterior that is not tractable: latents tied to each other, or a term that is no statistic",
    "E111": "a posterior whose statistics are those of no known family",
    "E112": "a point mass on a latent, where nothing is exact",
    "E113": "a covariance without noise in some direction, where that direction is not known or a parameter acts in it",
    # what a later release brings
    "E120": "a method of inference that is not available yet",
    "E121": "a question to a model that is not answered yet",
}
