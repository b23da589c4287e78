// Services, how they call each other, and each series on its own.

import * as api from "./api.js";
import { chart } from "./chart.js";
import { chip, empty, folded, h, panel, table } from "./dom.js";
import * as format from "./format.js";
import { graph } from "./graph.js";
import { filters, more } from "./incidents.js";

const KINDS = ["request_rate", "error_ratio", "duration_p50", "duration_p95", "duration_p99", "exclusive_time", "edge_rate", "edge_error_ratio", "edge_gap", "metric_value", "metric_rate", "metric_p95", "log_rate"];
const ROWS = 60;
const RANK = ["critical", "suspect", "affected", "ok"];

const serviceTable = (services) => table([
  ["Service", (one) => one.name],
  ["Health", (one) => chip(one.health)],
  ["Requests", (one) => format.value(one.requests_per_second, "rate"), "num"],
  ["Series", (one) => String(one.series), "num"],
  ["Open incidents", (one) => one.incidents.map((id, index) => [index ? ", " : "", h("a", { href: `/incidents/${id}` }, id)])],
], services, (one) => `/services?service=${encodeURIComponent(one.name)}`);

const seriesTable = (series) => table([
  ["Series", (one) => `${one.service} ${one.name}`],
  ["What", (one) => one.kind.replaceAll("_", " ")],
  ["Labels", (one) => Object.entries(one.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(" "), "small soft"],
  ["Last", (one) => format.value(one.last?.actual, one.kind), "num"],
  ["Expected", (one) => format.value(one.last?.expected, one.kind), "num"],
], series, (one) => `/series/${one.key}`);

export async function services({ filter, go }) {
  const [topology, page] = await Promise.all([
    api.topology().catch(() => ({ services: [], edges: [] })),
    api.series({ limit: 1000, ...filter }),
  ]);
  const ranked = topology.services.toSorted((a, b) => RANK.indexOf(a.health) - RANK.indexOf(b.health) || b.requests_per_second - a.requests_per_second);
  const ill = ranked.filter((one) => one.health !== "ok").map((one) => one.name);
  const cause = ranked.find((one) => one.health === "critical" || one.health === "suspect")?.name;
  const series = page.items.toSorted((a, b) => a.service.localeCompare(b.service) || a.name.localeCompare(b.name) || KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
  const chosen = filter.service;
  return {
    title: chosen ?? "Services",
    interest: ["incident"],
    content: [
      h("h1", {}, chosen ? `Service ${chosen}` : "Services"),
      ranked.length && !chosen ? panel(null, folded(ranked, ROWS, serviceTable, "services")) : null,
      ranked.length ? panel("Who calls whom", graph(topology, chosen ?? cause, chosen ? [chosen] : ill, Boolean(chosen))) : null,
      filters(filter, "/services", [["service", "Service"], ["kind", "What", KINDS], ["name", "Name"]], go),
      panel("Series", series.length ? folded(series, ROWS, seriesTable, "series") : empty(ranked.length ? "No series matches." : "Nothing has been received yet.")),
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
      h("div", { class: "chips" }, chip(page.maturity ?? "learning", "How well this series is known"), h("span", { class: "soft small" }, Object.entries(page.series?.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(" · "))),
      h("h1", {}, `${name}: ${kind.replaceAll("_", " ")}`),
      panel("Actual and expected band", chart(page.items, { kind, title: name })),
      panel("Windows", table([
        ["Window ends", (point) => format.time(point.at), "time"],
        ["Actual", (point) => format.value(point.actual, kind), "num"],
        ["Expected", (point) => format.value(point.expected, kind), "num"],
        ["Band", (point) => format.band(point.lower, point.upper, kind), "num"],
        ["Score", (point) => (point.score === null || point.score === undefined ? "learning" : point.score.toFixed(3)), "num"],
      ], page.items.slice(-60).reverse())),
    ],
  };
}
