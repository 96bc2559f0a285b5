"""What a family's record holds beside its declaration: forms and kernels.

Knowledge is in these tables, control is elsewhere: nothing in emdsl asks for a family by name.
Everywhere below, arrays broadcast over leading (batch) axes; the last axes are the family's own:
none for a scalar family, (D,) for a vector, (D, D) for a matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Form:
    """One parameterisation: its arguments, and the canonical arguments made of them.

    `log_density`, where given, takes these arguments as they stand and is used instead of the
    canonical one, because going through the canonical arguments loses digits (a logit, a precision).
    `given` is a function of x on which the density is conditional (a Multinomial's total).
    `event` says that `canonical` takes the shape of one variate after the arguments.
    """

    arguments: tuple[str, ...]
    canonical: Function | None = None
    log_density: Function | None = None
    given: Function | None = None
    event: bool = False


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the language cannot say of a family, in its canonical arguments.

    log_density(x, *args) -> batch: stable, -inf outside the support.
    sample(rng, shape, *args) -> shape + event.
    mean(*args) -> batch + event; variance(*args) -> batch + event for scalars and matrices
    (elementwise), batch + (D, D) for vectors; mode(*args) -> batch + event.
    cdf(x, *args), sf(x, *args): scalar families only; used to normalise a truncated density.
    marginal(keep, *args) -> args of the entries where the boolean vector `keep` holds.
    A moment that does not exist is inf or NaN.
    """

    arguments: tuple[str, ...]
    log_density: Function
    sample: Function
    mean: Function
    variance: Function
    mode: Function
    cdf: Function | None = None
    sf: Function | None = None
    marginal: Function | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known of one family beside its declaration in the language."""

    name: str
    kernel: Kernel
    forms: tuple[Form, ...] = ()
    mixture: str = ""  # the same family as a Gaussian given a latent `scale`: a model, its arguments the givens
    atom: bool = False  # a point mass: its log density is that of a comparison
    singular: str = ""  # of a Gaussian the covariance, which may be singular: a density on its range alone
    reasons: Mapping[str, str] = field(default_factory=dict)
