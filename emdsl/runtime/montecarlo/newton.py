"""A Newton step on the mean score of draws, by what is left of the information, and the step's error.

With s the score of log p(data, draw | params) and H its Hessian, Louis (1982) has I = E[-H] - Var[s], and
inv(I) E[s] is a Newton step to the maximum of the likelihood. The step's error is that of the mean score, by batches
of draws (Jones et al. 2006), that of I, by the jackknife over batches (Efron and Stein 1981), and that of a quadratic
in place of the log-likelihood.
"""

# mypy: disable-error-code="no-any-return"
# (operators on arrays of any dtype, and all of scipy, are Any to mypy)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from emdsl.runtime.data.columns import Array

SURE = 5.0  # errors of the information left along any direction, which it is away from 0
IN_A_BATCH = 3.0  # effective draws in a batch, at least: what their ties hide is then a sixth, and known
STEP_TOO_LONG = 0.1  # of a standard error: a Newton step so long is taken again
BENT = 0.25  # half the third derivative of a log-likelihood, in standard errors, that is reckoned with
BENT_BY_LOGS = 2.0  # the same for each unit of a log: of a spread, exp(2 t) to exp(6 t) stand in the curvature
MOST_BENT = 3.0
LONGEST_LOG = 0.24  # of steps in logs, by which what lies beyond them is told
NOT_QUITE_ENDED = 0.02  # of a standard error: what coordinates near their ends leave unsure of the others
BENT_SHARE = 0.5  # of its noise: a step off by more, for all that is known, is taken again
SLIGHT = 0.01  # of a standard error: never mind how a step so little off compares with its noise
LEAST_LEFT = 0.02  # of the complete information: what a step uphill takes to be left, at least
ENDED = 1e-3  # of log-likelihood: what it rises and bends by, at most, in a coordinate that has gone to its end
LOST_WITHIN = 3.0  # errors of these, within which they are not seen
ENDED_SHARE = 1e-3  # the same of what draws that stay tell of the coordinate
CHANCE = 5.0  # how much more chain means may be apart than their noise has it: beyond this it is no chance
FEWEST_CURVES = 24  # Hessians of which it is told what of them goes with slopes
CLEARLY_UPHILL = 4.0  # errors of the mean score


class NewtonStep(NamedTuple):
    """A step on the mean score: the inverse of the information left, the step's noise, how it can be trusted.

    `effective` draws of the score in all; `sure`: what is left over its error, at least; `length` of the step in
    standard errors, squared, and `lost`: what noise makes of that, on average; `bent`: what part of `length` a
    quadratic is off by, in standard errors; `uphill`: where it is not sure that information is left, whether the
    score says clearly which way is up. `logs`: coordinates that are logs of what is declared; `told`: those in which
    a step is taken.
    """

    step: Array
    inverse: Array
    noise: Array
    effective: float
    sure: float
    length: float
    lost: float
    bent: float
    batches: int
    logs: Array
    told: Array
    uphill: bool = False

    @property
    def error(self) -> Array:
        """Covariance of where the step leads: its noise, what a quadratic is off by, and what others do that have not
        quite come to their ends."""
        beyond = _beyond(np.abs(self.step) + np.sqrt(np.diag(self.noise)), self.logs & self.told)
        share = (self.bent * self.length) ** 2 + (0.0 if self.told.all() else NOT_QUITE_ENDED**2)
        return self.noise + np.diag(np.diag(self.inverse) * share + beyond**2)

    @property
    def trusted(self) -> bool:
        return self.sure > SURE and self.effective > IN_A_BATCH * self.batches

    @property
    def share(self) -> float:
        """The largest Monte Carlo error as a share of the same coordinate's standard error."""
        return _largest_share(self.error, self.inverse)

    @property
    def far(self) -> bool:
        """Whether the step is to be taken again: longer than its error, or than what a quadratic can be trusted for."""
        if not self.trusted:
            return self.uphill
        limit = STEP_TOO_LONG * np.sqrt(np.diag(self.inverse)) + 3 * np.sqrt(np.diag(self.noise))
        off = self.bent * max(0.0, self.length - self.lost)
        noise, spread = np.sqrt(np.diag(self.noise)), np.sqrt(np.diag(self.inverse))
        beyond = _beyond(np.maximum(np.abs(self.step) - 2 * noise, 0.0), self.logs & self.told)
        if bool((np.abs(self.step) > limit).any()) or (beyond > np.maximum(SLIGHT * spread, BENT_SHARE * noise)).any():
            return True
        return off > max(SLIGHT, BENT_SHARE * _largest_share(self.noise, self.inverse))

    def after(self, moved: float) -> NewtonStep:
        """The same, having come by a step of squared length `moved`: what is left of that is what a quadratic was off
        by, as far as it is not noise."""
        left = float(np.sqrt(self.length)) - 2 * float(np.sqrt(self.lost))
        return self._replace(bent=max(self.bent, left / moved)) if self.trusted and moved > 0 else self


