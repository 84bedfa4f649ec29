// Monitors: what they watch for, in words, and the graph of what one of them judged.

import { get } from "../api.ts";
import { Board, type BoardGraph } from "../board.ts";
import { fill, h } from "../dom.ts";
import { planOfExpression, planOfQuery } from "../queries.ts";
import type { Range } from "../time.ts";
import type { Monitor } from "../types.ts";
import { format } from "../units.ts";
import { type View, failed, link, note, tableOf } from "../view.ts";
import { annotationsOf } from "./host.ts";

const COLUMNS = ["Monitor", "Type", "Watches for", "Of", "State"];

const SAID: Record<string, string> = {
  connectivity: "a host posts nothing",
  anomalyDetection: "a host is unlike itself at this hour of other weeks",
};

export function monitorsPage(): View {
  const list = h("div", {}, note("loading", "Loading monitors …"));

  async function load(): Promise<void> {
    try {
      const { monitors } = await get<{ monitors: Monitor[] }>("api/v0/monitors");
      const none = note("empty", h("strong", {}, "No monitors yet. "), "Push some with ", h("code", {}, "mkr monitors push"), "; check reports of agents need none.");
      fill(list, monitors.length ? tableOf("monitors", COLUMNS, monitors.map(rowOf)) : none);
    } catch (error) {
      fill(list, failed(error, () => void load()));
    }
  }

  void load();
  return { element: h("main", {}, alertTabs("monitors"), list), title: "Monitors", refresh: () => void load() };
}

const TABS = { alerts: "Alerts", monitors: "Monitors", channels: "Channels" };

/** What lists of alerts, monitors and channels have above them. */
export function alertTabs(here: keyof typeof TABS): HTMLElement {
  const tabs = Object.entries(TABS).map(([page, title]) => h("a", { href: link([page]), "aria-current": page === here ? "page" : null }, title));
  return h("div", { class: "pagehead" }, h("h1", {}, TABS[here]), h("nav", { class: "tabs", "aria-label": "alerts, monitors and channels" }, tabs));
}

function rowOf(monitor: Monitor): HTMLTableRowElement {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, monitor.name || monitor.type, monitor.memo ? h("small", {}, monitor.memo) : null),
    h("td", {}, monitor.type),
    h("td", {}, h("code", {}, conditionOf(monitor))),
    h("td", {}, scopeOf(monitor) || "–"),
    h("td", {}, h("span", { class: `badge ${monitor.isMute ? "" : "check-OK"}` }, monitor.isMute ? "muted" : "on")),
  );
}

/** `loadavg5 > 2 warning, > 4 critical`. */
export function conditionOf(monitor: Monitor): string {
  const what = monitor.metric ?? monitor.expression ?? monitor.query ?? (monitor.url ? `${monitor.method ?? "GET"} ${monitor.url}` : SAID[monitor.type]) ?? "";
  const bounds = levelsOf(monitor).map(({ label }) => label).join(", ");
  const samples = (monitor.duration ?? 1) > 1 ? ` (mean of ${monitor.duration} samples)` : "";
  return [what, bounds].filter(Boolean).join(" ") + samples;
}

/** The hosts or the service that a monitor looks at. */
export function scopeOf(monitor: Monitor): string {
  if (monitor.service) return monitor.service;
  const scopes = monitor.scopes?.join(", ") ?? "";
  const left = monitor.excludeScopes?.length ? ` without ${monitor.excludeScopes.join(", ")}` : "";
  return monitor.scopes ? `${scopes || "all hosts"}${left}` : "";
}

function levelsOf({ operator, warning, critical }: Monitor): NonNullable<BoardGraph["levels"]> {
  const bounds = [["warning", warning], ["critical", critical]] as const;
  return bounds.flatMap(([level, value]) => (operator && value != null ? [{ label: `${operator} ${format(value, "float")} ${level}`, level, value }] : []));
}

/** The samples around an alert with the monitor's bounds; null of what is not drawn. */
export function boardOf(monitor: Monitor, hostId: string | undefined, services: string[], range: () => Range): Board | null {
  const source = hostId ? `host/${hostId}` : monitor.service ? `service/${monitor.service}` : "";
  const graph: Omit<BoardGraph, "lines"> = { id: "alert", title: monitor.metric ?? monitor.query ?? monitor.expression ?? "", unit: "float", levels: levelsOf(monitor) };
  const around = { range, empty: "No samples around this alert.", height: 260, annotations: (span: Range) => annotationsOf(services, span) };
  if (monitor.query) return new Board({ ...around, ...planOfQuery(monitor.query, monitor.legend ?? "", graph) });
  if (monitor.expression) return new Board({ ...around, ...planOfExpression(monitor.expression, graph) });
  if (!monitor.metric || monitor.metric.endsWith("%") || !source) return null; // a share is no series: the message has its picture
  const lines = [{ source, name: monitor.metric, label: monitor.metric, stacked: false }];
  const plan = (batch: { sources: { series: unknown[] }[] }) => (batch.sources.some((each) => each.series.length) ? [{ title: "", graphs: [{ ...graph, lines }] }] : []);
  return new Board({ ...around, wanted: { sources: [source], names: [monitor.metric] }, plan });
}
