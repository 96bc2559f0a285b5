"""The elements that the compiler makes: an `El` whose name is `kind:of`, as no name of a user can be.

A name is what the algebra sorts, substitutes and looks up, hence one string. It is put together and taken apart here,
by the kinds below, and nowhere else: `Q.of("z")` is `"q:z"`, `name in Q` asks, `Q.named(name)` gives `"z"` back.
A new kind is a line here, and one where it is printed (`_leaf` in `generate/context`, `_element` in `report/elements`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of made elements; `numbered` kinds are several, `clique0`, `clique1`."""

    word: str
    numbered: bool = False

    def of(self, *names: str | int) -> str:
        """The name of the element."""
        return ":".join((self.word, *map(str, names)))

    def at(self, number: int) -> Kind:
        """One of a numbered kind."""
        return Kind(f"{self.word}{number}")

    def __contains__(self, name: str) -> bool:
        head, colon, _ = name.partition(":")
        if self.numbered:
            return bool(colon) and head.startswith(self.word) and head.removeprefix(self.word).isdecimal()
        return bool(colon) and head == self.word

    def named(self, name: str) -> str:
        """What the element is of, `"z"` in `"q:z"`; a name that is not of this kind as it is."""
        return name.partition(":")[2] if name in self else name

    def number(self, name: str) -> int:
        """Which of a numbered kind it is."""
        return int(name.partition(":")[0].removeprefix(self.word))


def is_made(name: str) -> bool:
    """Whether the compiler made it."""
    return ":" in name


def made_of(name: str) -> tuple[str, tuple[str, ...]]:
    """`("cov", ("b", "c"))` of `"cov:b:c"`; a name that the user chose is `(name, ())`."""
    word, *of = name.split(":")
    return word, tuple(of)


def subject(name: str) -> str:
    """What an element is of, whatever its kind: `"z"` of `"q:z"`, `"b:c"` of `"cov:b:c"`."""
    return name.partition(":")[2]


def stored(name: str) -> str:
    """The key under which a module's `prepared` holds it: `"present x"`; a user's own name as it is."""
    return name.replace(":", " ", 1)


WEIGHT = ":weight"  # [row]: how often a row counts, `sample_weight`

# What data tell before the fit, each by the name of a variable or of a ragged plate T.
PRESENT = Kind("present")  # [the variable's plates, and its axis where single cells are missing]: 1 where it was seen
UNSEEN = Kind("unseen")  # [the variable's axes]: 1 where the cell of a vector is latent
PATTERN = Kind("pattern")  # [home of the block]: which pattern of missing cells the row has
FREE = Kind("free")  # [home of the block]: how many cells the row lacks
REFERENCE = Kind("reference")  # [the parameter's axes]: the point about which data are centred
MIXING = Kind("mixing")  # [column, column]: what columns of a design are measured from, in multiples of others
ORIGIN = Kind("origin")  # [the latent's axes]: where a latent's own axis starts
RAW = Kind("raw")  # [the variable's axes]: data as they came, not centred
FEATURES = Kind("features")  # [row, feature]: products of data of which a latent's mean is a linear function
ROW = Kind("row")  # [element of T]: the row of the outer plate it is in
POSITION = Kind("position")  # [element of T]: its place in that row
START = Kind("start")  # [row]: the row's first element
LENGTH = Kind("length")  # [row]: how many elements it has
COUNT = Kind("count")  # [element of T]: how many equal elements it stands for
BEYOND = Kind("beyond")  # [configuration, outer]: log 0 where one is not 0 beyond a ragged row's end
CONFIGURED = Kind("configured")  # [configuration, the latent's inner plates]: a latent's state in a configuration

# What the E-step finds, by the name of a block or of a latent.
Q = Kind("q")  # [states, gates, home]: probabilities
PAIR = Kind("pair")  # [states before, states, gates, home]: of neighbours in a chain
FIRST = Kind("first", numbered=True)  # [states before, states]: at one of the first positions of a chain
CLIQUE = Kind("clique", numbered=True)  # [states, plates]: of the latents that meet in a network
LOG_NORMALISER = Kind("A")  # [gates, outside]: of a block that is eliminated
MOMENT = Kind("E")  # latent, statistic [gates, home, own]: of a latent in a known family
ARGUMENT = Kind("argument")  # latent, argument [home, own]: of the family of its posterior
MEAN = Kind("mean")  # [gates, home, own]: of a Gaussian latent in a block of several
OFF = Kind("off")  # [gates, home, own]: the same less its mean over the gates
COV = Kind("cov")  # latent, latent, tie [gates, places, own, own]: their covariance, of one element or tied ones
LOCATION = Kind("location")  # [home, own]: the mean of a Gaussian whose precision holds another latent
VARIANCE = Kind("variance")  # [home, own, own]: that latent taken out of it
FIT = Kind("fit")  # [home]: the quadratic that it leaves to that latent
AT = Kind("at")  # [point, the latent's axes]: where a latent without a family stands
VOLUME = Kind("volume")  # [point, plates]: the log weight of such a point
NORM = Kind("norm")  # []: the log-normaliser of a row's Gaussian that is linear in data
SLOPE = Kind("slope")  # [axes, feature]: the mean of such a latent by features
COEFFICIENT = Kind("coef")  # [axes, feature]: the linear term of its density by features

# What Q and the M-step read.
STATISTIC = Kind("S")  # [the statistic's axes]: an expected sufficient statistic
AS_GIVEN = Kind("params")  # [the parameter's axes]: a parameter as it stands in `params`, not shifted

FACTS = (
    PRESENT,
    ROW,
    POSITION,
    START,
    LENGTH,
    REFERENCE,
    MIXING,
    RAW,
    FEATURES,
    COUNT,
)  # of data: how they lie
PROBABILITIES = (Q, PAIR, FIRST, CLIQUE)


@lru_cache(maxsize=10_000)
def among(name: str, kinds: tuple[Kind, ...]) -> bool:
    """Whether it is of one of these kinds."""
    return any(name in k for k in kinds)
