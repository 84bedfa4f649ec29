// Alerts: those that are open, those that were, those of Prometheus' rules, and what was said of one.

import { Failure, canWrite, change, get, getAll, query } from "../api.ts";
import type { Board } from "../board.ts";
import { fill, h } from "../dom.ts";
import { nowS, rangeOf, stamp } from "../time.ts";
import type { Alert, AlertLog, Host, HostChecks, Monitor, RuleAlert } from "../types.ts";
import { filled, format } from "../units.ts";
import { type Place, type View, failed, here, link, note, tableOf } from "../view.ts";
import { alertTabs, boardOf, conditionOf } from "./monitors.ts";

const COLUMNS = ["State", "Alert", "Of", "Opened"];
const CLOSED = ["Alert", "Of", "Opened", "Closed"];
const RULES = ["State", "Alert", "Labels", "Since", "Value"];
const STATES = ["CRITICAL", "WARNING", "UNKNOWN"];
/** Rows of open alerts: more are counted alone. */
const OPEN_MAX = 1_000;
const HOSTS_AT_ONCE = 100;
const LOG = ["Time", "State", "Why", "Value", "Message"];
/** Graphs beside an alert begin so long before it and end so long behind it. */
const AROUND_S = 1_800;
const STATUSES = ["working", "standby", "maintenance", "poweroff"];

export function alertsPage(): View {
  const body = h("div", {}, note("loading", "Loading alerts …"));

  async function load(): Promise<void> {
    try {
      const [open, { alerts: newest }, monitors, rules] = await Promise.all([openAlerts(), get<{ alerts: Alert[] }>("api/v0/alerts?withClosed=true"), monitorsById(), alertsOfRules(() => void load())]);
      const closed = newest.filter((alert) => alert.closedAt);
      const alerts = [...open, ...closed];
      const hosts = alerts.some(hostIdOf) ? new Map((await getAll<Host>("api/v0/hosts", "hosts", { status: STATUSES })).map((host) => [host.id, host])) : new Map<string, Host>();
      const names = new Map([...(await namesOfChecks(alerts)), ...[...monitors.values()].map((monitor): [string, string] => [monitor.id, monitor.name ?? ""])]);
      const row = (alert: Alert) => rowOf(alert, names.get(alert.monitorId), sourceOf(alert, monitors.get(alert.monitorId), hosts.get(hostIdOf(alert) ?? "")));
      fill(
        body,
        open.length ? [countsOf(open), tableOf("open alerts", COLUMNS, open.slice(0, OPEN_MAX).map(row))] : note("empty", "No alert is open."),
        rules,
        closed.length ? [h("h2", {}, "Closed"), tableOf("closed alerts", CLOSED, closed.map(row))] : null,
      );
    } catch (error) {
      fill(body, failed(error, () => void load()));
    }
  }

  void load();
  return { element: h("main", {}, alertTabs("alerts"), body), title: "Alerts", refresh: () => void load() };
}

export function alertPage(place: Place): View {
  const id = place.path[1]!;
  const path = `api/v0/alerts/${encodeURIComponent(id)}`;
  const body = h("div", {}, note("loading", "Loading the alert …"));
  const graph = h("div", { class: "alone" });
  const closing = h("div", {});
  const log = h("div", {});
  let board: Board | null = null;
  let shown: Alert | null = null;

  async function load(): Promise<void> {
    try {
      const [alert, { logs }, monitors] = await Promise.all([get<Alert>(path), get<{ logs: AlertLog[] }>(`${path}/logs`), monitorsById()]);
      const [host, names] = await Promise.all([hostIdOf(alert) ? hostOf(hostIdOf(alert)!) : undefined, namesOfChecks([alert])]);
      const monitor = monitors.get(alert.monitorId);
      const isNew = !shown || shown.closedAt !== alert.closedAt;
      shown = alert;
      fill(body, ...factsOf(alert, monitor, monitor?.name || names.get(alert.monitorId), host));
      fill(log, h("h2", {}, "Log"), logOf(logs));
      if (isNew) draw(alert, monitor, host);
      else board?.refresh();
    } catch (error) {
      const isUnknown = error instanceof Failure && error.status === 404;
      fill(body, isUnknown ? note("empty", "No alert has this id. ", h("a", { href: link(["alerts"]) }, "See all alerts")) : failed(error, () => void load()));
    }
  }

  /** The graph, and the form that closes it, which keeps what is typed while news come. */
  function draw(alert: Alert, monitor: Monitor | undefined, host: Host | undefined): void {
    board?.destroy();
    const around = () => ({ from: alert.openedAt - AROUND_S, to: alert.closedAt ? alert.closedAt + AROUND_S : nowS(), preset: alert.closedAt ? "" : "open" });
    const span = () => (here().parameters.has("from") ? rangeOf(here().parameters) : around());
    const services = host ? Object.keys(host.roles) : monitor?.service ? [monitor.service] : [];
    board = monitor ? boardOf(monitor, alert.hostId, services, span) : null;
    fill(graph, board?.element);
    fill(closing, alert.closedAt || !canWrite() ? null : closer(path, () => void load()));
  }

  /** What is zoomed into has a URL, and the browser's way back. */
  function move(parameters: URLSearchParams): boolean {
    board?.move(parameters);
    return true;
  }

  void load();
  return { element: h("main", {}, body, closing, graph, log), title: "Alert", refresh: () => void load(), move, destroy: () => board?.destroy() };
}

