// The API, as the page asks it: a session that renews a token of a minute, and failures that say what to show.

export interface Session {
  tenant: string;
  permissions: string[];
  key: string;
  token: string;
  /** How long the token is good for, from its answer on. */
  expiresIn: number;
}

export type Kind = "signed-out" | "forbidden" | "unavailable" | "offline" | "refused";

/** A request without an answer that the page can draw; `kind` chooses what is shown instead. */
export class Failure extends Error {
  constructor(
    readonly kind: Kind,
    message: string,
    readonly status = 0,
  ) {
    super(message);
  }
}

const SESSION = "carbyne/v1/session";
const MARGIN_MS = 10_000;

let session: Session | null = null;
let goodUntil = 0;
let renewing: Promise<Session | null> | null = null;
let onSignedOut: () => void = () => {};

export function current(): Session | null {
  return session;
}

export function canWrite(): boolean {
  return session?.permissions.includes("write") ?? false;
}

/** `called` when a request finds that the session is over. */
export function whenSignedOut(called: () => void): void {
  onSignedOut = called;
}

async function ask(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, { credentials: "same-origin", redirect: "error", ...init });
  } catch (error) {
    if ((error as Error).name === "AbortError") throw error;
    throw new Failure("offline", "The server can't be reached. Trying again.");
  }
}

async function failureOf(response: Response): Promise<Failure> {
  let message = `${response.status} ${response.statusText}`;
  try {
    const { error } = (await response.json()) as { error: string | { message: string } };
    message = typeof error === "string" ? error : error.message; // a text in Prometheus' API
  } catch {
    // not an answer of the functions themselves: the status has to do
  }
  if (response.status === 403) return new Failure("forbidden", message, 403);
  return new Failure(response.status >= 500 ? "unavailable" : "refused", message, response.status);
}

async function take(response: Response): Promise<Session | null> {
  if (!response.ok) throw await failureOf(response);
  session = ((await response.json()) as { session: Session | null }).session;
  goodUntil = session ? performance.now() + session.expiresIn * 1000 - MARGIN_MS : 0;
  return session;
}

/** Signs in; Failure "forbidden" for a wrong key, "unavailable" while Redis is away. */
export async function signIn(key: string): Promise<Session | null> {
  const body = JSON.stringify({ key });
  return take(await ask(SESSION, { method: "POST", body, headers: { "Content-Type": "application/json" } }));
}

/** The session that the cookie names, with a new token; null without one. */
export function renew(): Promise<Session | null> {
  renewing ??= ask(SESSION, {})
    .then(take)
    .finally(() => {
      renewing = null;
    });
  return renewing;
}

export async function signOut(): Promise<void> {
  await ask(SESSION, { method: "DELETE" });
  session = null;
}

async function token(): Promise<string> {
  if (session && performance.now() < goodUntil) return session.token;
  const renewed = await renew();
  if (renewed) return renewed.token;
  onSignedOut();
  throw new Failure("signed-out", "The session is over. Sign in again.");
}

export interface Answer<Value> {
  value: Value;
  /** What could not be read, if the answer is not whole. */
  warnings: string[];
}

async function send<Value>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Answer<Value>> {
  for (let attempt = 0; ; attempt += 1) {
    const headers: Record<string, string> = { Authorization: `Bearer ${await token()}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const init: RequestInit = { method, headers };
    if (body !== undefined) init.body = JSON.stringify(body);
    if (signal) init.signal = signal;
    const response = await ask(path, init);
    if (response.status === 403 && attempt === 0) {
      goodUntil = 0; // the token may have ended before its time: the session or its key was revoked
      continue;
    }
    if (!response.ok) throw await failureOf(response);
    const warnings = (response.headers.get("Carbyne-Warnings") ?? "").split("; ").filter(Boolean);
    return { value: (await response.json()) as Value, warnings };
  }
}

export async function get<Value>(path: string, signal?: AbortSignal): Promise<Value> {
  return (await send<Value>("GET", path, undefined, signal)).value;
}

/** As `get`, with what is missing in the answer. */
export function getWithWarnings<Value>(path: string, signal?: AbortSignal): Promise<Answer<Value>> {
  return send<Value>("GET", path, undefined, signal);
}

export async function change<Value>(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<Value> {
  return (await send<Value>(method, path, body)).value;
}

const PAGE_LIMIT = 1_000;

/** All elements of a list that may have thousands, page by page. */
export async function getAll<Element>(path: string, name: string, parameters: Parameters<typeof query>[0]): Promise<Element[]> {
  const all: Element[] = [];
  let next = "";
  do {
    const page = await get<Record<string, unknown>>(`${path}${query({ ...parameters, limit: PAGE_LIMIT, next })}`);
    all.push(...(page[name] as Element[]));
    next = (page["next"] as string | undefined) ?? "";
  } while (next);
  return all;
}

/** A path's query; empty values are left out. */
export function query(parameters: Record<string, string | number | string[] | undefined>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined && each !== "") search.append(name, String(each));
    }
  }
  const said = search.toString();
  return said ? `?${said}` : "";
}
