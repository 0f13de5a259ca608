"""Places to try the federation on: invented, as real lists are, in real communes, the same at every run."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

PLACES_PER_NETWORK = 75
SHARED_WITH_EACH = 10
CLAIMED_OF_EACH = 4
JITTER_DEGREES = 0.008


@dataclass(frozen=True)
class Commune:
    """A commune's INSEE code, name, one of its postcodes, and a point in its middle (WGS 84 degrees)."""

    insee: str
    name: str
    postcode: str
    lat: float
    lon: float


@dataclass(frozen=True)
class Network:
    """A network of the sample: where its places are (département codes; all when empty) and its words."""

    alias: str
    name: str
    departements: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """One real place that two networks list, by their aliases and the ids in their own lists."""

    a: tuple[str, str]
    b: tuple[str, str]
    claimed: bool


@dataclass(frozen=True)
class Kind:
    """A kind of place: shared landmark, name patterns, what it offers, and a line about it."""

    family: str
    names: tuple[str, ...]
    services: tuple[str, ...]
    summary: str


TERRITORIES = (
    ("bretagne", "Tiers-lieux de Bretagne", ("22", "29", "35", "56")),
    ("pays-de-la-loire", "Réseau des Pays de la Loire", ("44", "49", "53", "72", "85")),
)
MORE_TERRITORIES = (
    (
        "nouvelle-aquitaine",
        "Coopérative de Nouvelle-Aquitaine",
        ("19", "23", "24", "33", "47", "64", "86", "87"),
    ),
    ("occitanie", "Rés'Occitanie", ("09", "12", "30", "31", "34", "46", "48", "81")),
    (
        "auvergne-rhone-alpes",
        "Lieux d'Auvergne-Rhône-Alpes",
        ("07", "15", "26", "38", "42", "43", "63", "69"),
    ),
    ("hauts-de-france", "Compagnie des Hauts-de-France", ("02", "59", "62", "80")),
    ("grand-est", "Lieux du Grand Est", ("51", "54", "67", "68", "88")),
    ("normandie", "Tiers-lieux normands", ("14", "27", "50", "61", "76")),
)

KINDS = {
    "coworking": Kind(
        "coworking",
        ("Coworking {c}", "La Ruche {of}", "Le Bureau partagé {of}", "L'Escale {c}", "Le {n}"),
        ("wifi", "salle-de-reunion", "bureaux", "cafe"),
        "Bureaux partagés, salle de réunion et café, pour une heure ou pour l'année.",
    ),
    "fablab": Kind(
        "fablab",
        ("Fablab {of}", "{c} Makers", "L'Atelier numérique {of}", "Le Labo {n}", "FabLab Le {n}"),
        ("impression-3d", "decoupe-laser", "formation", "wifi"),
        "Machines à commande numérique et soirées ouvertes : on vient avec une idée et repart avec un objet.",
    ),
    "atelier": Kind(
        "atelier-artisanal",
        ("Les Ateliers du {n}", "La Manufacture {of}", "L'Établi {of}", "Atelier partagé Le {n}"),
        ("atelier-bois", "atelier-metal", "pret-d-outils"),
        "Ateliers bois et métal partagés entre artisans, avec des créneaux pour les habitants.",
    ),
    "cuisine": Kind(
        "cuisine-partagee",
        ("La Cantine {of}", "Les Fourneaux du {n}", "La Popote {of}"),
        ("cuisine-equipee", "restauration", "salle"),
        "Une cuisine professionnelle partagée et une table ouverte le midi.",
    ),
    "culture": Kind(
        "culturel",
        ("La Friche {n}", "La Grange culturelle {of}", "Le Hangar {n}", "La Station {c}"),
        ("scene", "residence", "cafe"),
        "Résidences d'artistes, scène ouverte et café associatif dans un ancien bâtiment industriel.",
    ),
    "village": Kind(
        "espace-hybride",
        ("Le Café du {n}", "La Maison commune {of}", "Tiers-lieu Le {n}", "La Place {of}"),
        ("cafe", "epicerie", "wifi", "salle-de-reunion"),
        "Café, épicerie, espace de travail et permanences, tenus par une association d'habitants.",
    ),
    "mediation": Kind(
        "mediation-numerique",
        ("Le Point numérique {of}", "L'Espace public numérique du {n}", "La Maison connectée {of}"),
        ("accompagnement", "ordinateurs", "imprimante", "wifi"),
        "Aide aux démarches en ligne et ordinateurs en libre accès, sans rendez-vous.",
    ),
    "ferme": Kind(
        "nourricier",
        ("La Ferme du {n}", "Les Jardins {of}", "Le Verger du {n}"),
        ("jardin", "vente-directe", "formation"),
        "Maraîchage collectif, vente directe et chantiers participatifs.",
    ),
    "ressourcerie": Kind(
        "ressourcerie",
        ("La Ressourcerie {of}", "La Recyclerie du {n}", "Repair Café {c}"),
        ("reparation", "depot", "boutique"),
        "On dépose, on répare, on revend : une seconde vie pour les objets du territoire.",
    ),
}
REGIONAL = tuple(KINDS)
FABRICATION = ("fablab", "atelier", "ressourcerie")
RURAL = ("village", "ferme", "cuisine", "mediation", "culture")

