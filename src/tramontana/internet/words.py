"""What agents say of themselves, in Italian. Agents speak English, in sentences of few parts; whoever shows them to people uses this."""

from __future__ import annotations

import re
from typing import Final

_PARTS: Final = tuple(
    (re.compile(pattern), italian)
    for pattern, italian in (
        (r"no carrier lives that the policy allows: (.+)", "nessun vettore consentito dalle regole è attivo: {0}"),
        (r"first choice that lives and is allowed", "prima scelta attiva e consentita"),
        (r"there is no tunnel", "non c'è alcun tunnel"),
        (r"(.+) is preferred and has been good again for a while", "{0} è preferito e funziona di nuovo da un po'"),
        (r"(\w+) of (.+) predicted", "previsto per {1}: {0}"),
        (r"(.+) loses (\d+%)", "{0} perde il {1}"),
        (r"(.+) is dead", "{0} non risponde più"),
        (r"(.+) is gone", "{0} non c'è più"),
        (r"(.+) has no link", "{0} è senza collegamento"),
        (r"(.+) has not answered yet", "{0} non ha ancora risposto"),
        (r"(.+) has no post-quantum key in force", "{0} non ha una chiave post-quantistica in vigore"),
        (r"(.+) refused by “(.+)”: (.+)", "{0} rifiutato dalla regola «{1}»: {2}"),
        (r"(.+) lives", "{0} è attivo"),
        (r"only (.+) may be used", "si può usare solo {0}"),
        (r"this carrier is excluded", "questo vettore è escluso"),
        (r"its operator is under the law of (.+)", "il suo operatore è soggetto alla legge di {0}"),
        (r"its traffic may land in (.+)", "il suo traffico può arrivare a terra in {0}"),
        (r"where its traffic lands is not known", "non si sa dove il suo traffico arriva a terra"),
        (r"its price is not known", "il suo prezzo non è noto"),
        (r"its price is in (\w+), the limit in (\w+)", "il suo prezzo è in {0}, il limite in {1}"),
        (r"it costs (.+) a month, more than (.+)", "costa {0} al mese, più di {1}"),
        (r"the site has only just started", "il sito è appena partito"),
        (r"no post-quantum key yet", "ancora nessuna chiave post-quantistica"),
        (r"no handshake for too long", "nessuno scambio di chiavi da troppo tempo"),
        (r"this site: revoked", "questo sito è revocato"),
        (r"the gateway: revoked", "il gateway è revocato"),
        (r"this site: expired", "il certificato di questo sito è scaduto"),
        (r"the gateway: expired", "il certificato del gateway è scaduto"),
        (r"revoked: (.+)", "revocato: {0}"),
        (r"the certificate of this site does not count any more \((\w+)\)", "il certificato di questo sito non vale più ({0})"),
        (r"the gateway does not serve uplink (\d+)", "il gateway non serve il collegamento {0}"),
        (r"handover", "passaggio di satellite"),
        (r"outage", "interruzione"),
        (r"a country not known", "un paese sconosciuto"),
    )
)


def italian(sentence: str) -> str:
    """A sentence of an agent; a part that is not known stays as it is."""
    return "; ".join(map(_part, sentence.split("; ")))


def _part(part: str) -> str:
    for pattern, words in _PARTS:
        if found := pattern.fullmatch(part):
            return words.format(*(_part(group) for group in found.groups()))
    return part
