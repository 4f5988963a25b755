import { useRef, useState } from "preact/hooks";
import { t } from "../../i18n";
import { Avatar } from "../../ui/Avatar";
import { Dialog } from "../../ui/Dialog";
import { Icon } from "../../ui/icons";
import type { Contact, Group } from "../model";
import { attempt, openThread, usePhone } from "./context";

const TITLE_MAX = 64;

function PeopleChoice({ people, chosen, onToggle }: { people: readonly Contact[]; chosen: ReadonlySet<string>; onToggle: (accountId: string) => void }) {
  return (
    <ul class="people-choice">
      {people.map(({ accountId, displayName }) => (
        <li key={accountId}>
          <label class="person-choice">
            <input type="checkbox" checked={chosen.has(accountId)} onChange={() => onToggle(accountId)} />
            <Avatar name={displayName} />
            <span>{displayName}</span>
          </label>
        </li>
      ))}
    </ul>
  );
}

function useChosen(): [ReadonlySet<string>, (accountId: string) => void, () => void] {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const toggle = (accountId: string) => {
    const next = new Set(chosen);
    if (!next.delete(accountId)) next.add(accountId);
    setChosen(next);
  };
  return [chosen, toggle, () => setChosen(new Set())];
}

/** Who can be chosen: whoever's key is the one that is known. */
function believed(contacts: readonly Contact[]): Contact[] {
  return contacts.filter(({ keyChanged }) => !keyChanged);
}

export function NewGroupDialog() {
  const screen = usePhone();
  const { contacts } = screen.engine.state.value;
  const [title, setTitle] = useState("");
  const [kind, setKind] = useState<Group["kind"]>("group");
  const [chosen, toggle] = useChosen();
  const [fault, setFault] = useState<"group.nameMissing" | "group.nobody" | null>(null);
  const [working, setWorking] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const close = (): void => {
    screen.dialog.value = null;
  };

  const make = () => {
    if (title.trim() === "") {
      setFault("group.nameMissing");
      field.current?.focus();
      return;
    }
    if (chosen.size === 0) {
      setFault("group.nobody");
      return;
    }
    setFault(null);
    setWorking(true);
    attempt(
      screen,
      screen.engine.createGroup(kind, title, [...chosen]).then((id) => {
        close();
        if (id !== null) openThread(screen, id);
      }),
    );
  };
  return (
    <Dialog labelledBy="new-group-title" class="group-dialog" onDismiss={close}>
      <form
        class="group-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (!working) make();
        }}
      >
        <h2 id="new-group-title">{t("group.new")}</h2>
        <div class="field">
          <label for="group-name">{t("group.name")}</label>
          <input
            id="group-name"
            ref={field}
            class="input"
            maxLength={TITLE_MAX}
            value={title}
            aria-describedby="group-name-hint"
            onInput={(event) => setTitle(event.currentTarget.value)}
          />
          <p id="group-name-hint" class="quiet">
            {t("group.nameHint")}
          </p>
        </div>
        <fieldset class="group-kind">
          <legend>{t("group.kind")}</legend>
          {(["group", "talk"] as const).map((each) => (
            <label key={each} class="group-kind-choice">
              <input type="radio" name="group-kind" checked={kind === each} onChange={() => setKind(each)} />
              <span>
                {t(`group.kinds.${each}`)}
                <span class="quiet">{t(`group.kindHint.${each}`)}</span>
              </span>
            </label>
          ))}
        </fieldset>
        <fieldset class="people">
          <legend>{t("group.people")}</legend>
          <PeopleChoice people={believed(contacts)} chosen={chosen} onToggle={toggle} />
        </fieldset>
        {fault && (
          <p class="field-fault" role="alert">
            <Icon name="warning" size={18} />
            {t(fault)}
          </p>
        )}
        <div class="dialog-actions">
          <button type="button" class="button" onClick={close}>
            {t("group.cancel")}
          </button>
          <button type="submit" class="button button-primary" disabled={working}>
            {t(working ? "group.making" : "group.make")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

export function MembersDialog({ group }: { group: Group }) {
  const screen = usePhone();
  const { engine } = screen;
  const { contacts } = engine.state.value;
  const [title, setTitle] = useState(group.title);
  const [chosen, toggle, clear] = useChosen();
  const [leaving, setLeaving] = useState(false);
  const close = (): void => {
    screen.dialog.value = null;
  };
  const others = believed(contacts).filter(({ accountId }) => !group.members.some((member) => member.accountId === accountId));
  const name = group.title || t("group.untitled");

  return (
    <Dialog labelledBy="members-title" class="group-dialog" onDismiss={close}>
      <h2 id="members-title">{t("group.title", { name })}</h2>
      {group.standing === "open" && (
        <form
          class="inline-form"
          onSubmit={(event) => {
            event.preventDefault();
            attempt(screen, engine.renameGroup(group.conversationId, title));
          }}
        >
          <label for="rename">{t("group.name")}</label>
          <input id="rename" class="input" maxLength={TITLE_MAX} value={title} onInput={(event) => setTitle(event.currentTarget.value)} />
          <button type="submit" class="button" disabled={title.trim() === "" || title.trim() === group.title}>
            {t("group.rename")}
          </button>
        </form>
      )}
      <section aria-labelledby="roster-title">
        <h3 id="roster-title">{t("group.roster")}</h3>
        <ul class="roster">
          {group.members.map((member) => (
            <li key={member.accountId} class="roster-member">
              <Avatar name={member.displayName} />
              <span class="roster-words">
                <span>{member.me ? `${member.displayName} · ${t("group.you")}` : member.displayName}</span>
                {!member.joined && !member.me && <span class="quiet">{t("group.waiting")}</span>}
              </span>
              {member.role !== "member" && <span class={`badge badge-${member.role}`}>{t(`group.role.${member.role}`)}</span>}
              {group.mayChange && !member.me && member.role !== "archive" && (
                <button
                  type="button"
                  class="button button-small"
                  aria-label={t("group.removeWhich", { name: member.displayName })}
                  onClick={() => attempt(screen, engine.removeMember(group.conversationId, member.accountId))}
                >
                  {t("group.remove")}
                </button>
              )}
            </li>
          ))}
        </ul>
      </section>
      {group.mayChange && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            attempt(screen, engine.addMembers(group.conversationId, [...chosen]));
            clear();
          }}
        >
          <fieldset class="people">
            <legend>{t("group.add")}</legend>
            {others.length === 0 ? <p class="quiet">{t("group.nobodyElse")}</p> : <PeopleChoice people={others} chosen={chosen} onToggle={toggle} />}
          </fieldset>
          <button type="submit" class="button" disabled={chosen.size === 0}>
            {t("group.addChosen")}
          </button>
        </form>
      )}
      {leaving && <p role="alert">{t("group.leaveSure")}</p>}
      <div class="dialog-actions">
        {group.standing === "open" && (
          <button
            type="button"
            class="button button-danger"
            onClick={() => {
              if (!leaving) setLeaving(true);
              else attempt(screen, engine.leaveGroup(group.conversationId).then(close));
            }}
          >
            {t(leaving ? "group.leaveYes" : "group.leave")}
          </button>
        )}
        <button type="button" class="button button-primary" onClick={close}>
          {t("group.close")}
        </button>
      </div>
    </Dialog>
  );
}
