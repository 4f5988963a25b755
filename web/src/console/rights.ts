// The words for what a certificate gives.

import { t } from "../i18n";
import type { Schemas } from "../api/client";

export type Role = Schemas["CertificateRequest"]["roles"][number];
export type Ceiling = Schemas["CertificateRequest"]["precedence_ceiling"];

export const ROLES: readonly Role[] = ["member", "custodian", "approver", "operator", "auditor", "archive", "site", "gateway", "nested"];
export const CEILINGS: readonly Ceiling[] = ["routine", "priority", "immediate", "flash", "flash-override"];

export function precedenceWord(label: string): string {
  const ceiling = CEILINGS.find((known) => known === label);
  return ceiling === undefined ? label : t(`rights.level.${ceiling}`);
}
