"""Which release of the client this is: that of the services it comes with."""

__version__ = "0.1.0"
