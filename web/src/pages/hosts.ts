// All hosts: search and filters are in the URL; rows and their load are made only when they come near the screen.

import { get, getAll, query } from "../api.ts";
import { fill, h, isNearScreen, svg, whenSeen } from "../dom.ts";
import { read } from "../series.ts";
import { nowS, stamp } from "../time.ts";
import type { Host, HostChecks } from "../types.ts";
import { counted, format, span } from "../units.ts";
import { type Place, type View, failed, isAbort, link, note, setParameters } from "../view.ts";

const CHUNK = 50;
/** How long rows must stay before they are filled in. */
const STAY_MS = 150;
const STATUSES = ["working", "standby", "maintenance", "poweroff"];
const LOAD = "loadavg5";
const ORDER = new Intl.Collator(undefined, { numeric: true });

export function hostsPage(place: Place): View {
  const list = h("div", { class: "hostlist" });
  const count = h("span", { class: "count", role: "status" });
  let parameters = place.parameters;
  let hosts: Host[] | null = null;
  let loaded = "";
  let renew: () => void = () => {};
  let stop: () => void = () => {};

  const search = h("input", {
    type: "search",
    "aria-label": "search hosts",
    placeholder: "Search name, id, role, memo",
    value: parameters.get("q") ?? "",
    oninput: () => setParameters({ q: search.value }, true),
  });
  const service = h("select", { "aria-label": "service", onchange: () => setParameters({ service: service.value, role: "" }) });
  const statuses = STATUSES.map((status) => {
    const box = h("input", { type: "checkbox", value: status, onchange: () => setParameters({ status: chosen().join(",") }) });
    box.checked = statusesOf(parameters).includes(status);
    return { box, label: h("label", {}, box, status) };
  });
  const chosen = () => statuses.filter(({ box }) => box.checked).map(({ box }) => box.value);

  async function load(): Promise<void> {
    try {
      const found = await getAll<Host>("api/v0/hosts", "hosts", { status: STATUSES });
      found.sort((one, other) => ORDER.compare(nameOf(one), nameOf(other)));
      const text = JSON.stringify(found);
      if (text === loaded) return renew(); // the same rows stay, and so does the place in the list
      loaded = text;
      hosts = found;
      draw();
    } catch (error) {
      fill(list, failed(error, () => void load()));
    }
  }

  function draw(): void {
    if (!hosts) return;
    const services = [...new Set(hosts.flatMap((host) => Object.keys(host.roles)))].sort();
    const wanted = parameters.get("service") ?? "";
    fill(service, h("option", { value: "" }, "all services"), services.map((name) => h("option", { value: name, selected: name === wanted }, name)));
    const found = hosts.filter((host) => fits(host, parameters));
    count.textContent = found.length === hosts.length ? counted(hosts.length, "host") : `${found.length} of ${counted(hosts.length, "host")}`;
    stop();
    renew = () => {};
    if (!hosts.length) fill(list, nothing());
    else if (!found.length) fill(list, note("empty", "No host fits this search."));
    else {
      const made = table(found);
      ({ renew, stop } = made);
      fill(list, made.element);
    }
  }

  void load();
  fill(list, note("loading", "Loading hosts …"));
  const filters = h("div", { class: "filters", role: "search" }, search, service, h("fieldset", {}, h("legend", { class: "unseen" }, "status"), statuses.map(({ label }) => label)), count);
  return {
    element: h("main", {}, h("h1", {}, "Hosts"), filters, list),
    title: "Hosts",
    refresh: () => void load(),
    destroy: () => stop(),
    move: (changed) => {
      parameters = changed;
      draw();
      return true;
    },
  };
}

function nothing(): HTMLElement {
  return note("empty", h("strong", {}, "No hosts yet. "), "Point an agent here: set ", h("code", {}, "apibase"), " of mackerel-agent to this URL and ", h("code", {}, "apikey"), " to an API key. The host appears with its first start.");
}

function statusesOf(parameters: URLSearchParams): string[] {
  return (parameters.get("status") ?? "working,standby,maintenance").split(",").filter(Boolean);
}

function nameOf(host: Host): string {
  return host.displayName || host.name;
}

/** Whole minutes are enough for samples that come each minute. */
function ago(seconds: number): string {
  return seconds < 90 ? "1 min" : span(Math.round(seconds / 60) * 60);
}

function rolesOf(host: Host): string[] {
  return Object.entries(host.roles).flatMap(([service, roles]) => roles.map((role) => `${service}:${role}`));
}

