// Which series make a graph: Mackerel's graphs of a system, built in, and the definitions that plugins post.

export interface GraphMetric {
  name: string;
  displayName: string;
  isStacked: boolean;
}

export interface GraphDef {
  name: string;
  displayName: string;
  unit: string;
  metrics: GraphMetric[];
}

export interface Line {
  /** Name of the metric. */
  name: string;
  label: string;
  stacked: boolean;
  /** Drawn only when it is chosen in the legend. */
  quiet?: boolean;
}

export interface Graph {
  /** Tells graphs of one page apart. */
  id: string;
  title: string;
  unit: string;
  lines: Line[];
}

export interface Group {
  title: string;
  graphs: Graph[];
}

interface BuiltIn {
  /** Of all metrics; the one `#` stands for a part of the name, and each makes a graph of its own. */
  id: string;
  title: string;
  unit: string;
  metrics: [name: string, label: string, how?: "stacked" | "quiet"][];
}

const SYSTEM: readonly BuiltIn[] = [
  {
    id: "loadavg",
    title: "Load average",
    unit: "float",
    metrics: [["loadavg1", "1 min"], ["loadavg5", "5 min"], ["loadavg15", "15 min"]],
  },
  {
    id: "cpu",
    title: "CPU",
    unit: "percentage",
    metrics: [
      ["cpu.user.percentage", "user", "stacked"],
      ["cpu.nice.percentage", "nice", "stacked"],
      ["cpu.system.percentage", "system", "stacked"],
      ["cpu.irq.percentage", "irq", "stacked"],
      ["cpu.softirq.percentage", "softirq", "stacked"],
      ["cpu.iowait.percentage", "iowait", "stacked"],
      ["cpu.steal.percentage", "steal", "stacked"],
      ["cpu.guest.percentage", "guest", "stacked"],
      ["cpu.idle.percentage", "idle", "quiet"],
    ],
  },
  {
    id: "memory",
    title: "Memory",
    unit: "bytes",
    metrics: [
      ["memory.used", "used", "stacked"],
      ["memory.mem_available", "available", "stacked"],
      ["memory.buffers", "buffers", "stacked"],
      ["memory.cached", "cached", "stacked"],
      ["memory.free", "free", "stacked"],
      ["memory.total", "total"],
    ],
  },
  {
    id: "swap",
    title: "Swap",
    unit: "bytes",
    metrics: [
      ["memory.swap_cached", "cached", "stacked"],
      ["memory.swap_free", "free", "quiet"],
      ["memory.swap_total", "total"],
    ],
  },
  { id: "disk.#", title: "Disk", unit: "iops", metrics: [["disk.#.reads.delta", "reads"], ["disk.#.writes.delta", "writes"]] },
  {
    id: "interface.#",
    title: "Interface",
    unit: "bytes/sec",
    metrics: [["interface.#.rxBytes.delta", "received"], ["interface.#.txBytes.delta", "sent"]],
  },
  {
    id: "filesystem.#",
    title: "Filesystem",
    unit: "bytes",
    metrics: [["filesystem.#.used", "used", "stacked"], ["filesystem.#.size", "size"]],
  },
];

/** All metrics of a host as groups of graphs: the system's, then one group for each plugin. */
export function groupsOf(names: readonly string[], definitions: readonly GraphDef[]): Group[] {
  const left = new Set(names);
  const system: Group = { title: "System", graphs: SYSTEM.flatMap((one) => builtIn(one, left)) };
  const groups = new Map<string, Group>([["", system]]);
  for (const definition of [...definitions].sort(bySpecificity)) {
    for (const graph of defined(definition, left)) put(groups, graph);
  }
  for (const graph of undefinedOnes(left)) put(groups, graph);
  const [first, ...rest] = [...groups.values()].filter((group) => group.graphs.length);
  return first ? [first, ...rest] : [];
}

function put(groups: Map<string, Group>, graph: Graph): void {
  const parts = graph.id.split(".");
  const title = (parts[0] === "custom" ? parts[1] : parts[0]) ?? graph.id;
  const group = groups.get(title) ?? { title, graphs: [] };
  groups.set(title, group);
  group.graphs.push(graph);
}

function escaped(part: string): string {
  return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** A name with `#` and `*` in the place of parts; both stand for one part each. */
function pattern(name: string): RegExp {
  const parts = name.split(".").map((part) => (part === "#" ? "([^.]+)" : part === "*" ? "([^.]+)" : escaped(part)));
  return new RegExp(`^${parts.join("\\.")}$`);
}

function builtIn(graph: BuiltIn, left: Set<string>): Graph[] {
  const found = new Map<string, Line[]>();
  for (const [name, label, how] of graph.metrics) {
    const fits = pattern(name);
    for (const metric of [...left].filter((each) => fits.test(each))) {
      const instance = fits.exec(metric)?.[1] ?? "";
      const lines = found.get(instance) ?? [];
      found.set(instance, lines);
      lines.push({ name: metric, label, stacked: how === "stacked", quiet: how === "quiet" });
      left.delete(metric);
    }
  }
  return [...found].sort(byKey).map(([instance, lines]) => ({
    id: graph.id.replace("#", instance),
    title: instance ? `${graph.title} ${instance}` : graph.title,
    unit: graph.unit,
    lines,
  }));
}

function byKey<Value>([one]: [string, Value], [other]: [string, Value]): number {
  return one.localeCompare(other, undefined, { numeric: true });
}

/** Names without wildcards first, so that they take their metrics before a wildcard does. */
function bySpecificity(one: GraphDef, other: GraphDef): number {
  const wild = (definition: GraphDef) => definition.name.split(/[#*]/).length;
  return wild(one) - wild(other) || one.name.localeCompare(other.name);
}

/** The graphs of a definition: `#` makes one for each part that it stands for, `*` lines of one graph. */
function defined(definition: GraphDef, left: Set<string>): Graph[] {
  const found = new Map<string, Line[]>();
  for (const metric of definition.metrics) {
    const fits = pattern(metric.name);
    const wild = metric.name.split(".").filter((part) => part === "#" || part === "*");
    for (const name of [...left].filter((each) => fits.test(each)).sort()) {
      const parts = fits.exec(name)!.slice(1);
      const last = name.split(".").at(-1)!;
      const instance = parts.filter((_, at) => wild[at] === "#").join(" ");
      const shown = parts.filter((_, at) => wild[at] === "*").filter((part) => part !== last);
      const label = metric.name.endsWith("*") ? last : metric.displayName || last;
      const lines = found.get(instance) ?? [];
      found.set(instance, lines);
      lines.push({ name, label: [...shown, label].join(" "), stacked: metric.isStacked });
      left.delete(name);
    }
  }
  const title = definition.displayName || definition.name.replace(/^custom\./, "");
  return [...found].sort(byKey).map(([instance, lines]) => ({
    id: instance ? `${definition.name}:${instance}` : definition.name,
    title: instance ? `${title} ${instance}` : title,
    unit: definition.unit,
    lines,
  }));
}

/** Metrics that no definition names: what has all but the last part of its name in common is one graph. */
function undefinedOnes(left: Set<string>): Graph[] {
  const found = new Map<string, string[]>();
  for (const name of left) {
    const graph = name.split(".").slice(0, -1).join(".") || name;
    found.set(graph, [...(found.get(graph) ?? []), name]);
  }
  return [...found].sort(byKey).map(([id, names]) => ({
    id,
    title: id.replace(/^custom\./, ""),
    unit: "float",
    lines: names.sort().map((name) => ({ name, label: name.split(".").at(-1)!, stacked: false })),
  }));
}
