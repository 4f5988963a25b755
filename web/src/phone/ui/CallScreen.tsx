import { Fragment } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { format, t } from "../../i18n";
import { Avatar } from "../../ui/Avatar";
import { Icon } from "../../ui/icons";
import { useNow } from "../../ui/useNow";
import type { CallOutcome, CallQuality, CallView } from "../model";
import { ArchiveNotice } from "./ArchiveNotice";
import { attempt, openThread, usePhone, type PhoneScreen } from "./context";
import { FaultNotice } from "./FaultNotice";
import { PathPanel } from "./PathPanel";
import { PrecedenceBadge, PreemptionNotice } from "./Precedence";

const TICK_MS = 500;

/** The phase in words; the running time once audio flows. */
export function CallProgress({ call }: { call: CallView }) {
  const now = useNow(TICK_MS);
  if (call.phase === "active" && call.activeSince !== null) {
    return (
      <span class="figures" role="timer" aria-label={t("call.duration")}>
        {format.duration((now - call.activeSince) / 1000)}
      </span>
    );
  }
  if (call.waiting && call.phase === "requesting") return <span>{t("call.waiting")}</span>;
  if (call.phase === "ended") return <span>{t(`call.outcome.${call.outcome ?? "answered"}`)}</span>;
  return <span>{t(`call.phase.${call.phase}`)}</span>;
}

function ShortCode({ code }: { code: string }) {
  return (
    <section class="card short-code" aria-labelledby="short-code-title">
      <h2 id="short-code-title">{t("shortCode.title")}</h2>
      {/* single digits for a screen reader, two groups of three for the eye */}
      <p class="short-code-digits figures" aria-hidden="true">
        <span>{code.slice(0, 3)}</span> <span>{code.slice(3)}</span>
      </p>
      <p class="visually-hidden">{[...code].join(" ")}</p>
      <p class="quiet">{t("shortCode.why")}</p>
    </section>
  );
}

function Health({ call }: { call: CallView }) {
  const name = call.peer.displayName;
  if (call.phase !== "active") return null;
  switch (call.health) {
    case "undecryptable":
      return (
        <div class="notice notice-danger" role="alert">
          <Icon name="warning" size={26} />
          <div class="notice-body">
            <p class="notice-title">{t("health.undecryptable", { name })}</p>
            <p>{t("health.undecryptableNext")}</p>
          </div>
        </div>
      );
    case "interrupted":
      return (
        <div class="notice notice-warn" role="alert">
          <Icon name="offline" size={26} />
          <div class="notice-body">
            <p class="notice-title">{t("health.interrupted", { name })}</p>
            <p>{t("health.interruptedNext")}</p>
          </div>
        </div>
      );
    case "starting":
      return <p class="call-health quiet">{t("health.starting")}</p>;
    case "good":
      return (
        <div class="call-healths">
          <p class="call-health call-health-good">
            <Icon name="lock" size={18} />
            {t("health.good")}
          </p>
          {call.quality && <Quality quality={call.quality} />}
        </div>
      );
  }
}

const BARS: Record<CallQuality["grade"], number> = { good: 3, fair: 2, poor: 1, none: 0 };

/** How it sounds, in one word and three bars; the figures stand in the path panel. */
export function Quality({ quality }: { quality: CallQuality }) {
  return (
    <p class="call-quality" data-grade={quality.grade} role="status">
      <span class="call-quality-bars" aria-hidden="true">
        {[1, 2, 3].map((bar) => (
          <i key={bar} data-on={bar <= BARS[quality.grade]} />
        ))}
      </span>
      {t("quality.label", { grade: t(`quality.${quality.grade}`) })}
    </p>
  );
}

/** The other one has heard nothing, or not enough: he may find a voice message instead, which a thin link carries in its own time. */
const UNHEARD: readonly CallOutcome[] = ["unanswered", "busy", "unavailable", "declined", "failed", "preempted"];

async function leaveVoice(screen: PhoneScreen, call: CallView): Promise<void> {
  await screen.engine.hangUp();
  openThread(screen, call.peer.conversationId);
  screen.voiceFor.value = call.peer.conversationId;
}

