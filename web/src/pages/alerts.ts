// Alerts: those that are open, those that were, and what was said of one.

import { Failure, get, getAll, query } from "../api.ts";
import { fill, h } from "../dom.ts";
import { stamp } from "../time.ts";
import type { Alert, AlertLog, Host, Monitor } from "../types.ts";
import { format } from "../units.ts";
import { type Place, type View, failed, link, note, tableOf } from "../view.ts";

const COLUMNS = ["State", "Alert", "Of", "Opened", "Closed"];
const LOG = ["Time", "State", "Why", "Value", "Message"];
/** Graphs beside an alert begin so long before it and end so long behind it. */
const AROUND_S = 1_800;
const STATUSES = ["working", "standby", "maintenance", "poweroff"];

export function alertsPage(): View {
  const body = h("div", {}, note("loading", "Loading alerts …"));

  async function load(): Promise<void> {
    try {
      const [open, { alerts: newest }, monitors] = await Promise.all([openAlerts(), get<{ alerts: Alert[] }>("api/v0/alerts?withClosed=true"), monitorsById()]);
      const alerts = [...open, ...newest.filter((alert) => alert.closedAt)];
      const hosts = alerts.some((alert) => alert.hostId) ? new Map((await getAll<Host>("api/v0/hosts", "hosts", { status: STATUSES })).map((host) => [host.id, host])) : new Map<string, Host>();
      fill(body, ...listsOf(alerts, (alert) => rowOf(alert, monitors.get(alert.monitorId), alert.hostId ? hosts.get(alert.hostId) : undefined)));
    } catch (error) {
      fill(body, failed(error, () => void load()));
    }
  }

  void load();
  return { element: h("main", {}, h("h1", {}, "Alerts"), body), title: "Alerts", refresh: () => void load() };
}

export function alertPage(place: Place): View {
  const id = place.path[1]!;
  const body = h("div", {}, note("loading", "Loading the alert …"));

  async function load(): Promise<void> {
    const path = `api/v0/alerts/${encodeURIComponent(id)}`;
    try {
      const [alert, { logs }, monitors] = await Promise.all([get<Alert>(path), get<{ logs: AlertLog[] }>(`${path}/logs`), monitorsById()]);
      const host = alert.hostId ? await hostOf(alert.hostId) : undefined;
      fill(body, ...partsOf(alert, logs, monitors.get(alert.monitorId), host));
    } catch (error) {
      const isUnknown = error instanceof Failure && error.status === 404;
      fill(body, isUnknown ? note("empty", "No alert has this id. ", h("a", { href: link(["alerts"]) }, "See all alerts")) : failed(error, () => void load()));
    }
  }

  void load();
  return { element: h("main", {}, body), title: "Alert", refresh: () => void load() };
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

function listsOf(alerts: Alert[], row: (alert: Alert) => HTMLTableRowElement): HTMLElement[] {
  const open = alerts.filter((alert) => !alert.closedAt);
  const closed = alerts.filter((alert) => alert.closedAt);
  return [
    open.length ? tableOf("open alerts", COLUMNS, open.map(row)) : note("empty", "No alert is open."),
    ...(closed.length ? [h("h2", {}, "Closed"), tableOf("closed alerts", COLUMNS, closed.map(row))] : []),
  ];
}

function rowOf(alert: Alert, monitor: Monitor | undefined, host: Host | undefined): HTMLTableRowElement {
  return h(
    "tr",
    {},
    h("td", {}, badge(alert.status)),
    h("th", { scope: "row" }, h("a", { href: link(["alerts", alert.id]) }, nameOf(alert, monitor)), alert.message && monitor?.name ? h("small", {}, alert.message) : null),
    h("td", {}, sourceOf(alert, monitor, host)),
    h("td", {}, stamp(alert.openedAt, false)),
    h("td", {}, alert.closedAt ? stamp(alert.closedAt, false) : "–"),
  );
}

function partsOf(alert: Alert, logs: AlertLog[], monitor: Monitor | undefined, host: Host | undefined): HTMLElement[] {
  const source = sourceOf(alert, monitor, host);
  const facts: [string, ...(string | Node)[]][] = [
    ["Opened", stamp(alert.openedAt)],
    ...(alert.closedAt ? ([["Closed", stamp(alert.closedAt), alert.reason ? ` (${alert.reason})` : ""]] as [string, string, string][]) : []),
    ...(source ? ([["Of", source]] as [string, Node][]) : []),
    ...(alert.value === undefined ? [] : ([["Value", format(alert.value, "float")]] as [string, string][])),
    ...(alert.message ? ([["Message", alert.message]] as [string, string][]) : []),
    ...([monitor?.memo, alert.memo].filter(Boolean).map((memo) => ["Memo", memo!]) as [string, string][]),
  ];
  const rows = logs.map((entry) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, stamp(entry.createdAt)),
      h("td", {}, badge(entry.status)),
      h("td", {}, `${entry.saying} (${entry.trigger})`),
      h("td", {}, entry.targetValue === null ? "–" : format(entry.targetValue, "float")),
      h("td", {}, entry.statusDetail?.detail.message ?? ""),
    ),
  );
  return [
    h("header", { class: "pagehead" }, h("h1", {}, nameOf(alert, monitor), " ", badge(alert.status))),
    h("dl", {}, facts.flatMap(([term, ...said]) => [h("dt", {}, term), h("dd", {}, said)])),
    h("h2", {}, "Log"),
    tableOf("log", LOG, rows),
  ];
}

function badge(status: string): HTMLElement {
  return h("span", { class: `badge check-${status}` }, status);
}

function nameOf(alert: Alert, monitor: Monitor | undefined): string {
  return monitor?.name || alert.message || alert.type;
}

/** The host or service, with its graphs around the time of the alert. */
function sourceOf(alert: Alert, monitor: Monitor | undefined, host: Host | undefined): HTMLElement | null {
  const to = (alert.closedAt ?? Date.now() / 1000) + AROUND_S;
  const span = { from: String(alert.openedAt - AROUND_S), to: String(Math.floor(to)) };
  if (alert.hostId) return h("a", { href: link(["hosts", alert.hostId], span) }, host?.displayName || host?.name || alert.hostId);
  return monitor?.service ? h("a", { href: link(["services", monitor.service], span) }, monitor.service) : null;
}
