import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { format, t } from "../../i18n";
import { Avatar } from "../../ui/Avatar";
import { Dialog } from "../../ui/Dialog";
import { Icon } from "../../ui/icons";
import { useNow } from "../../ui/useNow";
import type { ConferencePerson, ConferenceView, Group, Precedence, RingingConference } from "../model";
import { ArchiveNotice, archivesOfGroup } from "./ArchiveNotice";
import { attempt, openThread, usePhone } from "./context";
import { FaultNotice } from "./FaultNotice";
import { PathPanel } from "./PathPanel";
import { EndedForAnother, PrecedenceBadge, PrecedenceMenu } from "./Precedence";

const TICK_MS = 500;

function titleOf({ title }: { title: string }): string {
  return title || t("group.untitled");
}

/** The phase in words; the running time once the phone is in. */
function Progress({ conference }: { conference: ConferenceView }) {
  const now = useNow(TICK_MS);
  if (conference.phase === "active" && conference.activeSince !== null) {
    return (
      <span class="figures" role="timer" aria-label={t("call.duration")}>
        {format.duration((now - conference.activeSince) / 1000)}
      </span>
    );
  }
  return <span>{t(`conference.phase.${conference.phase}`)}</span>;
}

function Person({ person }: { person: ConferencePerson }) {
  return (
    <li class="conference-person" data-speaking={person.speaking}>
      <Avatar name={person.displayName} />
      <span class="conference-name">{person.me ? t("conference.you", { name: person.displayName }) : person.displayName}</span>
      {person.speaking && (
        <span class="badge badge-good">
          <Icon name="microphone" size={16} />
          {t("conference.speaks")}
        </span>
      )}
    </li>
  );
}

function Roster({ conference }: { conference: ConferenceView }) {
  return (
    <section class="card conference-roster" aria-labelledby="conference-roster-title">
      <h2 id="conference-roster-title">{t("conference.present", { count: conference.people.length })}</h2>
      <ul>
        {conference.people.map((person) => (
          <Person key={person.accountId} person={person} />
        ))}
      </ul>
    </section>
  );
}

function Code({ code }: { code: string }) {
  const blocks = code.match(/.{5}/g) ?? [];
  return (
    <section class="card short-code" aria-labelledby="conference-code-title">
      <h2 id="conference-code-title">{t("conference.codeTitle")}</h2>
      {/* single digits for a screen reader, blocks of five for the eye */}
      <p class="conference-code figures" aria-hidden="true">
        {blocks.map((block, i) => (
          <span key={i}>{block} </span>
        ))}
      </p>
      <p class="visually-hidden">{blocks.map((block) => [...block].join(" ")).join(", ")}</p>
      <p class="quiet">{t("conference.codeWhy")}</p>
    </section>
  );
}

function Undecryptable() {
  return (
    <div class="notice notice-danger" role="alert">
      <Icon name="warning" size={26} />
      <div class="notice-body">
        <p class="notice-title">{t("conference.undecryptable")}</p>
        <p>{t("health.undecryptableNext")}</p>
      </div>
    </div>
  );
}

function floorSentence({ floor, holderName: holder }: ConferenceView): string {
  if (floor === null) return t("talk.waiting");
  if (floor.mine) return t("talk.yours");
  if (floor.position !== null) return t("talk.position", { position: floor.position, queued: floor.queued });
  if (floor.event === "denied") return t("talk.denied");
  if (floor.event === "revoked_precedence") {
    const { precedence } = floor;
    return holder === null || precedence === null ? t("talk.revokedPrecedence") : t("talk.takenBy", { name: holder, level: t(`precedence.${precedence}`) });
  }
  if (floor.event === "revoked_time") return t("talk.revokedTime");
  if (holder !== null) return t("talk.holds", { name: holder });
  return t("talk.free");
}

