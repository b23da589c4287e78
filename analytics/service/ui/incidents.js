// One thing that goes wrong: the verdict first, then why, where, what was done, and when.

import * as api from "./api.js";
import { carriers } from "./attributes.js";
import { chart } from "./chart.js";
import { chip, empty, folded, h, panel, rich, table } from "./dom.js";
import * as format from "./format.js";
import { culpritLines } from "./flame.js";
import { graph } from "./graph.js";
import { incidentColumns } from "./overview.js";
import { actionTable } from "./workbench.js";

const CHARTS = 4;
const ROWS = 12;
/** A chart shows this much before and after, and at least as much as the anomaly lasted. */
const AROUND_MS = 15 * 60 * 1000;

/** A row of filters that live in the address. */
export function filters(filter, path, fields, go) {
  const change = (name) => (event) => {
    const next = { ...filter, [name]: event.target.value };
    delete next.cursor;
    const kept = Object.entries(next).filter(([, value]) => value);
    go(kept.length ? `${path}?${new URLSearchParams(kept)}` : path, { replace: true });
  };
  return h("form", { class: "filters", onsubmit: (event) => event.preventDefault() }, fields.map(([name, label, choices]) =>
    h("label", {}, label, choices
      ? h("select", { onchange: change(name) }, ["", ...choices].map((choice) => h("option", { value: choice, selected: (filter[name] ?? "") === choice }, choice || "any")))
      : h("input", { value: filter[name] ?? "", onchange: change(name), placeholder: "any" }))));
}

export function more(page, filter, path) {
  if (!page.next_cursor) return null;
  return h("p", {}, h("a", { class: "button", href: `${path}?${new URLSearchParams({ ...filter, cursor: page.next_cursor })}` }, "Next page"));
}

export async function incidentList({ filter, go }) {
  const page = await api.incidents({ limit: 100, ...filter });
  return {
    interest: ["incident"],
    content: [
      h("h1", {}, "Incidents"),
      filters(filter, "/incidents", [["state", "State", ["open", "closed"]], ["severity", "Severity", ["critical", "warning", "info"]], ["service", "Service"]], go),
      panel(null, page.items.length ? table(incidentColumns, page.items, (i) => `/incidents/${i.id}`) : empty("No incident matches.")),
      more(page, filter, "/incidents"),
    ],
  };
}

function suspects(incident) {
  if (!incident.suspects.length) return empty("No cause found yet: no service explains the others.");
  return incident.suspects.map((suspect) => {
    const bar = h("i", {});
    bar.style.width = `${suspect.confidence * 100}%`;
    return h("div", { class: "suspect" },
      h("div", {}, h("b", {}, suspect.service), " ", h("span", { class: "soft" }, suspect.operation),
        h("div", { class: "meter", "aria-hidden": "true" }, bar),
        h("span", { class: "small soft" }, `confidence ${format.percent(suspect.confidence)}`)),
      h("ul", {}, suspect.evidence.map((line) => h("li", {}, rich(line)))));
  });
}

/** One anomaly of each series: where one closed and opened again, both have the same chart. */
function firstOfSeries(anomalies) {
  return [...new Map([...anomalies].reverse().map((anomaly) => [anomaly.series.key, anomaly])).values()].reverse();
}

/** The chart of one anomaly's series around its time. */
export async function anomalyChart(anomaly) {
  const start = Date.parse(anomaly.started_at);
  const end = anomaly.closed_at ? Date.parse(anomaly.closed_at) : null;
  const before = Math.max(2 * AROUND_MS, end === null ? 0 : end - start);
  const to = end === null ? null : new Date(end + AROUND_MS).toISOString();
  const page = await api.points(anomaly.series.key, new Date(start - before).toISOString(), to).catch(() => ({ items: [] }));
  const { kind, service, name } = anomaly.series;
  return chart(page.items, { kind, title: `${service} ${name} ${kind.replaceAll("_", " ")}`, from: anomaly.started_at, to: anomaly.closed_at });
}

export const anomalyColumns = [
  ["Series", (a) => `${a.series.service} ${a.series.name}`],
  ["What", (a) => a.series.kind.replaceAll("_", " ")],
  ["Actual", (a) => format.value(a.actual, a.series.kind), "num"],
  ["Expected", (a) => format.band(a.lower, a.upper, a.series.kind), "num"],
  ["Score", (a) => a.score.toFixed(3), "num"],
  ["State", (a) => chip(a.state)],
  ["Opened", (a) => format.time(a.opened_at), "time"],
];

