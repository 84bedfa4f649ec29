// A little markdown as elements: headings, lists, code, emphasis, links. It makes no HTML text, so none can run.

import { type Child, h } from "./dom.ts";

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]*)\]\(([^)\s]+)\)/g;

export function markdown(source: string): HTMLElement {
  const blocks: HTMLElement[] = [];
  let paragraph: string[] = [];
  let list: HTMLElement | null = null;
  let code: string[] | null = null;
  const close = () => {
    if (paragraph.length) blocks.push(h("p", {}, inline(paragraph.join(" "))));
    if (list) blocks.push(list);
    paragraph = [];
    list = null;
  };
  for (const line of source.split(/\r?\n/)) {
    if (line.startsWith("```")) {
      if (code) blocks.push(h("pre", {}, code.join("\n")));
      else close();
      code = code ? null : [];
      continue;
    }
    if (code) {
      code.push(line);
      continue;
    }
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    const item = /^\s*([-*+]|\d+\.)\s+(.*)$/.exec(line);
    if (heading) {
      close();
      blocks.push(h(heading[1]!.length === 1 ? "h3" : "h4", {}, inline(heading[2]!)));
    } else if (item) {
      if (paragraph.length) close();
      list ??= h(item[1]!.endsWith(".") ? "ol" : "ul");
      list.append(h("li", {}, inline(item[2]!)));
    } else if (line.trim()) {
      if (list) close();
      paragraph.push(line.trim());
    } else close();
  }
  if (code) blocks.push(h("pre", {}, code.join("\n")));
  close();
  return h("div", { class: "markdown" }, blocks);
}

function inline(text: string): Child[] {
  const parts: Child[] = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(text.slice(from, match.index));
    from = match.index + match[0].length;
    const [, code, strong, emphasis, label, target] = match;
    if (code !== undefined) parts.push(h("code", {}, code));
    else if (strong !== undefined) parts.push(h("strong", {}, strong));
    else if (emphasis !== undefined) parts.push(h("em", {}, emphasis));
    else parts.push(anchor(label ?? "", target ?? ""));
  }
  return [...parts, text.slice(from)];
}

/** Only links that lead to another page; what would run or load something stays text. */
function anchor(label: string, target: string): Child {
  if (!/^(https?:\/\/|mailto:|#\/)/i.test(target)) return `${label} (${target})`;
  return h("a", { href: target, rel: "noopener noreferrer nofollow" }, label || target);
}
