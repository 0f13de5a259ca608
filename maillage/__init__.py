"""The Python client of maillage: read a common view or a registry, keep files of it, follow what changes.

It asks the address it is given and no other, waits out bad weather, and gives typed answers (`maillage.answers`).
"""

from maillage.answers import Feature, Place
from maillage.client import Client
from maillage.downloads import Export
from maillage.following import Following
from maillage.problems import CursorGone, Failure, Problem, Unreachable, Unusable
from maillage.release import __version__
from schemas.subscription import Change

__all__ = [
    "Change",
    "Client",
    "CursorGone",
    "Export",
    "Failure",
    "Feature",
    "Following",
    "Place",
    "Problem",
    "Unreachable",
    "Unusable",
    "__version__",
]
