"""What the matcher sees of a record is folded by frozen tables, and the same on every machine."""

import ast
import random
from hashlib import sha256
from importlib import resources
from pathlib import Path

import msgspec
import pyproj
import pytest

from services.sync.locating import METRES, metres
from services.sync.matching import comparable
from services.sync.policy import POLICY
from services.sync.profiles import Profile
from services.sync.reaching import registrable
from tests.sync.pairs import B, away, place, seen

TABLES = POLICY.matching.tables
MATCHER = ("alignment", "locating", "matching", "naming", "profiles", "reaching")
ROOT = Path(__file__).parents[2]


def words(name: str, **said: object) -> set[str]:
    """The words of a place's name that tell it apart."""
    rare = POLICY.matching.rare
    return {word for each in seen(place(name, **said)).names for word, weight in each.words if weight == rare}


def share_a_key(one: Profile, other: Profile) -> bool:
    """Whether blocking brings two records together."""
    return not set(one.keys).isdisjoint(other.keys)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("L’Œuvre d'Été", "L'OEUVRE D’ETE"),
        ("Ctre St-Michel", "Centre Saint Michel"),
        ("SCOP Le Moulin à Café", "moulin a cafe"),
        ("Hub36", "HUB 36"),
    ],
)
def test_names_are_folded(one: str, other: str) -> None:
    """Accents, ligatures, apostrophes, abbreviations, articles and legal forms make no difference."""
    assert seen(place(one)).names == seen(place(other)).names


def test_words_that_tell_nothing_apart_weigh_little() -> None:
    """`Espace`, `coworking` and the name of the commune are no reason to hold two places for one."""
    assert words("Espace de coworking Ty Coz de Rennes") == {"ty", "coz"}
    assert words("Espace de coworking Ty Coz de Rennes", city="Brest") == {"ty", "coz", "rennes"}
    assert words("Fablab 35 de Rennes") == set()


@pytest.mark.parametrize(
    ("street", "house", "found"),
    [
        ("12 bis, bd St-Michel", "12b", ("saint", "michel")),
        ("12B boulevard Saint Michel 35000 Rennes", "12b", ("saint", "michel")),
        ("Bât. A, 3 av. du Gal de Gaulle", "3", ("general", "gaulle")),
        ("7, pl. Colbert", "7", ("colbert",)),
        ("rue de Rennes", "", ("rennes",)),
        ("", "", ()),
    ],
)
def test_streets_are_read(street: str, house: str, found: tuple[str, ...]) -> None:
    """House number with its repeat, and the words of the street without its kind, the postcode and the commune."""
    where = seen(place(street=street or None)).site
    assert (where.house, where.street) == (house, found)


def test_communes_are_known_by_name_and_code() -> None:
    """A borough is its commune of today; CEDEX and articles make no difference; a missing name comes by the code."""
    borough = seen(place(address={"insee": "75110", "city": "Paris 10e Arrondissement"})).site
    assert (borough.insee, borough.city) == ("75056", ("paris",))
    assert seen(place(city="Le Havre CEDEX")).site.city == seen(place(city="Havre (Le)")).site.city
    assert seen(place(address={"insee": "35238"})).site.city == ("rennes",)
    assert seen(place(postcode="00000")).site.postcode == ""


@pytest.mark.parametrize(
    ("url", "domains", "pages", "accounts"),
    [
        ("HTTPS://www.Exemple.fr/fr/", {"exemple.fr"}, {"exemple.fr"}, set()),
        ("exemple.fr/lieu/?a=1", {"exemple.fr"}, {"exemple.fr/lieu/?a=1"}, set()),
        ("https://ville.asso.fr", {"ville.asso.fr"}, {"ville.asso.fr"}, set()),
        ("https://lelieu.wordpress.com/", {"lelieu.wordpress.com"}, {"lelieu.wordpress.com"}, set()),
        ("https://fr-fr.facebook.com/pages/Le-Lieu/", set(), set(), {"facebook.com/le-lieu"}),
        ("https://facebook.com/profile.php?id=123456", set(), set(), {"facebook.com/123456"}),
        ("https://www.facebook.com/", set(), set(), set()),
        ("58928", set(), set(), set()),
        ("https ://exemple.fr", set(), set(), set()),
    ],
)
def test_sites_are_told_from_platforms(url: str, domains: set, pages: set, accounts: set) -> None:
    """Who writes on a platform shares no site with the others there; an account is her own."""
    found = seen(place(website=url)).reach
    assert (set(found.domains), set(found.pages), set(found.accounts)) == (domains, pages, accounts)


