"""What is said of the view and its files, in French or English."""

from services import pages
from services.errors import Args
from services.languages import Language, say
from services.sync.citing import Cited

FREE = "places-etalab"


def title(by: str, language: str, name: str = "places") -> str:
    """What the view is called that somebody computes, or the part of it in files of this name."""
    return _worded(
        "What is free of the common view of third places computed by {name}"
        if name == FREE
        else "Common view of third places computed by {name}",
        {"name": by},
        language,
    )


def about(name: str, language: str) -> str:
    """What files of this name hold."""
    return _worded(
        "Third places, as records under etalab-2.0 and CC0-1.0 alone describe them. Each says which networks do."
        if name == FREE
        else "Third places, as their networks describe them. Each says which networks, and under which licences; "
        "what may not be combined is a link.",
        {},
        language,
    )


def sentence(cited: Cited, language: Language) -> str:
    """The view in the one sentence by which it is cited."""
    said = (f"{n.name} ({n.license})" if n.license else n.name for n in cited.networks)
    args: Args = {
        "title": title(cited.name, language),
        "address": cited.address,
        "date": pages.day(cited.date, language) if cited.date else "—",
        "cursor": cited.cursor,
        "root": cited.view_root or "—",
        "networks": ", ".join(said) or "—",
    }
    return _worded(
        "{title}, {address}, as of {date}, position {cursor}, fingerprint {root}. According to: {networks}.",
        args,
        language,
    )


def _worded(what: str, args: Args, language: str) -> str:
    return say(what, args, language)
