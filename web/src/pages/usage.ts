// The cost meter: what this tenant used by month, what a day takes in each tier, and what one more host costs.

import { get } from "../api.ts";
import { fill, h } from "../dom.ts";
import type { TenantMeter } from "../types.ts";
import { format } from "../units.ts";
import { type View, failed, note, tableOf } from "../view.ts";

const MONTHS = ["Month", "Samples", "Rows", "Series", "Queries", "Requests", "Stream", "Together"];

export function usagePage(): View {
  const body = h("div", {}, note("loading", "Adding up …"));

  async function load(): Promise<void> {
    try {
      fill(body, ...partsOf(await get<TenantMeter>("carbyne/v1/usage")));
    } catch (error) {
      fill(body, failed(error, () => void load()));
    }
  }

  void load();
  return { element: h("main", {}, h("h1", {}, "Usage"), body), title: "Usage", refresh: () => void load() };
}

function partsOf({ months, samplesPerMinute, series, day, nextHost, leftOut }: TenantMeter): HTMLElement[] {
  const tiles = [
    tile("Samples a minute", format(samplesPerMinute, "integer"), "the mean of the last minutes"),
    tile("Active series", format(series, "integer"), "since the beginning of the hour"),
    tile("One more host", nextHost ? dollars(nextHost.dollars) : "–", nextHost ? `a month, estimated: ${format(nextHost.samples, "integer")} samples` : "nothing to estimate it by yet"),
  ];
  const rows = months.map((each) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, each.month),
      ...[each.samples, each.rows, each.series, each.queries].map((count) => h("td", {}, format(count, "integer"))),
      ...[each.dollars.requests, each.dollars.stream, each.dollars.total].map((price) => h("td", {}, dollars(price))),
    ),
  );
  const counted = months.length ? tableOf("months", MONTHS, rows) : note("empty", "Nothing was counted yet: counts are written once a minute.");
  return [
    h("div", { class: "tiles" }, tiles),
    h("h2", {}, "Months"),
    counted,
    ...(day ? dayOf(day) : []),
    h("p", { class: "hint" }, `At list prices of us-east-1. Not in it: ${leftOut}.`),
  ];
}

function dayOf({ sources, measured, bytes, writes, puts, dollars: price }: NonNullable<TenantMeter["day"]>): HTMLElement[] {
  const tiers = [["hot: Redis", bytes.hot], ["late: not merged yet", bytes.late], ["warm: DynamoDB", bytes.warm], ["cold: S3", bytes.cold]] as const;
  const rows = tiers.map(([tier, size]) => h("tr", {}, h("th", { scope: "row" }, tier), h("td", {}, format(size, "bytes"))));
  return [
    h("h2", {}, "The last day", h("small", {}, ` estimated from ${measured} of ${sources} sources`)),
    tableOf("bytes of the last day by tier", ["Tier", "Bytes"], rows),
    h("p", {}, `${format(writes, "integer")} write units of the table (${dollars(price.table)}), ${format(puts, "integer")} objects (${dollars(price.archive)}); to keep them costs ${dollars(price.kept)} a month.`),
  ];
}

function tile(title: string, value: string, hint: string): HTMLElement {
  return h("div", { class: "tile" }, h("h3", {}, title), h("p", { class: "value" }, value), h("small", {}, hint));
}

/** Cents and less with two digits that say something. */
function dollars(value: number): string {
  return `$${value > 0 && value < 0.01 ? value.toPrecision(2) : value.toFixed(2)}`;
}
