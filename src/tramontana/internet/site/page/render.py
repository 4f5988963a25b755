"""The page as a text, from what the agent says of itself: what carries, what is blocked and why, in English and Italian. No secrets."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final, Literal

from tramontana.internet.words import italian

Language = Literal["en", "it"]

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "title": ("{0}: connection", "{0}: collegamento"),
    "carries": ("Connected by {0}", "Collegato tramite {0}"),
    "blocked": ("Blocked: nothing leaves this site", "Bloccato: da questo sito non esce nulla"),
    "why": ("Why", "Perché"),
    "closed": (
        "Nothing goes out unprotected: while no tunnel carries, traffic waits or is refused.",
        "Nulla esce senza protezione: finché nessun tunnel è attivo, il traffico attende o è rifiutato.",
    ),
    "classes": ("Blocked kinds of traffic", "Tipi di traffico bloccati"),
    "copies": ("Urgent packets that go twice", "Pacchetti urgenti che vanno due volte"),
    "over": ("{0}: over {1} too", "{0}: anche tramite {1}"),
    "paused": ("{0}: once only. {1}", "{0}: una volta sola. {1}"),
    "tunnels": ("Tunnels", "Tunnel"),
    "carrier": ("Carrier", "Vettore"),
    "gateway": ("Gateway", "Gateway"),
    "state": ("State", "Stato"),
    "delay": ("Round trip", "Andata e ritorno"),
    "loss": ("Loss", "Perdita"),
    "key": ("Key age", "Età della chiave"),
    "up": ("up", "attivo"),
    "down": ("down", "inattivo"),
    "history": ("What carried, and why", "Che cosa ha trasportato, e perché"),
    "nothing": ("nothing", "nulla"),
    "ago": ("{0} ago", "{0} fa"),
    "none": ("Nothing has changed yet.", "Nulla è ancora cambiato."),
    "stale": (
        "The site's agent does not answer; what stands here is old.",
        "L'agente del sito non risponde; quello che si legge è vecchio.",
    ),
    "language": ("Italiano", "English"),
    "voice": ("voice", "voce"),
    "data": ("data", "dati"),
    "bulk": ("bulk", "trasferimenti di massa"),
    "routine": ("routine", "ordinaria"),
    "priority": ("priority", "prioritaria"),
    "immediate": ("immediate", "immediata"),
    "flash": ("flash", "lampo"),
    "flash-override": ("flash override", "lampo assoluto"),
}

_STYLE: Final = """
:root{color-scheme:light dark;--line:#c9d3df;--good:#1c6b3c;--bad:#a3201c;--quiet:#4a5a70}
@media (prefers-color-scheme:dark){:root{--line:#26354d;--good:#74d99a;--bad:#ff9a92;--quiet:#a3b3ca}body{background:#0a111d;color:#e9f0fa}}
body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
header{display:flex;justify-content:space-between;gap:1rem;align-items:baseline}
a{color:inherit}
#state{font-size:1.4rem;font-weight:700}#state.up{color:var(--good)}#state.blocked{color:var(--bad)}
.quiet,.ago{color:var(--quiet)}.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:start;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);white-space:nowrap}
li{margin-block:.25rem}#stale{color:var(--bad);font-weight:700}
"""
_SCRIPT: Final = """
setInterval(async () => {
  const stale = document.getElementById("stale");
  try {
    const answer = await fetch(location.href);
    const read = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ["state", "why", "copies", "tunnels", "history"]) {
      const here = document.getElementById(id), there = read.getElementById(id);
      if (here.innerHTML !== there.innerHTML) here.innerHTML = there.innerHTML;
      here.className = there.className;
    }
    stale.hidden = true;
  } catch {
    stale.hidden = false;
  }
}, 5000);
"""


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_digest(_STYLE)}'; script-src 'sha256-{_digest(_SCRIPT)}'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: what it holds itself, and nothing from anywhere."""


def language_of(accepted: str, asked: str) -> Language:
    """asked: the query's `lang`; accepted: Accept-Language (RFC 9110 §12.5.4), of which the order as it stands is enough."""
    if asked in ("en", "it"):
        return "it" if asked == "it" else "en"
    first = next((tag.strip()[:2].lower() for tag in accepted.split(",") if tag.strip()[:2].lower() in ("en", "it")), "en")
    return "it" if first == "it" else "en"


