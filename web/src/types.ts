// Answers of the API, as far as the page reads them.

export interface Host {
  id: string;
  name: string;
  displayName: string | null;
  customIdentifier: string | null;
  status: string;
  memo: string;
  roles: Record<string, string[]>;
  isRetired: boolean;
  createdAt: number;
  meta: Record<string, unknown>;
  interfaces: Record<string, unknown>[] | null;
}

export interface CheckState {
  monitorId: string;
  status: string;
  name?: string;
  detail: { type: string; message: string; memo: string };
}

export interface HostChecks {
  hostId: string;
  checks: { monitorId: string; name: string; status: string; message: string; occurredAt: number }[];
}

export interface Service {
  name: string;
  memo: string;
  roles: string[];
}

export interface Stored {
  resolution: string;
  window: { start: number; length: number };
  tier: string;
  samples: number;
  bytes: number;
  /** When the last seal changed it; null of rows in Redis. */
  sealedAt: number | null;
}

/** Dollars at list prices; `day` and `nextHost` are estimates. */
export interface TenantMeter {
  months: {
    month: string;
    samples: number;
    rows: number;
    series: number;
    queries: number;
    dollars: { requests: number; stream: number; total: number };
  }[];
  samplesPerMinute: number;
  series: number;
  day: {
    sources: number;
    measured: number;
    bytes: { hot: number; late: number; warm: number; cold: number };
    writes: number;
    puts: number;
    dollars: { table: number; archive: number; kept: number };
  } | null;
  nextHost: { samples: number; dollars: number } | null;
  leftOut: string;
}

export interface Widget {
  type: string;
  title?: string;
  layout?: { x: number; y: number; width: number; height: number };
  markdown?: string;
  roleFullname?: string;
  fractionSize?: number;
  suffix?: string;
  graph?: { type: string; name?: string; hostId?: string; serviceName?: string; roleFullname?: string; isStacked?: boolean; query?: string; legend?: string; expression?: string };
  metric?: { type: string; name?: string; hostId?: string; serviceName?: string; query?: string; expression?: string };
  range?: { type: string; period?: number; offset?: number; start?: number; end?: number };
}

export interface Dashboard {
  id: string;
  title: string;
  memo: string;
  urlPath: string;
  widgets: Widget[];
  createdAt: number;
  updatedAt: number;
}

export interface SystemState {
  redis: { node: string; role: string; slots: number; isHealthy: boolean; usedBytes: number | null; maxBytes: number | null; replicas: number }[];
  lanes: { whole: number; rebuilding: number; unset: number };
  seals: { open: number; due: number; oldestDueSeconds: number | null };
  replay: { running: boolean; lanes: number; beganAt: number | null } | null;
  cache: { hits: number; misses: number };
}

export interface SessionInfo {
  id: string;
  createdAt: number;
  seenAt: number;
  agent: string;
  isCurrent: boolean;
}

export interface Monitor {
  id: string;
  type: string;
  name?: string;
  memo?: string;
  isMute?: boolean;
  service?: string;
  metric?: string;
  operator?: string;
  warning?: number | null;
  critical?: number | null;
  duration?: number;
  expression?: string;
  query?: string;
  legend?: string;
  method?: string;
  url?: string;
  scopes?: string[];
  excludeScopes?: string[];
}

/** An alert of a rule of Prometheus; `activeAt` in RFC 3339. */
export interface RuleAlert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  state: string;
  activeAt: string;
  value: string;
}

/** Times in seconds; `status` is OK once it is closed. */
export interface Alert {
  id: string;
  status: string;
  monitorId: string;
  type: string;
  openedAt: number;
  closedAt?: number;
  hostId?: string;
  value?: number;
  /** Of a query. */
  series?: { name: string; labels: Record<string, string> };
  message?: string;
  reason?: string;
  memo?: string;
}

export interface AlertLog {
  createdAt: number;
  status: string;
  trigger: string;
  saying: string;
  targetValue: number | null;
  statusDetail: { detail: { message: string } } | null;
}

export interface Channel {
  id: string;
  name: string;
  type: string;
  url?: string;
  emails?: string[];
  suspendedAt?: number;
}
