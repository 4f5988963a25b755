"""What is said to people in need, in five languages, and how a text's language is told.

Italian for the country, English for whoever has nothing else, German and French for its guests and its bilingual provinces, Romanian
for its largest community from abroad. Every sentence fits into one short message in the GSM alphabet (so Romanian stands without its
diacritics, as it is commonly texted): two messages cost a beam twice the time, and a half one helps nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

Language = Literal["it", "en", "de", "fr", "ro"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
Phrase = Literal[
    "received", "ask position", "ask people", "ask injured", "ask danger", "three words", "several places", "waiting", "one way", "closed"
]

PHRASES: Mapping[Phrase, Mapping[Language, str]] = {
    "received": {
        "it": "Messaggio ricevuto, caso {number}. Le risponderemo qui. Risparmi la batteria e tenga il telefono all'aperto.",
        "en": "Message received, case {number}. We answer here. Save battery and keep the phone under open sky.",
        "de": "Nachricht erhalten, Fall {number}. Wir antworten hier. Sparen Sie Akku, Telefon unter freiem Himmel lassen.",
        "fr": "Message recu, dossier {number}. Nous répondons ici. Economisez la batterie, gardez le téléphone à ciel ouvert.",
        "ro": "Mesaj primit, caz {number}. Raspundem aici. Economisiti bateria si tineti telefonul sub cerul liber.",
    },
    "ask position": {
        "it": "Dove siete? Scriva comune, via e numero, o le coordinate dalla bussola o dalle mappe.",
        "en": "Where are you? Send town, street and number, or the coordinates from your compass or maps.",
        "de": "Wo sind Sie? Ort, Strasse und Hausnummer, oder Koordinaten aus Kompass oder Karte.",
        "fr": "Où etes-vous? Commune, rue et numéro, ou les coordonnées de la boussole ou de la carte.",
        "ro": "Unde sunteti? Scrieti localitatea, strada si numarul, sau coordonatele din busola sau harta.",
    },
    "ask people": {
        "it": "Quante persone siete? Risponda con un numero.",
        "en": "How many people are you? Answer with a number.",
        "de": "Wie viele Personen sind Sie? Antworten Sie mit einer Zahl.",
        "fr": "Combien de personnes etes-vous? Répondez par un nombre.",
        "ro": "Cate persoane sunteti? Raspundeti cu un numar.",
    },
    "ask injured": {
        "it": "Quanti feriti? Qualcuno è incosciente o sanguina molto? 0 se nessuno.",
        "en": "How many injured? Is anyone unconscious or bleeding badly? 0 if nobody.",
        "de": "Wie viele Verletzte? Ist jemand bewusstlos oder blutet stark? 0 wenn niemand.",
        "fr": "Combien de blessés? Quelqu'un est inconscient ou saigne beaucoup? 0 si personne.",
        "ro": "Cati raniti? Este cineva inconstient sau sangereaza mult? 0 daca nimeni.",
    },
    "ask danger": {
        "it": "C'è un pericolo adesso: fuoco, gas, acqua, crollo, persone sotto le macerie?",
        "en": "Is there danger now: fire, gas, water, collapse, people under rubble?",
        "de": "Gibt es jetzt Gefahr: Feuer, Gas, Wasser, Einsturz, Verschüttete?",
        "fr": "Y a-t-il un danger: feu, gaz, eau, effondrement, personnes sous les décombres?",
        "ro": "Exista pericol acum: foc, gaz, apa, prabusire, oameni sub daramaturi?",
    },
    "three words": {
        "it": "Qui non possiamo leggere indirizzi di tre parole o codici brevi. Mandi le coordinate in numeri, o comune e via.",
        "en": "We cannot read three-word addresses or short codes here. Please send coordinates in numbers, or town and street.",
        "de": "Drei-Wort-Adressen und Kurzcodes lesen wir hier nicht. Bitte Koordinaten in Zahlen, oder Ort und Strasse.",
        "fr": "Les adresses à trois mots et codes courts ne se lisent pas ici. Envoyez les coordonnées en chiffres, ou commune et rue.",
        "ro": "Adresele din trei cuvinte si codurile scurte nu le putem citi. Trimiteti coordonate in cifre, sau localitatea si strada.",
    },
    "several places": {
        "it": "Più luoghi hanno questo nome. Scriva anche la provincia o un luogo vicino.",
        "en": "Several places have this name. Send the province or a place nearby as well.",
        "de": "Mehrere Orte heissen so. Schreiben Sie auch die Provinz oder einen Ort in der Nähe.",
        "fr": "Plusieurs lieux ont ce nom. Indiquez aussi la province ou un lieu proche.",
        "ro": "Mai multe locuri au acest nume. Scrieti si provincia sau un loc apropiat.",
    },
    "waiting": {
        "it": "Grazie. Un operatore legge il caso {number}. Scriva qui se qualcosa cambia.",
        "en": "Thank you. An operator is reading case {number}. Write here if anything changes.",
        "de": "Danke. Ein Mitarbeiter liest Fall {number}. Schreiben Sie hier, wenn sich etwas ändert.",
        "fr": "Merci. Un opérateur lit le dossier {number}. Ecrivez ici si quelque chose change.",
        "ro": "Multumim. Un operator citeste cazul {number}. Scrieti aici daca se schimba ceva.",
    },
    "one way": {
        "it": "Ricevuto, caso {number}. Rete al limite: leggiamo tutto, ma forse non potremo rispondere. Scriva luogo, persone, feriti.",
        "en": "Received, case {number}. Network at its limit: we read all but may not answer. Send place, people, injured.",
        "de": "Erhalten, Fall {number}. Netz am Limit: wir lesen alles, können aber kaum antworten. Ort, Personen, Verletzte senden.",
        "fr": "Recu, dossier {number}. Réseau saturé: nous lisons tout sans toujours répondre. Envoyez lieu, personnes, blessés.",
        "ro": "Primit, caz {number}. Retea la limita: citim tot, dar poate nu raspundem. Trimiteti locul, persoane, raniti.",
    },
    "closed": {
        "it": "Il caso {number} è chiuso. Se ha ancora bisogno, risponda a questo messaggio.",
        "en": "Case {number} is closed. If you still need help, answer this message.",
        "de": "Fall {number} ist geschlossen. Brauchen Sie noch Hilfe, antworten Sie auf diese Nachricht.",
        "fr": "Le dossier {number} est clos. Si vous avez encore besoin d'aide, répondez à ce message.",
        "ro": "Cazul {number} este inchis. Daca mai aveti nevoie de ajutor, raspundeti la acest mesaj.",
    },
}
CHOOSE = "Caso/case {number}. Lingua / language / Sprache / langue / limba? IT EN DE FR RO"
"""Asked where a text's language cannot be told."""

