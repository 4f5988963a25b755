import { useState } from "preact/hooks";
import { format, t } from "../i18n";
import { announce } from "../ui/Announcer";
import { Icon } from "../ui/icons";
import { randomId } from "../keys/bytes";
import type { Account, ConsoleApi, TalkGroup, TalkMember } from "./api";
import { CardTable } from "./CardTable";
import { ErrorNotice } from "./ErrorNotice";
import { CEILINGS, precedenceWord } from "./rights";
import { useLoaded } from "./useLoaded";

const REFRESH_MS = 5_000;

type Change = (ask: () => Promise<void>, said: string) => void;

function Make({ accounts, api, change }: { accounts: readonly Account[]; api: ConsoleApi; change: Change }) {
  const [owner, setOwner] = useState("");
  const [members, setMembers] = useState<readonly string[]>([]);
  const make = () =>
    change(async () => {
      await api.makeTalkGroup({ conversation_id: randomId(), owner, members: members.filter((account) => account !== owner) });
      setOwner("");
      setMembers([]);
    }, t("talkGroups.made"));
  return (
    <form
      class="talk-make"
      onSubmit={(event) => {
        event.preventDefault();
        make();
      }}
    >
      <div class="field">
        <label for="talk-owner">{t("talkGroups.owner")}</label>
        <select id="talk-owner" class="input" required value={owner} aria-describedby="talk-owner-hint" onChange={(event) => setOwner(event.currentTarget.value)}>
          <option value="">{t("talkGroups.choose")}</option>
          {accounts.map(({ account_id, display_name }) => (
            <option key={account_id} value={account_id}>
              {display_name}
            </option>
          ))}
        </select>
        <p id="talk-owner-hint" class="field-hint">
          {t("talkGroups.ownerHint")}
        </p>
      </div>
      <fieldset class="choice roles talk-people">
        <legend class="field-label">{t("talkGroups.members")}</legend>
        {accounts.map(({ account_id, display_name }) => (
          <label key={account_id} class="role">
            <input
              type="checkbox"
              checked={members.includes(account_id) || account_id === owner}
              disabled={account_id === owner}
              onChange={(event) => setMembers(event.currentTarget.checked ? [...members, account_id] : members.filter((other) => other !== account_id))}
            />
            <span>{display_name}</span>
          </label>
        ))}
      </fieldset>
      <button type="submit" class="button button-primary">
        <Icon name="person" />
        {t("talkGroups.make")}
      </button>
    </form>
  );
}

function Row({ group, member, api, change }: { group: TalkGroup; member: TalkMember; api: ConsoleApi; change: Change }) {
  const { account_id: id, display_name: name, owner } = member;
  const floor = member.floor ?? null;
  const only = owner && group.members.filter((other) => other.owner).length === 1;
  const give = (rights: { owner: boolean; floor: typeof floor }) => change(() => api.setTalkMember(group.conversation_id, id, rights), t("talkGroups.changed", { name }));
  if (member.archive) {
    return (
      <tr>
        <th scope="row">{name}</th>
        <td colSpan={3}>
          <span class="badge badge-warn">{t("rights.role.archive")}</span>
        </td>
      </tr>
    );
  }
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>
        <label class="role">
          <input type="checkbox" checked={owner} disabled={only} onChange={(event) => give({ owner: event.currentTarget.checked, floor })} />
          <span>{t("talkGroups.mayChange")}</span>
        </label>
      </td>
      <td>
        <select
          class="input"
          aria-label={t("talkGroups.floorWhich", { name })}
          value={floor ?? ""}
          onChange={(event) => {
            const chosen = event.currentTarget.value;
            give({ owner, floor: chosen === "none" ? "none" : (CEILINGS.find((level) => level === chosen) ?? null) });
          }}
        >
          <option value="">{t("talkGroups.asAsked")}</option>
          {CEILINGS.filter((level) => level !== "routine").map((level) => (
            <option key={level} value={level}>
              {precedenceWord(level)}
            </option>
          ))}
          <option value="none">{t("talkGroups.listens")}</option>
        </select>
      </td>
      <td class="cell-action">
        <button type="button" class="button button-small" aria-label={t("talkGroups.removeWhich", { name })} onClick={() => change(() => api.removeTalkMember(group.conversation_id, id), t("talkGroups.removed", { name }))}>
          {t("talkGroups.remove")}
        </button>
      </td>
    </tr>
  );
}