NOUNS = (
    *("Phare", "Moulin", "Quai", "Lavoir", "Tilleul", "Préau", "Chantier", "Passage", "Silo", "Canal"),
    *("Viaduc", "Four", "Pressoir", "Marché", "Relais", "Clocher", "Carré", "Bief", "Cèdre", "Ponton"),
    *(
        "Belvédère",
        "Séchoir",
        "Vallon",
        "Faubourg",
        "Kiosque",
        "Hameau",
        "Rempart",
        "Gué",
        "Manège",
        "Fournil",
    ),
)
STREETS = (
    *("rue de la Gare", "place de l'Église", "rue des Écoles", "avenue de la République", "quai du Port"),
    *("rue du Moulin", "boulevard de la Liberté", "rue Jean-Jaurès", "place du Marché", "rue de l'Industrie"),
    *("chemin du Lavoir", "rue Victor-Hugo", "allée des Tilleuls", "rue des Tanneurs", "rue Basse"),
)
HOURS = (
    *("Mo-Fr 09:00-18:00", "Mo-Fr 08:30-12:30,13:30-18:00", "Tu-Sa 10:00-19:00"),
    *("We 14:00-18:00; Fr-Sa 10:00-22:00", "Mo-Th 09:00-19:00; Fr 09:00-17:00"),
)


