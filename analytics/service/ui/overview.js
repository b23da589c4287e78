// What is wrong now, and whether we ourselves are well.

import * as api from "./api.js";
import { chip, empty, h, panel, rich, table } from "./dom.js";
import * as format from "./format.js";

const LANES_MAX = 25;

const suspect = (incident) => incident.suspects[0];

export const incidentColumns = [
  ["Incident", (i) => i.title],
  ["Severity", (i) => chip(i.severity)],
  ["State", (i) => chip(i.state)],
  ["First suspect", (i) => (suspect(i) ? `${suspect(i).service} ${suspect(i).operation}` : "none yet")],
  ["Opened", (i) => format.time(i.opened_at), "time"],
  ["Lasted", (i) => (i.closed_at ? format.duration(i.started_at, i.closed_at) : "still open"), "time"],
];

/** Alerts so far that may be false, against those promised for the time seen. */
const real = (budget) => (budget?.weeks ? `${budget.opened - budget.confirmed} of ${Number(budget.promised.toPrecision(2))}` : "–");
const seen = (budget) => (budget?.weeks ? format.duration(0, budget.weeks * 604800e3) : "the time seen");

const known = (by) => (by ? `${format.plain(by.learning)} / ${format.plain(by.provisional)} / ${format.plain(by.calibrated)}` : "–");

function strip(status) {
  const facts = [
    ["items a second", format.plain(Math.round(status.items_per_second ?? 0))],
    ["series watched", format.plain(status.series ?? 0)],
    ["behind by", `${format.plain(status.lag_seconds ?? 0)} s`],
    ["newest window", status.newest_window_end ? format.time(status.newest_window_end) : "–"],
    ["incidents in 7 days", String(status.incidents_last_week ?? 0)],
    ["false alarms promised a week", String(status.alerts_per_week ?? "–")],
    [`alerts that may be false, of those promised for ${seen(status.budget)}`, real(status.budget)],
    ["series learning / provisional / calibrated", known(status.series_known)],
    ["model", status.model ? `${status.model.name} ${status.model.version}` : "–"],
    ["runtime", status.runtime ?? "–"],
  ];
  return h("dl", { class: "strip" }, facts.map(([name, number]) => h("div", {}, h("dt", {}, name), h("dd", {}, number))));
}

/** One open incident: title, verdict, who and since when. */
const card = (incident) => h("article", { class: `panel card ${incident.severity}` },
  h("div", { class: "chips" }, chip(incident.severity), h("span", { class: "soft small" },
    `since ${format.time(incident.started_at)}, alerted ${format.time(incident.opened_at)} · ${incident.anomalies.length} ${incident.anomalies.length === 1 ? "anomaly" : "anomalies"} in ${incident.services.length} ${incident.services.length === 1 ? "service" : "services"}`)),
  h("h2", {}, h("a", { class: "item", href: `/incidents/${incident.id}` }, incident.title)),
  h("p", {}, rich(incident.verdict)),
  suspect(incident) ? h("p", { class: "small" }, h("span", { class: "soft" }, "first suspect "), h("b", {}, suspect(incident).service), ` ${suspect(incident).operation} `,
    h("span", { class: "soft" }, `${format.percent(suspect(incident).confidence)} sure`)) : null);

/** Anomalies as marks on one lane per service, most marks first. */
function lanes(anomalies, newest) {
  const start = (a) => Date.parse(a.started_at), end = (a) => (a.closed_at ? Date.parse(a.closed_at) : t1);
  const t1 = Math.max(Date.parse(newest ?? 0) || 0, ...anomalies.flatMap((a) => [start(a), a.closed_at ? Date.parse(a.closed_at) : 0]));
  const t0 = Math.min(t1 - 30 * 60e3, ...anomalies.map(start));
  const left = (t) => Math.max(0, ((t - t0) / (t1 - t0)) * 100);
  const by = Map.groupBy ? Map.groupBy(anomalies, (a) => a.series.service) : anomalies.reduce((map, a) => map.set(a.series.service, [...(map.get(a.series.service) ?? []), a]), new Map());
  const services = [...by].sort((a, b) => b[1].length - a[1].length || a[0].localeCompare(b[0])).slice(0, LANES_MAX);
  const times = [0, 1, 2, 3, 4].map((part) => h("span", {}, format.clock(new Date(t0 + ((t1 - t0) * part) / 4).toISOString())));
  return h("div", { class: "lanes" }, services.flatMap(([service, own]) => [
    h("a", { href: `/anomalies?service=${encodeURIComponent(service)}` }, service),
    h("div", { class: "lane" }, own.map((a) => {
      const mark = h("a", { href: `/anomalies/${a.id}`, class: a.state, "aria-label": `${service} ${a.series.name} ${a.series.kind}`, title: `${a.series.name} ${a.series.kind.replaceAll("_", " ")}, ${format.time(a.started_at)}, score ${a.score.toFixed(3)}` });
      mark.style.left = `${left(start(a))}%`;
      mark.style.width = `${Math.max(0.5, left(end(a)) - left(start(a)))}%`;
      return mark;
    })),
    h("span", { class: "soft small" }, String(own.length)),
  ]), h("span", {}), h("div", { class: "times soft small" }, times), h("span", {}));
}

function nothingOpen(status) {
  if (status.series) return empty("Every series is within its expected band, or still being learnt.");
  const ends = status.endpoints ?? {};
  return empty("Nothing has been received yet. Point an OpenTelemetry exporter or Collector at ", h("code", {}, ends.otlp_grpc ?? "127.0.0.1:4317"), " (gRPC) or ",
    h("code", {}, `http://${ends.otlp_http ?? "127.0.0.1:4318"}`), " (HTTP).");
}

export async function overview() {
  const [status, open, closed, anomalies] = await Promise.all([
    api.status().catch(() => ({})),
    api.incidents({ state: "open", limit: 200 }),
    api.incidents({ state: "closed", limit: 10 }),
    api.anomalies({ limit: 500 }),
  ]);
  const count = open.items.length;
  return {
    interest: ["incident", "anomaly", "window"],
    title: count ? `${count} open` : "Overview",
    content: [
      h("h1", {}, count ? `${count}${open.next_cursor ? " or more" : ""} open incident${count > 1 ? "s" : ""}` : "No open incident"),
      count ? open.items.map(card) : panel(null, nothingOpen(status)),
      strip(status),
      anomalies.items.length ? panel("Anomalies by service", lanes(anomalies.items, status.newest_window_end)) : null,
      status.series || closed.items.length ? panel("Recently closed", closed.items.length ? table(incidentColumns.filter(([name]) => name !== "State"), closed.items, (i) => `/incidents/${i.id}`) : empty("None so far.")) : null,
    ],
  };
}
