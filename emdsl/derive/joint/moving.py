"""Latents that are measured from places which parameters decide: `u[g] + b x[n]` is `u'[g] + b (x[n] - r)`.

    u'[g] = u[g] + b r          complete data (u', y) in place of (u, y)

The likelihood is the same, but Q is that of other complete data, and EM takes another path: where x is far from 0, u
and b are tied so closely that EM on (u, y) would stand still, and on (u', y) takes a few steps. The derivation says
so, and the certificate asks for the maximum of that Q.
"""

from __future__ import annotations

from collections.abc import Mapping

from emdsl.derive.algebra import expr as x
from emdsl.derive.joint.centre import Shift
from emdsl.language import model as m


def moving(model: m.ModelText, shifts: Mapping[str, Shift]) -> dict[str, Shift]:
    """The latents whose reference points hold parameters, with these."""
    latents, params = ({v.name for v in model.of_kind(kind)} for kind in ("latent", "param"))
    return {n: s for n, s in shifts.items() if n in latents and params & x.variables(s.value)}
