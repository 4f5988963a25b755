// The phone: puts the parts together and shows them as one state.

import { signal, type ReadonlySignal } from "@preact/signals";

import { ApiError, request, Unreachable, type Fetch, type Schemas } from "../../api/client";
import { fromBase64, fromBase64Url, randomId, toBase64 } from "../../keys/bytes";
import { MessageRefused, MlsDevice, type Member } from "../../keys/conversation";
import { Revocation } from "../../keys/certificate";
import { deviceCode, FINGERPRINT_BYTES, StatementRefused } from "../../keys/organisation";
import type { Standing } from "../../keys/register";
import { DeviceKey, enrolmentStatement, zeroisedStatement } from "../../keys/statement";
import { SUITE_ID } from "../../keys/suite";
import type {
  AccessOption,
  CallView,
  ConferencePerson,
  Contact,
  Fault,
  Group,
  GroupMember,
  LastWord,
  OwnDevice,
  PassphraseFault,
  PhoneEngine,
  PhoneState,
  Precedence,
  RingingConference,
} from "../model";
import { Calls, faultOf } from "./calls";
import { openBrowserDatabase } from "./database";
import { openBrowserConference, type OpenConference } from "./conferencemedia";
import { Conferences } from "./conferences";
import { Directory } from "./directory";
import { Groups, type GroupInfo, type Incident } from "./groups";
import { KeyPackages } from "./keypackages";
import { DuressAlarm, Lock, OPEN_LOCK, type Decoy } from "./lock";
import { Lane } from "./lane";
import { openBrowserMedia, type OpenMedia } from "./media";
import { Equivocation, headName, Membership, type Ask, type PinnedOrganisation } from "./membership";
import { encodeMessage, isId, isRecord, MalformedMessage, MAX_TEXT_CHARACTERS, MAX_TITLE_CHARACTERS, parseMessage, type ApplicationMessage } from "./messages";
import { pathView, type PathProfile } from "./path";
import { Session, type MailboxItem, type Socket } from "./session";
import type { Change, PhoneStore } from "./store";
import { Texts } from "./texts";
import { Tones, type Tone } from "./tones";
import { Vault } from "./vault";

const LOCK = "tramontana-phone";
const PATH_SECONDS = 120;
const PATH_POLL_MS = 45_000;
const PATH_DRAW_MS = 500;
const RENEWAL_PAUSE_MS = 1_500;
/** A revocation whose reason begins so orders the device to destroy itself. */
const ZEROISE = "zeroise";
const IDLE_CHECK_MS = 5_000;
/** A conversation hears of this phone's head at most this often. */
const HEAD_TOLD_EVERY_MS = 3_600_000;

interface Enrolment {
  serviceId: string;
  accountId: string;
  deviceId: string;
  displayName: string;
  organisation: PinnedOrganisation;
}

/** Everything outside the engine: the browser, or a test's world. */
export interface PhoneEnvironment {
  fetch: Fetch;
  openSocket: () => Socket;
  openVault: () => Promise<Vault>;
  openMedia: OpenMedia;
  openConference: OpenConference;
  /** False if another tab of this browser has the phone open. */
  claim: () => Promise<boolean>;
  playTone: (tone: Tone | null) => void;
  /** Calls back when the browser believes that the network has come back. */
  onNetworkBack: (callback: () => void) => void;
  /** Milliseconds since 1970. */
  now: () => number;
  random: () => number;
  pause: (ms: number) => Promise<void>;
  /** Starts the page anew, so that nothing of it stays in memory. */
  reload: () => void;
}

export function createPhoneEngine(): PhoneEngine {
  const tones = new Tones();
  return new Phone({
    fetch: (input, init) => fetch(input, init),
    openSocket: () => new WebSocket(new URL("/api/v1/socket", location.href.replace(/^http/, "ws"))),
    openVault: async () => new Vault(await openBrowserDatabase()),
    openMedia: openBrowserMedia,
    openConference: openBrowserConference,
    claim: claimThisBrowser,
    playTone: (tone) => tones.play(tone),
    onNetworkBack: (callback) => addEventListener("online", callback),
    now: () => Date.now(),
    random: () => Math.random(),
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    reload: () => location.reload(),
  });
}

/** Two writers on one ratchet would reuse keys: the first tab holds this lock for as long as it lives. */
function claimThisBrowser(): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const held = navigator.locks.request(LOCK, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise<never>(() => undefined);
    });
    held.catch(reject);
  });
}

/** The parts that exist once the device is enrolled. */
interface Enrolled {
  identity: Enrolment;
  key: DeviceKey;
  membership: Membership;
  directory: Directory;
  session: Session;
  keyPackages: KeyPackages;
  groups: Groups;
  texts: Texts;
  calls: Calls;
  conferences: Conferences;
}

