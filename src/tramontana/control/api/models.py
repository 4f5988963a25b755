"""Requests and answers of the HTTP interface. Field names are those of docs/protocols.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tramontana.control.shapes import (
    AlarmSecret,
    ApplicationMessage,
    Challenge,
    CommitMessage,
    DeviceState,
    Digest,
    DisplayName,
    Epoch,
    Id,
    KeyPackageMessage,
    Name,
    Note,
    PublicKey,
    Role,
    Roles,
    Sequence,
    Shape,
    Signature,
    SignedStatement,
    Token,
    Unit,
    UnixSeconds,
    WelcomeMessage,
)
from tramontana.phone.forwarder.sdp import MAX_OFFER_CHARACTERS
from tramontana.precedence import PrecedenceLabel

MAX_KEY_PACKAGES = 50
MAX_CLAIMED_ACCOUNTS = 100
"""In one request; an answer has about 3.6 kB for each of their devices."""


# Service, enrolment, sessions


class Service(Shape):
    """What a phone must know before it enrols."""

    service_id: Id
    version: str
    suite: int = Field(description="the MLS cipher suite of every conversation")


class Enrolment(Shape):
    invitation: Token = Field(repr=False)
    display_name: DisplayName
    signature_public_key: PublicKey
    proof: Signature = Field(repr=False)


class Enrolled(Shape):
    account_id: Id
    device_id: Id


class ChallengeRequest(Shape):
    device_id: Id


class ChallengeAnswer(Shape):
    challenge: Challenge
    expires_at: UnixSeconds


class Login(Shape):
    device_id: Id
    challenge: Challenge
    signature: Signature = Field(repr=False)


class Session(Shape):
    token: Token = Field(repr=False)
    expires_at: UnixSeconds


# One's own account, directory, key packages, access


class Me(Shape):
    account_id: Id
    display_name: str
    precedence_ceiling: PrecedenceLabel
    device_id: Id
    signature_public_key: PublicKey


class DirectoryDevice(Shape):
    device_id: Id
    signature_public_key: PublicKey
    serial: Id
    log_index: Sequence
    certificate: SignedStatement | None = Field(description="null below the log index that the client says it has read")


class DirectoryAccount(Shape):
    account_id: Id
    display_name: str
    precedence_ceiling: PrecedenceLabel
    online: bool
    devices: list[DirectoryDevice]


class KeyPackages(Shape):
    """Each is an MLSMessage that carries a KeyPackage. They replace everything that was there."""

    key_packages: list[KeyPackageMessage] = Field(max_length=MAX_KEY_PACKAGES)
    last_resort: KeyPackageMessage


class KeyPackagesRemaining(Shape):
    remaining: int = Field(description="single-use packages left; the last-resort one is not counted")


class ClaimedKeyPackage(Shape):
    device_id: Id
    key_package: KeyPackageMessage


class ClaimRequest(Shape):
    accounts: list[Id] = Field(min_length=1, max_length=MAX_CLAIMED_ACCOUNTS, description="members of the conversation")


class ClaimedOfMember(Shape):
    account_id: Id
    device_id: Id
    key_package: KeyPackageMessage


class Access(Shape):
    """Where the phone pretends to be, and over which carrier. Simulated."""

    place_id: Name
    carrier_id: Name


class PlaceOption(Shape):
    place_id: Name
    name: str
    country: str = Field(description="ISO 3166-1 alpha-2; empty on the high seas")
    kind: Literal["city", "embassy", "ship"]
    latitude_deg: float
    longitude_deg: float


class CarrierOption(Shape):
    carrier_id: Name
    name: str
    kind: str
    operator: str
    jurisdiction: str


class AccessOptions(Shape):
    places: list[PlaceOption]
    carriers: list[CarrierOption]
    chosen: Access


class PathProfileShape(Shape):
    """`tramontana.path_profile.PathProfile` as JSON; null stands for NaN (no coverage)."""

    place: str
    carrier: str
    source: str
    point_of_presence: str
    satellite_names: list[str]
    gateway_names: list[str]
    time_unix_s: list[float]
    one_way_delay_s: list[float | None]
    capacity_down_bps: list[float]
    capacity_up_bps: list[float]
    loss: list[float]
    elevation_deg: list[float | None]
    serving: list[int]
    gateway: list[int]
    outage_start_unix_s: list[float]
    outage_end_unix_s: list[float]
    handover_unix_s: list[float]
    notes: list[str]


class MyPath(Shape):
    profile: PathProfileShape
    simulated: bool


# Conversations

ConversationKind = Literal["direct", "group", "talk"]


class ConversationRequest(Shape):
    """`direct` takes the peer alone. `group` and `talk` take an id that the client drew, so that a repeat makes nothing twice."""

    kind: ConversationKind
    members: list[Id] = Field(max_length=1000, description="account ids, one's own left out")
    conversation_id: Id | None = None


class Conversation(Shape):
    """No title: that travels inside MLS. Owners and archives stand among the members too."""

    conversation_id: Id
    kind: ConversationKind
    members: list[Id] = Field(description="account ids, one's own included")
    owners: list[Id] = Field(description="who may change the members of a talk group, besides administrators")
    archives: list[Id] = Field(description="members that an administrator set to keep what is said")
    epoch: Epoch | None
    creator_device_id: Id | None


class CallDevice(Shape):
    account_id: Id
    device_id: Id


class OngoingCall(Shape):
    call_id: Id
    precedence: PrecedenceLabel
    participants: list[CallDevice] = Field(description="devices that are in it now")


class ConversationCall(Shape):
    call: OngoingCall | None


class MembersRequest(Shape):
    members: list[Id] = Field(min_length=1, max_length=1000, description="account ids to add; who is a member already stays one")


class CommitRequest(Shape):
    """`epoch` is the epoch in which the commit was made; 0 for the one that creates the group."""

    epoch: Epoch
    commit: CommitMessage = Field(repr=False)
    welcome: WelcomeMessage | None = Field(repr=False)
    removed: list[Id] = Field(default=[], max_length=4096, description="the devices that the commit takes out of the group")


class CommitAccepted(Shape):
    epoch: Epoch = Field(description="the conversation's epoch from now on")
    accepted_at: UnixSeconds


class MessageRequest(Shape):
    message_id: Id
    message: ApplicationMessage = Field(repr=False)
    attachments: list[Id] = Field(
        default_factory=list, max_length=16, description="one's own complete attachments that the message tells of"
    )


class AttachmentRequest(Shape):
    octets: int = Field(ge=1, lt=2**40, description="of all sealed chunks together")


class Attachment(Shape):
    """`chunks` in all, of which those in `stored` are here."""

    attachment_id: Id
    octets: int
    chunks: int
    stored: list[int]
    expires_at: UnixSeconds


class MessageAccepted(Shape):
    accepted_at: UnixSeconds


# Calls


class CallRequest(Shape):
    conversation_id: Id
    precedence: PrecedenceLabel
    ringing: bool = False
    """The device makes its path ready while it rings; whoever answers says so by another request without this."""


class IceServer(Shape):
    urls: list[str]
    username: str
    credential: str = Field(repr=False)


class CallGrant(Shape):
    call_id: Id
    precedence: PrecedenceLabel
    ice_servers: list[IceServer]
    expires_at: UnixSeconds
    simulated: bool


class ConnectionRequest(Shape):
    offer: Annotated[str, Field(min_length=1, max_length=MAX_OFFER_CHARACTERS, description="SDP (RFC 8866)", repr=False)]


class ConnectionAnswer(Shape):
    answer: str = Field(repr=False, description="SDP (RFC 8866)")
    kind: Literal["conference", "talk"]
    slots: int = Field(description="how many are heard at a time")


# Administration


class AdminLogin(Shape):
    token: Token = Field(repr=False)


class InvitationRequest(Shape):
    """`account_id` asks for a further device of a known person. The rest is what custodians are asked to certify."""

    note: Note = ""
    account_id: Id | None = None
    unit: Unit = ""
    roles: Roles = Field(default=["member"])
    precedence_ceiling: PrecedenceLabel = "routine"


class NewInvitation(Shape):
    """The only time that the token is shown; the server keeps its SHA-256."""

    invitation_id: Id
    token: Token = Field(repr=False)
    link: str = Field(repr=False)
    expires_at: UnixSeconds


class Invitation(Shape):
    invitation_id: Id
    note: str
    origin: Literal["administrator", "command", "start"]
    state: Literal["open", "used", "withdrawn", "expired"]
    created_at: UnixSeconds
    expires_at: UnixSeconds
    account_id: Id | None = Field(description="whose device it became")
    of_account: Id | None = Field(description="whose further device it is for")
    unit: str
    roles: list[Role]
    precedence_ceiling: PrecedenceLabel


class AdminDevice(Shape):
    device_id: Id
    state: DeviceState
    serial: Id | None
    log_index: Sequence | None
    not_after: UnixSeconds | None
    device_code: str = Field(description="what the device shows while it is pending; empty without an organisation")
    signature_public_key: PublicKey
    enrolled_at: UnixSeconds
    online: bool
    pending: int = Field(description="mailbox items not yet acknowledged")


class Guest(Shape):
    """Somebody of another organisation, in by a cross-certification."""

    organisation: str
    federation: Id = Field(description="serial of the cross-certification")
    until: UnixSeconds = Field(description="when the cross-certification ends at the latest")
    revoked: bool = Field(description="the cross-certification was ended, and the guest with it")


class AdminAccount(Shape):
    account_id: Id
    display_name: str
    precedence_ceiling: PrecedenceLabel
    created_at: UnixSeconds
    unit: str
    roles: list[Role]
    guest: Guest | None
    devices: list[AdminDevice]


class CallRules(Shape):
    """How calls are admitted."""

    call_bps: int = Field(ge=6_000, le=10_000_000, description="what one direction of a call takes of a path, bit/s")
    flash_share: float = Field(ge=0, le=0.9, description="share of each path and of the relay kept for flash and above, in whole calls")
    relay_bps: int = Field(ge=6_000, le=10**12, description="what the media relay forwards, bit/s")
    carrier_bps: dict[Name, Annotated[int, Field(ge=0, le=10**12)]] = Field(
        max_length=100, description="what calls may take of a carrier at one place, bit/s, where less than its path can carry"
    )


class Retention(Shape):
    """undelivered_days: null keeps a message until it is delivered."""

    undelivered_days: int | None = Field(ge=1, le=3650)
    call_records_days: int = Field(ge=1, le=3650)
    attachments_days: int = Field(ge=1, le=3650)
    texts_days: int = Field(default=90, ge=1, le=3650, description="texts over message centres, once nothing is to be done with them")
    sos_days: int = Field(default=365, ge=1, le=3650, description="cases of people in need, since they were closed")


class AuditorRequest(Shape):
    note: Note = ""


class AuditorLink(Shape):
    """The only time that the link is shown; the server keeps the SHA-256 of its token."""

    link: str = Field(repr=False)
    expires_at: UnixSeconds


class AuditorListed(Shape):
    """A link that reads the log now, without its token."""

    auditor_id: Id
    note: str
    created_at: UnixSeconds
    expires_at: UnixSeconds


class ArchiveKinds(Shape):
    kinds: list[ConversationKind] = Field(max_length=3, description="new conversations of these kinds get the archive; none: no more")


class Archive(ArchiveKinds):
    """An account that custodians certified as an archive. It keeps conversations in which somebody of its unit takes part."""

    account_id: Id
    display_name: str
    unit: str = Field(description="empty: conversations of the whole organisation")
    certified_until: int = Field(description="POSIX seconds")


Floor = PrecedenceLabel | Literal["none"]


class TalkMemberRights(Shape):
    owner: bool = Field(default=False, description="may change the members from the phone, too")
    floor: Floor | None = Field(
        default=None, description="the least level at which this member asks for the floor, up to the own ceiling; none: listens only"
    )


class TalkMember(TalkMemberRights):
    account_id: Id
    display_name: str
    archive: bool


class TalkGroup(Shape):
    """No name: that travels inside MLS. `founded`: an owner's phone has made the MLS group."""

    conversation_id: Id
    created_at: UnixSeconds
    founded: bool
    members: list[TalkMember]


