// The shell: who is signed in, which page is open, the clock that asks for news.

import "uplot/dist/uPlot.min.css";
import "./style.css";
import { type Session, renew, signOut, whenSignedOut, Failure } from "./api.ts";
import { redrawAll } from "./chart.ts";
import { fill, h } from "./dom.ts";
import { alertPage, alertsPage } from "./pages/alerts.ts";
import { channelsPage } from "./pages/channels.ts";
import { dashboardPage, dashboardsPage } from "./pages/dashboards.ts";
import { hostPage } from "./pages/host.ts";
import { hostsPage } from "./pages/hosts.ts";
import { monitorsPage } from "./pages/monitors.ts";
import { servicePage, servicesPage } from "./pages/services.ts";
import { signInPage } from "./pages/signin.ts";
import { systemPage } from "./pages/system.ts";
import { usagePage } from "./pages/usage.ts";
import { PRESETS, isUtc, moved, nowS, rangeOf, setUtc, zoneName } from "./time.ts";
import { type Place, type View, failed, here, link, note, setRange } from "./view.ts";

const REFRESH_MS = 30_000;
const RETRY_MS = 3_000;
const THEME = "carbyne-theme";
const PAGES = [["hosts", "Hosts"], ["services", "Services"], ["alerts", "Alerts"], ["dashboards", "Dashboards"], ["usage", "Usage"], ["system", "System"]] as const;

const root = document.getElementById("page")!;
const content = h("div", { id: "content" });
let view: View | null = null;
let opened = "";

function viewOf(place: Place): View {
  const [page, thing] = place.path;
  if (page === "services") return thing ? servicePage(place) : servicesPage();
  if (page === "alerts") return thing ? alertPage(place) : alertsPage();
  if (page === "monitors") return monitorsPage();
  if (page === "channels") return channelsPage();
  if (page === "dashboards") return thing ? dashboardPage(place) : dashboardsPage();
  if (page === "usage") return usagePage();
  if (page === "system") return systemPage();
  if (page === "hosts" && thing) return hostPage(place);
  if (page === "hosts" || !page) return hostsPage(place);
  return { element: h("main", {}, note("empty", "There is no such page. ", h("a", { href: link(["hosts"]) }, "See all hosts"))), title: "Not found" };
}

function open(): void {
  if (!content.isConnected) return;
  const place = here();
  const path = place.path.join("/");
  if (view && path === opened && view.move?.(place.parameters)) return;
  view?.destroy?.();
  view = viewOf(place);
  opened = path;
  document.title = `${view.title} – Carbyne`;
  fill(content, view.element);
  for (const anchor of root.querySelectorAll("header nav a")) {
    const page = ["monitors", "channels"].includes(place.path[0] ?? "") ? "alerts" : (place.path[0] ?? "hosts");
    const isHere = anchor.getAttribute("href") === link([page]);
    if (isHere) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
}

function close(): void {
  view?.destroy?.();
  view = null;
  opened = "";
}

function shell(session: Session): void {
  const zone = h("button", { type: "button", id: "zone", title: "times in your zone or in UTC (key u)", onclick: toggleUtc }, zoneName());
  const theme = h("button", { type: "button", id: "theme", title: "dark or light (key d)", onclick: toggleTheme, "aria-label": "dark or light" }, "◐");
  const leave = async () => {
    await signOut().catch(() => undefined);
    signedOut("You have signed out.");
  };
  const bar = h(
    "header",
    { class: "top" },
    h("a", { class: "brand", href: link(["hosts"]) }, "Carbyne"),
    h("nav", { "aria-label": "pages" }, PAGES.map(([page, title]) => h("a", { href: link([page]) }, title))),
    h("span", { class: "who", title: `API key ${session.key}` }, session.tenant),
    zone,
    theme,
    h("button", { type: "button", id: "sign-out", onclick: () => void leave() }, "Sign out"),
  );
  fill(root, h("a", { class: "skip", href: "#content", onclick: (event: Event) => { event.preventDefault(); content.querySelector<HTMLElement>("h1, a, button")?.focus(); } }, "Skip to content"), bar, content, help());
  open();
}

function signedOut(message: string): void {
  close();
  document.title = "Sign in – Carbyne";
  fill(root, signInPage(message, shell));
}

function toggleUtc(): void {
  setUtc(!isUtc());
  document.getElementById("zone")!.textContent = zoneName();
  redrawAll();
  close();
  open();
}

function setTheme(theme: string): void {
  document.documentElement.dataset["theme"] = theme;
}

function toggleTheme(): void {
  const dark = isDark();
  setTheme(dark ? "light" : "dark");
  localStorage.setItem(THEME, dark ? "light" : "dark");
  redrawAll();
}

function isDark(): boolean {
  const chosen = document.documentElement.dataset["theme"];
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

const KEYS: readonly [key: string, what: string][] = [
  ["/", "search"],
  ["1 – 7", "span of time, 30 minutes to a year"],
  ["[ and ]", "earlier and later"],
  ["r", "ask for news now"],
  ["u", "UTC or your zone"],
  ["d", "dark or light"],
  ["← →", "crosshair of the graph that has the focus"],
  ["?", "this list"],
];

function help(): HTMLDialogElement {
  const rows = KEYS.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)]);
  return h("dialog", { id: "help", "aria-label": "keys" }, h("h2", {}, "Keys"), h("dl", {}, rows), h("form", { method: "dialog" }, h("button", {}, "Close")));
}

function onKey(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || !view) return;
  const preset = PRESETS[Number(event.key) - 1];
  const hasRange = root.querySelector(".ranges") !== null;
  if (event.key === "/") root.querySelector<HTMLInputElement>("input[type=search]")?.focus();
  else if (preset && hasRange) setRange({ from: nowS() - preset[1], to: nowS(), preset: preset[0] });
  else if ((event.key === "[" || event.key === "]") && hasRange) setRange(moved(rangeOf(here().parameters), event.key === "[" ? -1 : 1));
  else if (event.key === "r") view.refresh?.();
  else if (event.key === "u") toggleUtc();
  else if (event.key === "d") toggleTheme();
  else if (event.key === "?") root.querySelector<HTMLDialogElement>("#help")?.showModal();
  else return;
  event.preventDefault();
}

async function start(): Promise<void> {
  try {
    const session = await renew();
    if (session) shell(session);
    else signedOut("");
  } catch (error) {
    const waiting = error instanceof Failure && (error.kind === "offline" || error.kind === "unavailable");
    const away = error instanceof Failure && error.kind === "unavailable";
    const reason = "The store of sessions is away, so signing in does not work. Agents are not affected. The page tries again by itself.";
    fill(root, h("main", { class: "signin" }, h("h1", {}, "Carbyne"), away ? note("error", reason) : failed(error)));
    if (waiting) setTimeout(() => void start(), RETRY_MS);
  }
}

const theme = localStorage.getItem(THEME);
if (theme) setTheme(theme);
whenSignedOut(() => signedOut("Your session is over. Please sign in again."));
addEventListener("hashchange", open);
addEventListener("keydown", onKey);
addEventListener("online", () => view?.refresh?.());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && view?.refresh?.());
setInterval(() => document.visibilityState === "visible" && view?.refresh?.(), REFRESH_MS);
fill(root, h("main", {}, note("loading", "Loading …")));
void start();
