// Dashboards as Mackerel's API keeps them: shown on a grid, and edited as JSON.

import { canWrite, change, get, query } from "../api.ts";
import { Board, type BoardGraph, namesIn, ofSource } from "../board.ts";
import { fill, h } from "../dom.ts";
import { type GraphDef, groupsOf } from "../graphs.ts";
import { markdown } from "../markdown.ts";
import { planOfExpression, planOfQuery, readExpression, readQuery } from "../queries.ts";
import { type Read, read } from "../series.ts";
import { nowS, rangeOf, stamp } from "../time.ts";
import type { Dashboard, Host, HostChecks, Widget } from "../types.ts";
import { format } from "../units.ts";
import { type Place, type View, failed, here, link, note, rangeBar, tableOf } from "../view.ts";

const COLUMNS = 24;
const EXAMPLE = { title: "New dashboard", memo: "", urlPath: "", widgets: [{ type: "markdown", title: "Notes", markdown: "# Hello\nEdit me as JSON.", layout: { x: 0, y: 0, width: 24, height: 6 } }] };

export function dashboardsPage(): View {
  const list = h("div", {}, note("loading", "Loading dashboards …"));
  const make = canWrite() ? h("a", { class: "button", href: link(["dashboards", "new"]) }, "New dashboard") : null;
  get<{ dashboards: Dashboard[] }>("api/v0/dashboards")
    .then(({ dashboards }) => {
      if (!dashboards.length) return fill(list, note("empty", h("strong", {}, "No dashboards yet. "), "Make one here, or push one with ", h("code", {}, "mkr dashboards push"), "."));
      const rows = dashboards.map((each) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: link(["dashboards", each.id]) }, each.title), each.memo ? h("small", {}, each.memo) : null), h("td", { class: "time" }, stamp(each.updatedAt, false))));
      return fill(list, tableOf("dashboards", ["Dashboard", "Changed"], rows));
    })
    .catch((error: unknown) => fill(list, failed(error)));
  return { element: h("main", {}, h("div", { class: "row" }, h("h1", {}, "Dashboards"), make), list), title: "Dashboards" };
}

export function dashboardPage(place: Place): View {
  const id = place.path[1]!;
  const head = h("div", { class: "row" }, h("h1", {}, id === "new" ? "New dashboard" : "Dashboard"));
  const bar = h("div", {}, rangeBar(place.parameters));
  const body = h("div", {}, note("loading", "Loading dashboard …"));
  let boards: Board[] = [];
  let shown: Dashboard | null = null;

  function close(): void {
    for (const board of boards) board.destroy();
    boards = [];
  }

  function show(dashboard: Dashboard): void {
    shown = dashboard;
    close();
    const edit = canWrite() ? h("button", { type: "button", onclick: () => editIt(dashboard) }, "Edit as JSON") : null;
    fill(head, h("h1", {}, dashboard.title), edit);
    const grid = h("div", { class: "grid" });
    for (const [number, widget] of dashboard.widgets.entries()) grid.append(placed(widget, widgetOf(widget, number, boards)));
    fill(body, dashboard.memo ? h("p", { class: "memo" }, dashboard.memo) : null, dashboard.widgets.length ? grid : note("empty", "This dashboard has no widgets."));
  }

  function editIt(dashboard: Partial<Dashboard>): void {
    close();
    bar.hidden = true;
    fill(body, editor(dashboard, () => (shown ? show(shown) : (location.hash = link(["dashboards"])))));
  }

  async function load(): Promise<void> {
    try {
      show(await get<Dashboard>(`api/v0/dashboards/${encodeURIComponent(id)}`));
    } catch (error) {
      fill(body, failed(error, () => void load()));
    }
  }

  if (id === "new") editIt(EXAMPLE);
  else void load();
  return {
    element: h("main", {}, head, bar, body),
    title: "Dashboard",
    refresh: () => boards.forEach((board) => board.refresh()),
    move: (parameters) => {
      fill(bar, rangeBar(parameters));
      for (const board of boards) board.move(parameters);
      return true;
    },
    destroy: close,
  };
}

