// What comes in: every item of the mailbox is opened, stored, and handed to the part whose it is.

import { MessageRefused, type EpochKeys, type Member } from "../../keys/conversation";
import type { Fault } from "../model";
import type { Calls } from "./calls";
import type { Conferences } from "./conferences";
import type { Groups, Incident } from "./groups";
import type { KeyPackages } from "./keypackages";
import { MalformedMessage, parseMessage, type ApplicationMessage } from "./messages";
import type { SealedPost } from "./sealedpost";
import type { MailboxItem, Session } from "./session";
import type { Change, PhoneStore } from "./store";
import type { Texts } from "./texts";
import type { Witness } from "./witness";

const ROW = "mailbox";

/** The parts that items are for. */
export interface Recipients {
  identity: { accountId: string };
  session: Session;
  keyPackages: KeyPackages;
  groups: Groups;
  texts: Texts;
  calls: Calls;
  conferences: Conferences;
  witness: Witness;
  sealed: SealedPost;
}

export interface MailboxEvents {
  fault(fault: Fault): void;
  /** Work that nobody waits for: if it fails it is done at the next opportunity. */
  quietly(work: () => Promise<void>): void;
  changed(): void;
}

type Application = Extract<Incident, { kind: "application" }>;

/** What a message changes in the store, and what is done when that is stored. */
interface Consequence {
  changes: Change[];
  afterwards?: () => void;
}

export class Mailbox {
  private seq = 0;

  constructor(
    private readonly parts: Recipients,
    private readonly store: PhoneStore,
    private readonly events: MailboxEvents,
  ) {}

  async load(): Promise<void> {
    const stored = (await this.store.readAll("device")).get(ROW);
    this.seq = typeof stored === "number" ? stored : 0;
  }

  /** The last item whose results are stored. */
  get processed(): number {
    return this.seq;
  }

  /** Resolves when the results of an item are stored. */
  async process(item: MailboxItem): Promise<void> {
    const { groups, texts, conferences, keyPackages, session, witness, sealed } = this.parts;
    const done: Change = { table: "device", key: ROW, value: item.seq };
    let afterwards: (() => void) | undefined;
    try {
      await groups.process(item, done, (id, incident, keys) => {
        if (incident.kind !== "application") return this.incident(id, incident);
        const consequence = this.application(id, incident, keys, item.accepted_at);
        afterwards = consequence.afterwards;
        return consequence.changes;
      });
    } catch (error) {
      if (!(error instanceof MessageRefused)) throw error;
      this.events.fault({ code: "conversation_broken", detail: error.message });
    }
    await sealed.reached(item.conversation_id);
    this.seq = item.seq;
    conferences.conversationMoved(item.conversation_id);
    afterwards?.();
    texts.flush();
    if (item.kind !== "commit") this.events.quietly(() => witness.tell(item.conversation_id));
    if (item.kind === "welcome") this.events.quietly(() => keyPackages.replenish(session));
    this.events.changed();
  }

  /** Who came in and who went out, as people: devices of somebody who stays are nothing to show. */
  rosterChanged(id: string, actor: string, added: readonly Member[], removed: readonly Member[]): Change[] {
    const { groups, texts, identity } = this.parts;
    const members = groups.info(id)?.members ?? [];
    const otherDevice = ({ accountId }: Member): boolean => members.some((member) => member.accountId === accountId && !removed.some(({ deviceId }) => deviceId === member.deviceId));
    const accounts = (list: readonly Member[]): string[] => [...new Set(list.filter((member) => !otherDevice(member)).map(({ accountId }) => accountId))];
    const title = groups.info(id)?.title ?? "";
    // The newcomers do not know what the group is called.
    if (actor === identity.accountId && added.length > 0 && title !== "") queueMicrotask(() => this.events.quietly(() => texts.queueTitle(id, title)));
    return texts.recordRoster(id, actor, accounts(added), accounts(removed), false);
  }

  /** What a member's device said. */
  private application(id: string, { plaintext, epoch, sender: { accountId: sender, deviceId } }: Application, keys: EpochKeys, acceptedAt: number): Consequence {
    const { groups, texts, calls, conferences, witness, identity, sealed } = this.parts;
    sealed.heard(id, deviceId, epoch);
    const message = parseQuietly(plaintext);
    switch (message?.type) {
      case "text":
      case "attachment":
        return { changes: texts.receive(id, sender, message) };
      case "receipt":
        return { changes: texts.receipt(id, sender, message) };
      case "group":
        if (groups.info(id)?.title === message.title) return { changes: [] };
        return { changes: [groups.retitle(id, message.title), ...texts.titled(id, sender, message.title)] };
      case "number":
        return { changes: sender === identity.accountId ? [] : [sealed.learn(deviceId, message.number)] };
      case "head":
        return { changes: [], afterwards: () => this.events.quietly(() => witness.heard(message.head)) };
      case "conference":
        return {
          changes: [],
          afterwards: () => {
            const engaged = calls.busy() ? (calls.state?.precedence ?? null) : null;
            conferences.receive(id, sender, { ...message, precedence: calls.allowed(deviceId, message.precedence) }, acceptedAt, engaged);
          },
        };
      case "call":
        if (sender === identity.accountId) return { changes: [], afterwards: () => calls.receiveOwn(message) };
        if (groups.info(id)?.peer !== sender) return { changes: [] };
        return { changes: [], afterwards: () => calls.receive(sender, deviceId, message, acceptedAt, epoch, keys) };
      default:
        return { changes: [] };
    }
  }

  private incident(id: string, incident: Exclude<Incident, Application>): Change[] {
    const { texts, identity } = this.parts;
    switch (incident.kind) {
      case "joined":
        return texts.recordRoster(id, incident.sender, [], [], true);
      case "removed":
        return texts.recordRoster(id, incident.sender.accountId, [], [identity.accountId], false);
      case "commit":
        return this.rosterChanged(id, incident.sender.accountId, incident.added, incident.removed);
    }
  }
}

function parseQuietly(plaintext: Uint8Array): ApplicationMessage | null {
  try {
    return parseMessage(plaintext);
  } catch (error) {
    if (error instanceof MalformedMessage) return null; // the peer's fault; nothing in it can be shown
    throw error;
  }
}
