"""The shared landmarks, the states of a place and licences, as pages say them."""

from collections.abc import Mapping

from services.languages import Language

WORDS: Mapping[str, Mapping[Language, Mapping[str, str]]] = {
    "family": {
        "en": {
            "espace-hybride": "Hybrid space",
            "coworking": "Coworking",
            "fablab": "Fab lab",
            "atelier-artisanal": "Craft workshop",
            "culturel": "Cultural place",
            "living-lab": "Living lab",
            "nourricier": "Food-growing place",
            "cuisine-partagee": "Shared kitchen",
            "mediation-numerique": "Digital help",
            "telecentre": "Telecentre",
            "centre-affaires": "Business centre",
            "ressourcerie": "Reuse centre",
        },
        "fr": {
            "espace-hybride": "Espace hybride",
            "coworking": "Coworking",
            "fablab": "Fablab",
            "atelier-artisanal": "Atelier artisanal partagé",
            "culturel": "Lieu culturel",
            "living-lab": "Living lab",
            "nourricier": "Lieu nourricier",
            "cuisine-partagee": "Cuisine partagée",
            "mediation-numerique": "Médiation numérique",
            "telecentre": "Télécentre",
            "centre-affaires": "Centre d’affaires",
            "ressourcerie": "Ressourcerie",
        },
    },
    "status": {
        "en": {"open": "Open", "project": "In project", "paused": "Paused", "closed": "Closed"},
        "fr": {"open": "Ouvert", "project": "En projet", "paused": "En pause", "closed": "Fermé"},
    },
}
LICENSES: Mapping[str, str] = {
    "etalab-2.0": "Licence Ouverte 2.0",
    "ODbL-1.0": "ODbL 1.0",
    "CC-BY-4.0": "CC BY 4.0",
    "CC-BY-SA-4.0": "CC BY-SA 4.0",
    "CC0-1.0": "CC0",
}
