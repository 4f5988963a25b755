"""What agents say of themselves, in Italian. Agents speak English, in sentences of few parts; whoever shows them to people uses this."""

from __future__ import annotations

import re
from typing import Final

_REASONS: Final = {
    "malformed": "non valido",
    "unknown_profile": "profilo sconosciuto",
    "wrong_algorithm": "algoritmo sbagliato",
    "forged": "falsificato",
    "wrong_organisation": "di un'altra organizzazione",
    "not_yet_valid": "non ancora valido",
    "expired": "scaduto",
    "missing_approver": "manca chi approva",
    "approver_not_custodian": "chi approva non è un custode",
    "replayed": "ripetuto",
    "revoked": "revocato",
    "superseded": "sostituito",
    "unknown_serial": "numero di serie sconosciuto",
    "not_approved": "non approvato",
    "not_logged": "non registrato",
    "founding_incomplete": "fondazione incompleta",
    "outside_federation": "fuori dalla federazione",
    "moved": "spostato",
    "log_damaged": "registro danneggiato",
    "wrong_role": "ruolo sbagliato",
    "wrong_device": "altro dispositivo",
    "unknown_site": "sito sconosciuto",
    "other_settings": "altra configurazione",
    "other_profile": "altro profilo",
}
"""Why an agent is refused: the names of `keys.refused`, and those of control channels."""
_REASON_NAMES: Final = "|".join(_REASONS)
_PARTS: Final = tuple(
    (re.compile(pattern), italian)
    for pattern, italian in (
        (r"no carrier lives that the policy allows: (.+)", "nessun vettore consentito dalle regole è attivo: {0}"),
        (r"first choice that lives and is allowed", "prima scelta attiva e consentita"),
        (
            r"(.+) has nested tunnels and (.+) has not",
            "{0} ha tunnel annidati e {1} no",
        ),
        (r"custodians certify both with the same profile", "i custodi certifichino entrambi con lo stesso profilo"),
        (r"there is no tunnel", "non c'è alcun tunnel"),
        (r"(.+) is preferred and has been good again for a while", "{0} è preferito e funziona di nuovo da un po'"),
        (r"(.+) of (.+) predicted", "previsto per {1}: {0}"),
        (r"(.+) loses (\d+%)", "{0} perde il {1}"),
        (r"(.+) is dead", "{0} non risponde più"),
        (r"(.+) is gone", "{0} non c'è più"),
        (r"(.+) is out, says its terminal \((\w+)\)", "{0} è interrotto, dice il suo terminale ({1})"),
        (r"(.+) has no link", "{0} è senza collegamento"),
        (r"(.+) has not answered yet", "{0} non ha ancora risposto"),
        (r"(.+) has no post-quantum key in force", "{0} non ha una chiave post-quantistica in vigore"),
        (r"(.+) refused by “(.+)”: (.+)", "{0} rifiutato dalla regola «{1}»: {2}"),
        (r"(.+) lives", "{0} è attivo"),
        (r"only (.+) may be used", "si può usare solo {0}"),
        (r"only (.+) and above go on", "proseguono solo {0} e superiori"),
        (r"its (.+) GB of this month are used up", "i suoi {0} GB di questo mese sono esauriti"),
        (r"(.+) takes no copies: (.+)", "{0} non porta copie: {1}"),
        (r"there is no second carrier", "non c'è un secondo vettore"),
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
        (rf"this site: ({_REASON_NAMES})", "questo sito: {0}"),
        (rf"the gateway: ({_REASON_NAMES})", "il gateway: {0}"),
        (rf"({_REASON_NAMES}): (.+)", "{0}: {1}"),
        (r"the certificate of this site does not count any more \((\w+)\)", "il certificato di questo sito non vale più ({0})"),
        (
            r"the server gives this site no place any more, or another one",
            "il server non assegna più un posto a questo sito, o ne assegna un altro",
        ),
        (r"the certificate of (.+) is not valid yet", "il certificato di {0} non è ancora valido"),
        (r"check the clock", "controllare l'orologio"),
        (r"the certificate of (.+) has expired", "il certificato di {0} è scaduto"),
        (r"a custodian has to renew it", "deve rinnovarlo un custode"),
        (r"the certificate of (.+) does not give the role (\w+)", "il certificato di {0} non dà il ruolo {1}"),
        (r"ask a custodian for another", "chiederne un altro a un custode"),
        (r"the certificate of (.+) is not in the organisation's log", "il certificato di {0} non è nel registro dell'organizzazione"),
        (r"the certificate of (.+) is revoked", "il certificato di {0} è revocato"),
        (r"(.+) has a newer certificate", "esiste un certificato più recente di {0}"),
        (r"use that one", "usare quello"),
        (r"(.+) answers where the gateway (\w+) should", "{0} risponde al posto del gateway {1}"),
        (r"somebody else shows the certificate of (.+)", "qualcun altro mostra il certificato di {0}"),
        (r"this gateway does not know the site", "questo gateway non conosce il sito"),
        (r"add it to the gateway's configuration", "aggiungerlo alla configurazione del gateway"),
        (
            r"the site says number (\d+) and other networks than this gateway knows of it",
            "il sito dichiara il numero {0} e reti diverse da quelle che questo gateway conosce",
        ),
        (r"the gateway does not serve uplink (\d+)", "il gateway non serve il collegamento {0}"),
        (r"handover", "passaggio di satellite"),
        (r"outage", "interruzione"),
        (r"announced outage", "interruzione annunciata"),
        (r"route change", "cambio di percorso"),
        (r"obstruction", "ostacolo"),
        (r"rain", "pioggia"),
        (r"gateway in rain", "pioggia sulla stazione di terra"),
        (r"coverage gap", "assenza di copertura"),
        (r"this site", "questo sito"),
        (r"a country not known", "un paese sconosciuto"),
        *_REASONS.items(),
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
