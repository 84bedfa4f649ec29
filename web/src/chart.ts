// One graph: canvas by uPlot, legend as a table, crosshair and zoom shared with the other graphs of the page.

import uPlot from "uplot";
import { fill, h } from "./dom.ts";
import { type Series, type Values, summary } from "./series.ts";
import { stamp, zoned } from "./time.ts";
import { format, isBinary } from "./units.ts";

export interface ChartLine {
  label: string;
  title: string;
  stacked: boolean;
  quiet: boolean;
  /** A bound of a monitor and not measured: level, dashed and in the colour of its status. */
  level?: "warning" | "critical";
  series: Series;
}

export interface Annotation {
  id?: string;
  title: string;
  description?: string;
  from: number;
  to: number;
}

export interface ChartData {
  times: number[];
  lines: ChartLine[];
  from: number;
  to: number;
  annotations: Annotation[];
}

/** What tests compare with the API's answer: the points as they are drawn, before they are stacked. */
export interface Drawn {
  name: string;
  times: number[];
  values: Values;
}

const COLOURS = 10;
const DASHES: (number[] | undefined)[] = [undefined, [6, 4], [2, 3]];
const HEIGHT = 200;
const SYNC = uPlot.sync("carbyne");

export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function withAlpha(hex: string, alpha: string): string {
  return hex + alpha;
}

const charts = new Set<Chart>();

/** Draws all charts again, in the colours and the zone of now. */
export function redrawAll(): void {
  for (const chart of charts) chart.rebuild();
}

export class Chart {
  readonly element: HTMLElement;
  private readonly canvas: HTMLElement;
  private readonly table: HTMLElement;
  private readonly note: HTMLElement;
  private readonly event: HTMLElement;
  private plot: uPlot | null = null;
  private data: ChartData | null = null;
  private hidden = new Set<string>();
  private known = new Set<string>();
  private isolated = "";
  private cells = new Map<string, HTMLElement>();
  private head: HTMLElement | null = null;
  private readonly resized: ResizeObserver;

  constructor(
    readonly id: string,
    readonly title: string,
    readonly unit: string,
    private readonly onZoom: (from: number, to: number) => void,
    private readonly height = HEIGHT,
  ) {
    this.canvas = h("div", { class: "canvas", tabindex: "0", role: "img", "aria-label": title });
    this.note = h("p", { class: "quiet", hidden: true });
    this.table = h("div", { class: "legend" });
    this.event = h("span", { class: "event" });
    this.element = h("figure", { class: "graph", "data-graph": id }, h("figcaption", {}, title, this.event), this.canvas, this.note, this.table);
    (this.element as HTMLElement & { graph: Chart }).graph = this;
    this.canvas.addEventListener("keydown", (event) => this.onKey(event));
    this.resized = new ResizeObserver(() => this.resize());
    this.resized.observe(this.canvas);
    charts.add(this);
  }

  destroy(): void {
    this.resized.disconnect();
    this.plot?.destroy();
    this.plot = null;
    charts.delete(this);
  }

  show(data: ChartData): void {
    const same = this.plot && this.data && shape(this.data) === shape(data);
    this.data = data;
    for (const line of data.lines) {
      if (!this.known.has(line.label) && line.quiet) this.hidden.add(line.label);
      this.known.add(line.label);
    }
    const empty = !data.times.length;
    this.note.hidden = !empty;
    this.note.textContent = empty ? "No samples in this span." : "";
    if (same) this.update();
    else this.rebuild();
  }

  rebuild(): void {
    this.plot?.destroy();
    this.plot = null;
    if (!this.data || !this.canvas.isConnected) return;
    this.plot = new uPlot(this.options(this.data), this.columns(this.data), this.canvas);
    this.drawLegend();
  }

