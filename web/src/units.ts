// Numbers as people read them, by the units of graph definitions.

const DECIMAL = ["", "k", "M", "G", "T", "P"];
const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];

function digits(value: number): string {
  const size = Math.abs(value);
  if (size > 0 && size < 0.01) return value.toPrecision(2);
  const places = size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : 2;
  return String(Number(value.toFixed(places)));
}

function scaled(value: number, base: number, prefixes: string[]): [string, string] {
  let step = 0;
  while (Math.abs(value) >= base * 0.9995 && step < prefixes.length - 1) {
    value /= base;
    step += 1;
  }
  return [digits(value), prefixes[step]!];
}

/** `value` with its unit: 1.5 GiB, 12.3 %, 4.2 k. */
export function format(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  switch (unit) {
    case "percentage":
      return `${digits(value)} %`;
    case "bytes":
    case "bytes/sec": {
      const [number, prefix] = scaled(value, 1024, BINARY);
      return `${number} ${prefix}B${unit === "bytes" ? "" : "/s"}`;
    }
    case "bits/sec": {
      const [number, prefix] = scaled(value, 1000, DECIMAL);
      return `${number} ${prefix}bit/s`;
    }
    case "seconds":
      return value >= 120 ? span(value) : withPrefix(value, "s");
    case "milliseconds":
      return value >= 1000 ? format(value / 1000, "seconds") : `${digits(value)} ms`;
    case "iops":
      return withPrefix(value, "io/s");
    default:
      return withPrefix(value, "");
  }
}

function withPrefix(value: number, unit: string): string {
  const [number, prefix] = scaled(value, 1000, DECIMAL);
  return `${number}${prefix || unit ? ` ${prefix}${unit}` : ""}`;
}

/** A length of time in seconds: 45 s, 12 min, 3.5 h, 2 d. */
export function span(seconds: number): string {
  const steps: [number, string][] = [[86_400, "d"], [3600, "h"], [60, "min"]];
  for (const [length, name] of steps) if (seconds >= length) return `${digits(seconds / length)} ${name}`;
  return `${digits(seconds)} s`;
}

/** Whether ticks of an axis are round in powers of two. */
export function isBinary(unit: string): boolean {
  return unit === "bytes" || unit === "bytes/sec";
}

/** "1 host", "2 hosts". */
export function counted(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? "" : "s"}`;
}

/** A text in which `{{label}}` stands for the value of a label. */
export function filled(text: string, labels: Record<string, string>): string {
  return text.replace(/\{\{\s*([^{}]*?)\s*\}\}/g, (_, label: string) => (Object.hasOwn(labels, label) ? labels[label]! : ""));
}
