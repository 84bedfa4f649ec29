// Series of many sources over one span, from the batch read, as columns on one axis of time.

import { Failure, get, getWithWarnings, query } from "./api.ts";
import { type Range, nowS, resolutionOf } from "./time.ts";

export type Values = (number | null)[];

export interface Series {
  name: string;
  values: Values;
  min?: Values;
  max?: Values;
}

export interface Source {
  source: string;
  times: number[];
  series: Series[];
}

export interface Batch {
  resolution: string;
  /** Length of a bucket in seconds, 0 of samples. */
  step: number;
  sources: Source[];
}

export interface Read extends Batch {
  warnings: string[];
}

/** Sources and names of one read; a name may end in `*`, none means all. */
export interface Wanted {
  sources: string[];
  names?: string[];
  range: Range;
}

const OVERLAP_S = 600;

/** Points of one request, with room below what the API takes. */
const POINTS_MAX = 200_000;
const NAMES_MAX = 60;

/** Reads a batch, in parts where a source has too many series for one request. */
export async function read(wanted: Wanted, signal?: AbortSignal, since?: number): Promise<Read> {
  try {
    return await readOnce(wanted, signal, since);
  } catch (error) {
    const tooMany = error instanceof Failure && error.status === 400 && error.message.includes("series");
    if (!tooMany || wanted.names || wanted.sources.length !== 1) throw error;
  }
  const [kind, ...id] = wanted.sources[0]!.split("/");
  const { names } = await get<{ names: string[] }>(`api/v0/${kind}s/${encodeURIComponent(id.join("/"))}/metric-names`, signal);
  const step = { raw: 60, "5m": 300, "1h": 3600, "1d": 86_400 }[resolutionOf(wanted.range)] ?? 60;
  const each = (3 * (wanted.range.to - wanted.range.from)) / step;
  const size = Math.max(1, Math.min(NAMES_MAX, Math.floor(POINTS_MAX / each)));
  const chunks = Array.from({ length: Math.ceil(names.length / size) }, (_, at) => names.slice(at * size, (at + 1) * size));
  const parts: Read[] = [];
  for (const chunk of chunks) parts.push(await readOnce({ ...wanted, names: chunk }, signal, since));
  return united(parts);
}

/** Parts of one source as one: other series each, over the same span. */
function united(parts: Read[]): Read {
  const sources = parts.flatMap((part) => part.sources);
  const times = [...new Set(sources.flatMap((source) => source.times))].sort((a, b) => a - b);
  const series = sources.flatMap((source) => {
    const at = indexes(source.times);
    return source.series.map((one): Series => {
      const same: Series = { name: one.name, values: column(times, at, one.values) };
      return one.min ? { ...same, min: column(times, at, one.min), max: column(times, at, one.max) } : same;
    });
  });
  const warnings = [...new Set(parts.flatMap((part) => part.warnings))];
  return { ...parts[0]!, sources: [{ source: sources[0]!.source, times, series }], warnings };
}

/**
 * Reads a batch; `since` asks only for what is newer, and for a little before it, since samples come late.
 *
 * All of a long span that ends now is read in two: what is sealed by now has the same URL for hours, so the browser asks
 * whether it changed and gets it again only if it did.
 */
async function readOnce(wanted: Wanted, signal?: AbortSignal, since?: number): Promise<Read> {
  const { range } = wanted;
  const from = since === undefined ? range.from : Math.max(range.from, since - OVERLAP_S);
  const to = range.preset ? Math.max(range.to, nowS()) : range.to;
  const unit = resolutionOf(range) === "1d" ? 86_400 : WINDOW_S;
  const [start, edge] = [from, to - SEALING_S].map((time) => Math.floor(time / unit) * unit) as [number, number];
  if (!range.preset || edge - from < LONG_S) return part(wanted, from, to, signal);
  const [sealed, open] = await Promise.all([part(wanted, start, edge - 1, signal), part(wanted, edge, to, signal)]);
  const whole = merged(sealed, open, from);
  return { ...whole, warnings: [...new Set([...sealed.warnings, ...open.warnings])] };
}

/** Of a stack with the usual settings; with others a sealed part costs a transfer, and is as right. */
const WINDOW_S = 4 * 3600;
/** How long after its end a window's rows have left Redis for sure. */
const SEALING_S = 2 * 3600;
const LONG_S = 12 * 3600;

