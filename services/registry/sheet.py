"""The recovery sheet: what a coordinator prints and keeps away from every machine. Pure."""

from collections.abc import Sequence

from services import keyring
from services.signing import Signer

SHEET = """
================================ FICHE DE SECOURS / RECOVERY SHEET ================================

Réseau / network  : {name}
Identifiant / id  : {node}
Clé racine {number} sur {count} / root key {number} of {count}  ({kid}); {threshold} nécessaire(s) / needed

    {first}
    {second}

À imprimer et à garder sous clé, loin de tout ordinateur. Cette clé prouve que ce registre est le vôtre : il en
faut pour changer de clé de signature, pour révoquer une clé volée, et pour repartir après une sauvegarde. Qui la
possède peut parler en votre nom ; si elle est perdue, personne ne peut la refaire.
Pour la reprendre depuis le papier :  python -m services.registry key recover --root-key FICHIER

Print this and lock it away from every computer. The key proves that this registry is yours: it is needed to change
the signing key, to revoke a stolen one, and to go on after a backup was restored. Whoever has it can speak in your
name; once lost, nobody can make it again.
To take it back from paper:  python -m services.registry key recover --root-key FILE

===================================================================================================
"""


def sheet(node: str, name: str, roots: Sequence[Signer], threshold: int) -> str:
    """One sheet for each root key: each is kept by somebody else, where there are several."""
    return "\n".join(_one(node, name, roots, place, threshold) for place in range(len(roots)))


def _one(node: str, name: str, roots: Sequence[Signer], place: int, threshold: int) -> str:
    groups = keyring.spelled(roots[place]).split()
    return SHEET.format(
        node=node,
        name=name,
        number=place + 1,
        count=len(roots),
        kid=roots[place].kid,
        threshold=threshold,
        first=" ".join(groups[:7]),
        second=" ".join(groups[7:]),
    )