const timeline = (events) => h("ul", { class: "timeline" }, events.map((event) =>
  h("li", {}, h("time", { class: "soft", datetime: event.at, title: format.time(event.at, true) }, format.clock(event.at)), h("b", {}, event.event.replaceAll("_", " ")), h("span", {}, rich(event.detail)))));

/** Where alerts of this incident went and what the receiver made of them. */
const deliveries = (alerts) => table([
  ["Receiver", (alert) => [h("code", {}, alert.receiver || "–"), h("div", { class: "small soft" }, alert.kind)]],
  ["Told", (alert) => [chip(alert.state), alert.error ? h("div", { class: "small bad" }, alert.error) : null]],
  ["Last taken", (alert) => format.time(alert.sent_at), "time"],
  ["There", (alert) => (alert.receiver_state ? chip(alert.receiver_state) : "–")],
  ["Hidden by", (alert) => [
    alert.silenced_by?.length ? h("div", {}, "silenced by ", h("code", {}, alert.silenced_by.join(", "))) : null,
    alert.inhibited_by?.length ? h("div", {}, "inhibited by ", h("code", {}, alert.inhibited_by.join(", "))) : null,
    alert.silenced_by?.length || alert.inhibited_by?.length ? null : "nothing",
  ]],
], alerts);

const words = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

export async function incidentPage({ id, redraw }) {
  const [incident, members, topology, actions] = await Promise.all([
    api.incident(id),
    api.anomalies({ incident_id: id, limit: 1000 }),
    api.topology().catch(() => null),
    api.actions({ incident_id: id, limit: 100 }).catch(() => ({ items: [] })),
  ]);
  const cause = incident.suspects[0];
  const near = (a) => (a.series.service === cause?.service ? 1 : 0) + (a.series.name === cause?.operation ? 1 : 0);
  const anomalies = members.items.toSorted((a, b) => near(b) - near(a) || b.score - a.score);
  const charts = await Promise.all(firstOfSeries(anomalies).slice(0, CHARTS).map(async (anomaly) => h("section", { class: "panel" },
    h("h2", {}, h("a", { href: `/anomalies/${anomaly.id}` }, `${anomaly.series.service} ${anomaly.series.name}`), h("span", { class: "soft" }, ` ${anomaly.series.kind.replaceAll("_", " ")}`)),
    await anomalyChart(anomaly))));
  const code = await culpritLines(anomalies.filter((anomaly) => anomaly.stacks).slice(0, 2 * CHARTS));
  const which = carriers(incident.attributes ?? [], anomalies);
  return {
    title: incident.title,
    interest: ["incident", "action", "window"],
    content: [
      h("div", { class: "chips" }, chip(incident.severity), chip(incident.state), chip(incident.maturity ?? "learning", "How well the series it stands on are known"), h("span", { class: "soft small" },
        `since ${format.time(incident.started_at, true)} · ${incident.closed_at ? `lasted ${format.duration(incident.started_at, incident.closed_at)}` : "still open"} · ${words(incident.services.length, "service")} · ${words(incident.anomalies.length, "anomaly", "anomalies")}`)),
      h("h1", {}, incident.title),
      incident.verdict ? h("p", { class: "verdict" }, rich(incident.verdict)) : null,
      panel("Cause", suspects(incident)),
      which ? panel("Attributes that carry it", which) : null,
      code.length ? panel("Code", code) : null,
      charts.length ? h("div", { class: "grid" }, charts) : null,
      topology?.services?.length ? panel("Where", graph(topology, cause?.service, incident.services, true)) : null,
      actions.items.length ? panel("Actions", actionTable(actions.items, redraw)) : null,
      incident.alerts?.length ? panel("Alerts", deliveries(incident.alerts)) : null,
      panel("Anomalies in it", anomalies.length ? folded(anomalies, ROWS, (rows) => table(anomalyColumns, rows, (a) => `/anomalies/${a.id}`), "anomalies") : empty("None is kept any more.")),
      panel("History", folded(incident.timeline ?? [], ROWS, timeline, "history")),
      h("p", { class: "soft small" }, "The same facts: ", h("code", {}, `curl ${location.origin}/api/v1/incidents/${id}`)),
    ],
  };
}