def _beyond(length: Array, logs: Array) -> Array:
    """How far beyond a step of this length in a log a maximum may lie.

    Near 0 a log-likelihood of a spread s is a s^2 - b s^4, a step at t = log s shorter than a quarter: from half of
    log u above the maximum it is (u - 1) / (4 u - 2).
    """
    d = np.where(logs, np.minimum(length, LONGEST_LOG), 0.0)
    return 0.5 * np.log((1 - 2 * d) / (1 - 4 * d)) - d


def _largest_share(error: Array, inverse: Array) -> float:
    spread = np.diag(inverse)
    return float(np.sqrt(np.max(np.diag(error)[spread > 0] / spread[spread > 0], initial=0.0)))


class Batch(NamedTuple):
    """Sums over draws: scores of each part about a fixed place (p, parts), their products, Hessians.

    At the draws that have a Hessian, of what is 0 on average whatever the model, slopes (2, p) along the shift and the
    stretch that draws have with each coordinate: sums, those of its products (2p, 2p), and with the Hessian's rows.
    """

    draws: int
    scores: Any
    outer: Any
    curve: Any
    curves: int
    slopes: Any = 0.0
    squares: Any = 0.0
    products: Any = 0.0


def _empty(p: int, parts: int) -> Batch:
    return Batch(0, np.zeros((p, parts)), np.zeros((p, p)), np.zeros((p, p)), 0)


def _joined(a: Batch, b: Batch) -> Batch:
    return Batch(*(x + y for x, y in zip(a, b, strict=True)))


def _whole(batches: Sequence[Batch]) -> Batch:
    """All of them as one."""
    return Batch(*(sum(each[1:], start=each[0]) for each in zip(*batches, strict=True)))


def stepped(chains: Sequence[Sequence[Batch]], about: Array, told: Array, root: Array, logs: Array) -> NewtonStep:
    """Newton's step over the coordinates that are told, from all draws of all chains and without each batch in turn.

    Coordinates are in units of `root`, the complete data's information, so that eigenvalues compare. The covariance of
    n draws about their mean lacks what the mean's own variance is: that is added. The noise of a step inv(I) s is that
    of s, from batch means of each part, and that of I. `logs`: coordinates that are logs of what is declared.
    """
    batches = [b for chain in chains for b in chain]
    p, n = len(about), len(batches)
    runs = [_whole(chain) for chain in chains]
    every = _whole(runs)
    long, effective = _long_run(batches, every, runs, told)

    def parts(some: Batch, share: float) -> tuple[Array, Array]:
        mean = some.scores / some.draws
        missing = some.outer / some.draws - mean @ mean.T + long / (every.draws * share)
        left = -some.curve / some.curves - missing
        score = about + mean.sum(-1)
        return score[told] / root, (0.5 * (left + left.T))[np.ix_(told, told)] / np.outer(root, root)

    score, left = parts(every, 1.0)
    noise_of_score = long[np.ix_(told, told)] / every.draws / np.outer(root, root)
    without = [Batch(*(x - y for x, y in zip(every, b, strict=True))) for b in batches]
    lefts = np.array([parts(some, 1 - 1 / n)[1] for some in without])
    leasts = np.linalg.eigvalsh(lefts).min(-1, initial=1.0)
    known = np.isin(np.arange(p), told)
    step, inverse, noise, unit = np.zeros(p), np.zeros((p, p)), np.zeros((p, p)), np.ones(p)
    unit[told] = root
    sure, uphill = _least_sure(left, lefts), False
    inner = np.ix_(told, told)
    if sure <= 0 or not (leasts > 0).all():
        step[told], inverse[inner], uphill = _uphill(score, left, noise_of_score)
        inverse = inverse / np.outer(unit, unit)
        return NewtonStep(step / unit, inverse, noise, effective, 0.0, 0.0, 0.0, BENT, n, logs, known, uphill)
    if sure <= SURE:
        uphill = _uphill(score, left, noise_of_score)[2]
    inverse[inner] = np.linalg.inv(left) / np.outer(root, root)
    step[told] = np.linalg.solve(left, score) / root
    turned = _jackknife(np.linalg.solve(lefts, np.broadcast_to(score[:, None], (n, len(score), 1)))[..., 0] / root)
    noise[inner] = (inverse @ (long / every.draws) @ inverse)[inner] + turned
    length = float(score @ np.linalg.solve(left, score))
    lost = 2 * float(np.trace(np.linalg.solve(left, noise_of_score)))  # of this step, and of the one before
    widest = float(np.sqrt(np.max(np.diag(inverse)[logs], initial=0.0)))
    bent = min(BENT + BENT_BY_LOGS * widest, MOST_BENT)
    return NewtonStep(step, inverse, noise, effective, sure, length, lost, bent, n, logs, known, uphill)


