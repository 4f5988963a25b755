import { type Signal, signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Fault, PhoneEngine } from "../model";

/** What is on screen but is none of the engine's business. */
export interface PhoneScreen {
  engine: PhoneEngine;
  /** Conversation id of the open thread. */
  openThread: Signal<string | null>;
  /** The call goes on, but the person reads the thread. */
  callFolded: Signal<boolean>;
  /** Conversation id of the thread in which a voice message is to be recorded. */
  voiceFor: Signal<string | null>;
  accessOpen: Signal<boolean>;
  protectionOpen: Signal<boolean>;
  /** `members` is of the open thread's group, `sealed` of its person. */
  dialog: Signal<"newGroup" | "members" | "missed" | "sealed" | null>;
  /** Something that was asked of the engine failed without the engine saying why. */
  unexpectedFault: Signal<Fault | null>;
}

export function createPhoneScreen(engine: PhoneEngine): PhoneScreen {
  return {
    engine,
    openThread: signal(null),
    callFolded: signal(false),
    voiceFor: signal(null),
    accessOpen: signal(false),
    protectionOpen: signal(false),
    dialog: signal(null),
    unexpectedFault: signal(null),
  };
}

export const PhoneContext = createContext<PhoneScreen | null>(null);

export function usePhone(): PhoneScreen {
  const screen = useContext(PhoneContext);
  if (!screen) throw new Error("PhoneContext is missing");
  return screen;
}

/** Waits for what was asked of the engine, so that nothing fails unseen. */
export function attempt(screen: PhoneScreen, asked: Promise<void>): void {
  asked.catch((reason: unknown) => {
    screen.unexpectedFault.value = { code: "unexpected", detail: reason instanceof Error ? reason.message : String(reason) };
  });
}

/** Opens a thread so that the browser's Back leads to the list again. */
export function openThread(screen: PhoneScreen, conversationId: string): void {
  const replace = screen.openThread.value !== null;
  screen.openThread.value = conversationId;
  history[replace ? "replaceState" : "pushState"]({ thread: conversationId }, "");
}

/** A phone that nobody touches locks itself. */
export function watchTouches(screen: PhoneScreen): () => void {
  const touched = (): void => screen.engine.touched();
  const kinds = ["pointerdown", "keydown", "focus"] as const;
  for (const kind of kinds) addEventListener(kind, touched, { capture: true, passive: true });
  return () => {
    for (const kind of kinds) removeEventListener(kind, touched, { capture: true });
  };
}

export function followBrowserHistory(screen: PhoneScreen): () => void {
  const onPopState = (event: PopStateEvent) => {
    const thread: unknown = (event.state as { thread?: unknown } | null)?.thread;
    screen.openThread.value = typeof thread === "string" ? thread : null;
  };
  addEventListener("popstate", onPopState);
  return () => removeEventListener("popstate", onPopState);
}
