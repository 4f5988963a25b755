"""The rules over a log: each way to slip in a device is refused under its own name."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Callable

import pytest

from tests.keys.organisations import NOW, YEAR_S, Organisation, grant, named_id
from tramontana.keys.approval import Approval, Rejection, UnverifiedApproval, UnverifiedRejection
from tramontana.keys.certificate import (
    CLOCK_SKEW_S,
    Certificate,
    Revocation,
    UnverifiedCertificate,
    issue_certificate,
    issue_revocation,
)
from tramontana.keys.federation import ALL_UNITS, Federation, UnverifiedFederation, issue_federation
from tramontana.keys.follow import Follower
from tramontana.keys.identity import DeviceKey
from tramontana.keys.log import LogKey, UnverifiedTreeHead, compare_heads
from tramontana.keys.merkle import Edge
from tramontana.keys.organisation import SignedStatement
from tramontana.keys.refused import Refused
from tramontana.keys.register import Register
from tramontana.precedence import Precedence


@pytest.fixture(scope="module")
def ours() -> Organisation:
    return Organisation.make()


@pytest.fixture(scope="module")
def founding(ours: Organisation) -> list[bytes]:
    return ours.founding()


@pytest.fixture
def register(ours: Organisation, founding: list[bytes]) -> Register:
    made = Register(ours.key.root)
    for entry in founding:
        made.read(entry)
    return made


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(Refused) as error:
        work()
    return error.value.reason


def refused_entry(register: Register, entry: bytes) -> str:
    """The reason; and the refusal changed nothing."""
    before = (register.size, dict(register.certificates), dict(register.last_serial))
    reason = refused(lambda: register.read(entry))
    assert (register.size, register.certificates, register.last_serial) == before
    return reason


def test_a_member_needs_one_custodian(ours: Organisation, register: Register) -> None:
    entry = register.read(ours.certify(grant(), "First").encoded)
    assert isinstance(entry, Certificate)
    assert entry.grant.display_name == "Ada"
    last = register.last(named_id("Ada's phone"))
    assert last is not None
    assert (last.serial, last.log_index) == (entry.serial, 4)


@pytest.mark.parametrize(
    "powers",
    [
        {"ceiling": Precedence.IMMEDIATE},
        {"ceiling": Precedence.FLASH_OVERRIDE},
        {"roles": ("custodian",)},
        {"roles": ("approver", "member")},
    ],
)
def test_power_needs_two_custodians(ours: Organisation, register: Register, powers: dict[str, object]) -> None:
    assert refused_entry(register, ours.certify(grant(**powers)).encoded) == "missing_approver"  # type: ignore[arg-type]
    assert refused_entry(register, ours.certify(grant(**powers), "First").encoded) == "missing_approver"  # type: ignore[arg-type]
    register.read(ours.certify(grant(**powers), "First", "Second").encoded)  # type: ignore[arg-type]


def test_two_devices_of_one_custodian_are_one_approver(ours: Organisation, register: Register) -> None:
    register.read(ours.certify(grant("First", device="First-2's phone", roles=("custodian",)), "First", "Second").encoded)
    assert refused_entry(register, ours.certify(grant(ceiling=Precedence.FLASH), "First", "First-2").encoded) == "missing_approver"


def test_nobody_approves_himself(ours: Organisation, register: Register) -> None:
    promoted = grant("First", roles=("custodian", "operator"))
    assert refused_entry(register, ours.certify(promoted, "First", "Second").encoded) == "missing_approver"


def test_approvers_are_custodians_in_force(ours: Organisation, register: Register) -> None:
    register.read(ours.certify(grant("Ada"), "First").encoded)
    assert refused_entry(register, ours.certify(grant("Bruno"), "Ada").encoded) == "approver_not_custodian"
    assert refused_entry(register, ours.certify(grant("Bruno"), "Nobody").encoded) == "approver_not_custodian"
    late = ours.certify(grant("Bruno", not_after=NOW + 3 * YEAR_S), "First", now=NOW + 2 * YEAR_S)
    assert refused_entry(register, late.encoded) == "approver_not_custodian"
    second = register.last(named_id("Second's phone"))
    assert second is not None
    register.read(issue_revocation(ours.key, second.serial, second.device_id, "left", now=NOW).encoded)
    assert refused_entry(register, ours.certify(grant("Bruno"), "Second").encoded) == "approver_not_custodian"


def test_an_organisation_begins_with_two_persons(ours: Organisation, founding: list[bytes]) -> None:
    begun = Register(ours.key.root)
    for entry in founding[:3]:
        begun.read(entry)
    assert refused_entry(begun, ours.certify(grant(), "First").encoded) == "founding_incomplete"
    assert refused_entry(begun, ours.certify(grant()).encoded) == "founding_incomplete"
    again = grant("First", device="another", roles=("custodian",))
    assert refused_entry(begun, ours.certify(again).encoded) == "founding_incomplete"
    begun.read(founding[3])
    third = ours.certify(grant("Third", roles=("custodian",)))
    assert refused_entry(begun, third.encoded) == "missing_approver"


def test_a_log_begins_with_its_own_organisation(ours: Organisation, founding: list[bytes]) -> None:
    other = Organisation.make("Other").founding()
    assert refused_entry(Register(ours.key.root), other[0]) == "wrong_organisation"
    assert refused_entry(Register(ours.key.root), founding[2]) == "malformed"
    begun = Register(ours.key.root)
    begun.read(founding[0])
    assert refused_entry(begun, other[1]) == "wrong_organisation"
    assert refused_entry(begun, founding[0]) == "malformed"


def test_forged_foreign_and_malformed_certificates(ours: Organisation, register: Register) -> None:
    good = SignedStatement.parse(ours.certify(grant(), "First").encoded)
    other = Organisation.make("Other")
    assert refused_entry(register, other.certify(grant(), "First").encoded) == "wrong_organisation"
    resigned = SignedStatement.parse(other.key.sign(good.statement)).encode()
    assert refused_entry(register, resigned) == "forged"
    changed = good.statement.replace(b"routine", b"flash!!")
    assert refused_entry(register, SignedStatement(changed, good.ed25519_signature, good.ml_dsa_signature).encode()) == "forged"
    classical = SignedStatement(good.statement, good.ed25519_signature, b"")
    assert refused_entry(register, classical.encode()) == "wrong_algorithm"
    assert refused_entry(register, good.encode()[:-1]) == "malformed"
    for field, value in (("roles", ("emperor",)), ("unit", "a,b"), ("display_name", " Ada"), ("not_after", NOW - 1), ("roles", ())):
        assert refused(lambda field=field, value=value: ours.certify(grant(**{field: value}), "First")) == "malformed"  # type: ignore[misc]


def test_serials_are_used_once(ours: Organisation, register: Register) -> None:
    certificate = ours.certify(grant(), "First")
    register.read(certificate.encoded)
    assert refused_entry(register, certificate.encoded) == "replayed"
    again = issue_certificate(ours.key, certificate.serial, grant("Bruno"), certificate.approvers, now=NOW)
    assert refused_entry(register, again.encoded) == "replayed"


def test_revocation(ours: Organisation, register: Register) -> None:
    certificate = ours.certify(grant(), "First")
    register.read(certificate.encoded)
    device_id = certificate.grant.device_id
    unknown = issue_revocation(ours.key, secrets.token_hex(16), device_id, "stolen", now=NOW)
    assert refused_entry(register, unknown.encoded) == "unknown_serial"
    misnamed = issue_revocation(ours.key, certificate.serial, named_id("First's phone"), "stolen", now=NOW)
    assert refused_entry(register, misnamed.encoded) == "unknown_serial"
    revocation = issue_revocation(ours.key, certificate.serial, device_id, "stolen", now=NOW)
    assert isinstance(register.read(revocation.encoded), Revocation)
    last = register.last(device_id)
    assert last is not None
    assert last.is_revoked
    assert refused_entry(register, revocation.encoded) == "replayed"


def test_recovery_needs_two_custodians(ours: Organisation, register: Register) -> None:
    lost = ours.certify(grant(), "First")
    register.read(lost.encoded)
    register.read(ours.certify(grant(device="tablet"), "First").encoded)  # a second device, while the first one is in force
    register.read(issue_revocation(ours.key, lost.serial, lost.grant.device_id, "lost", now=NOW).encoded)
    register.read(ours.certify(grant(device="third"), "First").encoded)
    for device in ("tablet", "third"):
        last = register.last(named_id(device))
        assert last is not None
        register.read(issue_revocation(ours.key, last.serial, last.device_id, "lost", now=NOW).encoded)
    assert refused_entry(register, ours.certify(grant(device="new"), "First").encoded) == "missing_approver"
    register.read(ours.certify(grant(device="new"), "First", "Second").encoded)


def test_validity(ours: Organisation) -> None:
    certificate = UnverifiedCertificate(ours.certify(grant(), "First").encoded).verify(ours.key.root)
    certificate.check_at(NOW)
    certificate.check_at(NOW - CLOCK_SKEW_S)
    assert refused(lambda: certificate.check_at(NOW - CLOCK_SKEW_S - 1)) == "not_yet_valid"
    certificate.check_at(NOW + YEAR_S - 1)
    assert refused(lambda: certificate.check_at(NOW + YEAR_S)) == "expired"


def test_approvals_and_rejections_are_bound_to_their_maker_and_request(ours: Organisation) -> None:
    key, organisation_id = DeviceKey.generate(), ours.key.root.organisation_id
    approval = Approval(organisation_id, named_id("request"), grant(), named_id("First's phone"), NOW)
    signature = key.sign(approval.statement())
    unverified = UnverifiedApproval(approval.statement(), signature)
    assert unverified.verify(organisation_id, approval.approver, key.public_bytes) == approval
    assert refused(lambda: unverified.verify(organisation_id, approval.approver, DeviceKey.generate().public_bytes)) == "forged"
    assert refused(lambda: unverified.verify(organisation_id, named_id("Second's phone"), key.public_bytes)) == "forged"
    assert refused(lambda: unverified.verify(named_id("other"), approval.approver, key.public_bytes)) == "wrong_organisation"
    rejection = Rejection(organisation_id, named_id("request"), named_id("Ada's phone"), "unknown", named_id("First's phone"), NOW)
    other = UnverifiedRejection(rejection.statement(), key.sign(rejection.statement()))
    assert other.verify(organisation_id, rejection.custodian, key.public_bytes) == rejection
    assert refused(lambda: UnverifiedApproval(rejection.statement(), b"").verify(organisation_id, "", key.public_bytes)) == "malformed"
    assert refused(lambda: UnverifiedRejection(rejection.statement(), signature).verify(organisation_id, "", key.public_bytes)) == "forged"


def federation_with(ours: Organisation, peer: Organisation, *units: str, **limits: object) -> Federation:
    whole: dict[str, object] = {
        "units": units or [ALL_UNITS],
        "roles": ["member"],
        "ceiling": Precedence.PRIORITY,
        "not_after": NOW + YEAR_S,
        "now": NOW,
    }
    return issue_federation(ours.key, secrets.token_hex(16), peer.key.root, **(whole | limits))  # type: ignore[arg-type]


def test_guests_of_another_organisation_within_its_limits(ours: Organisation, register: Register) -> None:
    peer = Organisation.make("Navy of a neighbour", "bsi-anssi-like-1")
    federation = federation_with(ours, peer, "Navy", "Coast Guard")
    assert UnverifiedFederation(federation.encoded).verify(ours.key.root) == federation
    guest = peer.certify(grant("Guest", ceiling=Precedence.PRIORITY), "First").encoded
    assert refused_entry(register, guest) == "wrong_algorithm", "it has another profile than ours"
    assert refused_entry(register, peer.key.root.encoded) == "replayed", "nobody has cross-certified it"
    register.read(federation.encoded)
    assert refused_entry(register, guest) == "wrong_algorithm", "its root is not in the log yet"
    assert refused_entry(register, Organisation.make().key.root.encoded) == "replayed", "another one was cross-certified"
    register.read(peer.key.root.encoded)
    assert refused_entry(register, peer.key.root.encoded) == "replayed"
    register.read(guest)
    standing = register.last(grant("Guest").device_id)
    assert standing is not None
    assert (standing.federation, standing.is_revoked) == (federation.serial, False)

    def outside(*approvers: str, name: str = "Other", now: float = NOW, **changes: object) -> str:
        what = grant(name, **changes)  # type: ignore[arg-type]
        return refused_entry(register, peer.certify(what, *approvers, now=now).encoded)

    assert outside("First", unit="Press") == "outside_federation"
    assert outside("First", roles=("member", "operator")) == "outside_federation"
    assert outside("First", ceiling=Precedence.FLASH) == "outside_federation"
    assert outside("First", not_after=NOW + YEAR_S + 1) == "outside_federation"
    assert outside("First", now=NOW - 1) == "outside_federation"
    assert outside() == "missing_approver", "the other organisation alone lets nobody in"
    assert outside("Guest") == "approver_not_custodian"
    assert refused_entry(register, Organisation.make().certify(grant("Other"), "First").encoded) == "wrong_organisation"
    assert refused_entry(register, ours.certify(grant("Guest", device="second"), "First").encoded) == "outside_federation"
    register.read(ours.certify(grant("Bruno"), "First").encoded)
    assert outside("First", name="Bruno", device="second") == "outside_federation", "a guest is never a device of one of ours"

    state = Follower(register, Edge()).dump()
    assert Follower.load(state, ours.key.root.fingerprint).register.peers == register.peers
    register.read(issue_revocation(ours.key, federation.serial, "", "ended", now=NOW).encoded)
    guest_now, ours_now = register.last(grant("Guest").device_id), register.last(grant("Bruno").device_id)
    assert guest_now is not None
    assert guest_now.is_revoked, "guests fall with the cross-certification"
    assert ours_now is not None
    assert not ours_now.is_revoked
    assert outside("First") == "outside_federation"
    everybody = federation_with(ours, peer)
    register.read(everybody.encoded)
    register.read(peer.certify(grant("Other", unit="Press"), "First").encoded)
    assert refused_entry(register, everybody.encoded) == "replayed"


def test_no_power_for_guests(ours: Organisation) -> None:
    peer = Organisation.make()
    for role in ("custodian", "approver", "archive"):
        assert refused(lambda role=role: federation_with(ours, peer, roles=["member", role])) == "malformed"  # type: ignore[misc]


def test_heads_that_cannot_both_be_true(ours: Organisation, founding: list[bytes]) -> None:
    statement = ours.log_key_statement()
    edge, other = Edge(), Edge()
    for entry in founding:
        edge.append(entry)
        other.append(entry[::-1])
    head = ours.log_key.sign_head(edge.size, edge.root, now=NOW)
    unverified = UnverifiedTreeHead(head.log_id, head.tree_size, head.root_hash, head.at, head.signature)
    assert unverified.verify(statement) == head
    stranger = LogKey.generate().sign_head(edge.size, edge.root, now=NOW)
    for log_id, expected in ((stranger.log_id, "wrong_organisation"), (head.log_id, "forged")):
        foreign = UnverifiedTreeHead(log_id, stranger.tree_size, stranger.root_hash, stranger.at, stranger.signature)
        assert refused(lambda foreign=foreign: foreign.verify(statement)) == expected  # type: ignore[misc]
    assert compare_heads(head, ours.log_key.sign_head(edge.size, edge.root, now=NOW + 60), []) is None
    forked = compare_heads(head, ours.log_key.sign_head(other.size, other.root, now=NOW), [])
    assert forked is not None
    assert "two different logs" in forked.sentence
    edge.append(b"fifth")
    rewritten = compare_heads(head, ours.log_key.sign_head(edge.size, edge.root, now=NOW), [bytes(32)])
    assert rewritten is not None
    assert "does not begin" in rewritten.sentence
    assert b64encode(ours.log_key.reveal()).decode() not in repr(ours.log_key)