  /** What is drawn, line by line, without the holes between samples. */
  drawn(): Drawn[] {
    if (!this.data) return [];
    const { times, lines } = this.data;
    return lines
      .filter((line) => this.isShown(line))
      .map((line) => {
        const there = times.map((_, at) => at).filter((at) => line.series.values[at] !== null);
        const values = there.map((at) => line.series.values[at]!);
        return { name: line.series.name, times: there.map((at) => times[at]!), values };
      });
  }

  private update(): void {
    if (!this.plot || !this.data) return;
    this.plot.setData(this.columns(this.data), false);
    this.plot.setScale("x", { min: this.data.from, max: this.data.to });
    this.drawLegend();
  }

  private isShown(line: ChartLine): boolean {
    return this.isolated ? line.label === this.isolated : !this.hidden.has(line.label);
  }

  private resize(): void {
    const width = this.canvas.clientWidth;
    if (!width || !this.data) return;
    if (!this.plot) this.rebuild();
    else if (Math.abs(this.plot.width - width) > 1) this.plot.setSize({ width, height: this.height });
  }

  /** Three columns of each line: what is drawn (stacked lines on those before), and the edges of its band. */
  private columns(data: ChartData): uPlot.AlignedData {
    const columns: Values[] = [];
    let below: number[] = new Array(data.times.length).fill(0) as number[];
    for (const line of data.lines) {
      const values = line.series.values;
      if (!line.stacked) {
        columns.push(values, line.series.min ?? [], line.series.max ?? []);
        continue;
      }
      const shown = this.isShown(line);
      const top = values.map((value, at) => (value === null ? null : value + below[at]!));
      columns.push(top, [], []);
      if (shown) below = below.map((base, at) => base + (values[at] ?? 0));
    }
    return [data.times, ...columns.map((column) => (column.length ? column : data.times.map(() => null)))] as uPlot.AlignedData;
  }

  private options(data: ChartData): uPlot.Options {
    const series: uPlot.Series[] = [{}];
    const bands: uPlot.Band[] = [];
    let below = -1;
    data.lines.forEach((line, number) => {
      const shown = this.isShown(line);
      const tone = line.level ? colour(line.level === "critical" ? "--bad" : "--warn") : toneOf(number);
      const dash = line.level ? DASHES[1] : DASHES[Math.floor(number / COLOURS) % DASHES.length];
      const at = series.length;
      const one: uPlot.Series = { label: line.label, show: shown, stroke: tone, width: line.stacked ? (summary(line.series).max === 0 ? 0 : 1) : 1.6, points: { size: 4, filter: lonely } };
      if (line.level) one.points = { show: false };
      if (dash) one.dash = dash;
      if (line.stacked) {
        one.fill = withAlpha(tone, "66");
        if (shown && below > 0) bands.push({ series: [at, below], fill: withAlpha(tone, "66") });
        if (shown) below = at;
      }
      const edge = { show: shown && !line.stacked && line.series.min !== undefined, width: 0, stroke: "transparent", points: { show: false } };
      series.push(one, edge, { ...edge });
      bands.push({ series: [at + 2, at + 1], fill: withAlpha(tone, "33") });
    });
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    return {
      width: this.canvas.clientWidth || 300,
      height: this.height,
      legend: { show: false },
      cursor: { sync: { key: SYNC.key, setSeries: false }, drag: { x: true, y: false, setScale: false }, points: { size: 6 }, focus: { prox: -1 } },
      select: { show: true, left: 0, top: 0, width: 0, height: 0 },
      tzDate: (seconds) => zoned(seconds),
      scales: { x: { time: true, min: data.from, max: data.to, range: (_, min, max) => [min, max] }, y: { range: (_, min, max) => rangeOf(min, max, this.unit) } },
      series,
      bands,
      axes: [
        { ...axis, size: 40, space: 70, values: TIMES },
        { ...axis, size: 68, gap: 4, values: (_, ticks) => ticks.map((tick) => format(tick, this.unit)), incrs: isBinary(this.unit) ? BINARY_STEPS : undefined } as uPlot.Axis,
      ],
      hooks: {
        setSelect: [(plot) => this.zoom(plot)],
        setCursor: [(plot) => this.follow(plot)],
        draw: [(plot) => this.drawAnnotations(plot)],
      },
    };
  }

