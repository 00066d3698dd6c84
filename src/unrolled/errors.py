"""The one exception that means: the user can mend this, and here is how."""


class UnrolledError(Exception):
    """Bad input or a missing resource. The message says what, where and how to mend it.

    The command line prints the message alone, without a traceback, and exits with status 2.
    """