function closer(path: string, done: () => void): HTMLElement {
  const reason = h("input", { type: "text", "aria-label": "reason", placeholder: "reason", maxlength: 1024, required: true });
  const problem = h("div", { role: "alert" });
  const close = (event: Event) => {
    event.preventDefault();
    change("POST", `${path}/close`, { reason: reason.value }).then(done, (error: unknown) => fill(problem, failed(error)));
  };
  return h("form", { class: "filters", onsubmit: close }, reason, h("button", {}, "Close alert"), problem);
}

/** Those of Prometheus' rules, which have no log; empty if there are none. */
async function alertsOfRules(again: () => void): Promise<HTMLElement[]> {
  const head = h("h2", {}, "Of rules");
  try {
    const { alerts } = (await get<{ data: { alerts: RuleAlert[] } }>("api/v1/alerts")).data;
    alerts.sort((one, other) => one.state.localeCompare(other.state) || other.activeAt.localeCompare(one.activeAt));
    return alerts.length ? [head, tableOf("alerts of rules", RULES, alerts.slice(0, OPEN_MAX).map(rowOfRule))] : [];
  } catch (error) {
    return [head, failed(error, again)];
  }
}

function rowOfRule(alert: RuleAlert): HTMLTableRowElement {
  const { alertname, ...labels } = alert.labels;
  const said = alert.annotations["summary"] ?? alert.annotations["description"];
  const badged = h("span", { class: `badge check-${alert.state === "firing" ? "CRITICAL" : "WARNING"}` }, alert.state.toUpperCase());
  return h(
    "tr",
    {},
    h("td", {}, badged),
    h("th", { scope: "row" }, alertname, said ? h("small", {}, said) : null),
    h("td", {}, Object.entries(labels).map(([name, value]) => labelOf(name, value))),
    h("td", { class: "time" }, stamp(Date.parse(alert.activeAt) / 1000, false)),
    h("td", {}, format(Number(alert.value), "float")),
  );
}

/** A label; that of a source leads to it. */
function labelOf(name: string, value: string): HTMLElement {
  const [kind = "", ...id] = value.split("/");
  const said = { class: "role", title: `${name}=${value}` };
  if (name !== "source" || !["host", "service"].includes(kind)) return h("span", said, `${name}=${value}`);
  return h("a", { ...said, href: link([`${kind}s`, id.join("/")]) }, `${name}=${value}`);
}

function countsOf(open: Alert[]): HTMLElement {
  const counts = STATES.map((state) => [state, open.filter((alert) => alert.status === state).length] as const);
  const more = open.length > OPEN_MAX ? ` the latest ${OPEN_MAX} of ${open.length} are listed` : "";
  return h("p", { class: "counts" }, counts.filter(([, count]) => count).map(([state, count]) => h("span", { class: `badge check-${state}` }, `${count} ${state}`)), more);
}

/** The names of checks by their monitors' ids, which are equal on all hosts. */
async function namesOfChecks(alerts: Alert[]): Promise<Map<string, string>> {
  const hosts = [...new Set(alerts.filter((alert) => alert.type === "check").map((alert) => alert.hostId!))];
  const parts = Array.from({ length: Math.ceil(hosts.length / HOSTS_AT_ONCE) }, (_, at) => hosts.slice(at * HOSTS_AT_ONCE, (at + 1) * HOSTS_AT_ONCE));
  const answers = await Promise.all(parts.map((hostId) => get<{ hosts: HostChecks[] }>(`carbyne/v1/checks${query({ hostId })}`)));
  return new Map(answers.flatMap((answer) => answer.hosts.flatMap((host) => host.checks.map((check): [string, string] => [check.monitorId, check.name]))));
}

/** All of them: an old one must not be hidden by newer ones that were closed. */
async function openAlerts(): Promise<Alert[]> {
  const open: Alert[] = [];
  let next: string | undefined;
  do {
    const page = await get<{ alerts: Alert[]; nextId?: string }>(`api/v0/alerts${query({ nextId: next })}`);
    open.push(...page.alerts);
    next = page.nextId;
  } while (next);
  return open;
}

