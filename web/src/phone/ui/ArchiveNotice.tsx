import { t } from "../../i18n";
import { Icon } from "../../ui/icons";
import type { PhoneState } from "../model";

/** Who keeps what is said in a group. */
export function archivesOfGroup({ groups }: PhoneState, conversationId: string): readonly string[] {
  const group = groups.find((each) => each.conversationId === conversationId);
  return group?.members.filter(({ role }) => role === "archive").map(({ displayName }) => displayName) ?? [];
}

/** Who keeps what is said here, if anybody does: never hidden. */
export function ArchiveNotice({ names }: { names: readonly string[] }) {
  if (names.length === 0) return null;
  return (
    <p class="archive-notice">
      <Icon name="list" size={18} />
      {t("group.archived", { names: names.join(", ") })}
    </p>
  );
}