const NOTHING: PhoneState = {
  enrolment: "unknown",
  lock: OPEN_LOCK,
  organisation: null,
  ownDevices: [],
  me: null,
  server: "connecting",
  fault: null,
  contacts: [],
  groups: [],
  threads: {},
  call: null,
  conference: null,
  ringingConference: null,
  access: null,
  path: null,
};

export class Phone implements PhoneEngine {
  private readonly shown = signal<PhoneState>(NOTHING);
  private vault: Lock | null = null;
  private store: PhoneStore | null = null;
  private alarm: DuressAlarm | null = null;
  private enrolled: Enrolled | null = null;
  private processedSeq = 0;
  private readonly logLane = new Lane();
  /** Conversation id → when it was told this phone's head. */
  private readonly headTold = new Map<string, number>();
  private path: { profile: PathProfile; simulated: boolean } | null = null;
  private readonly timers: ReturnType<typeof setInterval>[] = [];

  constructor(private readonly environment: PhoneEnvironment) {}

  get state(): ReadonlySignal<PhoneState> {
    return this.shown;
  }

  async start(): Promise<void> {
    if (this.vault !== null) return;
    try {
      if (!(await this.environment.claim())) {
        this.fault({ code: "session_taken_over", detail: "another tab" });
        return;
      }
      const vault = new Lock(await this.environment.openVault(), this.environment.now, () => this.show({ lock: vault.view }));
      this.vault = vault;
      this.timers.push(setInterval(() => void this.lockWhenIdle(), IDLE_CHECK_MS));
      const store = await vault.begin();
      if (store === null) this.show({ enrolment: "locked", server: "offline" });
      else await this.useStore(store);
    } catch (error) {
      this.fault({ code: "storage_refused", detail: messageOf(error) });
    }
  }

  async unlock(passphrase: string): Promise<void> {
    const { vault } = this;
    if (vault === null || this.shown.value.enrolment !== "locked" || this.shown.value.lock.working) return;
    try {
      const store = await vault.unlock(passphrase);
      if (store === null) return;
      const decoy = await vault.openedUnderDuress();
      if (decoy === null) await this.useStore(store);
      else this.showDecoy(decoy);
    } catch (error) {
      this.fault({ code: "storage_refused", detail: messageOf(error) });
    }
  }

  lock(): Promise<void> {
    if (this.shown.value.lock.sealed) {
      this.stop();
      this.forget("locked");
      this.environment.reload();
    }
    return Promise.resolve();
  }

  touched(): void {
    this.vault?.touched();
  }

  async setIdleMinutes(minutes: number): Promise<void> {
    await this.vault?.setIdleMinutes(minutes);
  }

  async setPassphrase(passphrase: string): Promise<PassphraseFault> {
    return (await this.vault?.setPassphrase(passphrase)) ?? null;
  }

