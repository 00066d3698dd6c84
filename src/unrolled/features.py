"""What a UniProt entry says of stretches of its sequence -> a letter for every position.

    HELIX 4..17; /evidence="ECO:0007829|PDB:2BR9"; HELIX 20..31; STRAND <1..8; TURN ?..44

Positions count from 1 and belong to the stretch. `?` is unknown or uncertain, `<1` and `>90` lie outside what was
sequenced, and `P12345-2:4..17` counts on another isoform: such stretches are not used.
https://www.uniprot.org/help/sequence_annotation and the user manual's section on the FT line.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from unrolled.tasks import UNSCORED

_QUOTED = re.compile(r'"[^"]*"')
_FEATURE = re.compile(r"(?:^|[;\s])([A-Z][A-Z_]+)\s+([^\s;]*)")
_SPAN = re.compile(r"(\d+)(?:\.\.(\d+))?")


class Feature(NamedTuple):
    """A stretch, counted from 1, its end included; None where its place is not known exactly."""

    kind: str
    span: tuple[int, int] | None


def features(text: str) -> Iterator[Feature]:
    """The features of an entry, in its order; notes and evidence are passed over.

    >>> list(features('HELIX 4..17; /note="TURN 5..6"; STRAND ?..31; MOD_RES 7'))
    [Feature(kind='HELIX', span=(4, 17)), Feature(kind='STRAND', span=None), Feature(kind='MOD_RES', span=(7, 7))]
    """
    for kind, place in _FEATURE.findall(_QUOTED.sub('""', text)):
        exact = _SPAN.fullmatch(place)
        yield Feature(kind, (int(exact[1]), int(exact[2] or exact[1])) if exact else None)


def lettered(text: str, length: int, letters: Mapping[str, str]) -> tuple[str, list[str]]:
    """(a letter for each of `length` positions, why each feature of a kind in `letters` was not used).

    A position is "-", unknown, where no feature lies, and where features of different letters do.
    """
    labels, unused = [UNSCORED] * length, list[str]()
    disputed = set[int]()
    for kind, span in features(text):
        if kind not in letters:
            continue
        if span is None:
            unused.append(f"{kind} at an unknown position")
        elif not 1 <= span[0] <= span[1] <= length:
            unused.append(f"{kind} outside the sequence")
        else:
            places = range(span[0] - 1, span[1])
            disputed.update(t for t in places if labels[t] not in (UNSCORED, letters[kind]))
            labels[span[0] - 1 : span[1]] = [letters[kind]] * len(places)
    unused += ["position under features of different letters"] * len(disputed)
    return "".join(UNSCORED if t in disputed else label for t, label in enumerate(labels)), unused
