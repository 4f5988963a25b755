// The console's part of the HTTP interface (docs/openapi.json). Every call carries the administrator's bearer token.

import { ApiError, type Method, request, type Schemas, Unreachable } from "../api/client";

export type AdminSession = Schemas["Session"];
export type NewInvitation = Schemas["NewInvitation"];
export type Invitation = Schemas["Invitation"];
export type Account = Schemas["AdminAccount"];
export type RaisedAlarm = Schemas["RaisedAlarm"];
export type CertificateRequest = Schemas["CertificateRequest"];
export type InvitationRequest = Schemas["InvitationRequest"];
export type LogEntryShown = Schemas["LogEntryShown"];
export type LogPage = Schemas["LogPage"];
export type Archive = Schemas["Archive"];
export type ConversationKind = Archive["kinds"][number];
export type TalkGroup = Schemas["TalkGroup"];
export type TalkMember = Schemas["TalkMember"];
export type Retention = Schemas["Retention"];
export type CallInProgress = Schemas["CallInProgress"];
export type AuditEntry = Schemas["AuditEntry"];
export type AuditPage = Schemas["AuditPage"];
export type SosPage = Schemas["CasePage"];
export type SosCase = Schemas["CaseShown"];
export type SosEntry = Schemas["EntryShown"];
export type SosForm = "cot" | "cap";
export type SosAction = "take" | "offer" | "release" | "answer" | "position" | "close";
export type TextLinks = Schemas["LinksPage"];
export type TextLink = Schemas["LinkShown"];
export type OutgoingText = Omit<Schemas["TextShown"], "rank"> & { rank: "routine" | "priority" | "immediate" | "flash" | "flash-override" | "sos" | "warning" };
export type ShownTexts = "all" | "waiting" | "unknown" | "under-way" | "delivered" | "failed";
export type UnitPage = Schemas["UnitPage"];
export type Unit = Schemas["UnitShown"];
export type PlanningReport = Schemas["PlanningReport"];
export type Exercise = Schemas["Exercise"];
export type ExerciseNow = Schemas["ExerciseNow"];
export type ExerciseShown = Schemas["ExerciseShown"];
export type SkySummary = Schemas["SkySummary"];
export type Link = Schemas["Link"];
export type Links = Schemas["Links"];
export type RoutersShown = Schemas["RoutersShown"];
export type SiteShown = Schemas["SiteShown"];
export type SiteTunnel = Schemas["SiteTunnel"];
export type SiteDetails = Schemas["SiteDetails"];
export type GatewayShown = Schemas["GatewayShown"];

/** Differences below this are rounding (`Date` has whole seconds) and travel time, not a wrong clock. */
const CLOCK_TOLERANCE_S = 2.5;
const BASE = "/api/v1";
const TEXTS_A_PAGE = 50;
const CASES_A_PAGE = 50;
/** A plan over a whole fleet takes the server seconds, and a small machine that just started more than most answers may take. */
const PLAN_TIMEOUT_MS = 120_000;

export class ConsoleApi {
  #clockOffsetS = 0;

  constructor(
    private readonly token: () => string | null,
    private readonly onExpired: () => void,
  ) {}

  /** Now as the server sees it, POSIX seconds: satellites are drawn at its time even where this machine's clock is wrong. */
  nowS(): number {
    return Date.now() / 1000 + this.#clockOffsetS;
  }

