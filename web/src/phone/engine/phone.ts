// The phone: puts the parts together and shows them as one state. Long because the face that screens use is wide (PhoneEngine): each subject is a part beside this.

import { signal, type ReadonlySignal } from "@preact/signals";

import { ApiError, Unreachable, type Fetch, type Schemas } from "../../api/client";
import { MOST_ATTACHMENT_BYTES } from "../../keys/attachment";
import { toBase64, type Bytes } from "../../keys/bytes";
import { MessageRefused, MlsDevice } from "../../keys/conversation";
import { StatementRefused } from "../../keys/organisation";
import type { Fault, LastWord, OutgoingFile, PassphraseFault, PhoneEngine, PhoneState, Precedence, SealedOpened, SealedReach, SealedSent } from "../model";
import { Access } from "./access";
import { Attachments } from "./attachments";
import { Calls, faultOf } from "./calls";
import type { OpenConference } from "./conferencemedia";
import { Conferences } from "./conferences";
import { Directory } from "./directory";
import { enrol, isToDestroyItself, lastWord, readEnrolment, type EnrolledDevice } from "./enrolment";
import { Groups } from "./groups";
import { KeyPackages } from "./keypackages";
import { DuressAlarm, Lock, OPEN_LOCK, type Decoy } from "./lock";
import type { OpenMedia } from "./media";
import { Mailbox } from "./mailbox";
import { Membership } from "./membership";
import { MAX_TEXT_CHARACTERS, MAX_TITLE_CHARACTERS } from "./messages";
import { SealedPost } from "./sealedpost";
import { Session, type Socket } from "./session";
import type { PhoneStore } from "./store";
import { Texts } from "./texts";
import type { Tone } from "./tones";
import type { Vault } from "./vault";
import { callView, conferenceView, contactsView, groupsView, NOTHING, ringingView } from "./view";
import { Witness } from "./witness";

/** Under which the store keeps whether calls ring. */
const QUIET = "do not disturb";
const PATH_POLL_MS = 45_000;
const PATH_DRAW_MS = 500;
const RENEWAL_PAUSE_MS = 1_500;
const IDLE_CHECK_MS = 5_000;

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

/** The parts that exist once the device is enrolled. */
interface Enrolled extends EnrolledDevice {
  membership: Membership;
  witness: Witness;
  directory: Directory;
  session: Session;
  keyPackages: KeyPackages;
  access: Access;
  groups: Groups;
  texts: Texts;
  sealed: SealedPost;
  attachments: Attachments;
  calls: Calls;
  conferences: Conferences;
}

export class Phone implements PhoneEngine {
  private readonly shown = signal<PhoneState>(NOTHING);
  private vault: Lock | null = null;
  private store: PhoneStore | null = null;
  private alarm: DuressAlarm | null = null;
  private enrolled: Enrolled | null = null;
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

  async setQuiet(quiet: boolean): Promise<void> {
    this.show({ quiet }); // at once: a switch that waits for the disk falls back before it holds
    await this.store?.write([{ table: "device", key: QUIET, value: quiet }]);
  }

  callsSeen(entryIds: readonly string[]): void {
    this.enrolled?.texts.callsSeen(entryIds);
  }

  async setIdleMinutes(minutes: number): Promise<void> {
    await this.vault?.setIdleMinutes(minutes);
  }

  async setPassphrase(passphrase: string): Promise<PassphraseFault> {
    return (await this.vault?.setPassphrase(passphrase)) ?? null;
  }