def told_by(batches: Sequence[Batch], about: Array, still: Array, ends: Array) -> tuple[Array, Array]:
    """The complete data's information on each coordinate, and of which the data tell something.

    At an end of its domain, at infinity in these coordinates, the log-likelihood is flat: neither its slope nor what it
    bends by is seen beside the draws' noise. One that bends upwards is not at its end, and not at a maximum.
    """
    n, every = len(batches), _whole(batches)

    def bends(some: Batch) -> Array:
        missing = np.diag(some.outer) / some.draws - np.square(some.scores / some.draws).sum(-1)
        return -np.diag(some.curve) / some.curves - missing

    whole, score = -np.diag(every.curve) / every.curves, about + every.scores.sum(-1) / every.draws
    without = np.array([bends(Batch(*(x - y for x, y in zip(every, b, strict=True)))) for b in batches])
    doubt = np.sqrt((n - 1) / n * np.square(without - without.mean(0)).sum(0))
    off = np.array([b.scores.sum(-1) / b.draws for b in batches])
    noise = np.sqrt(off.var(0, ddof=1) / n)
    most = ENDED_SHARE * np.maximum(whole, still)
    flat = (np.abs(bends(every)) <= np.minimum(most, ENDED + LOST_WITHIN * doubt)) & (
        np.abs(score) <= np.minimum(most, ENDED + LOST_WITHIN * noise)
    )
    return whole, np.where(ends, ~flat, (whole != 0) | (score != 0))


def _long_run(batches: Sequence[Batch], every: Batch, runs: Sequence[Batch], told: Array) -> tuple[Array, float]:
    """n times the covariance of a mean score of n draws, and how many independent draws are worth as much, at least.

    Of batches, and of what whole chains are apart beyond that.

    Batches that follow one another are not independent: of a chain whose correlations fall as r**k, with t =
    (1 + r) / (1 - r) and e effective draws in a batch, batches show 1 - (1 - t**-2) / 2e of the variance.
    """
    n = len(batches)
    means = every.scores / every.draws
    off = np.array([b.scores - b.draws * means for b in batches])
    flat = off.transpose(1, 0, 2).reshape(len(means), -1)
    long = flat @ flat.T / (n - 1) * n / every.draws
    long = long + every.draws * _between(runs, every, long)
    alone = np.diag(every.outer / every.draws - means @ means.T)
    moving = told[alone[told] > 0]  # of what no latent touches nothing is missing
    if not len(moving):
        return long, 0.0  # no draw has moved: nothing is known
    effective = float(np.min(every.draws * alone[moving] / np.maximum(np.diag(long)[moving], 1e-300)))
    time = max(1.0, every.draws / effective)
    shown = 1 - (1 - time**-2) / 2 * min(1.0, n / effective)
    return long / shown, effective * shown


