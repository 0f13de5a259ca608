"""Which release of the software this is."""

RELEASE = "0.1.0"


def release() -> str:
    """The version of this software."""
    return RELEASE