def test_mailboxes_tell_a_domain_unless_anybody_has_one() -> None:
    """A mailbox at the place's own domain is as good as its site; one at a provider says nothing of others there."""
    assert seen(place(email="Contact@LeLieu.fr")).reach.domains == ("lelieu.fr",)
    assert seen(place(email="lelieu@orange.fr")).reach.domains == ()
    assert seen(place(email="Contact@LeLieu.fr")).reach.emails == ("contact@lelieu.fr",)


def test_registrable_domains_follow_the_frozen_suffixes() -> None:
    """One label more than the longest known suffix of two labels."""
    hosts = {"a.b.exemple.fr": "exemple.fr", "a.b.gouv.fr": "b.gouv.fr", "fr": ""}
    assert {host: registrable(host, TABLES) for host in hosts} == hosts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("+33297000000", ("297000000",)),
        ("0033 (0)2 97 00 00 00", ("297000000",)),
        ("02.97.00.00.00 / 06 11 22 33 44", ("297000000",)),
        ("03 38 00 00 00", ("338000000",)),
        ("+262 262 12 34 56", ("262123456",)),
        ("0262 12 34 56", ("262123456",)),
        ("3646", ()),
        ("0 800 00 00 00", ()),
        ("me3c0a09bfa", ("me3c0a09bfa",)),
        ("(poste)", ()),
    ],
)
def test_phones_are_compared_as_numbers(text: str, found: tuple[str, ...]) -> None:
    """However a number is written; hotlines and short numbers are nobody's own."""
    assert seen(place(phone=text)).reach.phones == found


def test_distances_are_true() -> None:
    """Integer metres stay within half a per cent of the geodesic, in mainland France and overseas."""
    chance, earth = random.Random(1), pyproj.Geod(ellps="WGS84")
    for lat, lon in ((43.3, 5.4), (51.0, 2.4), (-21.1, 55.5), (4.9, -52.3)):
        for _ in range(50):
            here = {"lat": lat, "lon": lon}
            there = {"lat": lat + chance.uniform(-0.2, 0.2), "lon": lon + chance.uniform(-0.2, 0.2)}
            found = metres(seen(place(position=here)).site, seen(place(position=there)).site)
            true = earth.inv(lon, lat, there["lon"], there["lat"])[2]
            assert found == pytest.approx(true, rel=0.006, abs=2)
    assert METRES == 111_195


def test_distances_cross_the_date_line() -> None:
    """Wallis is no half turn away from what lies beyond the date line."""
    east, west = place(position={"lat": 0.1, "lon": 179.999}), place(position={"lat": 0.1, "lon": -179.999})
    assert metres(seen(east).site, seen(west).site) == pytest.approx(222, abs=2)


def test_the_point_of_broken_software_is_no_position() -> None:
    """Latitude 0 and longitude 0 put nobody next to anybody."""
    nowhere = seen(place(position={"lat": 0.0, "lon": 0.0}))
    assert nowhere.site.lat is None
    assert not [key for key in nowhere.keys if key.startswith("c:")]


@pytest.mark.parametrize(("north", "east"), [(900, 0), (0, 900), (900, -900), (-900, -900), (0, 0)])
def test_neighbours_meet(north: int, east: int) -> None:
    """Two records less than a cell apart share a key in every direction, whatever they are called."""
    nowhere = {"city": None, "postcode": None}
    one = seen(place("Alpha", **nowhere))
    assert share_a_key(one, seen(place("Omega", position=away(north, east), **nowhere), B))
    assert not share_a_key(one, seen(place("Omega", position=away(north + 5000, east), **nowhere), B))


