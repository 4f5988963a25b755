"""Every sentence that agents make has its Italian."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tramontana.internet import uplink_choice
from tramontana.internet.words import italian

SENTENCES = {
    "first choice that lives and is allowed": "prima scelta attiva e consentita",
    "Starlink is dead": "Starlink non risponde più",
    "Starlink loses 12%": "Starlink perde il 12%",
    "handover of Starlink predicted": "previsto per Starlink: passaggio di satellite",
    "O3b mPOWER is preferred and has been good again for a while": "O3b mPOWER è preferito e funziona di nuovo da un po'",
    "no carrier lives that the policy allows: Starlink is dead; 4G has no link": (
        "nessun vettore consentito dalle regole è attivo: Starlink non risponde più; 4G è senza collegamento"
    ),
    "Starlink refused by “embassies”: its traffic may land in US; its price is not known": (
        "Starlink rifiutato dalla regola «embassies»: il suo traffico può arrivare a terra in US; il suo prezzo non è noto"
    ),
    "something nobody foresaw": "something nobody foresaw",
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_in_italian(sentence: str) -> None:
    assert italian(sentence) == SENTENCES[sentence]


def test_what_ails_a_tunnel_is_known_whatever_it_is() -> None:
    source = Path(uplink_choice.__file__).read_text()
    ailments = re.findall(r'"((?:is|has|lives)[^"{}]*)"', source)
    assert len(ailments) >= 5
    for ailment in ailments:
        assert italian(f"Starlink {ailment}") != f"Starlink {ailment}", ailment