function editor(dashboard: Partial<Dashboard>, cancel: () => void): HTMLElement {
  const { id, createdAt: _created, updatedAt: _updated, ...rest } = dashboard;
  const area = h("textarea", { "aria-label": "dashboard as JSON", rows: 24, spellcheck: "false" });
  area.value = JSON.stringify(rest, null, 2);
  const problem = h("div", { role: "alert" });
  const attempt = async (work: () => Promise<unknown>, target: string[]) => {
    try {
      await work();
      location.hash = link(target);
      dispatchEvent(new HashChangeEvent("hashchange"));
    } catch (error) {
      fill(problem, error instanceof SyntaxError ? note("error", `This is no JSON: ${error.message}`) : failed(error));
    }
  };
  const save = () =>
    void attempt(async () => {
      const wanted = JSON.parse(area.value) as unknown;
      if (id) await change("PUT", `api/v0/dashboards/${encodeURIComponent(id)}`, wanted);
      else await change("POST", "api/v0/dashboards", wanted);
    }, id ? ["dashboards", id] : ["dashboards"]);
  const remove = () => {
    if (confirm("Delete this dashboard?")) void attempt(() => change("DELETE", `api/v0/dashboards/${encodeURIComponent(id!)}`), ["dashboards"]);
  };
  return h(
    "div",
    { class: "editor" },
    area,
    problem,
    h("div", { class: "row" }, h("button", { class: "primary", type: "button", onclick: save }, "Save"), h("button", { type: "button", onclick: cancel }, "Cancel"), id ? h("button", { class: "danger", type: "button", onclick: remove }, "Delete") : null),
  );
}

function placed(widget: Widget, content: HTMLElement): HTMLElement {
  const { x = 0, y = 0, width = COLUMNS, height = 6 } = widget.layout ?? {};
  const cell = h("section", { class: `widget ${["graph", "value", "markdown", "alertStatus"].includes(widget.type) ? widget.type : ""}` }, widget.title ? h("h2", {}, widget.title) : null, content);
  cell.style.gridColumn = `${x + 1} / span ${width}`;
  cell.style.gridRow = `${y + 1} / span ${height}`;
  return cell;
}

function widgetOf(widget: Widget, number: number, boards: Board[]): HTMLElement {
  if (widget.type === "markdown") return markdown(widget.markdown ?? "");
  if (widget.type === "value") return valueOf(widget);
  if (widget.type === "alertStatus") return alertStatus(widget);
  if (widget.type === "graph") return graphOf(widget, number, boards);
  return note("warning", `Widgets of type ${widget.type} are not shown yet.`);
}

function graphOf(widget: Widget, number: number, boards: Board[]): HTMLElement {
  const graph = widget.graph;
  const place = h("div", {});
  const open = (board: Board) => {
    boards.push(board);
    fill(place, board.element);
  };
  if (graph?.type === "host" && graph.hostId) open(oneGraph(`host/${graph.hostId}`, graph.name ?? "", widget, number));
  else if (graph?.type === "service" && graph.serviceName) open(oneGraph(`service/${graph.serviceName}`, graph.name ?? "", widget, number));
  else if (graph?.type === "role" && graph.roleFullname) {
    void hostsOf(graph.roleFullname)
      .then((hosts) => open(roleGraph(hosts, graph.name ?? "loadavg5", graph.isStacked ?? false, widget, number)))
      .catch((error: unknown) => fill(place, failed(error)));
  } else if (graph?.type === "query" && graph.query) {
    const shown = { id: `${number}:query`, title: widget.title || graph.query, unit: "float" };
    open(new Board({ ...planOfQuery(graph.query, graph.legend ?? "", shown), empty: "The query has no series in this span." }));
  } else if (graph?.type === "expression" && graph.expression) {
    const shown = { id: `${number}:expression`, title: widget.title || graph.expression, unit: "float" };
    open(new Board({ ...planOfExpression(graph.expression, shown), empty: "The expression has no points in this span." }));
  } else fill(place, note("warning", `Graphs of type ${graph?.type ?? "unknown"} are not shown yet.`));
  return place;
}

function hostsOf(roleFullname: string): Promise<Host[]> {
  const [service = "", role = ""] = roleFullname.split(":").map((part) => part.trim());
  return get<{ hosts: Host[] }>(`api/v0/hosts${query({ service, role })}`).then((answer) => answer.hosts);
}

