"""`tramontana warn`: submit, approve, follow and end public warnings, from the device of an operator or approver.

Every decision is signed here, over what is shown here: the server cannot put other words under it.
"""

from __future__ import annotations

import functools
import json
import math
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from pydantic import ValidationError

from tramontana.cell import area as areas
from tramontana.cell import broadcast_network, cell_broadcast, population, public_warning_asn1, warning_content, warning_decision
from tramontana.cell import warning as rules
from tramontana.cell.cell_broadcast import Level, SerialNumber
from tramontana.cell.public_warning_asn1 import MOST_BROADCASTS
from tramontana.cell.warning import OnAir, State
from tramontana.cell.warning_content import LEVEL_OF_SEVERITY, Content
from tramontana.cell.warning_decision import Decision
from tramontana.cli import warning_data
from tramontana.cli.datadir import data_dir, data_option
from tramontana.cli.desk import Desk
from tramontana.cli.passphrases import passphrase, passphrase_option
from tramontana.cli.server_api import b64, unb64
from tramontana.complaints import complaints
from tramontana.errors import LocalError

MINUTE_S = 60
FOLLOW_EVERY_S = 2.0
SEVERITIES = ("Extreme", "Severe", "Moderate", "Minor", "Unknown")
CATEGORIES = ("Geo", "Met", "Safety", "Security", "Rescue", "Fire", "Health", "Env", "Transport", "Infra", "CBRNE", "Other")
URGENCIES = ("Immediate", "Expected", "Future", "Past", "Unknown")
CERTAINTIES = ("Observed", "Likely", "Possible", "Unlikely", "Unknown")

Command = Callable[..., None]


class _Warn(click.Group):
    """Imports the satellite plan when it is asked for: a warning needs no orbits."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), "plan"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "plan":
            return super().get_command(ctx, cmd_name)
        command: click.Command = import_module("tramontana.cli.warn_plan").plan
        return command


@click.group(cls=_Warn)
def warn() -> None:
    """Warn every phone in an area: two persons, each with a device of his own (docs/warnings.md)."""


def device_options(command: Command) -> Command:
    """Adds the options of this person's device and passes it opened, as `desk`."""

    @data_option
    @click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIRECTORY",
        help="Where this person's device key is; by default beside the data directory.",
    )
    @passphrase_option
    @functools.wraps(command)
    def run(*arguments: Any, data: Path | None, home: Path | None, passphrase_file: Path | None, **others: Any) -> None:
        desk = Desk.open(_home(home, data), passphrase(passphrase_file, "this device"))
        click.get_current_context().call_on_close(desk.api.close)
        command(*arguments, desk=desk, **others)

    return run


def _home(home: Path | None, data: Path | None) -> Path:
    if home is not None:
        return home.absolute()
    found = data_dir(data)
    return found.with_name(found.name + "-warner").absolute()


@warn.command()
@click.argument("link")
@click.option("--name", required=True, help="This person's name, as others see it.")
@data_option
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), metavar="DIRECTORY", help="Where to keep the device key.")
@passphrase_option
def enrol(link: str, name: str, data: Path | None, home: Path | None, passphrase_file: Path | None) -> None:
    """Enrol this machine with an invitation LINK; custodians give it the role operator or approver."""
    desk = Desk.enrol(link, name, _home(home, data), passphrase(passphrase_file, "this device", new=True))
    click.get_current_context().call_on_close(desk.api.close)
    click.echo(f"Read this code to a custodian: {desk.code}")


