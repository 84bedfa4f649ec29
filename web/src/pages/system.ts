// For operators: how far behind the pipeline is, lanes, replays, Redis nodes, seals. And the sessions of this key.

import { canWrite, change, get, query } from "../api.ts";
import { fill, h } from "../dom.ts";
import { nowS, stamp } from "../time.ts";
import type { SessionInfo, SystemState } from "../types.ts";
import { format, span } from "../units.ts";
import type { Batch } from "../series.ts";
import { type View, failed, note, tableOf } from "../view.ts";

export function systemPage(): View {
  const body = h("div", {}, note("loading", "Asking the system …"));
  const sessions = h("div", {}, note("loading", "Loading sessions …"));

  const lag = h("div", { class: "lag" }, tile("Lag", "…", "a sample is on its way"));

  async function measure(): Promise<void> {
    try {
      fill(lag, canWrite() ? lagTile(await lagOf()) : tile("Lag", "–", "sign in with a key that may write to measure it"));
    } catch (error) {
      fill(lag, tile("Lag", "unknown", error instanceof Error ? error.message : String(error), true));
    }
  }

  async function load(): Promise<void> {
    try {
      fill(body, ...stateOf(await get<SystemState>("carbyne/v1/system"), lag));
    } catch (error) {
      fill(body, failed(error, () => void load()));
    }
  }

  async function loadSessions(): Promise<void> {
    try {
      const found = (await get<{ sessions: SessionInfo[] }>("carbyne/v1/sessions")).sessions;
      fill(sessions, sessionTable(found, () => void loadSessions()));
    } catch (error) {
      fill(sessions, failed(error));
    }
  }

  void load().then(measure);
  void loadSessions();
  return {
    element: h("main", {}, h("h1", {}, "System"), body, h("h2", {}, "Sessions of this API key"), sessions),
    title: "System",
    refresh: () => void load(),
  };
}

function tile(title: string, value: string, hint: string, bad = false): HTMLElement {
  return h("div", { class: `tile${bad ? " bad" : ""}` }, h("h3", {}, title), h("p", { class: "value" }, value), h("small", {}, hint));
}

interface Lag {
  acknowledgedMs: number;
  readableMs: number | null;
}

const PROBE_HOST = "carbyne-lag";
const PROBE_MS_MAX = 30_000;
const PROBE_PAUSE_MS = 100;

/** Posts a sample and reads until it is there: what an agent's next sample takes now. */
async function lagOf(): Promise<Lag> {
  const [time, value, begun] = [Math.floor(nowS() / 60) * 60, Math.random(), performance.now()]; // samples are of minutes
  await change("POST", "api/v0/tsdb", [{ hostId: PROBE_HOST, name: "custom.lag.probe", time, value }]);
  const acknowledgedMs = performance.now() - begun;
  const asked = query({ source: `host/${PROBE_HOST}`, name: "custom.lag.probe", from: time, to: time, resolution: "raw" });
  while (performance.now() - begun < PROBE_MS_MAX) {
    const { sources } = await get<Batch>(`carbyne/v1/batch${asked}`);
    if (sources[0]?.series[0]?.values.includes(value)) return { acknowledgedMs, readableMs: performance.now() - begun };
    await new Promise((done) => setTimeout(done, PROBE_PAUSE_MS));
  }
  return { acknowledgedMs, readableMs: null };
}

function lagTile({ acknowledgedMs, readableMs }: Lag): HTMLElement {
  const acknowledged = `from post to readable, measured now; acknowledged after ${format(acknowledgedMs, "milliseconds")}`;
  if (readableMs === null) return tile("Lag", `over ${PROBE_MS_MAX / 1000} s`, acknowledged, true);
  return tile("Lag", format(readableMs, "milliseconds"), acknowledged, readableMs > 5000);
}

function stateOf(state: SystemState, lag: HTMLElement): HTMLElement[] {
  const { lanes, seals, replay, cache, redis } = state;
  const asked = cache.hits + cache.misses;
  const tiles = [
    lag,
    tile("Lanes", lanes.rebuilding ? `${lanes.rebuilding} rebuilding` : "all whole", `${lanes.whole} whole, ${lanes.unset} not begun`, lanes.rebuilding > 0),
    tile("Seals", `${seals.due} due`, `${seals.open} windows open${seals.oldestDueSeconds === null ? "" : `, oldest due ${span(seals.oldestDueSeconds)} ago`}`, (seals.oldestDueSeconds ?? 0) > 1800),
    tile("Replay", replay?.running ? `${replay.lanes} lanes` : "none", replay?.beganAt ? `began ${stamp(replay.beganAt)}` : "nothing was lost", replay?.running ?? false),
    tile("Cache", asked ? `${Math.round((100 * cache.hits) / asked)} % hits` : "unused", `${cache.hits} hits, ${cache.misses} misses since the last start`),
  ];
  const rows = redis.map((node) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, node.node),
      h("td", {}, node.role),
      h("td", {}, h("span", { class: `badge check-${node.isHealthy ? "OK" : "CRITICAL"}` }, node.isHealthy ? "up" : "away")),
      h("td", {}, node.slots),
      h("td", {}, node.replicas),
      h("td", {}, node.usedBytes === null ? "–" : `${format(node.usedBytes, "bytes")}${node.maxBytes ? ` of ${format(node.maxBytes, "bytes")}` : ""}`),
    ),
  );
  const nodes = tableOf("Redis nodes", ["Node", "Role", "State", "Slots", "Replicas", "Memory"], rows);
  return [h("div", { class: "tiles" }, tiles), h("h2", {}, "Redis nodes"), nodes];
}

function sessionTable(sessions: SessionInfo[], changed: () => void): HTMLElement {
  if (!sessions.length) return note("empty", "No session of this key.");
  const rows = sessions.map((session) => {
    const revoke = h("button", { type: "button", onclick: () => void change("DELETE", `carbyne/v1/sessions/${session.id}`).then(changed) }, session.isCurrent ? "Sign out" : "Revoke");
    return h("tr", {}, h("td", { title: session.agent }, browserOf(session.agent), " ", session.isCurrent ? h("span", { class: "badge" }, "this one") : null), h("td", { class: "time" }, stamp(session.createdAt, false)), h("td", { class: "time" }, stamp(session.seenAt, false)), h("td", { class: "time" }, revoke));
  });
  return tableOf("sessions", ["Browser", "Signed in", "Last used", ""], rows);
}

/** The browser and system that a User-Agent names, for people who look for their own. */
function browserOf(agent: string): string {
  const browser = ["Firefox", "Edg", "OPR", "HeadlessChrome", "Chrome", "Safari"].find((name) => agent.includes(`${name}/`));
  const system = ["Windows", "Android", "iPhone", "iPad", "Mac OS X", "Linux"].find((name) => agent.includes(name));
  return browser ? `${browser.replace("Edg", "Edge").replace("OPR", "Opera")}${system ? ` on ${system}` : ""}` : agent || "unknown browser";
}
