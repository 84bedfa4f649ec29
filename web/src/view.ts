// What pages share: their place in the URL, the bar of ranges, states without data, and a clock for news.

import { Failure } from "./api.ts";
import { type Child, h } from "./dom.ts";
import { PRESETS, type Range, moved, namesOf, nowS, parseStamp, rangeOf, stamp } from "./time.ts";

/** Where the page is: parts of the path and parameters behind `#/`, so that every view can be sent to a colleague. */
export interface Place {
  path: string[];
  parameters: URLSearchParams;
}

export interface View {
  element: HTMLElement;
  title: string;
  /** Asks for what is new; called each half minute while the page is seen. */
  refresh?: () => void;
  /** Takes other parameters of the same path, or says no and is made again. */
  move?: (parameters: URLSearchParams) => boolean;
  destroy?: () => void;
}

export function here(): Place {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: (path ?? "").split("/").filter(Boolean).map(decodeURIComponent), parameters: new URLSearchParams(query ?? "") };
}

export function link(path: string[], parameters: Record<string, string> = {}): string {
  const query = new URLSearchParams(parameters).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${query ? `?${query}` : ""}`;
}

/** Changes parameters of the page that is open; an empty value removes one. `quietly`: no new entry of the history. */
export function setParameters(changes: Record<string, string>, quietly = false): void {
  const { path, parameters } = here();
  for (const [name, value] of Object.entries(changes)) {
    if (value) parameters.set(name, value);
    else parameters.delete(name);
  }
  const target = link(path, Object.fromEntries(parameters));
  if (quietly) {
    history.replaceState(null, "", target);
    dispatchEvent(new Event("hashchange")); // which replaceState does not
    return;
  }
  location.hash = target;
}

export function setRange(range: Range): void {
  setParameters({ range: "", from: "", to: "", ...namesOf(range) });
}

/** The bar above graphs: presets, back and forth, a span of one's own. */
export function rangeBar(parameters: URLSearchParams): HTMLElement {
  const range = rangeOf(parameters);
  const presets = PRESETS.map(([name, seconds, title]) =>
    h(
      "button",
      {
        type: "button",
        title,
        "aria-pressed": range.preset === name ? "true" : "false",
        "data-range": name,
        onclick: () => setRange({ from: nowS() - seconds, to: nowS(), preset: name }),
      },
      name,
    ),
  );
  const step = (steps: number, label: string, title: string) =>
    h("button", { type: "button", title, "aria-label": title, onclick: () => setRange(moved(rangeOf(here().parameters), steps)) }, label);
  const from = h("input", { type: "datetime-local", "aria-label": "from", value: stamp(range.from, false).replace(" ", "T") });
  const to = h("input", { type: "datetime-local", "aria-label": "to", value: stamp(range.to, false).replace(" ", "T") });
  const apply = (event: Event) => {
    event.preventDefault();
    const [start, end] = [parseStamp(from.value), parseStamp(to.value)];
    if (end > start) setRange({ from: start, to: end, preset: "" });
    else to.setCustomValidity("must be later than the beginning");
    to.reportValidity();
    to.setCustomValidity("");
  };
  const own = h("details", { class: "own" }, h("summary", {}, range.preset ? "custom" : `${stamp(range.from, false)} – ${stamp(range.to, false)}`), h("form", { onsubmit: apply }, from, h("span", {}, "to"), to, h("button", {}, "show")));
  return h(
    "div",
    { class: "ranges", role: "toolbar", "aria-label": "span of time" },
    step(-1, "◀", "earlier"),
    presets,
    step(1, "▶", "later"),
    own,
  );
}

/** A table that scrolls; on a narrow screen each row is a card, whose values carry the names of their columns. */
export function tableOf(label: string, columns: readonly string[], rows: HTMLTableRowElement[]): HTMLElement {
  for (const row of rows) [...row.cells].forEach((cell, at) => cell.setAttribute("data-column", columns[at]!));
  const head = columns.map((name) => h("th", { scope: "col" }, name || h("span", { class: "unseen" }, "action")));
  const table = h("table", { class: "wide cards" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table);
}

/** What is shown in the place of data. */
export function note(kind: "loading" | "empty" | "error" | "forbidden" | "warning", ...children: Child[]): HTMLElement {
  const role = kind === "error" || kind === "warning" || kind === "forbidden" ? "alert" : "status";
  return h("div", { class: `note ${kind}`, role }, children);
}

export function failed(error: unknown, again?: () => void): HTMLElement {
  const failure = error instanceof Failure ? error : new Failure("refused", String(error));
  const button = again && h("button", { type: "button", onclick: again }, "Try again");
  if (failure.kind === "forbidden") return note("forbidden", h("strong", {}, "This key may not do that. "), failure.message);
  const titles = { offline: "The server can't be reached. ", unavailable: "Not available now. " } as Record<string, string>;
  return note("error", h("strong", {}, titles[failure.kind] ?? "That did not work. "), failure.kind === "offline" ? "The page tries again by itself." : failure.message, " ", button);
}

/** Says what an answer lacks; a rebuild is no error, it ends by itself. */
export function warningsOf(warnings: string[]): HTMLElement | null {
  if (!warnings.length) return null;
  const rebuilding = warnings.some((warning) => warning.includes("being rebuilt"));
  const title = rebuilding ? "Recent samples are being rebuilt. " : "Some samples could not be read. ";
  const more = rebuilding ? "Redis lost rows and gets them back from the stream; the graphs fill again by themselves." : "The graphs show what there is.";
  return note("warning", h("strong", {}, title), more, h("small", {}, ` ${warnings.join("; ")}`));
}

export function isAbort(error: unknown): boolean {
  return (error as Error | undefined)?.name === "AbortError";
}