  async setDuressPassphrase(passphrase: string): Promise<PassphraseFault> {
    const { me, organisation, ownDevices, access } = this.shown.value;
    if (this.vault === null || me === null) return "first";
    const decoy = { ...me, organisation, ownDevices: ownDevices.filter((device) => device.me), access };
    return this.vault.setDuressPassphrase(passphrase, decoy, async (secret) => {
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
      await this.open(await enrol(this.environment.fetch, store, invitation, displayName));
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
    await this.guard(({ texts, attachments }) => (texts.fileOf(conversationId, id) === null ? texts.retry(conversationId, id) : attachments.retry(conversationId, id)));
  }

  async sendFile(conversationId: string, file: OutgoingFile): Promise<void> {
    if (file.content.length > MOST_ATTACHMENT_BYTES) throw new RangeError("the file is too large");
    await this.guard((parts) => parts.attachments.send(conversationId, file));
  }

  async fetchFile(conversationId: string, id: string): Promise<Bytes | null> {
    return (await this.enrolled?.attachments.content(conversationId, id)) ?? null;
  }

  async cancelTransfer(conversationId: string, id: string): Promise<void> {
    await this.guard((parts) => parts.attachments.cancel(conversationId, id));
  }

  sealedReach(conversationId: string): SealedReach {
    const sealed = this.enrolled?.sealed;
    return { ready: sealed?.ready(conversationId) ?? false, number: sealed?.numberOf(conversationId) ?? null, ownNumber: sealed?.ownNumber ?? null };
  }

  async sealText(conversationId: string, body: string, precedence: Precedence | "by hand"): Promise<SealedSent> {
    const { enrolled: parts } = this;
    return parts === null ? { state: "refused", reason: "no_key" } : parts.sealed.seal(conversationId, body, precedence);
  }

  async openSealed(hex: string): Promise<SealedOpened> {
    const { enrolled: parts } = this;
    return parts === null ? { state: "not_yet" } : parts.sealed.openHex(hex);
  }

  async takeSealedTexts(conversationId: string): Promise<string | null> {
    let number: string | null = null;
    await this.guard(async ({ sealed, texts }) => {
      number = await sealed.claim();
      if (number !== null) await texts.queueNumber(conversationId, number);
    });
    return number;
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
      if (parts.directory.keyChanged(accountId)) return this.fault({ code: "peer_key_changed", detail: accountId });
      parts.conferences.leave();
      parts.calls.dial(accountId, precedence);
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

  async joinConference(conversationId: string, precedence: Precedence): Promise<void> {
    await this.guard(async ({ calls, conferences }) => {
      if (calls.busy()) calls.hangUp(); // a device is in one call at a time
      await conferences.join(conversationId, precedence);
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
    const choose = (): void => {
      const { access } = this.shown.value;
      if (access !== null) this.show({ access: { ...access, placeId, carrierId } });
    };
    if (this.alarm !== null) choose(); // the empty phone tells nobody
    await this.guard(async (parts) => {
      await parts.access.choose(placeId, carrierId);
      choose();
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
    this.enrolled?.attachments.close();
    this.enrolled?.session.stop();
    this.alarm?.stop();
  }

  /** Lets go of everything that a key or a word is in. */
  private forget(enrolment: "locked" | LastWord): void {
    [this.enrolled, this.store, this.vault, this.alarm] = [null, null, null, null];
    this.shown.value = { ...NOTHING, enrolment, server: "offline", lock: { ...OPEN_LOCK, sealed: enrolment === "locked" } };
  }

  private async lockWhenIdle(): Promise<void> {
    if (this.vault?.idle === true && !this.enrolled?.calls.busy() && !this.enrolled?.conferences.busy) await this.lock();
  }

  private async useStore(store: PhoneStore): Promise<void> {
    this.store = store;
    const device = await readEnrolment(store);
    if (device !== null) await this.open(device);
    else this.show({ enrolment: "needed", server: "offline" });
  }

  /** The empty phone. Nothing of the real one is in memory; the custodians are told as soon as the server can be reached. */
  private showDecoy(decoy: Decoy): void {
    const { accountId, deviceId, displayName, organisation = null, ownDevices = [], access = null } = decoy;
    const me = { accountId, deviceId, displayName, precedenceCeiling: "routine" } as const;
    this.show({ enrolment: "done", me, organisation, ownDevices, access, server: "connecting" });
    this.alarm = new DuressAlarm(this.environment.fetch, decoy, (online) => this.show({ server: online ? "online" : "offline" }));
    this.alarm.start();
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

  private async open(enrolled: EnrolledDevice): Promise<void> {
    const { identity, key } = enrolled;
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
        deliver: (item) => mailbox.process(item),
        connecting: () => this.connecting(),
        online: () => this.online(),
        offline: () => this.offline(),
        presence: (accountId, online) => {
          directory.presence(accountId, online);
          if (online) this.enrolled?.texts.flush(); // he may have been waited for
          this.showPeople();
        },
        preempted: (callId, by) => {
          this.enrolled?.calls.preempted(callId, by);
          this.enrolled?.conferences.preempted(callId, by);
        },
        directoryChanged: () =>
          void this.guardQuietly(async ({ witness }) => {
            await witness.follow();
            await this.refreshDirectory();
          }),
        sealedTextCame: () => void this.guardQuietly(({ sealed }) => sealed.fetch()),
        floor: (frame) => this.enrolled?.conferences.floorTold(frame),
        reconnect: (callId) => this.enrolled?.conferences.reconnectTold(callId),
        callChanged: (conversationId) => this.enrolled?.conferences.callChanged(conversationId),
        conversationChanged: (id) => void this.guardQuietly(({ groups }) => groups.heed(id)),
        takenOver: () => this.fault({ code: "session_taken_over", detail: "another connection of this device" }),
        failed: (error) => this.refusedByServer(error),
      },
      () => mailbox.processed,
    );
    const keyPackages = new KeyPackages(device, store);
    const groups: Groups = new Groups(device, store, session, directory, keyPackages, this.environment, {
      changed: () => {
        this.enrolled?.conferences.conversationMoved();
        this.showPeople();
        void this.guardQuietly((parts) => this.noteEpochs(parts));
      },
      committed: (id, added, removed) => mailbox.rosterChanged(id, identity.accountId, added, removed),
    });
    const witness = new Witness(enrolled, membership, store, session, groups, this.environment, {
      fault: (fault) => this.fault(fault),
      deviceRevoked: (deviceId) => this.enrolled?.calls.deviceRevoked(deviceId),
      deviceOfOther: ({ accountId, serial, revoked }) =>
        void this.guardQuietly(async ({ texts }) => {
          await groups.meet([accountId]); // the log may tell of somebody before the directory does
          await texts.recordDevice(groups.directId(accountId), accountId, serial, revoked);
        }),
      followed: async (changed) => {
        await this.showMembership();
        if (changed && membership.ownState === "certified") this.online();
      },
    });
    const texts = new Texts(identity.accountId, store, groups, session, this.environment, {
      threadsChanged: () => this.showPeople(),
      fault: (code, detail) => this.fault({ code, detail }),
    });
    const calls = new Calls(this.environment, session, groups, {
      changed: () => this.showCall(),
      tone: this.environment.playTone,
      peerGone: (peer) => this.shown.value.server === "online" && !directory.online(peer),
      renewKeys: (peer) => void this.renewKeys(peer),
      ceiling: (deviceId) => directory.ceiling(deviceId),
      free: () => !conferences.busy,
      quiet: () => this.shown.value.quiet,
      record: (peer, id, outgoing, outcome, at, durationS, precedence) =>
        void this.guard(() => texts.recordCall(groups.directId(peer), { kind: "call", id, outgoing, at, outcome, durationS, precedence })),
    });
    const conferences = new Conferences(this.environment, session, groups, identity.deviceId, {
      changed: () => this.showConference(),
      quiet: () => this.shown.value.quiet,
      tone: this.environment.playTone,
    });
    const sealed = new SealedPost(identity.deviceId, store, groups, texts, session, (deviceId) => membership.isRevoked(deviceId), this.environment.now, () => this.showPeople());
    const mailbox: Mailbox = new Mailbox({ identity, session, keyPackages, groups, texts, calls, conferences, witness, sealed }, store, {
      fault: (fault) => this.fault(fault),
      quietly: (work) => void this.guardQuietly(work),
      changed: () => this.showPeople(),
    });
    const attachments = new Attachments(store, session, groups, texts, this.environment, { changed: () => this.show({ transfers: attachments.transfers }) });
    const access = new Access(session, this.environment);
    this.enrolled = { identity, key, membership, witness, directory, session, keyPackages, access, groups, texts, sealed, attachments, calls, conferences };
    directory.load(await store.readAll("pins"));
    await mailbox.load();
    await keyPackages.load();
    await groups.load();
    await groups.meet(directory.people().map(({ accountId }) => accountId));
    await texts.load();
    await sealed.load();
    for (const { conversationId } of contactsView(this.enrolled)) await sealed.reached(conversationId);
    this.show({ quiet: (await store.read("device", QUIET)) === true });
    await attachments.load();
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
    await this.enrolled?.witness.follow();
    await this.refreshDirectory();
    await this.enrolled?.keyPackages.replenish(this.enrolled.session);
  }

  private online(): void {
    this.show({ server: "online" });
    this.enrolled?.texts.flush();
    this.enrolled?.attachments.resume();
    this.enrolled?.calls.serverBack();
    this.enrolled?.conferences.callChanged(null);
    // Who was certified or revoked between `connecting` and now was not announced; it may be this device.
    void this.guardQuietly(async ({ witness }) => {
      await witness.follow();
      await this.refreshDirectory();
    });
    void this.guardQuietly(({ groups }) => groups.survey());
    void this.guardQuietly(({ sealed }) => sealed.flush());
    void this.guardQuietly(({ sealed }) => sealed.fetch());
    void this.guardQuietly(async ({ access }) => this.show({ access: await access.options() }));
    void this.guardQuietly((parts) => this.pollPath(parts));
  }

  /** Keys of sealed texts, of whatever direct conversation has gone on by a commit of one's own. */
  private async noteEpochs({ sealed, ...parts }: Enrolled): Promise<void> {
    for (const { conversationId } of contactsView(parts)) await sealed.reached(conversationId);
  }

  private offline(): void {
    this.enrolled?.directory.serverLost();
    this.enrolled?.attachments.offline();
    this.show({ server: "offline" });
    this.showPeople();
  }

  private async refreshDirectory(): Promise<void> {
    if (this.enrolled === null || this.store === null) return;
    const { session, directory, texts, groups } = this.enrolled;
    await this.store.write(await directory.refresh(() => session.call<Schemas["DirectoryAccount"][]>("GET", "/api/v1/accounts")));
    await groups.meet(directory.people().map(({ accountId }) => accountId));
    groups.tidy();
    texts.flush();
    this.showPeople();
  }

  /** Where this device stands, by the log. */
  private async showMembership(): Promise<void> {
    const { enrolled: parts } = this;
    if (parts === null) return;
    const { membership, witness } = parts;
    this.show({ organisation: await witness.organisation(), ownDevices: witness.ownDevices() });
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

  private async obeyRevocation(parts: Enrolled, vault: Lock): Promise<void> {
    const { fetch } = this.environment;
    if (!(await isToDestroyItself(fetch, parts.identity, parts.membership.organisation))) return;
    const say = await lastWord(fetch, parts);
    await vault.destroy();
    this.forget("zeroised");
    await say();
  }

  private async renewKeys(peer: string): Promise<void> {
    await this.guardQuietly(async ({ groups, calls }) => {
      await this.environment.pause(RENEWAL_PAUSE_MS); // let the farewell go first
      if (calls.busy()) return;
      await groups.renewKeys(groups.directId(peer));
    });
  }

  private async pollPath({ access, calls, conferences }: Enrolled): Promise<void> {
    const profile = await access.poll();
    calls.pathChanged(profile);
    conferences.pathChanged(profile);
    this.drawPath();
  }

  private drawPath(): void {
    const path = this.enrolled?.access.view() ?? null;
    if (path !== null) this.show({ path });
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

  private showPeople(): void {
    if (this.enrolled === null) return;
    const { me } = this.shown.value;
    if (me !== null) this.show({ me: { ...me, precedenceCeiling: this.enrolled.directory.ceiling(me.deviceId) } });
    this.show({ contacts: contactsView(this.enrolled), groups: groupsView(this.enrolled), threads: this.enrolled.texts.threads, unseenCalls: this.enrolled.texts.unseenCalls });
    this.showCall();
  }

  private showCall(): void {
    if (this.enrolled === null) return;
    const call = callView(this.enrolled, this.shown.value.contacts);
    if (call !== null || this.shown.value.call !== null) this.show({ call });
  }

  private showConference(): void {
    if (this.enrolled !== null) this.show({ conference: conferenceView(this.enrolled), ringingConference: ringingView(this.enrolled) });
  }

  private fault(fault: Fault): void {
    this.show({ fault });
  }

  private show(change: Partial<PhoneState>): void {
    this.shown.value = { ...this.shown.value, ...change };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
