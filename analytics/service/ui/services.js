// Services, how they call each other, and each series on its own.

import * as api from "./api.js";
import { chart } from "./chart.js";
import { empty, h, panel, table } from "./dom.js";
import * as format from "./format.js";
import { graph } from "./graph.js";
import { filters, more } from "./incidents.js";

export async function services({ filter, go }) {
  const [topology, page, open] = await Promise.all([
    api.topology().catch(() => ({ services: [], edges: [] })),
    api.series({ limit: 200, ...filter }),
    api.anomalies({ state: "open", limit: 200 }).catch(() => ({ items: [] })),
  ]);
  const affected = [...new Set(open.items.map((anomaly) => anomaly.series.service))];
  return {
    interest: ["anomaly"],
    content: [
      h("h1", {}, "Services"),
      topology.services.length ? panel("Who calls whom", graph(topology, null, affected)) : null,
      filters(filter, "/services", [["service", "Service"], ["kind", "What", ["request_rate", "error_ratio", "duration_p50", "duration_p95", "duration_p99", "exclusive_time", "edge_rate", "edge_error_ratio", "edge_gap", "metric_value", "metric_rate", "metric_p95", "log_rate"]]], go),
      panel("Series", page.items.length ? table([
        ["Service", (one) => one.service],
        ["Name", (one) => one.name],
        ["What", (one) => one.kind.replaceAll("_", " ")],
        ["Labels", (one) => Object.entries(one.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(" "), "wide small"],
      ], page.items, (one) => `/series/${one.key}`) : empty("No series matches.")),
      more(page, filter, "/services"),
    ],
  };
}

export async function seriesPage({ id, filter }) {
  const page = await api.points(id, filter.from, filter.to);
  const name = page.series ? `${page.series.service} ${page.series.name}` : id;
  const kind = page.series?.kind ?? "";
  return {
    title: name,
    interest: ["window"],
    content: [
      h("h1", {}, `${name} ${kind.replaceAll("_", " ")}`),
      panel("Actual and expected band", chart(page.items, { kind, title: name })),
      panel("Windows", table([
        ["Window ends", (point) => format.time(point.at), "time"],
        ["Actual", (point) => format.value(point.actual, kind), "num"],
        ["Expected", (point) => format.value(point.expected, kind), "num"],
        ["Band", (point) => `${format.value(point.lower, kind)} to ${format.value(point.upper, kind)}`, "num wide"],
        ["Score", (point) => (point.score === null ? "learning" : point.score.toFixed(3)), "num"],
      ], page.items.slice(-60).reverse())),
    ],
  };
}
