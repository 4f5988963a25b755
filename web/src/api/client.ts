// The HTTP interface, typed by the schema that is generated from the server's own OpenAPI document (`npm run api-types`).

import { concat, owned, type Bytes } from "../keys/bytes";
import type { components } from "./schema";

export type Schemas = components["schemas"];

/** The server answered with a problem (RFC 9457). `code` is one of its stable codes. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly retryAfterS: number | null,
  ) {
    super(detail);
  }

  /** Worth sending again unchanged, later. */
  get passing(): boolean {
    return this.status === 429 || this.status >= 500;
  }
}

/** No answer: no network, no server, or too slow. */
export class Unreachable extends Error {}

export type Method = "GET" | "POST" | "PUT" | "DELETE";
export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

/** A request over a satellite path with losses may take its time; beyond this it counts as lost. */
const REQUEST_TIMEOUT_MS = 15_000;
/** The same for octets, from the last of them that came; what is sent gets as much more as it takes at the slowest rate. */
const OCTETS_TIMEOUT_MS = 60_000;
/** A link of 6 kbit/s, with what the protocols around a chunk take of it. */
const SLOWEST_BPS = 4_000;

/** How octets travel: `progress` gets those that have come so far. Whoever aborts is told Unreachable. */
export interface OctetOptions {
  signal?: AbortSignal;
  progress?: (octets: number) => void;
}

export interface Answer<T> {
  value: T;
  /** POSIX seconds of the server's Date header, or null. */
  serverUnixS: number | null;
}

/** One request with JSON. Rejects with ApiError or Unreachable, and with nothing else. */
export async function request<T>(fetch: Fetch, method: Method, path: string, body?: unknown, token?: string, timeoutMs = REQUEST_TIMEOUT_MS): Promise<Answer<T>> {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  const { value: text, serverUnixS } = await exchange(fetch, path, init, token, new Patience(timeoutMs), (response) => response.text());
  try {
    return { value: (text === "" ? undefined : JSON.parse(text)) as T, serverUnixS };
  } catch (error) {
    throw new Unreachable(`${method} ${path}: not an answer of our server`, { cause: error });
  }
}

/** A request whose body, or answer, is octets. Rejects with ApiError or Unreachable, and with nothing else. */
export async function requestOctets(fetch: Fetch, method: Method, path: string, body: Uint8Array | null, token: string, options: OctetOptions = {}): Promise<Answer<Bytes>> {
  const headers = body === null ? {} : { "Content-Type": "application/octet-stream" };
  const init = { method, headers, ...(body === null ? {} : { body: owned(body) }) };
  const patience = new Patience(OCTETS_TIMEOUT_MS + (8_000 * (body?.length ?? 0)) / SLOWEST_BPS, options.signal);
  return exchange(fetch, path, init, token, patience, (response) => readOctets(response, patience, options.progress));
}

async function readOctets(response: Response, patience: Patience, progress: OctetOptions["progress"]): Promise<Bytes> {
  const reader = response.body?.getReader();
  const parts: Uint8Array[] = [];
  for (let octets = 0; reader !== undefined; ) {
    const { done, value } = await reader.read();
    if (done) break;
    patience.renew(OCTETS_TIMEOUT_MS);
    parts.push(value);
    progress?.((octets += value.length));
  }
  return concat(...parts);
}

/** How long an answer may take. */
class Patience {
  private readonly controller = new AbortController();
  private timer: ReturnType<typeof setTimeout>;

  constructor(ms: number, outside?: AbortSignal) {
    this.timer = this.wait(ms);
    outside?.addEventListener("abort", () => this.controller.abort());
    if (outside?.aborted === true) this.controller.abort();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Something came: from now on it is so long. */
  renew(ms: number): void {
    this.end();
    this.timer = this.wait(ms);
  }

  end(): void {
    clearTimeout(this.timer);
  }

  private wait(ms: number): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.controller.abort(), ms);
  }
}

async function exchange<T>(
  fetch: Fetch,
  path: string,
  init: RequestInit & { headers: Record<string, string> },
  token: string | undefined,
  patience: Patience,
  read: (response: Response) => Promise<T>,
): Promise<Answer<T>> {
  const headers = token === undefined ? init.headers : { ...init.headers, Authorization: `Bearer ${token}` };
  let refused: ApiError;
  try {
    const { signal } = patience;
    const response = await fetch(path, { ...init, headers, cache: "no-store", credentials: "omit", redirect: "error", signal });
    if (response.ok) {
      const date = Date.parse(response.headers.get("Date") ?? "");
      return { value: await read(response), serverUnixS: Number.isNaN(date) ? null : date / 1000 };
    }
    refused = problem(response, await response.text());
  } catch (error) {
    throw new Unreachable(`${init.method} ${path}`, { cause: error });
  } finally {
    patience.end();
  }
  throw refused;
}

function problem(response: Response, text: string): ApiError {
  const retryAfter = Number(response.headers.get("Retry-After") ?? Number.NaN);
  let fields: Partial<Schemas["ProblemShape"]> = {};
  try {
    fields = JSON.parse(text) as Partial<Schemas["ProblemShape"]>;
  } catch {
    // a proxy's error page: the status says enough
  }
  return new ApiError(response.status, fields.code ?? "unknown", fields.detail ?? response.statusText, Number.isFinite(retryAfter) ? retryAfter : null);
}
