// One host: its graphs, checks, metadata, and where its samples lie.

import { Failure, canWrite, change, get, query } from "../api.ts";
import { Board, type BoardGroup, namesIn, ofSource } from "../board.ts";
import type { Annotation } from "../chart.ts";
import { fill, h } from "../dom.ts";
import { type GraphDef, groupsOf } from "../graphs.ts";
import type { Read } from "../series.ts";
import { type Range, stamp } from "../time.ts";
import type { CheckState, Host } from "../types.ts";
import { type Place, type View, failed, link, note, rangeBar, tableOf } from "../view.ts";
import { SEVERITY, statusBadge } from "./hosts.ts";
import { storageView } from "./storage.ts";

const TABS = ["graphs", "checks", "metadata", "storage"] as const;
const STATUSES = ["working", "standby", "maintenance", "poweroff"];

export function hostPage(place: Place): View {
  const id = place.path[1]!;
  const head = h("header", { class: "pagehead" }, h("h1", {}, id));
  const tabs = h("nav", { class: "tabs", "aria-label": "parts of this page" });
  const bar = h("div", {}, rangeBar(place.parameters));
  const body = h("div", {});
  const parts = h("div", {}, tabs, bar, body);
  let tab = "";
  let board: Board | null = null;
  let host: Promise<Host | null>;

  /** The host, null where it can't be had; then its head says so. */
  async function load(): Promise<Host | null> {
    try {
      const found = (await get<{ host: Host }>(`api/v0/hosts/${encodeURIComponent(id)}`)).host;
      fill(head, ...headOf(found, reload));
      parts.hidden = false;
      document.title = `${found.displayName || found.name} – Carbyne`;
      return found;
    } catch (error) {
      const isUnknown = error instanceof Failure && error.status === 404;
      parts.hidden = isUnknown;
      fill(head, h("h1", {}, id), isUnknown ? note("empty", "No host has this id. ", h("a", { href: link(["hosts"]) }, "See all hosts")) : failed(error, reload));
      return null;
    }
  }

  function reload(): void {
    host = load();
  }

  function open(parameters: URLSearchParams): void {
    const wanted = TABS.find((each) => each === parameters.get("tab")) ?? "graphs";
    fill(tabs, TABS.map((name) => h("a", { href: link(place.path, { ...Object.fromEntries(parameters), tab: name }), "aria-current": name === wanted ? "page" : null }, name)));
    fill(bar, rangeBar(parameters));
    bar.hidden = wanted === "checks" || wanted === "metadata";
    if (wanted === tab && wanted === "graphs" && board) {
      board.move(parameters);
      return;
    }
    board?.destroy();
    board = null;
    tab = wanted;
    if (tab === "graphs") {
      board = graphsOf(id, () => host);
      fill(body, board.element);
    } else if (tab === "storage") fill(body, storageView(`host/${id}`, parameters));
    else if (tab === "checks") fill(body, checksView(id));
    else fill(body, metadataView(id, host));
  }

  reload();
  open(place.parameters);
  return {
    element: h("main", {}, head, parts),
    title: id,
    refresh: () => {
      board?.refresh();
    },
    move: (parameters) => {
      open(parameters);
      return true;
    },
    destroy: () => board?.destroy(),
  };
}

function headOf(host: Host, changed: () => void): HTMLElement[] {
  const roles = Object.entries(host.roles).flatMap(([service, names]) => names.map((role) => h("a", { class: "role", href: link(["services", service]) }, `${service}:${role}`)));
  const title = h("h1", {}, host.displayName || host.name, " ", host.isRetired ? h("span", { class: "badge" }, "retired") : statusBadge(host.status));
  const facts = h("p", { class: "facts" }, h("code", {}, host.id), host.displayName ? ` ${host.name}` : "", ` since ${stamp(host.createdAt, false)} `, roles, host.memo ? h("span", { class: "memo" }, host.memo) : null);
  return canWrite() && !host.isRetired ? [h("div", { class: "row" }, title, actions(host, changed)), facts] : [title, facts];
}

