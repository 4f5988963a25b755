// This phone as a witness of the log: it reads on, tells conversations which head it saw, hears theirs, and says what follows.

import type { Schemas } from "../../api/client";
import { randomId, toBase64 } from "../../keys/bytes";
import { deviceCode, StatementRefused } from "../../keys/organisation";
import type { UnverifiedTreeHead } from "../../keys/treeHead";
import type { Fault, OrganisationView, OwnDevice } from "../model";
import type { EnrolledDevice } from "./enrolment";
import type { Groups } from "./groups";
import { Lane } from "./lane";
import { Equivocation, headName, type Ask, type DeviceNews, type Membership } from "./membership";
import { encodeMessage } from "./messages";
import type { Session } from "./session";
import type { PhoneStore } from "./store";

/** A conversation hears of this phone's head at most this often. */
const HEAD_TOLD_EVERY_MS = 3_600_000;
/** About so many devices of a larger conversation tell it their head: all of them would send n² messages. */
const TELLERS = 32;

export interface WitnessEvents {
  fault(fault: Fault): void;
  deviceRevoked(deviceId: string): void;
  /** Somebody else has got or lost a device. */
  deviceOfOther(news: DeviceNews): void;
  /** The log was asked. `changed`: this device stands in it otherwise than before. */
  followed(changed: boolean): Promise<void>;
}

export class Witness {
  private readonly lane = new Lane();
  /** Conversation id → when it was told this phone's head. */
  private readonly told = new Map<string, number>();
  private readonly ask: Ask = (method, path) => this.session.call(method, path);

  constructor(
    private readonly device: EnrolledDevice,
    private readonly membership: Membership,
    private readonly store: PhoneStore,
    private readonly session: Session,
    private readonly groups: Groups,
    private readonly environment: { now: () => number; random: () => number },
    private readonly events: WitnessEvents,
  ) {}

  /** Reads what the log has got since, and says what follows from it. Rejects with ApiError or Unreachable. */
  follow(): Promise<void> {
    return this.lane.run(async () => {
      const { membership } = this;
      const first = membership.head === null;
      const before = membership.ownState;
      try {
        const news = await membership.follow(this.ask);
        await this.store.write(news.changes);
        if (news.refused.length > 0) this.events.fault({ code: "log_refused", detail: news.refused.map(({ message }) => message).join("; ") });
        for (const { claims, revokedAt } of news.standings) if (revokedAt !== null) this.events.deviceRevoked(claims.deviceId);
        this.announce(news.devices);
        if (news.changes.length > 0) this.told.clear();
      } catch (error) {
        await this.judge(error);
      }
      await this.events.followed(!first && before !== membership.ownState);
    });
  }

  /** A head that a member of a conversation saw. */
  async heard(head: UnverifiedTreeHead): Promise<void> {
    await this.membership.heard(head, this.ask).catch((error: unknown) => this.judge(error));
  }

  /** Tells a conversation which head this phone has seen, so that nobody can be shown another log than the rest. */
  async tell(conversationId: string): Promise<void> {
    const { head } = this.membership;
    const now = this.environment.now();
    if (head === null || now - (this.told.get(conversationId) ?? 0) < HEAD_TOLD_EVERY_MS) return;
    this.told.set(conversationId, now);
    const size = this.groups.info(conversationId)?.members.length ?? 0;
    if (this.environment.random() * size > TELLERS) return; // others tell
    const { sealed } = await this.groups.seal(conversationId, encodeMessage({ type: "head", head }), () => []);
    const message: Schemas["MessageRequest"] = { message_id: randomId(), message: toBase64(sealed.message) };
    await this.session.call("POST", `/api/v1/conversations/${conversationId}/messages`, message);
  }

  async organisation(): Promise<OrganisationView> {
    const { organisation, head } = this.membership;
    const code = await deviceCode(organisation.fingerprint, this.device.key.publicKey);
    return { name: organisation.name, deviceCode: code, logHead: head === null ? null : headName(head) };
  }

  ownDevices(): OwnDevice[] {
    const { accountId, deviceId } = this.device.identity;
    return this.membership.devicesOf(accountId).map(({ claims, revokedAt }) => ({
      deviceId: claims.deviceId,
      me: claims.deviceId === deviceId,
      since: claims.notBefore * 1_000,
      until: claims.notAfter * 1_000,
      revoked: revokedAt !== null,
    }));
  }

  /** The server is caught: what it can be shown with is kept, and the person sees it. */
  private async judge(error: unknown): Promise<void> {
    if (error instanceof Equivocation) {
      await this.store.write([this.membership.convict(error)]);
      this.events.fault({ code: "log_equivocates", detail: `${error.message} (${headName(error.one)}, ${headName(error.other)})` });
    } else if (error instanceof StatementRefused) {
      this.events.fault({ code: "log_refused", detail: error.message });
    } else {
      throw error;
    }
  }

  private announce(devices: readonly DeviceNews[]): void {
    const { accountId, deviceId } = this.device.identity;
    const fresh = devices.find((device) => device.accountId === accountId && device.deviceId !== deviceId && !device.revoked);
    if (fresh !== undefined) this.events.fault({ code: "new_own_device", detail: fresh.deviceId });
    for (const device of devices) if (device.accountId !== accountId) this.events.deviceOfOther(device);
  }
}