/** A call that was begun here or answered: everything but the ringing question. */
export function CallScreen({ call }: { call: CallView }) {
  const screen = usePhone();
  const { path } = screen.engine.state.value;
  const title = useRef<HTMLHeadingElement>(null);
  const ended = call.phase === "ended";

  useLayoutEffect(() => title.current?.focus({ preventScroll: true }), [call.callId, ended]);

  const readThread = () => {
    screen.callFolded.value = true;
    openThread(screen, call.peer.conversationId);
  };
  return (
    <section class="call" aria-labelledby="call-title">
      <div class="call-scroll">
        <div class="call-person">
          <Avatar name={call.peer.displayName} size="large" />
          <h1 id="call-title" ref={title} tabIndex={-1}>
            {call.peer.displayName}
          </h1>
          <p class="call-progress">
            <CallProgress call={call} />
          </p>
          <PrecedenceBadge precedence={call.precedence} />
          <ArchiveNotice names={call.peer.archives} />
          <PreemptionNotice call={call} />
          {call.fault && <FaultNotice fault={call.fault} />}
          <Health call={call} />
          {call.shortCode !== null && !ended && <ShortCode code={call.shortCode} />}
        </div>
        {path && !ended && <PathPanel path={path} call={call} />}
      </div>
      <div class="call-controls" role="group" aria-label={t("call.controls")}>
        {/* Whoever presses "Hang up" twice must not call again: no button turns into another one, and "Close" stands where it stood. */}
        {ended ? (
          <Fragment key="ended">
            {call.outgoing && call.outcome !== null && UNHEARD.includes(call.outcome) && (
              <button type="button" class="button" onClick={() => attempt(screen, leaveVoice(screen, call))}>
                <Icon name="microphone" />
                {t("voice.leave")}
              </button>
            )}
            <button
              type="button"
              class="button button-good"
              onClick={() =>
                attempt(
                  screen,
                  screen.engine.hangUp().then(() => screen.engine.call(call.peer.accountId, call.precedence)),
                )
              }
            >
              <Icon name="handset" />
              {t("call.again")}
            </button>
            <button type="button" class="button" onClick={() => attempt(screen, screen.engine.hangUp())}>
              {t("call.close")}
            </button>
          </Fragment>
        ) : (
          <Fragment key="going">
            <button type="button" class="button" onClick={readThread}>
              <Icon name="message" />
              {t("call.messages")}
            </button>
            {(call.phase === "active" || call.phase === "connecting") && (
              <button
                type="button"
                class="button call-mute"
                aria-pressed={call.muted}
                onClick={() => screen.engine.setMuted(!call.muted)}
              >
                <Icon name={call.muted ? "microphoneOff" : "microphone"} />
                {t(call.muted ? "call.muted" : "call.mute")}
              </button>
            )}
            <button type="button" class="button button-danger" onClick={() => attempt(screen, screen.engine.hangUp())}>
              <Icon name="hangUp" />
              {t(call.phase === "active" || call.phase === "connecting" ? "call.hangUp" : "call.cancel")}
            </button>
          </Fragment>
        )}
      </div>
    </section>
  );
}

/** The call while the person reads a thread: it stays in sight and can be ended. */
export function FoldedCall({ call }: { call: CallView }) {
  const screen = usePhone();
  return (
    <section class="folded-call" aria-label={t("call.foldedLabel", { name: call.peer.displayName })}>
      <button type="button" class="button button-small button-good" onClick={() => (screen.callFolded.value = false)}>
        <Icon name="handset" size={18} />
        {t("call.unfold")}
      </button>
      <span class="folded-call-name">{call.peer.displayName}</span>
      <CallProgress call={call} />
      <button
        type="button"
        class={`button button-small ${call.phase === "ended" ? "" : "button-danger"}`}
        onClick={() => attempt(screen, screen.engine.hangUp())}
      >
        {t(call.phase === "ended" ? "call.close" : "call.hangUp")}
      </button>
      <PrecedenceBadge precedence={call.precedence} />
      <PreemptionNotice call={call} />
      {call.fault && <FaultNotice fault={call.fault} />}
      <Health call={call} />
    </section>
  );
}