# Short words that a text in need is likely to have; a word that two languages share counts for both.
_WORDS: Mapping[Language, str] = {
    "it": "aiuto siamo sono il la le gli di che non un una per con casa crollata feriti ferito bloccati terremoto soccorso "
    "presto acqua fuoco qui mia mio madre padre persone subito alla al del della nella in macerie grazie",
    "en": "help we are is the a an my at of and not in on to need trapped injured hurt house collapsed earthquake fire water "
    "please people here under am i have has our there stuck wounded with",
    "de": "hilfe wir sind ist der die das ein eine ich bin nicht und mit im in am haus verletzt verletzte erdbeben feuer wasser "
    "bitte hier unter eingeschlossen personen mein meine uns kinder auf zu",
    "fr": "aide secours nous sommes est le la les un une je suis pas et avec dans maison blesse blesses seisme feu eau svp "
    "ici sous bloques personnes mon ma notre au aux du des sur",
    "ro": "ajutor suntem este sunt o un la nu si cu in casa prabusita raniti ranit cutremur foc apa va rog aici sub blocati "
    "persoane mea meu noi copii pe din am mama tata oameni",
}
_MARKS: Mapping[Language, frozenset[str]] = {language: frozenset(words.split()) for language, words in _WORDS.items()}
_ASCII = str.maketrans(dict(zip("àáâäãèéêëìíîïòóôöùúûüçășşțţ", "aaaaaeeeeiiiioooouuuucasstt", strict=True)) | {"ß": "ss"})


def language_named(text: str) -> Language | None:
    """The language that somebody chose with its two letters."""
    word = text.strip(" .!").lower()
    return next((language for language in LANGUAGES if word == language), None)


def language_of(text: str) -> Language | None:
    """The language of a text by its short words; None where two are as likely, or too little was written."""
    words = re.findall(r"[a-z]+", text.lower().translate(_ASCII).lower())
    scores = sorted(((sum(word in marks for word in words), language) for language, marks in _MARKS.items()), reverse=True)
    (best, language), (second, _) = scores[0], scores[1]
    return language if best >= 1 and best > second else None
