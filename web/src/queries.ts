// Graphs of queries in PromQL and of expressions, whose series are not known before they are computed.

import { get, query } from "./api.ts";
import type { BoardGraph, Plan } from "./board.ts";
import type { Batch, Read, Series } from "./series.ts";
import { type Range, nowS, resolutionOf } from "./time.ts";
import { filled } from "./units.ts";

const SOURCE = "query";
const STEPS: Record<string, number> = { raw: 60, "5m": 300, "1h": 3600, "1d": 86_400 };

interface Matrix {
  data: { result: { metric: Record<string, string>; values: [number, string][] }[] };
  warnings?: string[];
}

type Computed = Pick<Plan, "wanted" | "reader" | "plan">;

/** One graph with a line for each series of a query. */
export function planOfQuery(text: string, legend: string, graph: Omit<BoardGraph, "lines">): Computed {
  return planOf((range, signal) => readQuery(text, range, signal), (name) => labelOf(name, legend), graph);
}

/** One graph with the lines of an expression. */
export function planOfExpression(text: string, graph: Omit<BoardGraph, "lines">): Computed {
  return planOf((range, signal) => readExpression(text, range, signal), (name) => name, graph);
}

function planOf(reader: NonNullable<Plan["reader"]>, label: (name: string) => string, graph: Omit<BoardGraph, "lines">): Computed {
  return {
    wanted: { sources: [] },
    reader,
    plan: (batch) => {
      const lines = batch.sources.flatMap(({ source, series }) => series.map(({ name }) => ({ source, name, label: label(name), stacked: false })));
      return lines.length ? [{ title: "", graphs: [{ ...graph, lines, top: 9 }] }] : [];
    },
  };
}

/** What an expression gives over a span: a batch of one source. */
export async function readExpression(text: string, range: Range, signal?: AbortSignal): Promise<Read> {
  const [from, to] = [Math.floor(range.from), range.preset ? nowS() : Math.ceil(range.to)];
  return { ...(await get<Batch>(`carbyne/v1/expression${query({ expression: text, from, to })}`, signal)), warnings: [] };
}

/** What a query gives over a span: a batch of one source, whose series have their labels as JSON for names. */
export async function readQuery(text: string, range: Range, signal?: AbortSignal): Promise<Read> {
  const step = STEPS[resolutionOf(range)]!;
  const to = range.preset ? nowS() : range.to;
  const [start, end] = [range.from, to].map((time) => Math.floor(time / step) * step) as [number, number];
  const value = await get<Matrix>(`api/v1/query_range${query({ query: text, start, end, step })}`, signal);
  const times = [...new Set(value.data.result.flatMap((each) => each.values.map(([time]) => time)))].sort((a, b) => a - b);
  const series = value.data.result.map(({ metric, values }): Series => {
    const at = new Map(values.map(([time, number]) => [time, Number(number)]));
    return { name: JSON.stringify(metric), values: times.map((time) => (Number.isFinite(at.get(time)) ? at.get(time)! : null)) };
  });
  return { resolution: SOURCE, step, sources: [{ source: SOURCE, times, series }], warnings: value.warnings ?? [] };
}

/** The legend, in which `{{label}}` stands for a value, or all labels. */
function labelOf(name: string, legend: string): string {
  const labels = JSON.parse(name) as Record<string, string>;
  if (legend) return filled(legend, labels);
  const { __name__: metric = "", ...others } = labels;
  const said = Object.entries(others).map(([label, value]) => `${label}=${value}`);
  return [metric, ...said].filter(Boolean).join(" ") || "value";
}
