// Signing in with an API key; the key itself stays with the server's session, nothing of it with the browser.

import { Failure, type Session, signIn } from "../api.ts";
import { fill, h } from "../dom.ts";
import { note } from "../view.ts";

export function signInPage(message: string, done: (session: Session) => void): HTMLElement {
  const key = h("input", {
    type: "password",
    id: "key",
    name: "key",
    required: true,
    maxlength: 256,
    autocomplete: "current-password",
    spellcheck: "false",
  });
  const problem = h("div", { id: "problem", role: "alert" });
  if (message) fill(problem, note("warning", message));
  const button = h("button", { class: "primary" }, "Sign in");
  const submit = async (event: Event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const session = await signIn(key.value.trim());
      if (session) done(session);
    } catch (error) {
      fill(problem, note("error", reasonOf(error)));
      key.select();
    } finally {
      button.disabled = false;
    }
  };
  const form = h(
    "form",
    { onsubmit: submit },
    h("label", { for: "key" }, "API key"),
    key,
    problem,
    button,
    h("p", { class: "hint" }, "A key that may read shows everything; one that may write can also change hosts and dashboards."),
  );
  queueMicrotask(() => key.focus());
  return h("main", { class: "signin" }, h("h1", {}, "Carbyne"), h("p", {}, "Sign in to see your metrics."), form);
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Failure)) return String(error);
  if (error.kind === "forbidden") return "This API key is not known here, or may not read.";
  if (error.kind === "unavailable") return "Signing in does not work now: the store of sessions is away. Agents are not affected. Try again shortly.";
  return error.message;
}
