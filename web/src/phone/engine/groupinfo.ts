// A conversation as others may look at it, and why it cannot be used.

import type { Member } from "../../keys/conversation";
import type { ConversationKind, Roster } from "./reconcile";

/** The other side cannot be reached yet. `soon`: a welcome is on its way; otherwise its phone has to be opened first. */
export class NotReady extends Error {
  constructor(
    detail: string,
    readonly soon: boolean,
  ) {
    super(detail);
  }
}

/** This device and the others no longer share a state, or a key is not the pinned one. Trying again does not help. */
export class Broken extends Error {
  constructor(
    readonly code: "conversation_broken" | "peer_key_changed" | "not_a_member",
    detail: string,
  ) {
    super(detail);
  }
}

/** `left` by oneself, `removed` by somebody else. */
export type Standing = "open" | "left" | "removed";

/** A conversation as others may look at it. */
export interface GroupInfo {
  readonly id: string;
  readonly kind: ConversationKind;
  /** The other account of a direct conversation. */
  readonly peer: string | null;
  readonly title: string;
  readonly standing: Standing;
  readonly roster: Roster;
  /** Devices in the MLS group; none before this device is in it. */
  readonly members: readonly Member[];
  /** Accounts, listed or in the MLS group, whose certificate says that they keep what is said; whatever the server calls them. */
  readonly archives: readonly string[];
}
