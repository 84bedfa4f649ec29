// Spans of time and how they are shown: in the browser's zone, or in UTC.

export interface Range {
  /** Seconds since 1970; `to` of a range that ends now moves on. */
  from: number;
  to: number;
  /** Name of a preset, or empty for a span of its own. */
  preset: string;
}

export const PRESETS: readonly [name: string, seconds: number, title: string][] = [
  ["30m", 1800, "30 minutes"],
  ["1h", 3600, "1 hour"],
  ["6h", 6 * 3600, "6 hours"],
  ["1d", 86_400, "1 day"],
  ["1w", 7 * 86_400, "1 week"],
  ["1mo", 30 * 86_400, "1 month"],
  ["1y", 365 * 86_400, "1 year"],
];
export const PRESET = "1h";

/** Of rollups the coarsest that gives at least so many points over a span; a pixel shows no more than a few. */
const POINTS_MIN = 150;
const ROLLUPS: readonly [name: string, seconds: number][] = [["1d", 86_400], ["1h", 3600], ["5m", 300]];

export function resolutionOf(range: Range): string {
  for (const [name, seconds] of ROLLUPS) if ((range.to - range.from) / seconds >= POINTS_MIN) return name;
  return "raw";
}

export function nowS(): number {
  return Math.floor(Date.now() / 1000);
}

/** The range that a page's parameters name. */
export function rangeOf(parameters: URLSearchParams): Range {
  const from = Number(parameters.get("from"));
  const to = Number(parameters.get("to"));
  if (from > 0 && to > from) return { from, to, preset: "" };
  const preset = PRESETS.find(([name]) => name === parameters.get("range")) ?? PRESETS.find(([name]) => name === PRESET)!;
  const now = nowS();
  return { from: now - preset[1], to: now, preset: preset[0] };
}

/** The parameters that name a range. */
export function namesOf(range: Range): Record<string, string> {
  if (range.preset) return { range: range.preset };
  return { from: String(Math.floor(range.from)), to: String(Math.ceil(range.to)) };
}

/** The same length of time, `steps` halves of it later; a preset again if it ends now. */
export function moved(range: Range, steps: number): Range {
  const half = Math.max(60, Math.round((range.to - range.from) / 2));
  const to = range.to + steps * half;
  const length = range.to - range.from;
  const preset = to >= nowS() - 30 ? (PRESETS.find(([, seconds]) => Math.abs(seconds - length) < 60)?.[0] ?? "") : "";
  return { from: range.from + steps * half, to, preset };
}

const KEY = "carbyne-utc";
let utc = localStorage.getItem(KEY) === "yes";

export function isUtc(): boolean {
  return utc;
}

export function setUtc(value: boolean): void {
  utc = value;
  localStorage.setItem(KEY, value ? "yes" : "no");
}

/** A date whose local fields are those of the zone that is shown, for charts. */
export function zoned(seconds: number): Date {
  const date = new Date(seconds * 1000);
  return utc ? new Date(date.getTime() + date.getTimezoneOffset() * 60_000) : date;
}

/** 2026-07-27 13:05:00, or without seconds. */
export function stamp(seconds: number, exact = true): string {
  const date = zoned(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}${exact ? `:${two(date.getSeconds())}` : ""}`;
}

export function zoneName(): string {
  return utc ? "UTC" : (Intl.DateTimeFormat().resolvedOptions().timeZone || "local time");
}

/** The mirror of `stamp` for an input of date and time; NaN for what is no time. */
export function parseStamp(text: string): number {
  return Date.parse(utc ? `${text}Z` : text) / 1000;
}
