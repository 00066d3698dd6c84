"""Settings of all tests."""

from hypothesis import settings

# No deadline: a shared or slow machine is no fault of the code.
settings.register_profile("unrolled", deadline=None, derandomize=True)
settings.load_profile("unrolled")