/** Who has the floor, and the button that asks for it for as long as it is held: by finger, mouse, or the space bar. */
function Floor({ conference }: { conference: ConferenceView }) {
  const screen = usePhone();
  const { engine } = screen;
  const now = useNow(TICK_MS);
  const { floor, holderName, pressed } = conference;
  const [level, setLevel] = useState<Precedence>("routine");
  const press = () => attempt(screen, engine.pressToTalk(level));
  const release = () => engine.releaseToTalk();

  useEffect(() => {
    const inField = (target: EventTarget | null) =>
      target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable], button:not(.talk-button), a, dialog") !== null;
    const down = (event: KeyboardEvent) => {
      if (event.code !== "Space" || inField(event.target)) return;
      event.preventDefault(); // neither a scrolled page nor a click at the end
      if (!event.repeat) press();
    };
    const up = (event: KeyboardEvent) => {
      if (event.code !== "Space" || inField(event.target)) return;
      event.preventDefault();
      release();
    };
    addEventListener("keydown", down);
    addEventListener("keyup", up);
    addEventListener("blur", release); // the key is let go of where this page does not see it
    return () => {
      removeEventListener("keydown", down);
      removeEventListener("keyup", up);
      removeEventListener("blur", release);
      release();
    };
  }, [engine, level]);

  const state = floor?.mine ? "mine" : floor?.position != null ? "queued" : holderName !== null ? "taken" : "free";
  return (
    <section class="card floor" aria-labelledby="floor-title" data-state={state}>
      <h2 id="floor-title">{t("talk.title")}</h2>
      <p class="floor-state" role="status">
        {floorSentence(conference)}
      </p>
      {floor?.precedence && floor.precedence !== "routine" && (
        <p>
          <PrecedenceBadge precedence={floor.precedence} />
        </p>
      )}
      {floor?.mine && floor.until !== null && (
        <p class="quiet figures">{t("talk.left", { seconds: format.seconds(Math.max(0, Math.ceil((floor.until - now) / 1000))) })}</p>
      )}
      {floor !== null && !floor.mine && floor.queued > 0 && floor.position === null && <p class="quiet">{t("talk.queue", { count: floor.queued })}</p>}
      <button
        type="button"
        class="button talk-button"
        aria-pressed={pressed}
        data-live={floor?.mine === true && pressed}
        disabled={conference.phase !== "active"}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          press();
        }}
        onPointerUp={release}
        onPointerCancel={release}
        onClick={(event) => {
          // Enter, or a screen reader, which cannot hold a button: it opens the floor and closes it.
          if (event.detail === 0) (pressed ? release : press)();
        }}
        onContextMenu={(event) => event.preventDefault()}
      >
        <Icon name="microphone" size={28} />
        {t(pressed ? (floor?.mine ? "talk.speak" : "talk.asked") : "talk.hold")}
      </button>
      <p class="quiet">{t("talk.how")}</p>
      <PrecedenceMenu label={t("talk.precedence")} chosen={level} onChoose={setLevel} />
    </section>
  );
}

/** A conference or talk group that this phone is in. */
export function ConferenceScreen({ conference }: { conference: ConferenceView }) {
  const screen = usePhone();
  const { path } = screen.engine.state.value;
  const title = useRef<HTMLHeadingElement>(null);
  const ended = conference.phase === "ended";
  const talk = conference.kind === "talk";
  useLayoutEffect(() => title.current?.focus({ preventScroll: true }), [conference.conversationId, ended]);

  const readThread = () => {
    screen.callFolded.value = true;
    openThread(screen, conference.conversationId);
  };
  return (
    <section class="call conference" aria-labelledby="conference-title">
      <div class="call-scroll">
        <div class="call-person">
          <h1 id="conference-title" ref={title} tabIndex={-1}>
            {titleOf(conference)}
          </h1>
          <p class="call-progress">
            <Progress conference={conference} />
          </p>
          {!talk && <PrecedenceBadge precedence={conference.precedence} />}
          <ArchiveNotice names={archivesOfGroup(screen.engine.state.value, conference.conversationId)} />
          {conference.preempted && <EndedForAnother by={conference.preempted.by} />}
          {conference.fault && <FaultNotice fault={conference.fault} />}
          {!ended && conference.health === "undecryptable" && <Undecryptable />}
          {!ended && (
            <p class="call-health call-health-good">
              <Icon name="lock" size={18} />
              {t(talk ? "talk.note" : "conference.note")}
            </p>
          )}
        </div>
        {!ended && talk && <Floor conference={conference} />}
        {!ended && <Roster conference={conference} />}
        {!ended && conference.code !== null && <Code code={conference.code} />}
        {path && !ended && <PathPanel path={path} call={null} />}
      </div>
      <div class="call-controls" role="group" aria-label={t("call.controls")}>
        {!ended && (
          <button type="button" class="button" onClick={readThread}>
            <Icon name="message" />
            {t("call.messages")}
          </button>
        )}
        {!ended && !talk && (
          <button
            type="button"
            class="button call-mute"
            aria-pressed={conference.muted}
            onClick={() => screen.engine.muteConference(!conference.muted)}
          >
            <Icon name={conference.muted ? "microphoneOff" : "microphone"} />
            {t(conference.muted ? "call.muted" : "call.mute")}
          </button>
        )}
        <button type="button" class={`button ${ended ? "" : "button-danger"}`} onClick={() => screen.engine.leaveConference()}>
          {!ended && <Icon name="hangUp" />}
          {t(ended ? "call.close" : talk ? "talk.leave" : "conference.leave")}
        </button>
      </div>
    </section>
  );
}