function actions(host: Host, changed: () => void): HTMLElement {
  const problem = h("span", { role: "alert" });
  const path = `api/v0/hosts/${encodeURIComponent(host.id)}`;
  const act = async (work: Promise<unknown>) => {
    try {
      await work;
      changed();
    } catch (error) {
      fill(problem, failed(error));
    }
  };
  const select = h("select", { "aria-label": "status", onchange: () => void act(change("POST", `${path}/status`, { status: select.value })) }, STATUSES.map((status) => h("option", { value: status, selected: status === host.status }, status)));
  const dialog = h(
    "dialog",
    {},
    h("p", {}, "Retire ", h("strong", {}, host.name), "? Its samples stay; the host leaves the list and takes no changes any more."),
    h("form", { method: "dialog", class: "row" }, h("button", { value: "no" }, "Keep it"), h("button", { class: "danger", value: "yes" }, "Retire")),
  );
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "yes") void act(change("POST", `${path}/retire`, {}));
  });
  return h("div", { class: "actions" }, select, h("button", { type: "button", onclick: () => dialog.showModal() }, "Retire …"), dialog, problem);
}

function graphsOf(id: string, host: () => Promise<Host | null>): Board {
  const source = `host/${id}`;
  let definitions: GraphDef[] = [];
  const known = get<{ graphDefs: GraphDef[] }>("api/v0/graph-defs").then((answer) => (definitions = answer.graphDefs)).catch(() => []);
  return new Board({
    wanted: { sources: [source] },
    plan: (batch: Read): BoardGroup[] =>
      groupsOf(namesIn(batch, source), definitions).map((group) => ({
        title: group.title,
        graphs: group.graphs.map((graph) => ({ ...graph, lines: ofSource(source, graph.lines) })),
      })),
    annotations: async (range: Range) => {
      await known; // the graphs of plugins are laid out once, with their definitions
      return annotationsOf(Object.keys((await host())?.roles ?? {}), range);
    },
    empty: "This host has no samples in this span. Choose a longer one, or see whether its agent runs.",
  });
}

/** Deploys and other events of some services; a failure only leaves the lines away. */
export async function annotationsOf(services: string[], range: Range): Promise<Annotation[]> {
  const found = services.map((service) =>
    get<{ graphAnnotations: Annotation[] }>(`api/v0/graph-annotations${query({ service, from: Math.floor(range.from), to: Math.ceil(range.to) })}`).catch(() => ({ graphAnnotations: [] })),
  );
  return (await Promise.all(found)).flatMap((answer) => answer.graphAnnotations);
}

function checksView(id: string): HTMLElement {
  const view = h("div", {}, note("loading", "Loading checks …"));
  get<{ monitoredStatuses: CheckState[] }>(`api/v0/hosts/${encodeURIComponent(id)}/monitored-statuses`)
    .then(({ monitoredStatuses }) => {
      if (!monitoredStatuses.length) return fill(view, note("empty", "No check of this host ever reported."));
      monitoredStatuses.sort((one, other) => SEVERITY.indexOf(one.status) - SEVERITY.indexOf(other.status));
      const rows = monitoredStatuses.map((check) => h("tr", {}, h("td", {}, h("span", { class: `badge check-${check.status}` }, check.status)), h("td", {}, check.detail.message), h("td", {}, check.detail.memo)));
      return fill(view, tableOf("checks", ["State", "Message", "Memo"], rows));
    })
    .catch((error: unknown) => fill(view, failed(error)));
  return view;
}

function metadataView(id: string, host: Promise<Host | null>): HTMLElement {
  const path = `api/v0/hosts/${encodeURIComponent(id)}/metadata`;
  const spaces = h("div", {}, note("loading", "Loading metadata …"));
  const json = (value: unknown) => h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));
  get<{ metadata: { namespace: string }[] }>(path)
    .then(({ metadata }) => {
      const shown = metadata.map(({ namespace }) => {
        const details: HTMLDetailsElement = h("details", {
          ontoggle: () => {
            if (details.open && details.childElementCount === 1) {
              get<unknown>(`${path}/${encodeURIComponent(namespace)}`)
                .then((value) => details.append(json(value)))
                .catch((error: unknown) => details.append(failed(error)));
            }
          },
        }, h("summary", {}, namespace));
        return details;
      });
      fill(spaces, shown.length ? shown : note("empty", "No metadata was put for this host."));
    })
    .catch((error: unknown) => fill(spaces, failed(error)));
  const said = h("div", {});
  void host.then((known) => known && fill(said, h("h2", {}, "What the agent says"), json({ meta: known.meta, interfaces: known.interfaces })));
  return h("div", {}, h("h2", {}, "Namespaces"), spaces, said);
}

