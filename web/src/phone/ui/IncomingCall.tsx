import { useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../../i18n";
import { Avatar } from "../../ui/Avatar";
import { Dialog } from "../../ui/Dialog";
import { Icon } from "../../ui/icons";
import type { CallView } from "../model";
import { ArchiveNotice } from "./ArchiveNotice";
import { attempt, usePhone } from "./context";
import { PrecedenceBadge } from "./Precedence";

/** The ringing question. Nothing but an answer closes it: no Escape, no click beside it. */
export function IncomingCall({ call }: { call: CallView }) {
  const screen = usePhone();
  const answer = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => answer.current?.focus(), []);
  return (
    <Dialog labelledBy="incoming-title" describedBy="incoming-name" class="incoming" urgent>
      <p id="incoming-title" class="incoming-title">
        {call.precedence === "routine" ? t("incoming.title") : t("incoming.titleLevel", { level: t(`precedence.${call.precedence}`) })}
      </p>
      <span class="incoming-ring">
        <Avatar name={call.peer.displayName} size="large" />
      </span>
      <h2 id="incoming-name">{call.peer.displayName}</h2>
      <PrecedenceBadge precedence={call.precedence} />
      <ArchiveNotice names={call.peer.archives} />
      <p class="quiet incoming-note">
        <Icon name="lock" size={18} />
        {t("incoming.note")}
      </p>
      <div class="incoming-actions">
        <button type="button" class="button button-danger" onClick={() => attempt(screen, screen.engine.decline())}>
          <Icon name="hangUp" />
          {t("incoming.decline")}
        </button>
        <button ref={answer} type="button" class="button button-good" onClick={() => attempt(screen, screen.engine.answer())}>
          <Icon name="handset" />
          {t("incoming.answer")}
        </button>
      </div>
    </Dialog>
  );
}
