// Services: their own metrics, and each role with one line per host.

import { get, getAll } from "../api.ts";
import { Board, type BoardGroup, namesIn, ofSource } from "../board.ts";
import { fill, h } from "../dom.ts";
import { groupsOf } from "../graphs.ts";
import type { Host, Service } from "../types.ts";
import { counted } from "../units.ts";
import { type Place, type View, failed, link, note, rangeBar, setParameters, tableOf } from "../view.ts";
import { annotationsOf } from "./host.ts";

const METRICS: readonly [name: string, title: string, unit: string][] = [
  ["loadavg5", "Load average, 5 min", "float"],
  ["cpu.user.percentage", "CPU user", "percentage"],
  ["cpu.system.percentage", "CPU system", "percentage"],
  ["cpu.iowait.percentage", "CPU iowait", "percentage"],
  ["memory.used", "Memory used", "bytes"],
  ["memory.mem_available", "Memory available", "bytes"],
];
const TOP = 9;
const HOSTS_MAX = 100;

export function servicesPage(): View {
  const list = h("div", {}, note("loading", "Loading services …"));
  get<{ services: Service[] }>("api/v0/services")
    .then(({ services }) => {
      if (!services.length) return fill(list, note("empty", h("strong", {}, "No services yet. "), "Give a host a role such as ", h("code", {}, "shop:web"), ", or post to ", h("code", {}, "/api/v0/services/shop/tsdb"), "."));
      const rows = services.map((service) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: link(["services", service.name]) }, service.name), service.memo ? h("small", {}, service.memo) : null), h("td", {}, service.roles.map((role) => h("span", { class: "role" }, role)))));
      return fill(list, tableOf("services", ["Service", "Roles"], rows));
    })
    .catch((error: unknown) => fill(list, failed(error)));
  return { element: h("main", {}, h("h1", {}, "Services"), list), title: "Services" };
}

export function servicePage(place: Place): View {
  const name = place.path[1]!;
  const bar = h("div", {}, rangeBar(place.parameters));
  const body = h("div", {});
  const boards: Board[] = [];
  let made = "";

  function open(parameters: URLSearchParams): void {
    fill(bar, rangeBar(parameters), options(parameters));
    const wanted = `${parameters.get("metric")}|${parameters.get("stack")}`;
    if (wanted === made && boards.length) {
      for (const board of boards) board.move(parameters);
      return;
    }
    made = wanted;
    close();
    const own = serviceBoard(name);
    const roles = h("div", { class: "roles" }, note("loading", "Loading roles …"));
    boards.push(own);
    fill(body, h("section", {}, own.element), roles);
    void loadRoles(name, parameters, roles, boards);
  }

  function close(): void {
    for (const board of boards.splice(0)) board.destroy();
  }

  open(place.parameters);
  return {
    element: h("main", {}, h("h1", {}, name), bar, body),
    title: name,
    refresh: () => boards.forEach((board) => board.refresh()),
    move: (parameters) => {
      open(parameters);
      return true;
    },
    destroy: close,
  };
}

function metricOf(parameters: URLSearchParams): (typeof METRICS)[number] {
  return METRICS.find(([name]) => name === parameters.get("metric")) ?? METRICS[0]!;
}

function options(parameters: URLSearchParams): HTMLElement {
  const [chosen] = metricOf(parameters);
  const metric = h("select", { "aria-label": "metric of roles", onchange: () => setParameters({ metric: metric.value }) }, METRICS.map(([name, title]) => h("option", { value: name, selected: name === chosen }, title)));
  const stack = h("input", { type: "checkbox", onchange: () => setParameters({ stack: stack.checked ? "yes" : "" }) });
  stack.checked = parameters.get("stack") === "yes";
  return h("div", { class: "filters" }, h("label", {}, "Roles by ", metric), h("label", {}, stack, "stacked"));
}

function serviceBoard(name: string): Board {
  const source = `service/${name}`;
  return new Board({
    wanted: { sources: [source] },
    plan: (batch): BoardGroup[] => {
      const graphs = groupsOf(namesIn(batch, source), []).flatMap((group) => group.graphs);
      return graphs.length ? [{ title: "Service metrics", graphs: graphs.map((graph) => ({ ...graph, lines: ofSource(source, graph.lines) })) }] : [];
    },
    annotations: (range) => annotationsOf([name], range),
    empty: "No service metrics in this span.",
  });
}

async function loadRoles(service: string, parameters: URLSearchParams, place: HTMLElement, boards: Board[]): Promise<void> {
  try {
    const hosts = await getAll<Host>("api/v0/hosts", "hosts", { service });
    const roles = [...new Set(hosts.flatMap((host) => host.roles[service] ?? []))].sort();
    if (!roles.length) return fill(place, note("empty", "No host has a role of this service."));
    const sections = roles.map((role) => {
      const mine = hosts.filter((host) => host.roles[service]?.includes(role));
      const board = roleBoard(`${service}:${role}`, mine, parameters);
      boards.push(board);
      const cut = mine.length > HOSTS_MAX ? note("warning", `The first ${HOSTS_MAX} of ${mine.length} hosts are read.`) : null;
      return h("section", {}, h("h2", {}, role, " ", h("a", { class: "count", href: link(["hosts"], { service, role }) }, counted(mine.length, "host"))), cut, board.element);
    });
    return fill(place, ...sections);
  } catch (error) {
    return fill(place, failed(error));
  }
}

/** One graph with a line for each host; those of the highest average by themselves, the rest as one. */
export function roleBoard(title: string, hosts: Host[], parameters: URLSearchParams): Board {
  const [metric, metricTitle, unit] = metricOf(parameters);
  const read = hosts.slice(0, HOSTS_MAX);
  const lines = read.map((host) => ({ source: `host/${host.id}`, name: metric, label: host.displayName || host.name, stacked: parameters.get("stack") === "yes" }));
  return new Board({
    wanted: { sources: lines.map((line) => line.source), names: [metric] },
    plan: (batch): BoardGroup[] => (batch.sources.some((source) => source.series.length) ? [{ title: "", graphs: [{ id: title, title: metricTitle, unit, lines: distinct(lines), top: TOP }] }] : []),
    empty: "No samples of this metric in this span.",
    annotations: (range) => annotationsOf([title.split(":")[0]!], range),
    height: 240,
  });
}

/** Labels that tell lines apart, also where two hosts share a name. */
function distinct<Line extends { label: string; source: string }>(lines: Line[]): Line[] {
  const times = new Map<string, number>();
  for (const { label } of lines) times.set(label, (times.get(label) ?? 0) + 1);
  return lines.map((line) => (times.get(line.label)! > 1 ? { ...line, label: `${line.label} (${line.source.replace("host/", "")})` } : line));
}