def test_records_meet_by_what_is_rare() -> None:
    """A rare word in one département or commune, a whole name in one commune, and each way to reach a place."""
    far = {"position": away(north=9000)}
    one = seen(place("Ty Coz", phone="0297000000", email="a@b.fr"))
    for other in (
        place("Espace Ty Coz", city="Fougères", postcode="35300", **far),
        place("Autre", city=None, postcode=None, phone="+33297000000", **far),
        place("Autre", city=None, postcode=None, email="a@b.fr", **far),
        place("Autre", city=None, postcode=None, website="https://b.fr", **far),
    ):
        assert share_a_key(one, seen(other, B))
    assert not share_a_key(one, seen(place("Espace Ty Coz", city="Brest", postcode="29200", **far), B))
    dull = "Espace Coworking"
    assert share_a_key(seen(place(dull)), seen(place(dull, **far), B))
    assert not share_a_key(seen(place(dull)), seen(place(dull, city="Fougères", postcode="35300", **far), B))


def test_only_pairs_with_something_in_common_are_scored() -> None:
    """Neighbours that share no start of a word, no address and no contact are not worth a score."""
    one = seen(place("Ty Coz", street="3 rue du Port"))
    assert not comparable(one, seen(place("Atelier Vauban"), B))
    assert comparable(one, seen(place("Ty-Kozh Coz"), B))
    assert comparable(one, seen(place("Atelier Vauban", street="3 rue du Port"), B))
    assert comparable(seen(place("Vauban", email="a@b.fr")), seen(place("Ty Coz", email="a@b.fr"), B))


@pytest.mark.parametrize("said", [{"kind": "undisclosed", "position": None}, {"join": "claims"}])
def test_nobody_is_joined_against_her_will(said: dict) -> None:
    """An undisclosed place, and one that asks for claims, is neither joined nor proposed by points."""
    hidden, known = seen(place(**said)), seen(place(), B)
    assert (hidden.automatic, known.automatic) == (False, True)
    assert not comparable(hidden, known)
    assert not comparable(known, hidden)


def test_nothing_is_kept_of_where_an_undisclosed_place_is() -> None:
    """Whatever the record says, the profile has neither its point nor its street."""
    site = seen(place(kind="undisclosed", street="3 rue du Port")).site
    assert (site.lat, site.lon, site.house, site.street) == (None, None, "", ())


def test_a_hostile_record_stays_small() -> None:
    """A thousand names, links and identifiers make no profile that costs others time."""
    many = [f"mot{n}" for n in range(1000)]
    found = seen(
        place(
            " ".join(many)[:200],
            alternate_names=many,
            links=[{"rel": "web", "url": f"https://{word}.fr"} for word in many],
            identifiers=[{"scheme": "osm", "value": word} for word in many],
        )
    )
    assert len(found.names) <= 4
    assert len(found.keys) < 120
    assert len(found.hints) < 120


def test_profiles_are_written_and_read() -> None:
    """A profile can be kept, and comes back as it was; its keys are sorted and distinct."""
    found = seen(place("Ty Coz (Le vieux manoir)", street="3 rue du Port", phone="0297000000"))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Profile) == found
    assert list(found.keys) == sorted(set(found.keys))


def test_tables_are_folded() -> None:
    """A word that is not written as it is compared would never be found."""
    for table in (TABLES.articles, TABLES.generic, TABLES.fillers, TABLES.ways, TABLES.legal_forms):
        assert all(word.isascii() and word == word.lower() and " " not in word for word in table)
    written = [w for phrase in TABLES.trades for w in phrase.split()]
    assert not set(written) & TABLES.articles
    assert not {w for w in written if TABLES.abbreviations.get(w, w) != w}
    assert not {w for w in TABLES.generic if TABLES.abbreviations.get(w, w) != w}


def test_the_policy_names_the_communes_that_it_reads() -> None:
    """Another list of communes is another policy."""
    packed = resources.files("services").joinpath("communes.tsv.gz").read_bytes()
    assert sha256(packed).hexdigest() == TABLES.communes


@pytest.mark.parametrize("name", MATCHER)
def test_the_matcher_leans_on_no_table_of_python(name: str) -> None:
    """No Unicode table, no float and no division that another version or machine could do otherwise."""
    tree = ast.parse((ROOT / "services" / "sync" / f"{name}.py").read_text("utf-8"))
    moving = {
        "lower",
        "upper",
        "casefold",
        "title",
        "isalpha",
        "isalnum",
        "isdigit",
        "isdecimal",
        "isnumeric",
    }
    constants = {"LOWER": "LETTERS"}
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), name
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)), name
        if isinstance(node, ast.Attribute) and node.attr in moving:
            assert ast.unparse(node.value) in constants.values(), f"{name}:{node.lineno}"
