"""Sentences of the choice of uplinks, and why gateways refuse a site, have their Italian.

What a certificate's own octets, a policy's rules, carriers' operators and this machine say is not of the agents, and stays as it is.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tramontana.forecast import EventKind
from tramontana.internet import tunnel_keys, uplink_choice
from tramontana.internet.gateway import driver as gateway_driver
from tramontana.internet.gateway.channel import driver as channel_driver
from tramontana.internet.outlook import Announced
from tramontana.internet.words import italian
from tramontana.keys import certificate
from tramontana.keys.refused import REASONS

SENTENCES = {
    "first choice that lives and is allowed": "prima scelta attiva e consentita",
    "Starlink is dead": "Starlink non risponde più",
    "Starlink loses 12%": "Starlink perde il 12%",
    "handover of Starlink predicted": "previsto per Starlink: passaggio di satellite",
    "announced outage of Starlink predicted": "previsto per Starlink: interruzione annunciata",
    "gateway in rain of O3b mPOWER predicted": "previsto per O3b mPOWER: pioggia sulla stazione di terra",
    "lavori alla stazione of Starlink predicted": "previsto per Starlink: lavori alla stazione",
    "this site: log_damaged": "questo sito: registro danneggiato",
    "moved: the server gives this site no place any more, or another one": (
        "spostato: il server non assegna più un posto a questo sito, o ne assegna un altro"
    ),
    "revoked: the certificate of this site does not count any more (revoked)": (
        "revocato: il certificato di questo sito non vale più (revocato)"
    ),
    "expired: the certificate of Ship 7 has expired; a custodian has to renew it": (
        "scaduto: il certificato di Ship 7 è scaduto; deve rinnovarlo un custode"
    ),
    "superseded: this site has a newer certificate; use that one": (
        "sostituito: esiste un certificato più recente di questo sito; usare quello"
    ),
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


def test_an_outage_that_is_expected_is_known_whatever_it_is() -> None:
    outages = {kind.value for kind in EventKind} - {EventKind.OLD_ELEMENTS.value}  # that one is no outage
    for reason in {*outages, Announced.model_fields["reason"].default}:
        assert reason not in italian(f"{reason} of Starlink predicted")


def test_every_reason_of_a_refusal_is_known() -> None:
    for reason in {*REASONS, *(reason for reason, _ in refusals())}:
        assert reason not in italian(f"this site: {reason}")
        assert italian(f"{reason}: x") == f"{italian(reason)}: x"


def test_whatever_a_gateway_says_to_a_site_that_it_refuses_is_known() -> None:
    found = refusals()
    assert {reason for reason, _ in found} >= {
        "moved",
        "revoked",
        "expired",
        "wrong_role",
        "unknown_site",
        "other_settings",
        "wrong_device",
    }
    for reason, sentence in found:
        for part in f"{reason}: {sentence}".split("; "):
            shown = italian(part)
            assert shown != part
            assert sentence not in shown


def refusals() -> list[tuple[str, str]]:
    """(reason, sentence) of each refusal in the source of a gateway and of the checks that it makes of a certificate."""
    found = []
    for module in (gateway_driver, channel_driver, tunnel_keys, certificate):
        whole = ast.parse(Path(str(module.__file__)).read_text())
        scope: list[ast.AST] = [each for each in ast.walk(whole) if isinstance(each, ast.FunctionDef) and each.name == "check_at"] or [
            whole
        ]
        for node in (each for part in scope for each in ast.walk(part)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Refused", "WrongPeer", "Refusal"):
                reason, sentence = node.args
                if isinstance(sentence, ast.Constant | ast.JoinedStr):  # else it is that of another refusal
                    found.append((_text(reason), _text(sentence)))
    return found


def _text(node: ast.AST) -> str:
    """With an example in every gap."""
    match node:
        case ast.Constant(str(text)):
            return text
        case ast.JoinedStr(values):
            return "".join(map(_text, values))
        case ast.FormattedValue(value):
            return _text(value)
        case ast.Name("fault"):
            return "revoked"
        case ast.Attribute(attr="number"):
            return "7"
        case _:
            return "ship"
