"""Names in generated code: the user's own where they are plain, never one that hides another."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from functools import cache

RESERVED = frozenset(
    """np math sizes params data prepared statistics rows n_rows q self None True False
    e_step m_step initial prepare posterior reference default_givens limits kept out_of log_prior expectations natural
    SPEC
    numpy scipy json policy rng on log_likelihood some draw step value before out values given refine
    log_likelihood_rows row_count row_numbers features factors sweep learned entropy normaliser whole own
    division regrouped plain state_of_group slopes slopes_apart named told
    e_step_once first_draws indices_inside initial_given kinds_of_data moments_of_data sums_of_data whole_bound
    with_draws by_param by_latent log_density log_density_units gradient density there placed risen highest likelihood
    levels cliques edges states groups few gapless again new near wide units times rules here settle finer
    draws stored_draws drawn_statistics density_with_draws climb_by_draws most_probable passed""".split()
)
# what functions and tables are called that a model's own names are part of
OURS = re.compile(
    r"(conditional_of|edges_of|factor_of|features_of|log_density_of|network_of|objective_of|path_of|sums_under|weights_under)_"
    r"|table[0-9]"
)


@cache
def _spoken_for(helpers: frozenset[str]) -> frozenset[str]:
    """What no name of a user's may hide."""
    return RESERVED | helpers | frozenset(dir(builtins))


class Namer:
    """One scope of names. `taken` holds every name in use; fresh names never collide with a user's."""

    cut = "rows"
    rows = "n_rows"

    def __init__(self, user: tuple[str, ...], helpers: frozenset[str] = frozenset()) -> None:
        self.user: dict[str, str] = {}
        self.last: dict[str, int] = {}  # the number of the last name made of a stem
        self.taken = set(_spoken_for(helpers))
        for name in user:
            self.user[name] = self._claim(plain(name) + "_" * bool(OURS.match(name)))

    def _claim(self, base: str) -> str:
        name = base
        while name in self.taken or keyword.iskeyword(name) or keyword.issoftkeyword(name):
            name += "_"
        self.taken.add(name)
        return name

    def of(self, name: str) -> str:
        """The code name of a user's variable, or of one of ours like `present:x`."""
        if name not in self.user:
            self.user[name] = self._claim(plain(name))
        return self.user[name]

    def size(self, dim: str) -> str:
        """The code name of a length."""
        return self.user[dim] if dim in self.user else self.of(f"size:{dim}")

    def fresh(self, hint: str) -> str:
        """A name that nothing else in the scope has."""
        base = plain(hint)
        n = self.last.get(base, 1)  # names are never given back: what was taken is
        name = base if n == 1 else f"{base}_{n}"
        while name in self.taken or keyword.iskeyword(name):
            n += 1
            name = f"{base}_{n}"
        self.last[base] = n
        self.taken.add(name)
        return name


def plain(text: str) -> str:
    """An identifier made of a name: letters, digits and underscores, in NFKC."""
    text = text.removeprefix("size:")
    text = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", text)).strip("_")
    return text if text and not text[0].isdigit() else f"n{text}"
