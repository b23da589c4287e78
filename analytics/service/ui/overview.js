// What is wrong now, and whether we ourselves are well.

import * as api from "./api.js";
import { chip, empty, h, panel, table } from "./dom.js";
import * as format from "./format.js";

const PER_PAGE = 200;

export const incidentColumns = [
  ["Incident", (i) => i.title],
  ["Severity", (i) => chip(i.severity)],
  ["First suspect", (i) => (i.suspects[0] ? `${i.suspects[0].service} ${i.suspects[0].operation}` : "none yet"), "wide"],
  ["Opened", (i) => format.time(i.opened_at), "time"],
  ["Lasted", (i) => (i.closed_at ? format.duration(i.started_at, i.closed_at) : "still open"), "time wide"],
];

function strip(status) {
  const facts = [
    ["items a second", format.plain(status.items_per_second ?? 0)],
    ["series", format.plain(status.series ?? 0)],
    ["behind by", status.lag_seconds === null || status.lag_seconds === undefined ? "–" : `${format.plain(status.lag_seconds)} s`],
    ["incidents, last 7 days", `${status.incidents_last_week ?? 0}`],
    ["false alarms accepted a week", `${status.alerts_per_week ?? "–"}`],
    ["model", status.model ? `${status.model.name} ${status.model.version}` : "–"],
    ["runtime", status.runtime ?? "–"],
  ];
  return h("div", { class: "strip" }, facts.map(([name, number]) => h("div", {}, h("b", {}, number), h("span", {}, name))));
}

/** Anomalies as marks on one lane per service. */
function lanes(anomalies) {
  const times = anomalies.flatMap((a) => [Date.parse(a.started_at ?? a.opened_at), Date.parse(a.closed_at ?? a.opened_at)]);
  const t0 = Math.min(...times), t1 = Math.max(...times) + 1;
  const at = (text) => ((Date.parse(text) - t0) / (t1 - t0)) * 100;
  const end = new Date(t1).toISOString();
  const services = [...new Set(anomalies.map((a) => a.series.service))].sort();
  return h("div", { class: "lanes" }, services.flatMap((service) => [
    h("span", {}, service),
    h("div", { class: "lane" }, anomalies.filter((a) => a.series.service === service).map((a) => {
      const left = at(a.started_at ?? a.opened_at);
      const mark = h("a", { href: `/anomalies/${a.id}`, "aria-label": `${service} ${a.series.name} ${a.series.kind}`, title: `${a.series.name} ${a.series.kind} ${format.time(a.opened_at)}` });
      mark.style.left = `${left}%`;
      mark.style.width = `${Math.max(0.4, at(a.closed_at ?? end) - left)}%`;
      return mark;
    })),
  ]));
}

export async function overview() {
  const [status, open, closed, anomalies] = await Promise.all([
    api.status().catch(() => ({})),
    api.incidents({ state: "open", limit: PER_PAGE }),
    api.incidents({ state: "closed", limit: 20 }),
    api.anomalies({ limit: PER_PAGE }),
  ]);
  const to = (i) => `/incidents/${i.id}`;
  return {
    interest: ["incident", "anomaly", "window"],
    content: [
      strip(status),
      h("h1", {}, open.items.length ? `${open.items.length} open incident${open.items.length > 1 ? "s" : ""}` : "No open incident"),
      panel(null, open.items.length ? table(incidentColumns, open.items, to) : empty(status.series ? "Every series is within its expected band, or still being learnt." : "Nothing has been received yet. Point an OpenTelemetry exporter at 127.0.0.1:4317 (gRPC) or 127.0.0.1:4318 (HTTP).")),
      panel("Recently closed", closed.items.length ? table(incidentColumns, closed.items, to) : empty("None so far.")),
      anomalies.items.length ? panel("Anomalies by service", lanes(anomalies.items)) : null,
    ],
  };
}