function Group({ group, accounts, api, change }: { group: TalkGroup; accounts: readonly Account[]; api: ConsoleApi; change: Change }) {
  const [chosen, setChosen] = useState("");
  const others = accounts.filter(({ account_id }) => !group.members.some((member) => member.account_id === account_id));
  const owners = group.members.filter(({ owner }) => owner).map(({ display_name }) => display_name);
  const id = `talk-${group.conversation_id}`;
  return (
    <section class="talk-group" aria-labelledby={id}>
      <h3 id={id}>
        {t("talkGroups.of", { names: owners.join(", "), count: group.members.length })} <code class="quiet">{group.conversation_id.slice(0, 8)}</code>
      </h3>
      <p class="quiet">
        {t("talkGroups.since", { since: format.dayAndClock(group.created_at * 1000) })} {!group.founded && t("talkGroups.notFounded", { names: owners.join(", ") })}
      </p>
      <CardTable
        label={t("talkGroups.list", { names: owners.join(", ") })}
        heads={[t("people.name"), t("talkGroups.owners"), t("talkGroups.floor"), <span key="action" class="visually-hidden">{t("invitations.action")}</span>]}
      >
        {group.members.map((member) => (
          <Row key={member.account_id} group={group} member={member} api={api} change={change} />
        ))}
      </CardTable>
      {others.length > 0 && (
        <form
          class="talk-add"
          onSubmit={(event) => {
            event.preventDefault();
            const name = others.find(({ account_id }) => account_id === chosen)?.display_name ?? "";
            change(() => api.setTalkMember(group.conversation_id, chosen, { owner: false, floor: null }), t("talkGroups.added", { name }));
            setChosen("");
          }}
        >
          <label for={`${id}-add`} class="visually-hidden">
            {t("talkGroups.addWhom")}
          </label>
          <select id={`${id}-add`} class="input" required value={chosen} onChange={(event) => setChosen(event.currentTarget.value)}>
            <option value="">{t("talkGroups.addWhom")}</option>
            {others.map(({ account_id, display_name }) => (
              <option key={account_id} value={account_id}>
                {display_name}
              </option>
            ))}
          </select>
          <button type="submit" class="button">
            {t("talkGroups.add")}
          </button>
        </form>
      )}
    </section>
  );
}

/** Talk groups that administrators and phones made: who is in them, and what their members may ask of the floor. */
export function TalkGroups({ api }: { api: ConsoleApi }) {
  const { value, error, reload } = useLoaded(async () => {
    const [groups, accounts] = await Promise.all([api.talkGroups(), api.accounts()]);
    return { groups, accounts: accounts.filter(({ devices }) => devices.some(({ state }) => state === "certified")) };
  }, REFRESH_MS);
  const [failure, setFailure] = useState<Error | null>(null);
  const change: Change = (ask, said) => {
    setFailure(null);
    ask()
      .then(() => announce(said))
      .catch((reason: unknown) => setFailure(reason instanceof Error ? reason : new Error(String(reason))))
      .finally(() => void reload());
  };
  return (
    <section class="card section" aria-labelledby="talk-title">
      <h2 id="talk-title">{t("talkGroups.title")}</h2>
      <p class="quiet">{t("talkGroups.lead")}</p>
      {error && <ErrorNotice error={error} />}
      {failure && <ErrorNotice error={failure} />}
      {value && <Make accounts={value.accounts} api={api} change={change} />}
      {value?.groups.length === 0 && <p class="quiet">{t("talkGroups.empty")}</p>}
      {value?.groups.map((group) => (
        <Group key={group.conversation_id} group={group} accounts={value.accounts} api={api} change={change} />
      ))}
    </section>
  );
}