class TalkGroupRequest(Shape):
    conversation_id: Id = Field(description="drawn by the client, so that a repeat makes nothing twice")
    owner: Id = Field(description="the account whose phone founds the group and gives it its name")
    members: list[Id] = Field(max_length=1000, description="account ids, the owner's left out")


class CallParticipant(Shape):
    device_id: Id
    account_id: Id
    display_name: str
    joined_at: UnixSeconds
    online: bool
    place_id: Name
    carrier_id: Name


class CallInProgress(Shape):
    """Who is in a call since when; the server knows no more."""

    call_id: Id
    conversation_id: Id
    precedence: PrecedenceLabel
    began_at: UnixSeconds
    participants: list[CallParticipant]


class AuditEntry(Shape):
    seq: Sequence
    at: UnixSeconds
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    hash: str = Field(description="SHA-256 in hex over this row and the hash of the one before")


class AuditPage(Shape):
    entries: list[AuditEntry]
    intact: bool = Field(description="whether every row of this page follows from the one before it")
    more: bool


# Console


class SkySite(Shape):
    """A gateway or a point of presence, with the source of its position."""

    site_id: str
    name: str
    country: str
    latitude_deg: float
    longitude_deg: float
    source: str


class SkySummary(Shape):
    constellation: str = Field(description="as people call it, e.g. `Starlink Gen1 as filed`")
    provenance: Literal["filed", "elements"] = Field(description="generated from a filing, or real elements")
    simulated: bool
    elements_epoch: UnixSeconds
    age_s: float | None = Field(description="null for a constellation as filed, which does not age")
    satellite_count: int
    slot_s: float
    places: list[PlaceOption]
    gateways: list[SkySite]
    points_of_presence: list[SkySite]