@cache
def communes() -> tuple[Commune, ...]:
    """The real communes of the sample."""
    text = resources.files("demo").joinpath("communes.tsv").read_text("utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return tuple(Commune(insee, name, post, float(lat), float(lon)) for insee, name, post, lat, lon in rows)


def networks(count: int = 4) -> list[Network]:
    """The first `count` networks: two territories, two themes across them, then more territories."""
    territories = [Network(alias, name, where, REGIONAL) for alias, name, where in TERRITORIES]
    themes = [
        Network("fablabs", "Réseau des ateliers de fabrication", (), FABRICATION),
        Network("ruralites", "Ruralités en commun", (), RURAL),
    ]
    more = [Network(alias, name, where, REGIONAL) for alias, name, where in MORE_TERRITORIES]
    known = [*territories, *themes, *more]
    numbered = [
        Network(f"reseau-{number}", f"Réseau n° {number}", (), REGIONAL)
        for number in range(len(known) + 1, count + 1)
    ]
    return [*known, *numbered][:count]


def places(network: Network) -> list[dict[str, Any]]:
    """A network's list, each place in the shape of the place record.

    The themes list some of the territories' places too, each in its own words.
    """
    shared = [retold(place, network, number) for number, place in enumerate(lent_to(network))]
    names = {place["name"] for place in shared}
    return [*shared, *own_places(network, PLACES_PER_NETWORK - len(shared), names)]


def pairs(present: Sequence[Network]) -> list[Pair]:
    """The places that two of these networks list; a part of them is to be joined by both."""
    aliases = {network.alias for network in present}
    return [
        Pair(
            (place["origin"]["system"], place["origin"]["id"]),
            (network.alias, identifier(network, number)),
            claimed=number % SHARED_WITH_EACH < CLAIMED_OF_EACH,
        )
        for network in present
        for number, place in enumerate(lent_to(network))
        if place["origin"]["system"] in aliases
    ]


def lines(network: Network) -> str:
    """A network's list as JSON Lines."""
    return "".join(json.dumps(place, ensure_ascii=False) + "\n" for place in places(network))


def own_places(network: Network, count: int, taken: set[str]) -> list[dict[str, Any]]:
    """Places that the network made up itself, with names not yet taken."""
    chance = random.Random(network.alias)
    here = [
        town for town in communes() if not network.departements or departement(town) in network.departements
    ]
    made: list[dict[str, Any]] = []
    names = set(taken)
    while len(made) < count:
        town = here[len(made) % len(here)]
        place = invented(network, town, chance, number=1000 + len(made))
        if place["name"] not in names:
            names.add(place["name"])
            made.append(place)
    return made


def lent_to(network: Network) -> Iterator[dict[str, Any]]:
    """The territories' places that a theme lists as well: ten of each, of its own kinds."""
    if network.alias not in ("fablabs", "ruralites"):
        return
    families = {KINDS[kind].family for kind in network.kinds}
    for territory in networks(len(TERRITORIES)):
        fitting = [
            place
            for place in own_places(territory, PLACES_PER_NETWORK, set())
            if place["families"][0] in families
        ]
        yield from fitting[:SHARED_WITH_EACH]


def invented(network: Network, town: Commune, chance: random.Random, number: int) -> dict[str, Any]:
    """One place in a commune."""
    kind = KINDS[chance.choice(network.kinds)]
    name = chance.choice(kind.names).format(c=town.name, of=of(town.name), n=chance.choice(NOUNS))
    place: dict[str, Any] = {
        "name": name,
        "status": chance.choices(("open", "project", "paused"), (88, 9, 3))[0],
        "address": {
            "street": f"{chance.randint(1, 80)} {chance.choice(STREETS)}",
            "postcode": town.postcode,
            "city": town.name,
            "insee": town.insee,
        },
        "position": near(town.lat, town.lon, JITTER_DEGREES, chance) | {"precision": "street"},
        "families": [kind.family],
        "types": [f"{network.alias}:{slug(kind.family)}"],
        "services": sorted(chance.sample(kind.services, 2)),
        "summary": kind.summary,
        "origin": {"system": network.alias, "id": identifier(network, number)},
    }
    if chance.random() < 0.6:
        place["website"] = f"https://{slug(name)}.example/"
    if chance.random() < 0.5:
        place["opening_hours"] = chance.choice(HOURS)
    return place


def retold(place: dict[str, Any], network: Network, number: int) -> dict[str, Any]:
    """The same place as another network says it: other words, a point some metres away, fewer facts."""
    chance = random.Random(f"{network.alias}/{number}")
    address = place["address"]
    street = address["street"].replace("avenue", "av.").replace("boulevard", "bd").replace("place", "pl.")
    told = {
        **place,
        "name": chance.choice((place["name"], place["name"].upper(), f"{place['name']} ({address['city']})")),
        "address": {**address, "street": street},
        "position": near(place["position"]["lat"], place["position"]["lon"], 0.0004, chance)
        | {"precision": "street"},
        "types": [f"{network.alias}:{slug(place['families'][0])}"],
        "summary": f"Membre du réseau {network.name}.",
        "origin": {"system": network.alias, "id": identifier(network, number)},
    }
    told.pop("opening_hours", None)
    return told


def near(lat: float, lon: float, spread: float, chance: random.Random) -> dict[str, Any]:
    """A point at most `spread` degrees away."""
    return {
        "lat": round(lat + chance.uniform(-spread, spread), 6),
        "lon": round(lon + chance.uniform(-spread, spread), 6),
    }


def of(town: str) -> str:
    """The town after "de", as French says it: d'Angers, du Mans, des Sables-d'Olonne, de Rennes."""
    for article, contracted in (("Le ", "du "), ("Les ", "des ")):
        if town.startswith(article):
            return contracted + town.removeprefix(article)
    vowel = unicodedata.normalize("NFKD", town)[0] in "AEIOUYH"
    return f"d'{town}" if vowel else f"de {town}"


def identifier(network: Network, number: int) -> str:
    """A place's id in its network's own list."""
    return f"{network.alias}-{number:04}"


def departement(town: Commune) -> str:
    """The code of a commune's département."""
    return town.insee[:3] if town.insee.startswith("97") else town.insee[:2]


def slug(text: str) -> str:
    """Words for a host name or a code: lower case, no accents, hyphens."""
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    return "-".join("".join(c if c.isalnum() else " " for c in plain).split())
