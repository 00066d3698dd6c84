"""Compare recurrent networks on biological sequences, honestly."""

import os

__version__ = "0.1.0"

# Before torch is loaded: its threads would spin for milliseconds after every operation, on the cores that the
# compiled recurrences need next.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