async function monitorsById(): Promise<Map<string, Monitor>> {
  const { monitors } = await get<{ monitors: Monitor[] }>("api/v0/monitors");
  return new Map(monitors.map((monitor) => [monitor.id, monitor]));
}

/** A host that was removed is no reason to show nothing. */
async function hostOf(id: string): Promise<Host | undefined> {
  return get<{ host: Host }>(`api/v0/hosts/${encodeURIComponent(id)}`).then(({ host }) => host, () => undefined);
}

function rowOf(alert: Alert, name: string | undefined, source: HTMLElement | null): HTMLTableRowElement {
  const opened = h("td", { class: "time" }, stamp(alert.openedAt, false));
  return h(
    "tr",
    {},
    alert.closedAt ? null : h("td", {}, badge(alert.status)),
    h("th", { scope: "row" }, h("a", { href: link(["alerts", alert.id]) }, nameOf(alert, name)), name ? h("small", {}, saidOf(alert)) : null),
    h("td", {}, source),
    opened,
    alert.closedAt ? h("td", { class: "time" }, stamp(alert.closedAt, false)) : null,
  );
}

function factsOf(alert: Alert, monitor: Monitor | undefined, name: string | undefined, host: Host | undefined): HTMLElement[] {
  const source = sourceOf(alert, monitor, host);
  const facts: [string, ...(string | Node)[]][] = [
    ["Opened", stamp(alert.openedAt)],
    ...(alert.closedAt ? ([["Closed", stamp(alert.closedAt), alert.reason ? ` (${alert.reason})` : ""]] as [string, string, string][]) : []),
    ...(source ? ([["Of", source]] as [string, Node][]) : []),
    ...(monitor ? ([["Watches for", conditionOf(monitor)]] as [string, string][]) : []),
    ...(alert.value === undefined ? [] : ([["Value", format(alert.value, "float")]] as [string, string][])),
    ...(alert.message && alert.message !== monitor?.metric ? ([["Message", alert.message]] as [string, string][]) : []),
    ...([monitor?.memo, alert.memo].filter(Boolean).map((memo) => ["Memo", memo!]) as [string, string][]),
  ];
  return [
    h("header", { class: "pagehead" }, h("h1", {}, nameOf(alert, name), " ", badge(alert.status))),
    h("dl", {}, facts.flatMap(([term, ...said]) => [h("dt", {}, term), h("dd", {}, said)])),
  ];
}

function logOf(logs: AlertLog[]): HTMLElement {
  const rows = logs.map((entry) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", class: "time" }, stamp(entry.createdAt)),
      h("td", {}, badge(entry.status)),
      h("td", {}, `${entry.saying} (${entry.trigger})`),
      h("td", {}, entry.targetValue === null ? "–" : format(entry.targetValue, "float")),
      h("td", {}, entry.statusDetail?.detail.message ?? ""),
    ),
  );
  return tableOf("log", LOG, rows);
}

function badge(status: string): HTMLElement {
  return h("span", { class: `badge check-${status}` }, status);
}

/** The name of the monitor or check, with the labels of its series where it asks for them. */
function nameOf(alert: Alert, name: string | undefined): string {
  return (name && alert.series ? filled(name, alert.series.labels) : name) || alert.message || alert.type;
}

/** The message, with the value where there is one. */
function saidOf(alert: Alert): string {
  return [alert.message, alert.value === undefined ? "" : format(alert.value, "float")].filter(Boolean).join(" ");
}

/** The host or service, with its graphs around the time of the alert; of a query that which its series names. */
function sourceOf(alert: Alert, monitor: Monitor | undefined, host: Host | undefined): HTMLElement | null {
  const to = (alert.closedAt ?? Date.now() / 1000) + AROUND_S;
  const span = { from: String(alert.openedAt - AROUND_S), to: String(Math.floor(to)) };
  const service = monitor?.service ?? sourceIn(alert, "service");
  const hostId = hostIdOf(alert);
  if (hostId) return h("a", { href: link(["hosts", hostId], span) }, host?.displayName || host?.name || hostId);
  return service ? h("a", { href: link(["services", service], span) }, service) : null;
}

function hostIdOf(alert: Alert): string | undefined {
  return alert.hostId ?? sourceIn(alert, "host");
}

/** The id that the label of a series' source has, if it is of this kind. */
function sourceIn(alert: Alert, kind: "host" | "service"): string | undefined {
  const source = alert.series?.labels["source"];
  return source?.startsWith(`${kind}/`) ? source.slice(kind.length + 1) : undefined;
}
