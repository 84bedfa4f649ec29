// Channels: who is told of alerts, and a call that tries one of them.

import { canWrite, change, get } from "../api.ts";
import { fill, h } from "../dom.ts";
import type { Channel } from "../types.ts";
import { type View, failed, note, tableOf } from "../view.ts";
import { alertTabs } from "./monitors.ts";

const COLUMNS = ["Channel", "Type", "To", "State", ""];

export function channelsPage(): View {
  const list = h("div", {}, note("loading", "Loading channels …"));

  async function load(): Promise<void> {
    try {
      const { channels } = await get<{ channels: Channel[] }>("api/v0/channels");
      const none = note("empty", h("strong", {}, "No channels yet. "), "Alerts are told to no person. Make one with ", h("code", {}, "POST /api/v0/channels"), ".");
      fill(list, channels.length ? tableOf("channels", COLUMNS, channels.map(rowOf)) : none);
    } catch (error) {
      fill(list, failed(error, () => void load()));
    }
  }

  void load();
  return { element: h("main", {}, alertTabs("channels"), list), title: "Channels" };
}

function rowOf(channel: Channel): HTMLTableRowElement {
  const isOn = !channel.suspendedAt;
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, channel.name),
    h("td", {}, channel.type),
    h("td", {}, channel.emails?.join(", ") || hostIn(channel.url ?? "")),
    h("td", {}, h("span", { class: `badge ${isOn ? "check-OK" : ""}` }, isOn ? "on" : "suspended")),
    h("td", {}, canWrite() ? tester(channel) : null),
  );
}

/** Without the path and the password of a URL, which may be secrets. */
function hostIn(url: string): string {
  try {
    return new URL(url).host;
  } catch {
    return "";
  }
}

function tester(channel: Channel): HTMLElement {
  const said = h("span", { class: "count", role: "status" });
  const button = h("button", { type: "button", "aria-label": `send a test to ${channel.name}`, onclick: () => void send() }, "Send a test");
  const send = async () => {
    button.disabled = true;
    try {
      await change("POST", `carbyne/v1/channels/${encodeURIComponent(channel.id)}/test`, {});
      fill(said, " comes within a minute");
    } catch (error) {
      fill(said, failed(error));
    }
    button.disabled = false;
  };
  return h("span", {}, button, said);
}
