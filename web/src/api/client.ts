// The HTTP interface, typed by the schema that is generated from the server's own OpenAPI document (`npm run api-types`).

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

export interface Answer<T> {
  value: T;
  /** POSIX seconds of the server's Date header, or null. */
  serverUnixS: number | null;
}

/** One request. Rejects with ApiError or Unreachable, and with nothing else. */
export async function request<T>(fetch: Fetch, method: Method, path: string, body?: unknown, token?: string): Promise<Answer<T>> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token !== undefined) headers["Authorization"] = `Bearer ${token}`;
  let response: Response;
  let text: string;
  try {
    response = await fetch(path, {
      method,
      headers,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    text = await response.text();
  } catch (error) {
    throw new Unreachable(`${method} ${path}`, { cause: error });
  }
  if (!response.ok) throw problem(response, text);
  try {
    const date = Date.parse(response.headers.get("Date") ?? "");
    return { value: (text === "" ? undefined : JSON.parse(text)) as T, serverUnixS: Number.isNaN(date) ? null : date / 1000 };
  } catch (error) {
    throw new Unreachable(`${method} ${path}: not an answer of our server`, { cause: error });
  }
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