def _between(runs: Sequence[Batch], every: Batch, long: Array) -> Array:
    """The covariance of the mean score by the means of the chains, as far as it is more than `long` makes of it."""
    count = len(runs)
    if count == 1:
        return np.zeros_like(long)
    off = np.array([(r.scores / r.draws - every.scores / every.draws).sum(-1) for r in runs])
    noise = np.linalg.pinv(long * count / every.draws, hermitian=True)
    seen = float(np.einsum("ci,ij,cj->", off, noise, off)) / (count - 1) / max(1, len(long))
    return off.T @ off / (count * (count - 1)) * max(0.0, 1 - CHANCE / max(seen, 1e-300))


def _uphill(score: Array, left: Array, noise: Array) -> tuple[Array, Array, bool]:
    """A step up where the information left is not sure: along eigenvectors, no farther than a standard error each, and
    along none that the score's noise may have turned; the inverse that it is made by; whether it is clearly up."""
    values, vectors = np.linalg.eigh(left)
    steep = np.maximum(np.abs(values), LEAST_LEFT)
    along, error = vectors.T @ score, np.sqrt(np.einsum("ij,ik,kj->j", vectors, noise, vectors))
    sure = np.abs(along) / np.maximum(error, 1e-300)
    most = 1 / np.sqrt(steep)
    step = np.where(sure > CLEARLY_UPHILL / 2, np.clip(along / steep, -most, most), 0.0)
    return vectors @ step, (vectors / steep) @ vectors.T, bool((sure > CLEARLY_UPHILL).any())


def levelled(chains: Sequence[Sequence[Batch]]) -> list[list[Batch]]:
    """The same batches, of whose Hessians is taken what goes with slopes that are 0 on average.

    Where draws move with the parameters their scores hardly differ, and Hessians still do: a map that is straight
    leaves the curve of a mean, times a slope. Entry (i, j) is regressed on the slopes of i and j.
    """
    every = _whole([b for chain in chains for b in chain])
    n, p = every.curves, len(every.curve)
    if n < FEWEST_CURVES or not np.any(every.squares):
        return [list(chain) for chain in chains]
    mean = (every.slopes / n).ravel()
    squares = every.squares / n - np.outer(mean, mean)
    unit = np.sqrt(np.maximum(np.diag(squares), 1e-300))
    squares = squares / np.outer(unit, unit)
    products = (every.products / n - mean.reshape(2, p, 1) * every.curve / n) / unit.reshape(2, p, 1)
    i, j = np.indices((p, p))
    which = np.stack([i, i + p, j, j + p], -1)  # (p, p, 4)
    inner = np.linalg.pinv(squares[which[..., :, None], which[..., None, :]], rcond=1e-6, hermitian=True)
    with_both = np.stack([*products, *products.transpose(0, 2, 1)], -1)
    weights = np.einsum("ijab,ijb->ija", inner, with_both) / unit[which]

    def level(b: Batch) -> Batch:
        if not b.curves:
            return b
        return b._replace(curve=b.curve - np.einsum("ija,ija->ij", weights, np.ravel(b.slopes)[which]))

    return [[level(b) for b in chain] for chain in chains]


def _least_sure(left: Array, lefts: Array) -> float:
    """What is left over its error, along the axes and along the eigenvectors: the least.

    The least eigenvalue alone was sure where another, 0.9 of all that draws tell, was no more than their noise: a
    spread 15 stated errors off.
    """
    along = np.concatenate([np.linalg.eigh(left)[1], np.eye(len(left))], axis=1)
    found = np.einsum("pk,pq,qk->k", along, left, along)
    seen = np.einsum("pk,npq,qk->nk", along, lefts, along)
    return float(np.min(found / np.maximum(np.sqrt(np.diag(_jackknife(seen))), 1e-300), initial=1 / 1e-300))


def _jackknife(without: Array) -> Array:
    """Covariance of an estimate from its values without each batch in turn, (batches, p)."""
    off = without - without.mean(0)
    return (len(off) - 1) / len(off) * off.T @ off