/** The graph of this name, else one of all metrics that begin like it. */
function oneGraph(source: string, name: string, widget: Widget, number: number): Board {
  let definitions: GraphDef[] = [];
  const known = get<{ graphDefs: GraphDef[] }>("api/v0/graph-defs").then((answer) => (definitions = answer.graphDefs)).catch(() => []);
  const plan = (batch: Read) => {
    const graphs = groupsOf(namesIn(batch, source), definitions).flatMap((group) => group.graphs);
    const found = graphs.find((graph) => graph.id === name) ?? graphs.find((graph) => graph.id.startsWith(name.replace(/\.?[*#].*$/, "")));
    if (!found) return [];
    const graph: BoardGraph = { ...found, id: `${number}:${found.id}`, title: widget.title || found.title, lines: ofSource(source, found.lines) };
    return [{ title: "", graphs: [graph] }];
  };
  const annotations = () => known.then(() => []);
  return new Board({ wanted: { sources: [source], names: prefixes(name) }, plan, annotations, empty: "No samples in this span." });
}

/** Names to read for a graph: its metrics have one more part, or are those of the system. */
function prefixes(name: string): string[] {
  const stem = name.split(/[*#]/)[0]!;
  return stem ? [`${stem}*`] : [];
}

function roleGraph(hosts: Host[], metric: string, stacked: boolean, widget: Widget, number: number): Board {
  const lines = hosts.slice(0, 100).map((host) => ({ source: `host/${host.id}`, name: metric, label: host.name, stacked }));
  const graph = { id: `${number}:${metric}`, title: widget.title || metric, unit: "float", lines, top: 9 };
  return new Board({ wanted: { sources: lines.map((line) => line.source), names: [metric] }, plan: (batch) => (batch.sources.some((one) => one.series.length) ? [{ title: "", graphs: [graph] }] : []), empty: "No samples in this span." });
}

function valueOf(widget: Widget): HTMLElement {
  const metric = widget.metric;
  const source = metric?.type === "host" ? `host/${metric.hostId}` : metric?.type === "service" ? `service/${metric.serviceName}` : "";
  const range = { ...rangeOf(here().parameters), from: nowS() - 3600, to: nowS(), preset: "1h" };
  let reading: Promise<Read>;
  if (metric?.type === "query" && metric.query) reading = readQuery(metric.query, range);
  else if (metric?.type === "expression" && metric.expression) reading = readExpression(metric.expression, range);
  else if (source && metric?.name) reading = read({ sources: [source], names: [metric.name], range });
  else return note("warning", `Values of type ${metric?.type ?? "unknown"} are not shown yet.`);
  const place = h("p", { class: "value" }, "…");
  reading
    .then((batch) => {
      const last = batch.sources[0]?.series[0]?.values.filter((value) => value !== null).at(-1);
      const shown = widget.fractionSize === undefined || last == null ? format(last, "float") : last.toFixed(widget.fractionSize);
      fill(place, shown, h("small", {}, ` ${widget.suffix ?? ""}`));
    })
    .catch((error: unknown) => fill(place, failed(error)));
  return place;
}

async function checksOf(hosts: Host[]): Promise<HostChecks[]> {
  return (await get<{ hosts: HostChecks[] }>(`carbyne/v1/checks${query({ hostId: hosts.slice(0, 100).map((host) => host.id) })}`)).hosts;
}

function alertStatus(widget: Widget): HTMLElement {
  const place = h("div", {}, "…");
  if (!widget.roleFullname) return note("warning", "This widget names no role.");
  void hostsOf(widget.roleFullname)
    .then(async (hosts) => {
      const found = hosts.length ? await checksOf(hosts) : [];
      const bad = found.flatMap((one) => one.checks.filter((check) => check.status !== "OK").map((check) => ({ ...check, host: hosts.find((host) => host.id === one.hostId)?.name ?? one.hostId })));
      fill(place, bad.length ? h("ul", {}, bad.map((check) => h("li", {}, h("span", { class: `badge check-${check.status}` }, check.status), ` ${check.host}: ${check.name}`))) : h("p", {}, h("span", { class: "badge check-OK" }, "OK"), ` all checks of ${hosts.length} hosts`));
    })
    .catch((error: unknown) => fill(place, failed(error)));
  return place;
}