  /** Rejects with `ApiError` or `Unreachable`. A refused bearer token ends the session. */
  async #call<T>(method: Method, path: string, body?: unknown, timeoutMs?: number): Promise<T> {
    const token = this.token();
    try {
      const { value, serverUnixS } = await request<T>((input, init) => fetch(input, init), method, BASE + path, body, token ?? undefined, timeoutMs);
      if (serverUnixS !== null) {
        const offset = serverUnixS + 0.5 - Date.now() / 1000;
        this.#clockOffsetS = Math.abs(offset) > CLOCK_TOLERANCE_S ? offset : 0;
      }
      return value;
    } catch (reason) {
      if (reason instanceof ApiError && reason.status === 401 && token !== null) this.onExpired();
      throw reason;
    }
  }

  exchange(token: string): Promise<AdminSession> {
    return this.#call("POST", "/admin/sessions", { token });
  }

  invite(request: InvitationRequest): Promise<NewInvitation> {
    return this.#call("POST", "/admin/invitations", request);
  }

  alarms(): Promise<RaisedAlarm[]> {
    return this.#call("GET", "/admin/alarms");
  }

  requests(): Promise<CertificateRequest[]> {
    return this.#call("GET", "/admin/requests");
  }

  proposeChange(request: Schemas["ChangeRequest"]): Promise<Schemas["RequestMade"]> {
    return this.#call("POST", "/admin/requests", request);
  }

  archives(): Promise<Archive[]> {
    return this.#call("GET", "/admin/archives");
  }

  setArchive(accountId: string, kinds: ConversationKind[]): Promise<void> {
    return this.#call("PUT", `/admin/archives/${accountId}`, { kinds });
  }

  talkGroups(): Promise<TalkGroup[]> {
    return this.#call("GET", "/admin/talk-groups");
  }

  makeTalkGroup(request: Schemas["TalkGroupRequest"]): Promise<void> {
    return this.#call("POST", "/admin/talk-groups", request);
  }

  setTalkMember(conversationId: string, accountId: string, rights: Schemas["TalkMemberRights"]): Promise<void> {
    return this.#call("PUT", `/admin/talk-groups/${conversationId}/members/${accountId}`, rights);
  }

  removeTalkMember(conversationId: string, accountId: string): Promise<void> {
    return this.#call("DELETE", `/admin/talk-groups/${conversationId}/members/${accountId}`);
  }

  log(start: number, count: number): Promise<LogPage> {
    return this.#call("GET", `/admin/log?start=${start}&count=${count}`);
  }

  inviteAuditor(): Promise<Schemas["AuditorLink"]> {
    return this.#call("POST", "/admin/auditors", { note: "" });
  }

  auditors(): Promise<Schemas["AuditorListed"][]> {
    return this.#call("GET", "/admin/auditors");
  }

  withdrawAuditor(auditorId: string): Promise<void> {
    return this.#call("DELETE", `/admin/auditors/${encodeURIComponent(auditorId)}`);
  }

  retention(): Promise<Retention> {
    return this.#call("GET", "/admin/retention");
  }

  retain(retention: Retention): Promise<void> {
    return this.#call("PUT", "/admin/retention", retention);
  }

  invitations(): Promise<Invitation[]> {
    return this.#call("GET", "/admin/invitations");
  }

  withdraw(invitationId: string): Promise<void> {
    return this.#call("DELETE", `/admin/invitations/${encodeURIComponent(invitationId)}`);
  }

  accounts(): Promise<Account[]> {
    return this.#call("GET", "/admin/accounts");
  }

  calls(): Promise<CallInProgress[]> {
    return this.#call("GET", "/admin/calls");
  }

  warnings(): Promise<Schemas["WarningShown"][]> {
    return this.#call("GET", "/warnings");
  }

  warning(warningId: string): Promise<Schemas["WarningDetails"]> {
    return this.#call("GET", `/warnings/${encodeURIComponent(warningId)}`);
  }

  warningSetup(): Promise<Schemas["WarningSetup"]> {
    return this.#call("GET", "/warnings/setup");
  }

  previewWarning(body: Schemas["PreviewRequest"]): Promise<Schemas["Preview"]> {
    return this.#call("POST", "/warnings/preview", body);
  }

  planWarning(body: Partial<Schemas["PlanRequest"]> & Pick<Schemas["PlanRequest"], "polygons">): Promise<Schemas["PlanShown"]> {
    return this.#call("POST", "/warnings/plan", body, PLAN_TIMEOUT_MS);
  }

  namedArea(name: string): Promise<Schemas["NamedArea"]> {
    return this.#call("GET", `/warnings/areas/${encodeURIComponent(name)}`);
  }

  /** A CAP 1.2 document is XML, not JSON: it travels as it is. */
  async readCap(document: string): Promise<Schemas["Content"]> {
    let response: Response;
    try {
      response = await fetch(`${BASE}/warnings/cap`, {
        method: "POST",
        headers: { Authorization: `Bearer ${this.token() ?? ""}`, "Content-Type": "application/cap+xml" },
        body: document,
        credentials: "omit",
        redirect: "error",
      });
    } catch (reason) {
      throw new Unreachable("cap", { cause: reason });
    }
    const answer = (await response.json()) as Schemas["Content"] & { code?: string; detail?: string };
    if (!response.ok) throw new ApiError(response.status, answer.code ?? "cap", answer.detail ?? response.statusText, null);
    return answer;
  }

  audit(afterSeq: number): Promise<AuditPage> {
    return this.#call("GET", `/admin/audit?after=${afterSeq}`);
  }

  routers(): Promise<RoutersShown> {
    return this.#call("GET", "/admin/routers");
  }

  siteDetails(deviceId: string): Promise<SiteDetails> {
    return this.#call("GET", `/admin/routers/${deviceId}`);
  }

  sosCases(closed: boolean, after: string): Promise<SosPage> {
    return this.#call("GET", `/sos/cases?${new URLSearchParams({ closed: String(closed), after, most: String(CASES_A_PAGE) })}`);
  }

  sosCase(caseId: string): Promise<Schemas["CaseWithEntries"]> {
    return this.#call("GET", `/sos/cases/${caseId}`);
  }

  sosOperators(): Promise<Schemas["OperatorShown"][]> {
    return this.#call("GET", "/sos/operators");
  }

  /** bearer: of the person who acts; without one the console's session does, for the workplace that `body` names. */
  async sosAct(caseId: string, action: SosAction, body: object, bearer: string | null): Promise<SosCase> {
    const path = `/sos/cases/${caseId}/${action}`;
    if (bearer === null) return this.#call("POST", path, body);
    return (await request<SosCase>((input, init) => fetch(input, init), "POST", BASE + path, body, bearer)).value;
  }

  /** XML, not JSON: it is saved as it is. bearer: of the person who takes it away. */
  async sosExport(caseId: string, form: SosForm, withPhone: boolean, bearer: string | null): Promise<Blob> {
    let response: Response;
    try {
      response = await fetch(`${BASE}/sos/cases/${caseId}/export?form=${form}&with_phone=${withPhone}`, {
        headers: { Authorization: `Bearer ${bearer ?? this.token() ?? ""}` },
        credentials: "omit",
        redirect: "error",
      });
    } catch (reason) {
      throw new Unreachable("export", { cause: reason });
    }
    if (response.ok) return response.blob();
    const answer = (await response.json()) as { code?: string; detail?: string };
    throw new ApiError(response.status, answer.code ?? "export", answer.detail ?? response.statusText, null);
  }

  texts({ show, search, after }: { show: ShownTexts; search: string; after: string }): Promise<{ texts: OutgoingText[]; next: string | null }> {
    return this.#call("GET", `/texts?${new URLSearchParams({ show, search, after, most: String(TEXTS_A_PAGE) })}`);
  }

  textLinks(): Promise<TextLinks> {
    return this.#call("GET", "/texts/links");
  }

  sendText(body: Schemas["TextRequest"]): Promise<Schemas["TextQueued"]> {
    return this.#call("POST", "/texts", body);
  }

  decideText(textId: string, what: "again" | "withdraw"): Promise<void> {
    return this.#call("POST", `/texts/${textId}/${what}`);
  }

  units(): Promise<UnitPage> {
    return this.#call("GET", "/units");
  }

  planningReports(): Promise<PlanningReport[]> {
    return this.#call("GET", "/planning/reports");
  }

  planningReportLink(name: string): Promise<Schemas["ReportLink"]> {
    return this.#call("POST", `/planning/reports/${encodeURIComponent(name)}/link`);
  }

  exercises(): Promise<ExerciseShown[]> {
    return this.#call("GET", "/exercises");
  }

  exercise(name: string): Promise<Exercise> {
    return this.#call("GET", `/exercises/${encodeURIComponent(name)}`);
  }

  sky(): Promise<SkySummary> {
    return this.#call("GET", "/console/sky");
  }

  links(): Promise<Links> {
    return this.#call("GET", "/console/links");
  }

  /** Octets, not JSON: read by `sky/positions.ts`. */
  async positions(atUnixS: number): Promise<ArrayBuffer> {
    let response: Response;
    try {
      response = await fetch(`${BASE}/console/positions?at=${atUnixS}`, {
        headers: { Authorization: `Bearer ${this.token() ?? ""}` },
        credentials: "omit",
        redirect: "error",
      });
    } catch (reason) {
      throw new Unreachable("positions", { cause: reason });
    }
    if (response.status === 401) this.onExpired();
    if (!response.ok) throw new ApiError(response.status, "positions", response.statusText, null);
    return response.arrayBuffer();
  }
}
