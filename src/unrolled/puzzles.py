"""Simulated data that ask one thing alone, so that what a network cannot do is known to be its own fault."""

import numpy as np
import pandas as pd

from unrolled.errors import UnrolledError

NUCLEOTIDES = np.array(list("ACGT"))


def recall(n: int = 2000, steps: int = 50, spread: int = 10, seed: int = 0) -> pd.DataFrame:
    """DNA whose label is the letter seen `steps` before the end: everything else is noise, and nothing marks it.

    Args:
        n: sequences.
        steps: between the letter that counts and the last one; how long something must be remembered.
        spread: lengths are steps + 1 to steps + 1 + spread, so that no position from the start holds the answer.
        seed: another seed, another table with the same properties.

    Returns:
        The canonical table: id, sequence, target (A, C, G or T), sorted by id.

    Raises:
        UnrolledError: fewer than one sequence, or negative numbers.
    """
    if n < 1 or steps < 0 or spread < 0:
        raise UnrolledError(f"simulate: n {n}, steps {steps}, spread {spread}: at least 1, 0 and 0 are needed")
    rng = np.random.default_rng([seed, steps])
    lengths = rng.integers(steps + 1, steps + spread + 1, size=n, endpoint=True)
    letters = ["".join(rng.choice(NUCLEOTIDES, length)) for length in lengths]
    ids = [f"recall{i:0{len(str(n - 1))}d}" for i in range(n)]
    table = pd.DataFrame({"id": ids, "sequence": letters, "target": [s[-1 - steps] for s in letters]}, dtype="str")
    return table.sort_values("id", ignore_index=True)
