"""Every code of a problem in a model's text, with what it means."""

from __future__ import annotations

CODES: dict[str, str] = {
    # characters and lines
    "E001": "the file is not UTF-8",
    "E002": "a character that no text holds",
    "E003": "an invisible character",
    "E004": "a character that stands for another (NFKC)",
    "E005": "a symbol that the language does not have",
    "E006": "a malformed number",
    "E007": "a number that is too large or too small to hold",
    "E008": "the model is too large",
    "E009": "brackets do not match",
    "E010": "nested too deeply, or too long a chain of operators",
    "E011": "inconsistent or unexpected indents",
    "E012": "tabs and spaces in one file's indents",
    "E013": "not a name",
    # statements
    "E014": "a line that does not parse",
    "E015": "a line that does not parse, in a way that is known from elsewhere",
    "E016": "a form that the language does not have",
    "E017": "the `model` line is missing, late or there twice",
    "E018": "a statement where it cannot stand, or a block without statements",
    # names and sizes
    "E019": "two names that look the same",
    "E020": "a name declared twice",
    "E021": "a name that is not declared",
    "E022": "a loop name that is taken",
    "E023": "brackets of a declaration that do not fit its plates",
    "E024": "a function or family that does not exist",
    "E025": "not a size",
    "E026": "a ragged length where it cannot stand",
    "E027": "a domain that does not exist, or takes other brackets or bounds",
    # shapes
    "E030": "shapes or lengths that do not fit",
    "E031": "too many indices",
    "E032": "a vector or matrix where a number is needed, or the reverse",
    "E033": "an index that is not a bounded integer",
    "E034": "an index out of range",
    "E035": "wrong arguments of a function",
    "E036": "a length that nothing determines",
    # distributions
    "E040": "arguments that no parameterisation of the family has",
    "E041": "an argument outside its domain",
    "E042": "a distribution is missing",
    "E043": "a distribution where a value is needed",
    "E044": "a family that is about other values than the variable's",
    "E045": "a wrong declaration of a family",
    # dependence
    "E050": "something depends on itself",
    "E051": "a latent is looked up ahead",
    "E052": "a lag without a start",
    "E053": "a condition on a parameter or a continuous latent, an index by a parameter",
    "E054": "a prior that holds data or a latent",
    "E055": "a given's default that is not known",
    "E056": "a factor that needs a normaliser",
    # inference
    "E060": "an `infer` line for what is no latent",
    "E061": "an unknown inference method",
    "E062": "an unknown or wrong option of a method",
    "E063": "a name in two `infer` lines",
    "E064": "an `infer` argument that is no name and method",
    # warnings
    "W001": "a size used once only",
    "W002": "a param that nothing uses",
    "W003": "a latent that nothing uses",
    "W004": "a given that nothing uses",
    "W005": "a `let` that nothing uses",
}
