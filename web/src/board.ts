// Graphs of one span on a page: drawn when they come near the screen, kept up to date by reading only what is new.

import { type Annotation, Chart, type ChartLine } from "./chart.ts";
import { fill, h, whenSeen } from "./dom.ts";
import { type Read, type Series, type Source, type Wanted, aligned, merged, read } from "./series.ts";
import type { Range } from "./time.ts";
import { nowS, rangeOf } from "./time.ts";
import { failed, here, isAbort, note, setRange, warningsOf } from "./view.ts";

export interface BoardLine {
  source: string;
  name: string;
  label: string;
  stacked: boolean;
  quiet?: boolean;
}

export interface BoardGraph {
  id: string;
  title: string;
  unit: string;
  lines: BoardLine[];
  /** Of many lines those of the highest average are drawn, the rest as one. */
  top?: number;
  /** Level lines, such as the bounds of a monitor. */
  levels?: { label: string; level: "warning" | "critical"; value: number }[];
}

export interface BoardGroup {
  title: string;
  graphs: BoardGraph[];
}

/** `plan` makes graphs of what was read; it is asked again when other series come. */
export interface Plan {
  wanted: Omit<Wanted, "range">;
  /** Reads in the place of a batch, all of the span each time. */
  reader?: (range: Range, signal?: AbortSignal) => Promise<Read>;
  /** A span of its own, in the place of the page's. */
  range?: () => Range;
  plan: (batch: Read) => BoardGroup[];
  annotations?: (range: Range) => Promise<Annotation[]>;
  /** Shown where there is no series at all. */
  empty: string;
  height?: number;
}

const WHOLE_EVERY = 10;

export class Board {
  readonly element = h("div", { class: "board" });
  private readonly banner = h("div", { "aria-live": "polite" });
  private readonly body = h("div", {});
  private batch: Read | null = null;
  private range: Range;
  private notes: Annotation[] = [];
  private charts = new Map<string, { chart: Chart; graph: BoardGraph; seen: boolean }>();
  private shape = "";
  private turn = 0;
  private asking: AbortController | null = null;

  constructor(
    private readonly plan: Plan,
    private readonly onRead: (batch: Read) => void = () => {},
  ) {
    this.range = plan.range?.() ?? rangeOf(here().parameters);
    this.element.append(this.banner, this.body);
    fill(this.body, note("loading", "Loading graphs …"));
    void this.load(true);
  }

  /** Another span: everything is read again; what is drawn stays until the answer is there. */
  move(parameters: URLSearchParams): void {
    this.range = this.plan.range?.() ?? rangeOf(parameters);
    this.element.classList.add("stale");
    void this.load(true);
  }

  /** Reads what is new; sometimes all of it, since samples may come late. */
  refresh(): void {
    if (!this.range.preset) return;
    this.range = this.plan.range?.() ?? rangeOf(here().parameters);
    this.turn += 1;
    void this.load(this.batch === null || this.turn % WHOLE_EVERY === 0);
  }

  destroy(): void {
    this.asking?.abort();
    for (const { chart } of this.charts.values()) chart.destroy();
  }

  private async load(whole: boolean): Promise<void> {
    this.asking?.abort();
    const asking = new AbortController();
    this.asking = asking;
    const wanted = { ...this.plan.wanted, range: this.range };
    try {
      const since = whole || !this.batch || this.plan.reader ? undefined : newest(this.batch);
      const reading = this.plan.reader?.(this.range, asking.signal) ?? read(wanted, asking.signal, since);
      const [news, notes] = await Promise.all([reading, this.plan.annotations?.(this.range) ?? []]);
      this.batch = since === undefined || !this.batch ? news : merged(this.batch, news, this.range.from);
      this.notes = notes;
      this.draw();
    } catch (error) {
      if (isAbort(error)) return;
      if (this.batch) fill(this.banner, failed(error));
      else fill(this.body, failed(error, () => void this.load(true)));
    } finally {
      if (this.asking === asking) this.element.classList.remove("stale");
    }
  }

