// Elements without HTML text: every string becomes a text node or an attribute, so that stored text can't run.

export type Child = Node | string | number | null | undefined | false | Child[];
type Value = string | number | boolean | null | undefined | ((event: never) => void);

/** An element; `on...` properties are listeners, `true` is an empty attribute, `false` and null none. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Record<string, Value> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), value as EventListener);
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, children);
  return element;
}

function append(parent: Node, children: Child[]): void {
  for (const child of children) {
    if (Array.isArray(child)) append(parent, child);
    else if (child instanceof Node) parent.appendChild(child);
    else if (child !== null && child !== undefined && child !== false) parent.appendChild(text(child));
  }
}

export function text(value: string | number): Text {
  return document.createTextNode(String(value));
}

/** Puts `children` in the place of what an element holds. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren();
  append(element, children);
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag: string, attributes: Record<string, string | number>, ...children: Element[]): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

const NEAR_PX = 300;

/** Calls `seen` once, when one of the elements comes near the screen. */
export function whenSeen(elements: Element | Element[], seen: () => void): void {
  const observer = new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting)) {
        observer.disconnect();
        seen();
      }
    },
    { rootMargin: `${NEAR_PX}px` },
  );
  for (const element of [elements].flat()) observer.observe(element);
}

export function isNearScreen(element: Element): boolean {
  const { top, bottom } = element.getBoundingClientRect();
  return element.isConnected && bottom > -NEAR_PX && top < innerHeight + NEAR_PX;
}