class Link(Shape):
    place_id: Name
    satellite_index: int | None
    satellite: str | None
    elevation_deg: float | None
    gateway_id: str | None
    one_way_delay_ms: float | None
    next_satellite_index: int | None


class Links(Shape):
    slot_start: UnixSeconds
    next_slot: UnixSeconds
    links: list[Link]


# Health


# Loss and duress


class SignedRevocation(Shape):
    """What a device that is out can check: the organisation's word, not the server's."""

    revocation: SignedStatement


class Zeroised(Shape):
    """The device's last word, signed with the key that it destroys: context `tramontana zeroised 1` over (service_id, device_id)."""

    signature: Signature = Field(repr=False)


class DuressAlarmKey(Shape):
    secret_sha256: Digest = Field(repr=False)


class DuressAlarm(Shape):
    secret: AlarmSecret = Field(repr=False)


class RaisedAlarm(Shape):
    """A phone was opened under duress. Shown until it is revoked, its person sets another passphrase for duress, or a week is over."""

    device_id: Id
    account_id: Id
    display_name: DisplayName
    raised_at: UnixSeconds


class Health(Shape):
    """Whether the server can do its work, for a supervisor; says nothing about who uses it."""

    status: Literal["ok"]
    events: Literal["alone", "connected", "degraded"] = Field(
        description="how the other server processes are reached; `degraded`: not at all now, so what concerns two of them comes later"
    )
