"""Compare recurrent networks on biological sequences, honestly."""

__version__ = "0.1.0"