function fits(host: Host, parameters: URLSearchParams): boolean {
  const words = (parameters.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const service = parameters.get("service");
  const role = parameters.get("role");
  const all = [host.id, host.name, host.displayName ?? "", host.memo, ...rolesOf(host)].join(" ").toLowerCase();
  return (
    statusesOf(parameters).includes(host.status) &&
    words.every((word) => all.includes(word)) &&
    (!service || (host.roles[service] !== undefined && (!role || host.roles[service].includes(role))))
  );
}

/** `renew` asks again for load and checks of the rows that are on the screen; `stop` drops what was asked. */
function table(hosts: Host[]): { element: HTMLElement; renew: () => void; stop: () => void } {
  const asking = new AbortController();
  const body = h("tbody");
  const more = h("div", { class: "more" });
  const rows: Row[] = [];
  const fillIn = (some: Row[]) => {
    void fillLoad(some, asking.signal);
    void fillChecks(some, asking.signal);
  };
  /** Rows that only fly past cost no read. */
  const fillWhenSeen = (some: Row[]) => {
    setTimeout(() => {
      if (some.some(({ element }) => isNearScreen(element))) fillIn(some);
      else if (body.isConnected) whenSeen([some[0]!.element, some.at(-1)!.element], () => fillWhenSeen(some));
    }, STAY_MS);
  };
  const next = () => {
    const chunk = hosts.slice(rows.length, rows.length + CHUNK).map(rowOf);
    rows.push(...chunk);
    body.append(...chunk.map((row) => row.element));
    fillWhenSeen(chunk);
    if (rows.length < hosts.length) whenSeen(more, next);
  };
  const renew = () => {
    const seen = rows.filter(({ element }) => isNearScreen(element)).slice(0, CHUNK);
    if (seen.length) fillIn(seen);
  };
  next();
  const head = ["Host", "Status", "Roles", "Checks", "Load, 1 hour", "Last seen"].map((name) => h("th", { scope: "col" }, name));
  const element = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "hosts" }, h("table", { class: "wide" }, h("thead", {}, h("tr", {}, head)), body), more);
  return { element, renew, stop: () => asking.abort() };
}


interface Row {
  host: Host;
  element: HTMLElement;
  load: HTMLElement;
  seen: HTMLElement;
  checks: HTMLElement;
}

function rowOf(host: Host): Row {
  const [load, seen, checks] = [h("td", { class: "load" }), h("td", { class: "seen" }), h("td")];
  const roles = rolesOf(host).map((name) => h("a", { class: "role", href: link(["services", name.split(":")[0]!]) }, name));
  const element = h(
    "tr",
    {},
    h("th", { scope: "row" }, h("a", { href: link(["hosts", host.id]) }, host.displayName || host.name), host.memo ? h("small", {}, host.memo) : null),
    h("td", {}, statusBadge(host.status)),
    h("td", {}, roles),
    checks,
    load,
    seen,
  );
  return { host, element, load, seen, checks };
}

export function statusBadge(status: string): HTMLElement {
  return h("span", { class: `badge status-${status}` }, status);
}

/** Load and last sample of some hosts, in one read. */
async function fillLoad(rows: Row[], signal: AbortSignal): Promise<void> {
  const [to, from] = [nowS(), nowS() - 3600];
  try {
    const batch = await read({ sources: rows.map((row) => `host/${row.host.id}`), names: [LOAD], range: { from, to, preset: "1h" } }, signal);
    for (const row of rows) {
      const source = batch.sources.find((one) => one.source === `host/${row.host.id}`);
      const series = source?.series[0];
      const last = source?.times.at(-1);
      fill(row.seen, last === undefined ? "over 1 h ago" : h("time", { title: stamp(last) }, `${ago(nowS() - last)} ago`));
      if (source && series) fill(row.load, sparkline(source.times, series.values, from, to));
    }
  } catch (error) {
    if (isAbort(error)) return;
    for (const row of rows) fill(row.seen, h("span", { class: "quiet", title: String(error) }, "unknown"));
  }
}

async function fillChecks(rows: Row[], signal: AbortSignal): Promise<void> {
  try {
    const { hosts } = await get<{ hosts: HostChecks[] }>(`carbyne/v1/checks${query({ hostId: rows.map((row) => row.host.id) })}`, signal);
    const found = new Map(hosts.map((one) => [one.hostId, one.checks]));
    for (const row of rows) fill(row.checks, checkCounts((found.get(row.host.id) ?? []).map((check) => check.status)));
  } catch (error) {
    if (isAbort(error)) return;
    for (const row of rows) fill(row.checks, h("span", { class: "quiet" }, "unknown"));
  }
}

export const SEVERITY = ["CRITICAL", "WARNING", "UNKNOWN", "OK"];

function checkCounts(statuses: string[]): (HTMLElement | string)[] {
  const present = SEVERITY.filter((status) => statuses.includes(status));
  if (!present.length) return [h("span", { class: "quiet" }, "none")];
  return present.map((status) => h("span", { class: `badge check-${status}` }, `${statuses.filter((each) => each === status).length} ${status}`));
}

function sparkline(times: number[], values: (number | null)[], from: number, to: number): HTMLElement {
  const [width, height] = [120, 26];
  const top = Math.max(0.5, ...values.filter((value): value is number => value !== null));
  const points = times.map((time, at) => ({ x: ((time - from) / (to - from)) * width, y: values[at] }));
  const path = points
    .filter((point): point is { x: number; y: number } => point.y != null)
    .map(({ x, y }, at) => `${at ? "L" : "M"}${x.toFixed(1)} ${(height - 2 - (y / top) * (height - 4)).toFixed(1)}`)
    .join("");
  const last = values.filter((value) => value !== null).at(-1);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true", class: "spark" }, svg("path", { d: path, fill: "none" }));
  return h("span", { class: "sparkcell" }, drawing as unknown as HTMLElement, format(last, "float"));
}