/** The conference while the person reads a thread: it stays in sight and can be left. */
export function FoldedConference({ conference }: { conference: ConferenceView }) {
  const screen = usePhone();
  const speaking = conference.people.filter((person) => person.speaking).map(({ displayName }) => displayName);
  return (
    <section class="folded-call" aria-label={t("conference.foldedLabel", { title: titleOf(conference) })}>
      <button type="button" class="button button-small button-good" onClick={() => (screen.callFolded.value = false)}>
        <Icon name="handset" size={18} />
        {t("call.unfold")}
      </button>
      <span class="folded-call-name">{titleOf(conference)}</span>
      {speaking.length > 0 ? <span>{t("conference.speaking", { names: speaking.join(", ") })}</span> : <Progress conference={conference} />}
      <button type="button" class="button button-small button-danger" onClick={() => screen.engine.leaveConference()}>
        {t(conference.phase === "ended" ? "call.close" : "conference.leave")}
      </button>
    </section>
  );
}

/** In the head of a group's thread. */
export function JoinButton({ group, level }: { group: Group; level: Precedence }) {
  const screen = usePhone();
  const { call, conference } = screen.engine.state.value;
  const inside = conference !== null && conference.phase !== "ended";
  const talk = group.kind === "talk";
  if (group.standing !== "open") return null;
  return (
    <button
      type="button"
      class="button button-good"
      disabled={call !== null || inside}
      onClick={() => {
        screen.callFolded.value = false;
        attempt(screen, screen.engine.joinConference(group.conversationId, level));
      }}
    >
      <Icon name={talk ? "microphone" : "handset"} />
      {t(talk ? "talk.join" : "conference.join")}
    </button>
  );
}

/** A conference asks to be joined. */
export function IncomingConference({ ringing }: { ringing: RingingConference }) {
  const screen = usePhone();
  const join = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => join.current?.focus(), []);
  return (
    <Dialog labelledBy="incoming-conference" describedBy="incoming-conference-name" class="incoming" urgent>
      <p id="incoming-conference" class="incoming-title">
        {ringing.precedence === "routine" ? t("conference.incoming") : t("conference.titleLevel", { level: t(`precedence.${ringing.precedence}`) })}
      </p>
      <h2 id="incoming-conference-name">{titleOf(ringing)}</h2>
      <PrecedenceBadge precedence={ringing.precedence} />
      <ArchiveNotice names={archivesOfGroup(screen.engine.state.value, ringing.conversationId)} />
      <p class="quiet incoming-note">
        <Icon name="lock" size={18} />
        {t("conference.from", { name: ringing.from })}
      </p>
      <div class="incoming-actions">
        <button type="button" class="button button-danger" onClick={() => screen.engine.declineConference()}>
          <Icon name="hangUp" />
          {t("incoming.decline")}
        </button>
        <button
          ref={join}
          type="button"
          class="button button-good"
          onClick={() => {
            screen.callFolded.value = false;
            attempt(screen, screen.engine.joinConference(ringing.conversationId, ringing.precedence));
          }}
        >
          <Icon name="handset" />
          {t("conference.enter")}
        </button>
      </div>
    </Dialog>
  );
}