async function part(wanted: Wanted, from: number, to: number, signal?: AbortSignal): Promise<Read> {
  const asked = query({
    source: wanted.sources,
    name: wanted.names ?? [],
    from: Math.floor(from),
    to: Math.ceil(to),
    resolution: resolutionOf(wanted.range),
    partial: "true",
  });
  const { value, warnings } = await getWithWarnings<Batch>(`carbyne/v1/batch${asked}`, signal);
  return { ...value, warnings };
}

function column(times: number[], from: Map<number, number>, values: Values | undefined): Values {
  return times.map((time) => {
    const at = from.get(time);
    return at === undefined || !values ? null : (values[at] ?? null);
  });
}

function indexes(times: number[]): Map<number, number> {
  return new Map(times.map((time, at) => [time, at]));
}

/** `old` with what `news` says of its own span in the place of what it said before; times before `from` leave. */
export function merged(old: Read, news: Read, from: number): Read {
  if (old.resolution !== news.resolution) return news;
  const before = new Map(old.sources.map((source) => [source.source, source]));
  const after = new Map(news.sources.map((source) => [source.source, source]));
  const sources = [...new Set([...before.keys(), ...after.keys()])].map((name) =>
    joined(name, before.get(name), after.get(name), from),
  );
  return { ...news, sources };
}

function joined(name: string, old: Source | undefined, news: Source | undefined, from: number): Source {
  if (!old || !news) return (old ?? news)!;
  const first = news.times[0] ?? Infinity;
  const kept = old.times.filter((time) => time < first && time >= from);
  const times = [...kept, ...news.times];
  const [oldAt, newAt] = [indexes(old.times), indexes(news.times)];
  const oldOnes = new Map(old.series.map((one) => [one.name, one]));
  const newOnes = new Map(news.series.map((one) => [one.name, one]));
  const pick = (key: "values" | "min" | "max", series: string): Values => {
    const earlier = column(kept, oldAt, oldOnes.get(series)?.[key]);
    return [...earlier, ...column(news.times, newAt, newOnes.get(series)?.[key])];
  };
  const series = [...new Set([...oldOnes.keys(), ...newOnes.keys()])].sort().map((each): Series => {
    const banded = oldOnes.get(each)?.min ?? newOnes.get(each)?.min;
    const one: Series = { name: each, values: pick("values", each) };
    return banded ? { ...one, min: pick("min", each), max: pick("max", each) } : one;
  });
  return { source: name, times, series };
}

/** Some columns on one axis of time. */
export interface Aligned {
  times: number[];
  columns: Series[];
}

/** Series of several sources on the union of their times, with a hole where samples are missing. */
export function aligned(parts: { source: Source; series: Series }[], step: number): Aligned {
  const sources = [...new Set(parts.map((part) => part.source))];
  const union =
    sources.length === 1 ? sources[0]!.times : [...new Set(sources.flatMap((one) => one.times))].sort((a, b) => a - b);
  const times = withHoles(union, step);
  const at = new Map(sources.map((source) => [source, indexes(source.times)]));
  const columns = parts.map(({ source, series }): Series => {
    const from = at.get(source)!;
    const one: Series = { name: series.name, values: column(times, from, series.values) };
    if (!series.min) return one;
    return { ...one, min: column(times, from, series.min), max: column(times, from, series.max) };
  });
  return { times, columns };
}

/** The times, with one more in each gap, so that a line breaks there. */
function withHoles(times: number[], step: number): number[] {
  const usual = step || usualStep(times);
  const holed: number[] = [];
  times.forEach((time, at) => {
    const before = times[at - 1];
    if (before !== undefined && time - before > usual * 2.5) holed.push(before + usual);
    holed.push(time);
  });
  return holed;
}

function usualStep(times: number[]): number {
  const steps = times.slice(1).map((time, at) => time - times[at]!);
  steps.sort((a, b) => a - b);
  return steps[Math.floor(steps.length / 2)] ?? 60;
}

export interface Summary {
  last: number | null;
  min: number | null;
  max: number | null;
  avg: number | null;
}

/** Of what is drawn: min and max are those of samples where buckets know them. */
export function summary(series: Series): Summary {
  const present = (values: Values) => values.filter((value): value is number => value !== null);
  const values = present(series.values);
  if (!values.length) return { last: null, min: null, max: null, avg: null };
  const lows = series.min ? present(series.min) : values;
  const highs = series.max ? present(series.max) : values;
  return {
    last: values.at(-1)!,
    min: lows.reduce((a, b) => Math.min(a, b)),
    max: highs.reduce((a, b) => Math.max(a, b)),
    avg: values.reduce((a, b) => a + b, 0) / values.length,
  };
}