def page(condition: Mapping[str, Any], carriers: Mapping[int, str], gateways: Mapping[str, int], language: Language) -> str:
    """condition: `SiteAgent.condition`; carriers: names by uplink; gateways: numbers by device id."""
    say = _Say(language)
    name = escape(str(condition["name"]))
    carrying = condition["carrying"]
    if carrying is None:
        state, kind = say("blocked"), "blocked"
        why = f"<p>{say('why')}: {say.sentence(str(condition['blocked']))}</p><p class=quiet>{say('closed')}</p>"
    else:
        state, kind, why = say("carries", escape(carriers[carrying["uplink"]])), "up", ""
    classes = "".join(f"<li>{say.flows(each['flows'])}: {say.sentence(each['reason'])}</li>" for each in condition["blocked_flows"])
    if classes and carrying is not None:
        why += f"<h2>{say('classes')}</h2><ul>{classes}</ul>"
    other = "it" if language == "en" else "en"
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{say('title', name)}</title><style>{_STYLE}</style></head><body>"
        f'<header><h1>{name}</h1><a href="?lang={other}" lang="{other}" hreflang="{other}">{say("language")}</a></header>'
        f'<main><p id="stale" role="alert" hidden>{say("stale")}</p><p id="state" class="{kind}" role="status">{state}</p>'
        f'<div id="why">{why}</div><div id="copies">{_copies(condition, carriers, say)}</div>'
        f'<h2>{say("tunnels")}</h2><div id="tunnels" class="scroll" tabindex="0" role="region" '
        f'aria-label="{say("tunnels")}">{_tunnels(condition, carriers, gateways, say)}</div><h2>{say("history")}</h2>'
        f'<div id="history">{_history(condition, carriers, say)}</div></main><script>{_SCRIPT}</script></body></html>'
    )


class _Say:
    """Words of one language, safe in HTML."""

    def __init__(self, language: Language) -> None:
        self._language: Language = language

    def __call__(self, word: str, *given: str) -> str:
        return escape(_WORDS[word][self._language == "it"]).format(*given)

    def sentence(self, text: str) -> str:
        """One of the agent's."""
        return escape(italian(text) if self._language == "it" else text)

    def flow(self, label: str) -> str:
        return " ".join(self(part) if part in _WORDS else escape(part) for part in label.split(", "))

    def flows(self, labels: Sequence[str]) -> str:
        return ", ".join(map(self.flow, labels))

    def number(self, value: float | None, unit: str, digits: int = 0) -> str:
        if value is None:
            return "–"
        text = f"{value:.{digits}f}"
        return f"{text.replace('.', ',') if self._language == 'it' else text} {unit}"


def _copies(condition: Mapping[str, Any], carriers: Mapping[int, str], say: _Say) -> str:
    copies = condition["copies"]
    lines = [say("over", say.flows(each["flows"]), escape(carriers[each["uplink"]])) for each in copies["over"]]
    lines += [say("paused", say.flows(each["flows"]), say.sentence(each["reason"])) for each in copies["paused"]]
    return f"<h2>{say('copies')}</h2><ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>" if lines else ""


def _tunnels(condition: Mapping[str, Any], carriers: Mapping[int, str], gateways: Mapping[str, int], say: _Say) -> str:
    heads = "".join(f'<th scope="col">{say(word)}</th>' for word in ("carrier", "gateway", "state", "delay", "loss", "key"))
    rows = ""
    for tunnel in condition["tunnels"]:
        delay, loss = tunnel["round_trip_s"], tunnel["loss"]
        state = say("up") if tunnel["up"] else f"{say('down')}: {say.sentence(str(tunnel['blocked']))}"
        cells = (
            str(gateways.get(tunnel["gateway"], "–")),
            state,
            say.number(None if delay is None else 1000 * delay, "ms"),
            say.number(None if loss is None else 100 * loss, "%", 1),
            say.number(tunnel["key_age_s"], "s"),
        )
        rows += f'<tr><th scope="row">{escape(carriers[tunnel["uplink"]])}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _history(condition: Mapping[str, Any], carriers: Mapping[int, str], say: _Say) -> str:
    lines = ""
    for change in [each for each in condition["history"] if "data, routine" in each["flows"]][:-11:-1]:
        before, after = (
            say("nothing") if uplink is None else escape(carriers.get(uplink, str(uplink))) for uplink in (change["from"], change["to"])
        )
        lines += (
            f"<li>{before} → {after}: {say.sentence(change['reason'])} <span class=ago>{say('ago', _duration(change['ago_s']))}</span></li>"
        )
    return f"<ol>{lines}</ol>" if lines else f"<p class=quiet>{say('none')}</p>"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02}"
