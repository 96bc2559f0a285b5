"""Rules of integration in standard coordinates: points, and the volumes that they stand for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from emdsl.runtime.data.columns import Array

GRID_FROM = 30  # points from which on sinh at evenly spaced points has smaller errors than Gauss and Hermite's
MOST_BY_ROOTS = 300  # points of Gauss and Hermite whose weights numpy finds; far above it they overflow
WIDEST_SINH = 7.5  # sqrt(2) sinh of it is 1280 standard deviations of the density's top
WIDEST_OF_TWO = 4.0  # in each of two dimensions: 39 standard deviations, of which exp(-39) is left


class Rule(NamedTuple):
    """Points (D, Q) for a standard coordinate, log of the volumes that they stand for (Q,), and whether points move to
    the density's own moments where these are unlike those at the mode, or (`narrows`) to where the density is."""

    at: Array
    log_volume: Array
    moves: bool
    narrows: bool = False


def hermite(points: int, dimensions: int) -> Rule:
    """Gauss-Hermite: the volume is weight times exp(x^2); exact for polynomials of degree 2 Q - 1 times a Gaussian."""
    x, w = np.polynomial.hermite.hermgauss(points) if points <= MOST_BY_ROOTS else scipy.special.roots_hermite(points)
    with np.errstate(divide="ignore"):
        log_w = np.log(w) + x**2
    grids = np.meshgrid(*[x] * dimensions, indexing="ij")
    weights = np.meshgrid(*[log_w] * dimensions, indexing="ij")
    at, weight = np.stack([g.ravel() for g in grids]), np.sum([g.ravel() for g in weights], axis=0)
    kept = np.isfinite(weight)
    return Rule(at[:, kept], weight[kept], points >= 7)


def doubly_exponential(points: int, dimensions: int = 1) -> Rule:
    """x = sinh v at evenly spaced v, four times as many and one (in two dimensions twice, and those of each with those
    of the other): Takahasi and Mori (1974), Publ. RIMS 9, 721-741.

    Densities of logs and logits fall as exp(-a |u|) on one side at least, which no Gaussian's polynomial follows: with
    Gauss-Hermite of 15 points, log integrals of Gammas and Betas under a Normal were off by 1e-4 to 0.6, here by 2e-4
    at most before points were `narrowed` to where the density is.
    """
    return sinh_grid((4 if dimensions == 1 else 2) * points + 1, dimensions)


def sinh_grid(count: int, dimensions: int) -> Rule:
    """x = sinh v at so many evenly spaced v in each dimension."""
    widest = WIDEST_SINH if dimensions == 1 else WIDEST_OF_TWO
    v = np.linspace(-widest, widest, count)
    log_volume = np.log(np.cosh(v)) + np.log(v[1] - v[0])
    grids = np.meshgrid(*[np.sinh(v)] * dimensions, indexing="ij")
    volumes = np.meshgrid(*[log_volume] * dimensions, indexing="ij")
    at, volume = np.stack([g.ravel() for g in grids]), np.sum([g.ravel() for g in volumes], axis=0)
    return Rule(at, volume, False, True)


def gaussian_tails(points: int, dimensions: int) -> Rule:
    """Gauss-Hermite of few points; many are evenly spaced under sinh, where the density is.

    Root mean squares of the error of log integrals, a Gaussian under five logistic functions of slope a in one
    dimension, and under six of slope a (a Gaussian's draw) in two:

        points             a = 1    3      10     30     in two: a = 1    3      10
        Hermite, 30        8e-12  1e-6   2e-3   3e-2           1e-8     1e-5   4e-3
        sinh, 30           4e-10  5e-7   1e-4   2e-3           1e-11    7e-8   5e-5
        Hermite, 60        8e-12  8e-9   3e-4   1e-2           7e-12    2e-7   2e-3
        sinh, 60           8e-12  8e-12  2e-7   2e-4           4e-14    5e-14  1e-7
    """
    return hermite(points, dimensions) if points < GRID_FROM else sinh_grid(points, dimensions)
