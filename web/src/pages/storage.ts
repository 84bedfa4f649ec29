// Where the samples of a source lie: the tiers made visible.

import { get, query } from "../api.ts";
import { fill, h, svg } from "../dom.ts";
import { rangeOf, stamp } from "../time.ts";
import type { Stored } from "../types.ts";
import { format } from "../units.ts";
import { failed, note, tableOf } from "../view.ts";

const TIERS: readonly [name: string, title: string][] = [
  ["hot", "hot: Redis"], ["late", "late: not merged yet"], ["warm", "warm: DynamoDB"], ["cold", "cold: S3"],
];
const RESOLUTIONS = ["raw", "5m", "1h", "1d"];
const COLUMNS = ["Tier", "Windows", "Values", "Bytes", "Bytes per value", "Last sealed", "Windows over time"];
/** The API reads every window whole, so it takes few of them at once. */
const SPAN_S_MAX = 7 * 86_400;

export function storageView(source: string, parameters: URLSearchParams): HTMLElement {
  const view = h("div", { class: "storage" }, note("loading", "Looking into the tiers …"));
  const range = rangeOf(parameters);
  const from = Math.max(range.from, range.to - SPAN_S_MAX);
  get<Stored[]>(`carbyne/v1/storage${query({ source, from: Math.floor(from), to: Math.ceil(range.to) })}`)
    .then((stored) => {
      if (!stored.length) return fill(view, note("empty", "Nothing of this span lies in any tier."));
      const cut = from > range.from ? note("warning", `The last ${SPAN_S_MAX / 86_400} days of this span are shown.`) : null;
      return fill(view, cut, h("p", {}, "Recent samples lie in Redis as rows. When a window closes it is sealed into a block in DynamoDB and copied to S3; blocks leave DynamoDB when their time is over."), ...RESOLUTIONS.map((resolution) => section(resolution, stored.filter((each) => each.resolution === resolution), from, range.to)));
    })
    .catch((error: unknown) => fill(view, failed(error)));
  return view;
}

function section(resolution: string, stored: Stored[], from: number, to: number): HTMLElement | null {
  if (!stored.length) return null;
  const start = Math.min(from, ...stored.map((each) => each.window.start));
  const end = Math.max(to, ...stored.map((each) => each.window.start + each.window.length));
  const rows = TIERS.flatMap(([tier, title]) => {
    const mine = stored.filter((each) => each.tier === tier);
    if (!mine.length) return [];
    const [samples, bytes] = [sum(mine.map((each) => each.samples)), sum(mine.map((each) => each.bytes))];
    return [
      h(
        "tr",
        {},
        h("th", { scope: "row" }, h("i", { class: `swatch tier-${tier}` }), title),
        h("td", {}, mine.length),
        h("td", {}, format(samples, "integer")),
        h("td", {}, format(bytes, "bytes")),
        h("td", {}, (bytes / Math.max(1, samples)).toFixed(2)),
        h("td", { class: "time" }, sealedAt(mine)),
        h("td", { class: "timeline" }, timeline(tier, mine, start, end)),
      ),
    ];
  });
  const title = resolution === "raw" ? "Samples" : `Buckets of ${resolution}`;
  const hint = resolution === "raw" ? "" : " count, sum, min and max each count as a value";
  return h("section", {}, h("h2", {}, title, h("small", {}, hint)), tableOf(title, COLUMNS, rows), h("p", { class: "hint" }, `${stamp(start, false)} – ${stamp(end, false)}`));
}

function timeline(tier: string, stored: Stored[], start: number, end: number): HTMLElement {
  const [width, height] = [600, 18];
  const at = (time: number) => ((time - start) / (end - start)) * width;
  const boxes = stored.map((each) => {
    const { window, samples, bytes } = each;
    const title = svg("title", {});
    title.textContent = `${stamp(window.start, false)} – ${stamp(window.start + window.length, false)}: ${samples} values, ${bytes} bytes, ${each.sealedAt === null ? "not sealed" : `sealed ${stamp(each.sealedAt)}`}`;
    return svg("rect", { x: at(window.start) + 0.5, y: 1, width: Math.max(1.5, (window.length / (end - start)) * width - 1), height: height - 2, class: `tier-${tier}` }, title);
  });
  const label = `${stored.length} windows from ${stamp(stored[0]!.window.start, false)}`;
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, ...boxes) as unknown as HTMLElement;
}

function sealedAt(stored: Stored[]): string {
  const times = stored.flatMap((each) => each.sealedAt ?? []);
  return times.length ? stamp(Math.max(...times)) : "–";
}

function sum(values: number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
