"""The sample of the demo: invented places in real communes, the same at every run."""

from __future__ import annotations

import re

from demo import sample
from services.communes import commune


def test_every_commune_of_the_sample_is_real() -> None:
    """INSEE code, name and postcode of each commune are those of the official code."""
    for town in sample.communes():
        real = commune(town.insee)
        assert real is not None, town
        assert (real.name, town.postcode in real.postcodes) == (town.name, True)


def test_the_sample_is_the_same_at_every_run() -> None:
    """Two draws give the same lists."""
    for network in sample.networks():
        assert sample.lines(network) == sample.lines(network)


def test_four_networks_overlap() -> None:
    """Three hundred places in four networks, forty of them known to two, some of these claimed by both."""
    networks = sample.networks()
    ids = {(network.alias, place["origin"]["id"]) for network in networks for place in sample.places(network)}
    pairs = sample.pairs(networks)
    assert (len(networks), len(ids), len(pairs)) == (4, 300, 40)
    assert all({pair.a, pair.b} <= ids for pair in pairs)
    assert 10 <= sum(pair.claimed for pair in pairs) < 40


def test_shared_places_are_told_in_other_words() -> None:
    """A place that two networks list is told by each in its own words, a few metres apart."""
    networks = sample.networks()
    told = {
        (network.alias, place["origin"]["id"]): place
        for network in networks
        for place in sample.places(network)
    }
    for pair in sample.pairs(networks):
        a, b = told[pair.a], told[pair.b]
        assert a["address"]["insee"] == b["address"]["insee"]
        assert abs(a["position"]["lat"] - b["position"]["lat"]) < 0.001
        assert (a["types"], a["summary"]) != (b["types"], b["summary"])


def test_any_number_of_networks_can_be_drawn() -> None:
    """Networks beyond the known territories get numbers, and every alias is its own."""
    aliases = [network.alias for network in sample.networks(14)]
    assert len(set(aliases)) == 14
    assert all(re.fullmatch(r"[a-z0-9-]+", alias) for alias in aliases)