  private draw(): void {
    const batch = this.batch!;
    fill(this.banner, warningsOf(batch.warnings));
    this.onRead(batch);
    const groups = this.plan.plan(batch);
    const shape = JSON.stringify(groups.map((group) => group.graphs.map((graph) => graph.id)));
    if (shape !== this.shape || !this.charts.size) this.lay(groups, shape);
    for (const graph of groups.flatMap((group) => group.graphs)) {
      const held = this.charts.get(graph.id);
      if (!held) continue;
      held.graph = graph;
      if (held.seen) this.show(held);
    }
  }

  private lay(groups: BoardGroup[], shape: string): void {
    for (const { chart } of this.charts.values()) chart.destroy();
    this.charts.clear();
    this.shape = shape;
    if (!groups.length) {
      fill(this.body, note("empty", this.plan.empty));
      return;
    }
    fill(this.body, ...groups.map((group) => this.section(group)));
  }

  private section(group: BoardGroup): HTMLElement {
    const graphs = group.graphs.map((graph) => {
      const zoom = (from: number, to: number) => setRange({ from, to, preset: "" });
      const held = { chart: new Chart(graph.id, graph.title, graph.unit, zoom, this.plan.height), graph, seen: false };
      this.charts.set(graph.id, held);
      whenSeen(held.chart.element, () => {
        held.seen = true;
        if (this.batch) this.show(held);
      });
      return held.chart.element;
    });
    return h("section", { class: "group" }, group.title ? h("h2", {}, group.title) : null, h("div", { class: "graphs" }, graphs));
  }

  private show({ chart, graph }: { chart: Chart; graph: BoardGraph }): void {
    const batch = this.batch!;
    const sources = new Map(batch.sources.map((source) => [source.source, source]));
    const found = graph.lines.flatMap((line) => {
      const source = sources.get(line.source);
      const series = source?.series.find((one) => one.name === line.name);
      return source && series ? [{ line, source, series }] : [];
    });
    const { times, columns } = aligned(found.map(({ source, series }) => ({ source, series })), batch.step);
    const lines = columns.map((series, at): ChartLine => {
      const { line, source } = found[at]!;
      return { label: line.label, title: `${source.source} ${line.name}`, stacked: line.stacked, quiet: line.quiet ?? false, series };
    });
    for (const { label, level, value } of graph.levels ?? []) {
      lines.push({ label, title: label, stacked: false, quiet: false, level, series: { name: label, values: times.map(() => value) } });
    }
    const to = this.range.preset ? nowS() : this.range.to;
    const from = this.range.preset ? to - (this.range.to - this.range.from) : this.range.from;
    chart.show({ times, lines: graph.top ? folded(lines, graph.top) : lines, from, to, annotations: this.notes });
  }
}

function newest(batch: Read): number | undefined {
  const ends = batch.sources.map((source) => source.times.at(-1)).filter((time) => time !== undefined);
  return ends.length ? Math.min(...ends) : undefined;
}

function average(series: Series): number {
  const values = series.values.filter((value): value is number => value !== null);
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : -Infinity;
}

/** The `top` lines of the highest average, the others as one: their sum if stacked, else their mean. */
function folded(lines: ChartLine[], top: number): ChartLine[] {
  if (lines.length <= top + 1) return lines;
  const ranked = [...lines].sort((one, other) => average(other.series) - average(one.series));
  const [shown, rest] = [ranked.slice(0, top), ranked.slice(top)];
  const stacked = rest[0]!.stacked;
  const values = rest[0]!.series.values.map((_, at) => {
    const there = rest.map((line) => line.series.values[at]).filter((value): value is number => value != null);
    if (!there.length) return null;
    const sum = there.reduce((a, b) => a + b, 0);
    return stacked ? sum : sum / there.length;
  });
  const label = `${rest.length} others (${stacked ? "sum" : "mean"})`;
  return [...shown, { label, title: label, stacked, quiet: false, series: { name: label, values } }];
}

/** Lines of one source, for pages of hosts and services. */
export function ofSource(source: string, lines: { name: string; label: string; stacked: boolean; quiet?: boolean }[]): BoardLine[] {
  return lines.map((line) => ({ source, ...line }));
}

export function namesIn(batch: Read, source: string): string[] {
  return batch.sources.find((one: Source) => one.source === source)?.series.map((series) => series.name) ?? [];
}
