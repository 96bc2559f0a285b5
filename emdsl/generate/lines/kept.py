"""What the printer keeps of a block while it prints the E-step, beside the elements of `derive/algebra/made`.

They are keys of `Function.runtime`, each with the variable of the module that holds the array.
"""

from __future__ import annotations

from emdsl.derive.algebra.made import Kind

CONDITIONAL = Kind("c")  # of a block: probabilities of its states given its gates
CHAIN = Kind("chain")  # of a block: the runtime's object of the chain
EDGE_TABLE = Kind("edge")  # of a block: the table that ties neighbours
FROM = Kind("from")  # of a block: what comes from the left, for the pair of neighbours
TO = Kind("to")  # of a block: what comes from the right
SHARE = Kind("share")  # of a block: how often a sequence counts
PAIRS = Kind("pairs")  # of a block: sums of pairs over a sequence
MOMENTS = Kind("moments")  # of a latent: the dict of its family's moments
LINEAR = Kind("linear")  # of a latent: the linear term of its density
POINTS = Kind("points")  # of a cloud: where its points are
TABLE = Kind("table")  # of a cloud: log densities at its points
DRAWN = Kind("drawn")  # of a block: the function that draws from it
STATE = Kind("state")  # of a latent: its most probable state
PLACE = Kind("place")  # by a variable of the module: a row's place
SUMMED = Kind("summed")  # by a variable of the module: a sum over rows that are alike
SUM = Kind("sum")  # by its name: a sum of data, made before the first iteration
UNDER = Kind("under")  # by its name: a sum under q, made where q's rows are at hand
FIRST_ROW = Kind("first")  # of kinds of rows, plate: the first row of each