  private zoom(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width < 6) return;
    const [from, to] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (to - from >= 60) this.onZoom(Math.round(from), Math.round(to));
  }

  private drawAnnotations(plot: uPlot): void {
    if (!this.data) return;
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    let free = -Infinity; // where the title before ends
    for (const { from, to, title } of [...this.data.annotations].sort((one, other) => one.from - other.from)) {
      const [x, end] = [plot.valToPos(from, "x", true), plot.valToPos(to, "x", true)];
      ctx.fillStyle = colour("--annotation");
      if (end - x > 2) {
        ctx.globalAlpha = 0.15;
        ctx.fillRect(x, bbox.top, end - x, bbox.height);
        ctx.globalAlpha = 1;
      }
      ctx.fillRect(x - devicePixelRatio / 2, bbox.top, devicePixelRatio * 1.5, bbox.height);
      ctx.fillRect(x - 4 * devicePixelRatio, bbox.top, 8 * devicePixelRatio, 4 * devicePixelRatio);
      const label = shortened(title);
      const length = ctx.measureText(label).width;
      const right = Math.max(x, bbox.left) + 5 * devicePixelRatio;
      const fits = right + length <= bbox.left + bbox.width;
      const left = fits ? right : x - length - 5 * devicePixelRatio; // of the line, where the graph ends
      if (end >= bbox.left && x <= bbox.left + bbox.width && left >= free) {
        ctx.fillText(label, left, bbox.top + 13 * devicePixelRatio);
        free = left + length + 6 * devicePixelRatio;
      }
    }
    ctx.restore();
  }

  private drawLegend(): void {
    const data = this.data;
    if (!data) return;
    this.cells.clear();
    this.head = h("th", { scope: "col" }, "last");
    const rows = data.lines.map((line, number) => {
      const { last, min, max, avg } = summary(line.series);
      const value = (number: number | null) => format(number, this.unit);
      const now = h("td", {}, value(last));
      now.dataset["last"] = value(last);
      this.cells.set(line.label, now);
      const dash = line.level ?? DASHES[Math.floor(number / COLOURS) % DASHES.length];
      const swatch = h("i", { class: `swatch ${line.level ?? `c${number % COLOURS}`}${dash ? " dashed" : ""}` });
      const button = h(
        "button",
        {
          type: "button",
          class: "line",
          "aria-pressed": this.isShown(line) ? "true" : "false",
          title: `${line.title}: click shows it alone, with Ctrl or Shift it is shown or hidden`,
          onclick: (event: MouseEvent) => this.choose(line.label, event.ctrlKey || event.metaKey || event.shiftKey),
        },
        swatch,
        line.label,
      );
      return h("tr", {}, h("th", { scope: "row" }, button), now, h("td", {}, value(min)), h("td", {}, value(max)), h("td", {}, value(avg)));
    });
    const columns = ["min", "max", "avg"].map((name) => h("th", { scope: "col" }, name));
    const head = h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "line")), this.head, columns));
    const focused = this.table.contains(document.activeElement) ? [...this.table.querySelectorAll("button")].indexOf(document.activeElement as HTMLButtonElement) : -1;
    fill(this.table, h("table", {}, head, h("tbody", {}, rows)));
    if (focused >= 0) this.table.querySelectorAll("button")[focused]?.focus();
    this.canvas.setAttribute("aria-label", this.description(data));
  }

  private description(data: ChartData): string {
    const parts = data.lines.filter((line) => this.isShown(line)).slice(0, 8).map((line) => {
      const { last, min, max } = summary(line.series);
      const value = (number: number | null) => format(number, this.unit);
      return `${line.label} last ${value(last)}, from ${value(min)} to ${value(max)}`;
    });
    const events = data.annotations.map(({ title, from }) => `${title} at ${stamp(from, false)}`);
    const marked = events.length ? ` Marked: ${events.slice(0, 8).join(", ")}.` : "";
    return `${this.title}: ${parts.join("; ") || "no samples"}.${marked} Arrow keys move the crosshair.`;
  }

  private choose(label: string, toggle: boolean): void {
    if (!toggle) {
      if (!this.isolated && this.hidden.has(label)) this.hidden.delete(label);
      else this.isolated = this.isolated === label ? "" : label;
    } else if (this.hidden.has(label)) this.hidden.delete(label);
    else this.hidden.add(label);
    this.rebuild();
  }

  private follow(plot: uPlot): void {
    const at = plot.cursor.idx;
    if (!this.head || !this.data) return;
    const time = at === null || at === undefined ? undefined : this.data.times[at];
    this.event.textContent = time === undefined ? "" : this.eventsAt(time, plot);
    this.head.textContent = time === undefined ? "last" : stamp(time, false).slice(5);
    for (const line of this.data.lines) {
      const cell = this.cells.get(line.label);
      if (!cell) continue;
      cell.textContent = time === undefined ? (cell.dataset["last"] ?? "") : format(line.series.values[at!], this.unit);
    }
  }

  /** Titles of what is marked near a time. */
  private eventsAt(time: number, plot: uPlot): string {
    const near = plot.posToVal(6, "x") - plot.posToVal(0, "x");
    const found = this.data!.annotations.filter(({ from, to }) => time >= from - near && time <= Math.max(from, to) + near);
    return found.map(({ title, description }) => (description ? `${title}: ${description}` : title)).join(", ");
  }

  private onKey(event: KeyboardEvent): void {
    const plot = this.plot;
    if (!plot || !this.data || !["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    const first = Math.max(0, this.data.times.findIndex((time) => time >= this.data!.from));
    const last = this.data.times.length - 1;
    const now = plot.cursor.idx ?? last;
    const step = event.shiftKey ? 10 : 1;
    const to = event.key === "Home" ? first : event.key === "End" ? last : now + (event.key === "ArrowLeft" ? -step : step);
    const time = this.data.times[Math.max(first, Math.min(last, to))];
    if (time === undefined) return;
    for (const { plot: other } of charts) other?.setCursor({ left: other.valToPos(time, "x"), top: 10 });
  }
}

/** The samples that no line touches: they are drawn as points where the others are not. */
function lonely(plot: uPlot, at: number, shown: boolean): number[] | null {
  const values = plot.data[at] ?? [];
  const there = (index: number) => values[index] !== null && values[index] !== undefined;
  if (shown) return null;
  return Array.from(values.keys()).filter((index) => there(index) && !there(index - 1) && !there(index + 1));
}

function shortened(title: string): string {
  return title.length > 24 ? `${title.slice(0, 23)}…` : title;
}

/** A line's colour; the sheet names ten that colour-blind people tell apart, and further ones are dashed. */
function toneOf(number: number): string {
  return colour(`--c${number % COLOURS}`);
}

function shape(data: ChartData): string {
  return data.lines.map((line) => `${line.label}|${line.stacked}|${line.series.min ? 1 : 0}`).join("\n");
}

const BINARY_STEPS = Array.from({ length: 60 }, (_, power) => 2 ** power);

function rangeOf(min: number | null, max: number | null, unit: string): [number, number] {
  if (min === null || max === null) return [0, 1];
  const low = Math.min(0, min);
  const high = max > low ? max + (max - low) * 0.08 : low + 1;
  return [low, unit === "percentage" && max <= 100 && max > 80 ? 100 : high];
}

const YEAR = "{YYYY}";
const TIMES = [
  [86_400 * 28, "{MMM}", `\n${YEAR}`, null, null, null, null, null, 1],
  [86_400, "{MMM} {D}", `\n${YEAR}`, null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{MMM} {D}", null, "\n{MMM} {D}", null, null, null, 1],
] as unknown as uPlot.Axis.Values;