def content_options(command: Command) -> Command:
    """Adds what a warning says."""
    options = (
        click.option("--text", "texts", multiple=True, metavar="LANGUAGE=TEXT", help="The text, for example it='Uscite'; twice for two."),
        click.option("--text-file", "text_files", multiple=True, metavar="LANGUAGE=FILE", help="The same from a file."),
        click.option("--area", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="GeoJSON file with polygons."),
        click.option("--named-area", "named", multiple=True, help="Area of the server's catalogue; repeatable."),
        click.option("--circle", metavar="LAT,LON,KM", help="A circle."),
        click.option("--area-name", help="What the area is called."),
        click.option("--event", help="What happened, in a word or two."),
        click.option("--category", type=click.Choice(CATEGORIES), default="Safety", show_default=True),
        click.option("--urgency", type=click.Choice(URGENCIES), default="Immediate", show_default=True),
        click.option("--severity", type=click.Choice(SEVERITIES), default="Extreme", show_default=True),
        click.option("--certainty", type=click.Choice(CERTAINTIES), default="Observed", show_default=True),
        click.option("--level", type=click.Choice([level.value for level in Level]), help="How phones show it; by severity if not given."),
        click.option("--minutes", type=click.IntRange(1, 1440), default=60, show_default=True, help="How long it stays on the air."),
        click.option("--repeat", "repetition_s", type=click.IntRange(2, 3600), default=60, show_default=True, help="Seconds between."),
        click.option("--exercise", is_flag=True, help="An exercise: only phones whose owners asked for them show it."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@warn.command()
@content_options
@click.option("--cap", "document", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CAP 1.2 file instead of all this.")
@click.option("--update", metavar="ID", help="The warning that this one replaces.")
@click.option("--template", "is_template", is_flag=True, help="Not a warning, but a template to be authorised for the first minutes.")
@device_options
def submit(document: Path | None, update: str | None, is_template: bool, desk: Desk, **given: Any) -> None:
    """Submit a warning for another person's approval, and print its id."""
    if document is not None:
        content = _from_cap(desk, document)
    else:
        kind = "template" if is_template else "update" if update else "alert"
        content = _content(desk, kind, replaces=_whole(desk, update) if update else None, **given)
    _send(desk, content)


def _from_cap(desk: Desk, document: Path) -> Content:
    read = desk.api.send("POST", "/warnings/cap", document.read_bytes(), "application/cap+xml")
    return Content.model_validate_json(json.dumps(read))


@warn.command()
@click.argument("warning_id")
@device_options
def cancel(warning_id: str, desk: Desk) -> None:
    """Submit the cancellation of a warning that is on the air; another person approves it."""
    whole = _whole(desk, warning_id)
    content = _content_of(desk.api.call("GET", f"/warnings/{whole}"))
    changed: dict[str, Any] = {"kind": "cancel", "replaces": whole, "template": None, "cap": None, "texts": [], "urgency": "Past"}
    _send(desk, _checked(content.model_dump() | changed))


@warn.command()
@click.argument("template_id")
@click.option("--area", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="GeoJSON file with polygons.")
@click.option("--named-area", "named", multiple=True, help="Area of the server's catalogue; repeatable.")
@click.option("--circle", metavar="LAT,LON,KM", help="A circle.")
@click.option("--area-name", help="What the area is called.")
@click.option("--minutes", type=click.IntRange(1, 60), help="How long; the template's own time if not given.")
@device_options
def use(
    template_id: str,
    area: Path | None,
    named: tuple[str, ...],
    circle: str | None,
    area_name: str | None,
    minutes: int | None,
    desk: Desk,
) -> None:
    """Send a warning from an authorised template AT ONCE, without a second approval."""
    whole = _whole(desk, template_id)
    template = _content_of(desk.api.call("GET", f"/warnings/{whole}"))
    where = _area(desk, area, named, circle, area_name)
    seconds = template.duration_s if minutes is None else minutes * MINUTE_S
    _send(desk, _checked(template.model_dump() | {"kind": "alert", "template": whole, "area": where, "duration_s": seconds}))


def _decision_command(decision: Decision, what: str) -> None:
    @warn.command(decision, help=what)
    @click.argument("warning_id")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @device_options
    def run(warning_id: str, yes: bool, desk: Desk) -> None:
        shown = desk.api.call("GET", f"/warnings/{_whole(desk, warning_id)}")
        octets = unb64(shown["content"])
        content = _content_of(shown)
        click.echo("\n".join([_words(content), *_words_of_the_server(desk, content)]))
        if not yes:
            click.confirm(f"{decision.capitalize()} this?", abort=True, err=True)
        answer = desk.api.call(
            "POST",
            f"/warnings/{shown['warning_id']}/decisions",
            {"decision": decision, **_signed(desk, shown["warning_id"], decision, octets)},
        )
        click.echo(f"{answer['warning_id']}  {answer['state']}")


_decision_command("approve", "Approve what another person submitted: it goes on the air, replaces or cancels.")
_decision_command("reject", "Reject what another person submitted.")
_decision_command("withdraw", "Take a submission of one's own back, or a template.")


@warn.command()
@click.argument("warning_id", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--follow", is_flag=True, help="Until every cell is as it shall be.")
@device_options
def status(warning_id: str | None, as_json: bool, follow: bool, desk: Desk) -> None:
    """All warnings, or one with what every cell answered."""
    if warning_id is None:
        listed = desk.api.call("GET", "/warnings")
        if as_json:
            click.echo(json.dumps(listed))
            return
        for shown in listed:
            content = _content_of(shown)
            when = datetime.fromtimestamp(shown["submitted_at"]).astimezone().strftime("%Y-%m-%d %H:%M")
            click.echo(f"{shown['warning_id'][:8]}  {when}  {shown['state']:<10} {content.kind:<8} {content.event}")
        return
    whole = _whole(desk, warning_id)
    while True:
        shown = desk.api.call("GET", f"/warnings/{whole}")
        settled = "on-air" if shown["state"] == "on-air" else "off-air"
        if not follow or (shown["cells"] and all(cell["state"] == settled for cell in shown["cells"])):
            break
        time.sleep(FOLLOW_EVERY_S)
    if as_json:
        click.echo(json.dumps(shown))
        return
    click.echo(f"{whole}  {shown['state']}\n{_words(_content_of(shown))}")
    for made in shown["decisions"]:
        click.echo(f"{made['decision']:<9} {made['display_name']}")
    for cell in shown["cells"]:
        reason = f" ({cell['reason']})" if cell["reason"] else ""
        click.echo(f"{cell['controller']:<16} {cell['cell']:<12} {cell['message_identifier']}  {cell['state']}{reason}")


@warn.command("cap")
@click.argument("warning_id")
@device_options
def as_cap(warning_id: str, desk: Desk) -> None:
    """An approved warning as a CAP 1.2 document."""
    click.echo(desk.api.fetch(f"/warnings/{_whole(desk, warning_id)}/cap").decode())


@warn.command()
@click.argument("warning_id")
@click.option("--as", "form", type=click.Choice(("s1ap", "ngap", "sib12", "sib8")), required=True, help="For an MME, an AMF, LTE, NR.")
@click.option("--kill", is_flag=True, help="Of a warning that has ended: what takes it off the air (s1ap, ngap).")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIRECTORY", required=True, help="Where the files go.")
@device_options
def payload(warning_id: str, form: str, kill: bool, out: Path, desk: Desk) -> None:
    """A warning on the air as the octets that an operator's LTE or NR network takes: a file for each language and message."""
    shown = desk.api.call("GET", f"/warnings/{_whole(desk, warning_id)}")
    files = _payload(form, _record(shown), kill=kill, now=time.time())
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, octets in files.items():
            (out / name).write_bytes(octets)
            click.echo(f"{out / name}  {len(octets)} octets")
    except OSError as error:
        raise LocalError(f"{out} cannot be written ({error.strerror}): choose another directory") from error


def _payload(form: str, warning: rules.Warning, *, kill: bool, now: float) -> dict[str, bytes]:
    """File names and octets. Raises `LocalError` unless the warning is on the air, or has left it for `kill`."""
    ended = (State.REPLACED, State.CANCELLED, State.EXPIRED)
    if kill and (form not in _KILLS or warning.state not in ended or warning.serial is None):
        raise LocalError(
            f"this warning is {warning.state.value}: --kill is for s1ap and ngap, and for one that was on the air and has ended"
        )
    if kill:
        return {_file(form, sent, "-kill"): _KILLS[form](sent.message_identifier, sent.serial) for sent in rules.forms(warning)}
    left_s = (warning.expires_at or 0.0) - now
    sent_now = rules.broadcasts(warning)
    if not sent_now or left_s <= 0:
        raise LocalError(
            f"this warning is {warning.state.value}, and only what is on the air is given out: have it approved, or use --kill"
        )
    if form in _SEGMENTS:
        return {
            _file(form, sent, f"-{number:02}"): octets
            for sent in sent_now
            for number, octets in enumerate(_SEGMENTS[form](sent.message_identifier, sent.serial, sent.message))
        }
    return {
        _file(form, sent): _WRITES[form](
            sent.message_identifier,
            sent.serial,
            sent.message,
            sent.repetition_s,
            min(math.ceil(left_s / sent.repetition_s), MOST_BROADCASTS),
        )
        for sent in sent_now
    }


_WRITES = {"s1ap": public_warning_asn1.s1ap_write_replace, "ngap": public_warning_asn1.ngap_write_replace}
_KILLS = {"s1ap": public_warning_asn1.s1ap_kill, "ngap": public_warning_asn1.ngap_cancel}
_SEGMENTS = {"sib12": public_warning_asn1.sib12, "sib8": public_warning_asn1.sib8}


def _file(form: str, sent: OnAir, what: str = "") -> str:
    return f"{form}-{sent.message_identifier}-{sent.serial.value:04x}{what}.bin"


def _record(shown: dict[str, Any]) -> rules.Warning:
    serial = shown["serial_number"]
    return rules.Warning(
        shown["warning_id"],
        State(shown["state"]),
        _content_of(shown),
        next((made["account_id"] for made in shown["decisions"] if made["decision"] == "submit"), ""),
        shown["submitted_at"],
        None if serial is None else SerialNumber.parse(serial),
        shown["approved_at"],
        shown["expires_at"],
        shown["ended_at"],
    )


@warn.command()
@data_option
@click.option("--network", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Controllers and cells (TOML).")
@click.option("--population", "people", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Places and people (CSV).")
@click.option("--areas", "catalogue", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Named areas (GeoJSON).")
def load(data: Path | None, network: Path | None, people: Path | None, catalogue: Path | None) -> None:
    """Load controllers, people and areas for the server of this data directory. It reads them when it starts."""
    directory = data_dir(data)
    if network is not None:
        text = _text(network)
        found = broadcast_network.parse(text)
        warning_data.keep(directory, warning_data.NETWORK_NAME, text)
        click.echo(f"{len(found.controllers)} controllers with {found.cells:,} cells")
    if people is not None:
        text = _text(people)
        table = population.parse(text)
        warning_data.keep(directory, warning_data.POPULATION_NAME, text)
        click.echo(f"{len(table.names):,} places with {int(table.people.sum()):,} people")
    if catalogue is not None:
        text = _text(catalogue)
        named = warning_data.parse_areas(text)
        warning_data.keep(directory, warning_data.AREAS_NAME, text)
        click.echo(f"{len(named):,} areas")
    if network is people is catalogue is None:
        raise click.UsageError("say what to load: --network, --population or --areas")
    click.echo("A server that runs already reads them when it is started again.", err=True)


def _send(desk: Desk, content: Content) -> None:
    click.echo(_words(content), err=True)
    warning_id, octets = secrets.token_hex(16), content.encode()
    answer = desk.api.call("PUT", f"/warnings/{warning_id}", {"content": b64(octets), **_signed(desk, warning_id, "submit", octets)})
    click.echo(f"{answer['warning_id']}  {answer['state']}")


def _signed(desk: Desk, warning_id: str, decision: Decision, octets: bytes) -> dict[str, str]:
    made = warning_decision.statement(desk.root.organisation_id, warning_id, decision, octets, desk.identity.device_id, int(time.time()))
    return {"statement": b64(made), "signature": b64(desk.sign(made))}


def _content_of(shown: dict[str, Any]) -> Content:
    return warning_content.parse(unb64(shown["content"]))


def _whole(desk: Desk, beginning: str) -> str:
    """The one warning whose id begins so. Raises `LocalError`."""
    found = [shown["warning_id"] for shown in desk.api.call("GET", "/warnings") if shown["warning_id"].startswith(beginning)]
    if len(found) != 1:
        raise LocalError(f"{len(found)} warnings begin with {beginning!r}; `tramontana warn status` shows them")
    return str(found[0])


def _content(
    desk: Desk,
    kind: str,
    *,
    replaces: str | None,
    texts: tuple[str, ...],
    text_files: tuple[str, ...],
    area: Path | None,
    named: tuple[str, ...],
    circle: str | None,
    area_name: str | None,
    event: str | None,
    category: str,
    urgency: str,
    severity: str,
    certainty: str,
    level: str | None,
    minutes: int,
    repetition_s: int,
    exercise: bool,
) -> Content:
    if event is None:
        raise click.UsageError("say what happened with --event")
    written = [_split(text) for text in texts] + [(language, _text(Path(path))) for language, path in map(_split, text_files)]
    by_severity = LEVEL_OF_SEVERITY.get(severity, Level.LEVEL_3).value
    return _checked(
        {
            "kind": kind,
            "replaces": replaces,
            "status": "exercise" if exercise else "actual",
            "level": Level.EXERCISE.value if exercise else level or by_severity,
            "category": category,
            "event": event,
            "urgency": urgency,
            "severity": severity,
            "certainty": certainty,
            "texts": [{"language": language, "text": text.strip()} for language, text in written],
            "area": None if kind == "template" else _area(desk, area, named, circle, area_name),
            "duration_s": minutes * MINUTE_S,
            "repetition_s": repetition_s,
        }
    )


def _checked(fields: dict[str, Any]) -> Content:
    try:
        return Content.model_validate(fields)
    except ValidationError as error:
        raise LocalError(complaints(error)) from error


def _area(desk: Desk, file: Path | None, named: tuple[str, ...], circle: str | None, name: str | None) -> dict[str, Any]:
    rings, names = drawn(file, circle)
    for each in named:
        found = desk.api.call("GET", f"/warnings/areas/{quote(each, safe='')}")
        rings += areas.checked([[(point[0], point[1]) for point in ring] for ring in found["polygons"]])
        names.append(each)
    if not rings:
        raise click.UsageError("say where with --area, --named-area or --circle")
    return {"description": (name or ", ".join(names))[:200], "polygons": rings}


def drawn(file: Path | None, circle: str | None) -> tuple[list[areas.Ring], list[str]]:
    """The rings of a GeoJSON file and of LAT,LON,KM, and what they are called. Raises `LocalError`, `click.BadParameter`."""
    rings: list[areas.Ring] = []
    names: list[str] = []
    if file is not None:
        try:
            rings += areas.from_geojson(json.loads(_text(file)))
        except ValueError as error:
            raise LocalError(f"{file} is no JSON ({error})") from error
        names.append(file.stem)
    if circle is not None:
        try:
            latitude, longitude, radius_km = (float(part) for part in circle.split(","))
        except ValueError as error:
            raise click.BadParameter(f"{circle!r} is not LAT,LON,KM, for example 42.7,13.3,20") from error
        rings.append(areas.circle((latitude, longitude), radius_km * 1000))
        names.append(circle)
    return rings, names


def _split(text: str) -> tuple[str, str]:
    language, equals, rest = text.partition("=")
    if not equals or len(language) != 2:
        raise click.BadParameter(f"{text!r} does not begin with a language: write for example it='Uscite di casa'")
    return language, rest


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"{path} cannot be read as UTF-8 text ({error})") from error


def _words_of_the_server(desk: Desk, content: Content) -> list[str]:
    """What helps to decide and is not under the signature: what is replaced, and who lives there."""
    lines = []
    if content.replaces is not None:
        replaced = desk.api.call("GET", f"/warnings/{content.replaces}")
        before = _content_of(replaced)
        lines.append(f"the server says, unsigned: it replaces {content.replaces[:8]} ({replaced['state']}): {before.event}")
        lines += [f"     [{text.language}] {text.text}" for text in before.texts]
    if content.area is not None:
        found = desk.api.call("POST", "/warnings/preview", {"polygons": content.area.polygons})["area"]
        people = "it does not know how many people" if found["people"] is None else f"{found['people']:,} people"
        cells = sum(controller["cells"] for controller in found["controllers"])
        lines.append(f"the server says, unsigned: {people} in the area, heard from {cells:,} cells")
    return lines


def _words(content: Content) -> str:
    """What is signed, for a person's eyes."""
    lines = [f"{content.kind} · {content.status} · {content.level.value} · {content.event} ({content.severity}, {content.urgency})"]
    if content.area is not None:
        points = sum(len(ring) for ring in content.area.polygons)
        size_km2 = areas.size_m2(content.area.polygons) / 1e6
        lines.append(f"{content.area.description}: {size_km2:,.0f} km², {len(content.area.polygons)} polygons, {points} points")
        corners = [point for ring in content.area.polygons for point in ring]
        (south, west), (north, east) = (tuple(pick(part) for part in zip(*corners, strict=True)) for pick in (min, max))
        lines.append(f"     within latitude {south:.4f} to {north:.4f}, longitude {west:.4f} to {east:.4f}")
    for text in content.texts:
        counted = cell_broadcast.count(text.text)
        lines.append(
            f"[{text.language}] {text.text}\n     {counted.characters} of {counted.capacity} characters, {counted.pages} pages, "
            f"{counted.alphabet.value}"
        )
    if content.cap is not None:
        lines.append(f"read from the CAP message {content.cap.identifier} of {content.cap.sender}")
    lines.append(f"{content.duration_s // MINUTE_S} min on the air, every {content.repetition_s} s")
    return "\n".join(lines)
