import { t } from "../../i18n";
import type { OutgoingText } from "../api";

/** Under which precedence something waits: the five of RFC 4412, and warnings and SOS above them. */
export type Rank = OutgoingText["rank"];

export function rankWords(rank: Rank): string {
  return rank === "sos" || rank === "warning" ? t(`texts.rank.${rank}`) : t(`precedence.${rank}`);
}