  async setDuressPassphrase(passphrase: string): Promise<PassphraseFault> {
    const { me } = this.shown.value;
    if (this.vault === null || me === null) return "first";
    return this.vault.setDuressPassphrase(passphrase, me, async (secret) => {
      const alarm: Schemas["DuressAlarmKey"] = { secret_sha256: toBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(secret)))) };
      await this.enrolled?.session.call("PUT", "/api/v1/me/duress", alarm);
    });
  }

  async zeroise(): Promise<void> {
    const { vault } = this;
    this.stopWorking();
    await vault?.destroy();
    this.forget("zeroised");
  }

  async enrol(invitation: string, displayName: string): Promise<void> {
    const store = this.store;
    if (store === null || this.shown.value.enrolment !== "needed") return;
    this.show({ enrolment: "working", fault: null });
    try {
      const { token, fingerprint } = parseInvitationLink(invitation);
      const { value: service } = await request<Schemas["Service"]>(this.environment.fetch, "GET", "/api/v1/service");
      if (service.suite !== SUITE_ID) throw new Error("the server uses another cipher suite");
      const organisation = await this.pin(fingerprint);
      // Kept before it is shown to anybody: if the answer is lost, the same key asks again and gets the same answer.
      if ((await store.readDeviceKey()) === null) await store.writeDeviceKey(await DeviceKey.generateWrappable());
      const stored = await store.readDeviceKey();
      if (stored === null) throw new Error("the store did not keep the device's key");
      const key = DeviceKey.restore(stored);
      const name = displayName.trim();
      const proof = await key.sign(await enrolmentStatement(service.service_id, token, key.publicKey, name));
      const body: Schemas["Enrolment"] = {
        invitation: token,
        display_name: name,
        signature_public_key: toBase64(key.publicKey),
        proof: toBase64(proof),
      };
      const { value: made } = await request<Schemas["Enrolled"]>(this.environment.fetch, "POST", "/api/v1/enrolments", body);
      const identity: Enrolment = { serviceId: service.service_id, accountId: made.account_id, deviceId: made.device_id, displayName: name, organisation };
      await store.write([{ table: "device", key: "enrolment", value: identity }]);
      await this.open(identity, key);
    } catch (error) {
      const refused = error instanceof ApiError && !error.passing;
      if (error instanceof StatementRefused) this.show({ enrolment: "needed", fault: { code: "organisation_refused", detail: error.message } });
      else this.show({ enrolment: "needed", fault: refused || error instanceof RangeError ? { code: "invitation_refused", detail: messageOf(error) } : faultOf(error) });
    }
  }

  async sendText(conversationId: string, body: string): Promise<void> {
    if (body.trim() === "" || body.length > MAX_TEXT_CHARACTERS) return;
    await this.guard((parts) => parts.texts.queue(conversationId, body));
  }

  async retryText(conversationId: string, id: string): Promise<void> {
    await this.guard((parts) => parts.texts.retry(conversationId, id));
  }

  markRead(conversationId: string): void {
    this.enrolled?.texts.markRead(conversationId);
  }

  async createGroup(kind: "group" | "talk", title: string, accountIds: readonly string[]): Promise<string | null> {
    let id: string | null = null;
    await this.guard(async ({ groups, texts }) => {
      id = await groups.create(kind, title.trim().slice(0, MAX_TITLE_CHARACTERS), accountIds);
      await texts.queueTitle(id, groups.info(id)?.title ?? "");
    });
    return id;
  }

  async renameGroup(conversationId: string, title: string): Promise<void> {
    const wanted = title.trim().slice(0, MAX_TITLE_CHARACTERS);
    if (wanted === "") return;
    await this.guard(({ groups, texts }) => texts.queueTitle(conversationId, wanted, [groups.retitle(conversationId, wanted)]));
  }

  async addMembers(conversationId: string, accountIds: readonly string[]): Promise<void> {
    await this.guard(({ groups }) => groups.add(conversationId, accountIds));
  }

  async removeMember(conversationId: string, accountId: string): Promise<void> {
    await this.guard(({ groups }) => groups.remove(conversationId, accountId));
  }

  async leaveGroup(conversationId: string): Promise<void> {
    await this.guard(({ groups }) => groups.leave(conversationId));
  }

  async call(accountId: string, precedence: Precedence): Promise<void> {
    await this.guard((parts) => {
      if (parts.directory.keyChanged(accountId)) this.fault({ code: "peer_key_changed", detail: accountId });
      else parts.calls.dial(accountId, precedence);
    });
  }

  async answer(): Promise<void> {
    await this.guard((parts) => {
      parts.conferences.leave();
      parts.calls.answer();
    });
  }

  async decline(): Promise<void> {
    await this.guard((parts) => parts.calls.decline());
  }

  async hangUp(): Promise<void> {
    await this.guard((parts) => parts.calls.hangUp());
  }

  setMuted(muted: boolean): void {
    this.enrolled?.calls.setMuted(muted);
  }

  async joinConference(conversationId: string): Promise<void> {
    await this.guard(async ({ calls, conferences }) => {
      if (!calls.busy()) await conferences.join(conversationId); // a device is in one call at a time
    });
  }

  declineConference(): void {
    this.enrolled?.conferences.decline();
  }

  leaveConference(): void {
    this.enrolled?.conferences.leave();
  }

  muteConference(muted: boolean): void {
    this.enrolled?.conferences.setMuted(muted);
  }

  async pressToTalk(precedence: Precedence): Promise<void> {
    await this.guard(({ conferences }) => conferences.press(precedence));
  }

  releaseToTalk(): void {
    this.enrolled?.conferences.releaseFloor();
  }

  async chooseAccess(placeId: string, carrierId: string): Promise<void> {
    await this.guard(async (parts) => {
      const access: Schemas["Access"] = { place_id: placeId, carrier_id: carrierId };
      await parts.session.call("PUT", "/api/v1/me/access", access);
      if (this.shown.value.access !== null) this.show({ access: { ...this.shown.value.access, placeId, carrierId } });
      await this.pollPath(parts);
    });
  }

  dismissFault(): void {
    this.show({ fault: null });
  }

  /** Ends everything that runs; the store keeps what it has. For tests and for a page that is being closed. */
  stop(): void {
    this.stopWorking();
    this.vault?.close();
  }

  private stopWorking(): void {
    for (const timer of this.timers.splice(0)) clearInterval(timer);
    this.enrolled?.calls.close();
    this.enrolled?.conferences.close();
    this.enrolled?.texts.close();
    this.enrolled?.session.stop();
    this.alarm?.stop();
  }

  /** Lets go of everything that a key or a word is in. */
  private forget(enrolment: "locked" | LastWord): void {
    [this.enrolled, this.store, this.vault, this.alarm, this.path] = [null, null, null, null, null];
    this.shown.value = { ...NOTHING, enrolment, server: "offline", lock: { ...OPEN_LOCK, sealed: enrolment === "locked" } };
  }

  private async lockWhenIdle(): Promise<void> {
    if (this.vault?.idle === true && this.enrolled?.calls.busy() !== true) await this.lock();
  }

  private async useStore(store: PhoneStore): Promise<void> {
    this.store = store;
    const identity = (await store.readAll("device")).get("enrolment");
    const stored = await store.readDeviceKey();
    if (isEnrolment(identity) && stored !== null) await this.open(identity, DeviceKey.restore(stored));
    else this.show({ enrolment: "needed", server: "offline" });
  }

  /** The empty phone. Nothing of the real one is in memory; the custodians are told as soon as the server can be reached. */
  private showDecoy(decoy: Decoy): void {
    const { accountId, deviceId, displayName } = decoy;
    this.show({ enrolment: "done", me: { accountId, deviceId, displayName, precedenceCeiling: "routine" }, server: "connecting" });
    this.alarm = new DuressAlarm(this.environment.fetch, decoy, (online) => this.show({ server: online ? "online" : "offline" }));
    this.alarm.start();
  }

  /** The organisation that the invitation names, if the server has it. Rejects with StatementRefused. */
  private async pin(fingerprint: Uint8Array): Promise<PinnedOrganisation> {
    const { value: shown } = await request<Schemas["Organisation"]>(this.environment.fetch, "GET", "/api/v1/organisation");
    const pinned: PinnedOrganisation = { fingerprint, root: fromBase64(shown.organisation), logKey: fromBase64(shown.log_key) };
    await Membership.open(pinned, { accountId: "", deviceId: "" }, () => 0); // only to see that all of it verifies
    return pinned;
  }

  /** What a person asked for: a failure is shown, not thrown. */
  private async guard(work: (parts: Enrolled) => Promise<void> | void): Promise<void> {
    if (this.enrolled === null) return;
    try {
      await work(this.enrolled);
    } catch (error) {
      this.fault(faultOf(error));
    }
  }

  private async open(identity: Enrolment, key: DeviceKey): Promise<void> {
    const store = this.store;
    if (store === null) return;
    const membership: Membership = await Membership.open(identity.organisation, identity, () => session.serverUnixS());
    await membership.load(await store.readAll("log"), await store.readAll("certificates"));
    const directory = new Directory(identity, membership);
    const device = new MlsDevice(key, identity, directory);
    const session: Session = new Session(
      this.environment,
      { serviceId: identity.serviceId, deviceId: identity.deviceId, key },
      {
        deliver: (item) => this.process(item),
        connecting: () => this.connecting(),
        online: () => this.online(),
        offline: () => this.offline(),
        presence: (accountId, online) => {
          directory.presence(accountId, online);
          if (online) this.enrolled?.texts.flush(); // he may have been waited for
          this.showPeople();
        },
        preempted: (callId, by) => this.enrolled?.calls.preempted(callId, by),
        directoryChanged: () =>
          void this.guardQuietly(async () => {
            await this.followLog();
            await this.refreshDirectory();
          }),
        floor: (frame) => this.enrolled?.conferences.floorTold(frame),
        reconnect: (callId) => this.enrolled?.conferences.reconnectTold(callId),
        conversationChanged: (id) => void this.guardQuietly(({ groups }) => groups.heed(id)),
        takenOver: () => this.fault({ code: "session_taken_over", detail: "another connection of this device" }),
        failed: (error) => this.refusedByServer(error),
      },
      () => this.processedSeq,
    );
    const keyPackages = new KeyPackages(device, store);
    const groups: Groups = new Groups(device, store, session, directory, keyPackages, this.environment, {
      changed: () => {
        this.enrolled?.conferences.conversationMoved();
        this.showPeople();
      },
      committed: (id, added, removed) => this.rosterChanged(id, identity.accountId, added, removed),
    });
    const texts = new Texts(identity.accountId, store, groups, session, this.environment, {
      threadsChanged: () => this.showPeople(),
      fault: (code, detail) => this.fault({ code, detail }),
    });
    const calls = new Calls(this.environment, session, groups, {
      changed: () => this.showCall(),
      tone: this.environment.playTone,
      peerGone: (peer) => this.shown.value.server === "online" && this.contacts().some(({ accountId, online }) => accountId === peer && !online),
      renewKeys: (peer) => void this.renewKeys(peer),
      ceiling: (peer) => directory.ceiling(peer),
      record: (peer, id, outgoing, outcome, at, durationS, precedence) =>
        void this.guard(() => texts.recordCall(groups.directId(peer), { kind: "call", id, outgoing, at, outcome, durationS, precedence })),
    });
    const conferences = new Conferences(this.environment, session, groups, identity.deviceId, {
      changed: () => this.showConference(),
      tone: this.environment.playTone,
    });
    this.enrolled = { identity, key, membership, directory, session, keyPackages, groups, texts, calls, conferences };
    directory.load(await store.readAll("pins"));
    const mailbox = (await store.readAll("device")).get("mailbox");
    this.processedSeq = typeof mailbox === "number" ? mailbox : 0;
    await keyPackages.load();
    await groups.load();
    await groups.meet(directory.people().map(({ accountId }) => accountId));
    await texts.load();
    this.show({ me: { accountId: identity.accountId, deviceId: identity.deviceId, displayName: identity.displayName, precedenceCeiling: "routine" } });
    await this.showMembership();
    this.showPeople();
    if (membership.evidence !== null) this.fault({ code: "log_equivocates", detail: membership.evidence });
    this.timers.push(
      setInterval(() => void this.guardQuietly((parts) => this.pollPath(parts)), PATH_POLL_MS),
      setInterval(() => this.drawPath(), PATH_DRAW_MS),
    );
    this.environment.onNetworkBack(() => session.hurry());
    session.start();
  }

  /** Before the mailbox opens: know everybody's keys, and have key packages at the server. */
  private async connecting(): Promise<void> {
    if (this.shown.value.server !== "online") this.show({ server: "connecting" });
    await this.followLog();
    if (this.enrolled === null) return;
    await this.refreshDirectory();
    await this.enrolled?.keyPackages.replenish(this.enrolled.session);
  }

  private online(): void {
    this.show({ server: "online" });
    this.enrolled?.texts.flush();
    this.enrolled?.calls.serverBack();
    // Who was certified or revoked between `connecting` and now was not announced; it may be this device.
    void this.guardQuietly(async () => {
      await this.followLog();
      await this.refreshDirectory();
    });
    void this.guardQuietly(({ groups }) => groups.survey());
    void this.guardQuietly((parts) => this.loadAccess(parts));
    void this.guardQuietly((parts) => this.pollPath(parts));
  }

  private offline(): void {
    this.enrolled?.directory.serverLost();
    this.show({ server: "offline" });
    this.showPeople();
  }

  private async refreshDirectory(): Promise<void> {
    if (this.enrolled === null || this.store === null) return;
    const { session, directory, texts, groups } = this.enrolled;
    await this.store.write(directory.update(await session.call<Schemas["DirectoryAccount"][]>("GET", "/api/v1/accounts")));
    await groups.meet(directory.people().map(({ accountId }) => accountId));
    groups.tidy();
    texts.flush();
    this.showPeople();
  }

  /** Reads what the log has got since, and does what follows from it. */
  private followLog(): Promise<void> {
    return this.logLane.run(async () => {
      const { enrolled: parts, store } = this;
      if (parts === null || store === null) return;
      const { membership, session, calls } = parts;
      const first = membership.head === null;
      const before = membership.ownState;
      try {
        const news = await membership.follow(askOf(session));
        await store.write(news.changes);
        if (news.refused.length > 0) this.fault({ code: "log_refused", detail: news.refused.map(({ message }) => message).join("; ") });
        for (const standing of news.standings) if (standing.revokedAt !== null) calls.deviceRevoked(standing.claims.deviceId);
        if (!first) this.announceOwnDevices(parts, news.standings);
        if (news.changes.length > 0) this.headTold.clear();
      } catch (error) {
        await this.logFault(error);
      }
      await this.showMembership();
      if (before !== membership.ownState && membership.ownState === "certified" && !first) this.online();
    });
  }

  /** The server is caught: what it can be shown with is kept, and the person sees it. */
  private async logFault(error: unknown): Promise<void> {
    if (error instanceof Equivocation && this.enrolled !== null) {
      await this.store?.write([this.enrolled.membership.convict(error)]);
      this.fault({ code: "log_equivocates", detail: `${error.message} (${headName(error.one)}, ${headName(error.other)})` });
    } else if (error instanceof StatementRefused) {
      this.fault({ code: "log_refused", detail: error.message });
    } else {
      throw error;
    }
  }

  private announceOwnDevices({ identity }: Enrolled, standings: readonly Standing[]): void {
    const fresh = standings.find(({ claims, revokedAt }) => claims.accountId === identity.accountId && claims.deviceId !== identity.deviceId && revokedAt === null);
    if (fresh !== undefined) this.fault({ code: "new_own_device", detail: fresh.claims.deviceId });
  }

  /** Tells a conversation which head this phone has seen, so that nobody can be shown another log than the rest. */
  private async tellHead(id: string): Promise<void> {
    const { enrolled: parts } = this;
    const head = parts?.membership.head;
    const now = this.environment.now();
    if (parts === null || head == null || now - (this.headTold.get(id) ?? 0) < HEAD_TOLD_EVERY_MS) return;
    this.headTold.set(id, now);
    const { sealed } = await parts.groups.seal(id, encodeMessage({ type: "head", head }), () => []);
    const message: Schemas["MessageRequest"] = { message_id: randomId(), message: toBase64(sealed.message) };
    await parts.session.call("POST", `/api/v1/conversations/${id}/messages`, message);
  }

  /** Where this device stands, by the log. */
  private async showMembership(): Promise<void> {
    const { enrolled: parts } = this;
    if (parts === null) return;
    const { membership, identity, key } = parts;
    const { organisation, head } = membership;
    const ownDevices = membership.devicesOf(identity.accountId).map(
      ({ claims, revokedAt }): OwnDevice => ({
        deviceId: claims.deviceId,
        me: claims.deviceId === identity.deviceId,
        since: claims.notBefore * 1_000,
        until: claims.notAfter * 1_000,
        revoked: revokedAt !== null,
      }),
    );
    const code = await deviceCode(organisation.fingerprint, key.publicKey);
    this.show({ organisation: { name: organisation.name, deviceCode: code, logHead: head === null ? null : headName(head) }, ownDevices });
    const { ownState } = membership;
    if (ownState === "revoked") this.putOut("revoked");
    else if (this.enrolled !== null) this.show({ enrolment: ownState === "certified" ? "done" : ownState });
  }

  /** The server lets this device in no more. */
  private refusedByServer(error: unknown): void {
    const code = error instanceof ApiError ? error.code : "";
    if (code === "device_revoked") this.putOut("revoked");
    else if (code === "enrolment_rejected") this.putOut("rejected");
    else if (code === "certificate_expired") this.show({ enrolment: "expired" });
    else this.fault(faultOf(error));
  }

  /**
   * Says so and stops: no key and no word stays in memory. Whether it has to destroy itself says the organisation's revocation, which
   * the server cannot forge.
   */
  private putOut(why: "revoked" | "rejected"): void {
    const { enrolled: parts, vault } = this;
    if (parts === null || vault === null) return;
    this.stopWorking();
    this.forget(why);
    if (why === "revoked") void this.obeyRevocation(parts, vault).catch(() => undefined); // without an answer it stays revoked
  }

  private async obeyRevocation({ membership, identity, key }: Enrolled, vault: Lock): Promise<void> {
    const base = `/api/v1/devices/${identity.deviceId}`;
    const { value } = await request<Schemas["SignedRevocation"]>(this.environment.fetch, "GET", `${base}/revocation`);
    const revocation = await Revocation.verify(fromBase64(value.revocation), membership.organisation);
    if (revocation.deviceId !== identity.deviceId || !revocation.reason.startsWith(ZEROISE)) return;
    const signature = await key.sign(zeroisedStatement(identity.serviceId, identity.deviceId));
    await vault.destroy();
    this.forget("zeroised");
    const said: Schemas["Zeroised"] = { signature: toBase64(signature) };
    await request(this.environment.fetch, "POST", `${base}/zeroised`, said);
  }

  /** One mailbox item. Resolves when its results are persisted. */
  private async process(item: MailboxItem): Promise<void> {
    if (this.enrolled === null) return;
    const { groups, texts, calls, conferences, keyPackages, session } = this.enrolled;
    const done: Change = { table: "device", key: "mailbox", value: item.seq };
    let afterwards: () => void = () => undefined;
    try {
      await groups.process(item, done, (id, incident, keys) => {
        if (incident.kind !== "application") return this.showIncident(id, incident);
        const message = parseQuietly(incident.plaintext);
        const { accountId: sender, deviceId } = incident.sender;
        switch (message?.type) {
          case "text":
            return texts.receive(id, sender, message);
          case "receipt":
            return texts.receipt(id, sender, message);
          case "group":
            return groups.info(id)?.title === message.title ? [] : [groups.retitle(id, message.title), ...texts.titled(id, sender, message.title)];
          case "head":
            afterwards = () =>
              void this.guardQuietly(({ membership }) => membership.heard(message.head, askOf(session)).catch((error: unknown) => this.logFault(error)));
            return [];
          case "conference":
            afterwards = () => conferences.receive(id, sender, message, item.accepted_at, calls.busy());
            return [];
          case "call": {
            if (sender === this.enrolled?.identity.accountId) {
              afterwards = () => calls.receiveOwn(message);
              return [];
            }
            const direct = groups.info(id)?.peer === sender;
            const epochKeys = keys.epoch === incident.epoch ? keys : null;
            if (direct) afterwards = () => calls.receive(sender, deviceId, message, item.accepted_at, epochKeys);
            return [];
          }
          default:
            return [];
        }
      });
    } catch (error) {
      if (!(error instanceof MessageRefused)) throw error;
      this.fault({ code: "conversation_broken", detail: error.message });
    }
    this.processedSeq = item.seq;
    conferences.conversationMoved(item.conversation_id);
    afterwards();
    texts.flush();
    if (item.kind !== "commit") void this.guardQuietly(() => this.tellHead(item.conversation_id));
    if (item.kind === "welcome") void this.guardQuietly(() => keyPackages.replenish(session));
    this.showPeople();
  }

  /** Who came in and who went out, as people: devices of somebody who stays are nothing to show. */
  private rosterChanged(id: string, actor: string, added: readonly Member[], removed: readonly Member[]): Change[] {
    const { groups, texts } = this.parts();
    const members = groups.info(id)?.members ?? [];
    const otherDevice = ({ accountId }: Member): boolean => members.some((member) => member.accountId === accountId && !removed.some(({ deviceId }) => deviceId === member.deviceId));
    const accounts = (list: readonly Member[]): string[] => [...new Set(list.filter((member) => !otherDevice(member)).map(({ accountId }) => accountId))];
    const title = groups.info(id)?.title ?? "";
    // The newcomers do not know what the group is called.
    if (actor === this.parts().identity.accountId && added.length > 0 && title !== "") queueMicrotask(() => void this.guardQuietly(() => texts.queueTitle(id, title)));
    return texts.recordRoster(id, actor, accounts(added), accounts(removed), false);
  }

  private showIncident(id: string, incident: Exclude<Incident, { kind: "application" }>): Change[] {
    const { texts, identity } = this.parts();
    switch (incident.kind) {
      case "joined":
        return texts.recordRoster(id, incident.sender, [], [], true);
      case "removed":
        return texts.recordRoster(id, incident.sender.accountId, [], [identity.accountId], false);
      case "commit":
        return this.rosterChanged(id, incident.sender.accountId, incident.added, incident.removed);
    }
  }

  private parts(): Enrolled {
    if (this.enrolled === null) throw new Error("not enrolled");
    return this.enrolled;
  }

  private async renewKeys(peer: string): Promise<void> {
    await this.guardQuietly(async ({ groups, calls }) => {
      await this.environment.pause(RENEWAL_PAUSE_MS); // let the farewell go first
      if (calls.busy()) return;
      await groups.renewKeys(groups.directId(peer));
    });
  }

  private async loadAccess({ session }: Enrolled): Promise<void> {
    const options = await session.call<Schemas["AccessOptions"]>("GET", "/api/v1/access-options");
    const places = options.places.map((place): AccessOption => ({ id: place.place_id, name: place.name, detail: place.country }));
    const carriers = options.carriers.map((carrier): AccessOption => ({ id: carrier.carrier_id, name: carrier.name, detail: `${carrier.kind}, ${carrier.operator}` }));
    this.show({ access: { placeId: options.chosen.place_id, carrierId: options.chosen.carrier_id, places, carriers } });
  }

  private async pollPath({ session }: Enrolled): Promise<void> {
    const sentAt = this.environment.now();
    this.path = await session.call<Schemas["MyPath"]>("GET", `/api/v1/me/path?seconds=${PATH_SECONDS}`);
    const toldUnixS = this.path.profile.time_unix_s[0]; // a profile begins at the server's present
    if (toldUnixS !== undefined) session.clock.observe(toldUnixS, sentAt, this.environment.now(), 0);
    this.enrolled?.calls.pathChanged(this.path.profile);
    this.enrolled?.conferences.pathChanged(this.path.profile);
    this.drawPath();
  }

  private drawPath(): void {
    if (this.path === null || this.enrolled === null) return;
    this.show({ path: pathView(this.path.profile, this.path.simulated, this.enrolled.session.serverUnixS()) });
  }

  /** Work that nobody asked for: if the server is away it is done at the next opportunity. */
  private async guardQuietly(work: (parts: Enrolled) => Promise<void>): Promise<void> {
    if (this.enrolled === null) return;
    try {
      await work(this.enrolled);
    } catch (error) {
      if (error instanceof Unreachable || error instanceof ApiError || error instanceof MessageRefused) return;
      this.fault(faultOf(error));
    }
  }

  private contacts(): Contact[] {
    const parts = this.enrolled;
    if (parts === null) return [];
    return parts.directory
      .people()
      .map(({ accountId, displayName, online, keyChanged }): Contact => {
        const conversationId = parts.groups.directId(accountId);
        const archives = (parts.groups.info(conversationId)?.roster.archives ?? []).map((account) => this.nameOf(account));
        return { accountId, displayName, online, keyChanged, conversationId, archives, unread: parts.texts.unreadOf(conversationId) };
      })
      .sort((a, b) => a.displayName.localeCompare(b.displayName));
  }

  private groups(): Group[] {
    const parts = this.enrolled;
    if (parts === null) return [];
    return parts.groups
      .list()
      .flatMap((info): Group[] => (info.peer !== null ? [] : [{ ...this.groupView(parts, info), kind: info.kind === "talk" ? "talk" : "group" }]))
      .sort((a, b) => a.title.localeCompare(b.title));
  }

  private groupView({ directory, identity, texts }: Enrolled, info: GroupInfo): Omit<Group, "kind"> {
    const own = identity.accountId;
    const members = info.roster.members.map((accountId): GroupMember => {
      const role = info.roster.archives.includes(accountId) ? "archive" : info.roster.owners.includes(accountId) ? "owner" : "member";
      const joined = info.members.some((member) => member.accountId === accountId);
      return { accountId, displayName: this.nameOf(accountId), online: accountId === own || directory.online(accountId), me: accountId === own, role, joined };
    });
    members.sort((a, b) => Number(b.me) - Number(a.me) || a.displayName.localeCompare(b.displayName));
    const mayChange = info.standing === "open" && !info.roster.archives.includes(own) && (info.kind === "group" || info.roster.owners.includes(own));
    // What an archive keeps of two people is called by their names.
    const title = info.kind === "direct" ? members.filter(({ role }) => role !== "archive").map(({ displayName }) => displayName).join(", ") : info.title;
    return { conversationId: info.id, title, members, unread: texts.unreadOf(info.id), standing: info.standing, mayChange };
  }

  private nameOf(accountId: string): string {
    const parts = this.enrolled;
    if (accountId === parts?.identity.accountId) return parts.identity.displayName;
    return parts?.directory.people().find((person) => person.accountId === accountId)?.displayName ?? accountId.slice(0, 8);
  }

  private showPeople(): void {
    if (this.enrolled === null) return;
    const { me } = this.shown.value;
    if (me !== null) this.show({ me: { ...me, precedenceCeiling: this.enrolled.directory.ceiling(me.accountId) } });
    this.show({ contacts: this.contacts(), groups: this.groups(), threads: this.enrolled.texts.threads });
    this.showCall();
  }

  private showCall(): void {
    if (this.enrolled === null) return;
    const { state, details } = this.enrolled.calls;
    if (state === null) {
      if (this.shown.value.call !== null) this.show({ call: null });
      return;
    }
    const { callId, peerAccountId, outgoing, precedence, phase, outcome, preemptedBy, activeSince } = state;
    const contact = (id: string): Contact =>
      this.shown.value.contacts.find(({ accountId }) => accountId === id) ?? { accountId: id, displayName: id.slice(0, 8), online: false, conversationId: "", archives: [], unread: 0, keyChanged: false };
    const peer = contact(peerAccountId);
    const next = state.next === null ? null : { peer: contact(state.next.peerAccountId), precedence: state.next.invite.precedence, endsAt: state.next.endsAt };
    const { rttMs: measuredRttMs, loss: measuredLoss, ...view } = details;
    const call: CallView = { callId, peer, outgoing, precedence, phase, outcome, preemptedBy, next, activeSince, measuredRttMs, measuredLoss, ...view };
    this.show({ call });
  }

  private showConference(): void {
    const parts = this.enrolled;
    if (parts === null) return;
    const { state, ringing } = parts.conferences;
    const titleOf = (id: string): string => parts.groups.info(id)?.title ?? "";
    const ringingConference: RingingConference | null =
      ringing === null ? null : { conversationId: ringing.conversationId, title: titleOf(ringing.conversationId), from: this.nameOf(ringing.from) };
    if (state === null) {
      this.show({ conference: null, ringingConference });
      return;
    }
    const { callId: _, present, speaking, ...view } = state;
    const people = [...new Set(present.map(({ accountId }) => accountId))].map((accountId): ConferencePerson => {
      const me = accountId === parts.identity.accountId;
      return { accountId, displayName: this.nameOf(accountId), me, speaking: speaking.includes(accountId) };
    });
    people.sort((a, b) => Number(b.me) - Number(a.me) || a.displayName.localeCompare(b.displayName));
    const holder = view.floor?.holder ?? null;
    this.show({ conference: { ...view, title: titleOf(view.conversationId), people, holderName: holder === null ? null : this.nameOf(holder) }, ringingConference });
  }

  private fault(fault: Fault): void {
    this.show({ fault });
  }

  private show(change: Partial<PhoneState>): void {
    this.shown.value = { ...this.shown.value, ...change };
  }
}

/** Token and organisation of an invitation link, or of its fragment. Throws RangeError if it lacks one. */
export function parseInvitationLink(invitation: string): { token: string; fingerprint: Uint8Array } {
  const fields = new URLSearchParams(invitation.slice(invitation.indexOf("#") + 1));
  const token = fields.get("invite") ?? "";
  const fingerprint = fromBase64Url(fields.get("org") ?? "");
  if (fromBase64Url(token).length !== 32 || fingerprint.length !== FINGERPRINT_BYTES) throw new RangeError("not an invitation of an organisation");
  return { token, fingerprint };
}

function askOf(session: Session): Ask {
  return (method, path) => session.call(method, path);
}

function parseQuietly(plaintext: Uint8Array): ApplicationMessage | null {
  try {
    return parseMessage(plaintext);
  } catch (error) {
    if (error instanceof MalformedMessage) return null; // the peer's fault; nothing in it can be shown
    throw error;
  }
}

function isEnrolment(value: unknown): value is Enrolment {
  return isRecord(value) && isRecord(value["organisation"]) && isId(value["accountId"]) && isId(value["deviceId"]) && typeof value["serviceId"] === "string" && typeof value["displayName"] === "string";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
