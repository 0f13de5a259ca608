"""Licences by their codes: what they are called and where they are read. Pure."""

from msgspec import Struct


class Licence(Struct, frozen=True):
    """A licence: its code, its title, and where its text is; of one that we do not know the code alone."""

    id: str
    title: str
    url: str | None


def licence(code: str) -> Licence:
    """What is known of a licence."""
    title, url = KNOWN.get(code, (code, None))
    return Licence(code, title, url)


def address(code: str) -> str:
    """Where a licence is read, or its code."""
    return licence(code).url or code


_CREATIVE = "https://creativecommons.org/licenses"

# Codes are those of SPDX. The first two titles are by which data.gouv.fr knows them.
KNOWN: dict[str, tuple[str, str]] = {
    "etalab-2.0": (
        "Licence Ouverte / Open Licence version 2.0",
        "https://www.etalab.gouv.fr/licence-ouverte-open-licence",
    ),
    "ODbL-1.0": (
        "Open Data Commons Open Database License (ODbL)",
        "https://opendatacommons.org/licenses/odbl/1-0/",
    ),
    "ODC-By-1.0": (
        "Open Data Commons Attribution License v1.0",
        "https://opendatacommons.org/licenses/by/1-0/",
    ),
    "PDDL-1.0": (
        "Open Data Commons Public Domain Dedication and License v1.0",
        "https://opendatacommons.org/licenses/pddl/1-0/",
    ),
    "CC0-1.0": (
        "Creative Commons Zero v1.0 Universal",
        "https://creativecommons.org/publicdomain/zero/1.0/",
    ),
    **{
        f"CC-{kind.upper()}-{version}": (
            f"Creative Commons {title} {version}",
            f"{_CREATIVE}/{kind}/{version}/",
        )
        for version in ("3.0", "4.0")
        for kind, title in (
            ("by", "Attribution"),
            ("by-sa", "Attribution Share Alike"),
            ("by-nc", "Attribution Non Commercial"),
            ("by-nd", "Attribution No Derivatives"),
            ("by-nc-sa", "Attribution Non Commercial Share Alike"),
            ("by-nc-nd", "Attribution Non Commercial No Derivatives"),
        )
    },
}
