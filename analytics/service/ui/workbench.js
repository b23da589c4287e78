// Actions, models and SQL: the places where a person does something.

import * as api from "./api.js";
import { chip, empty, h, panel, table } from "./dom.js";
import * as format from "./format.js";

function operation(action) {
  const [[kind, what]] = Object.entries(action.operation);
  if (kind === "exec") return h("code", {}, what.command.join(" "));
  if (kind === "http") return h("code", {}, `${what.method} ${what.url}`);
  if (kind === "throttle") return `ask ${what.service || "the first suspect"} to wait ${what.delay} for ${what.lasting}`;
  return `${kind} ${JSON.stringify(what)}`;
}

export function actionTable(actions, redraw) {
  const decide = (action, verb) => h("button", {
    type: "button", class: verb === "approve" ? "primary" : "",
    onclick: async (event) => {
      event.target.disabled = true;
      await api.decide(action.id, verb).then(() => redraw({ quiet: true }), (error) => { event.target.textContent = error.message; });
    },
  }, verb);
  return table([
    ["Action", (action) => [operation(action), h("div", { class: "small soft" }, `policy ${action.policy}: ${action.reason}`)]],
    ["State", (action) => chip(action.state)],
    ["Decided", (action) => format.time(action.decided_at), "time"],
    ["Output", (action) => (action.output ? h("code", {}, action.output.slice(0, 400)) : "–")],
    ["Incident", (action) => h("a", { href: `/incidents/${action.incident_id}` }, action.incident_id)],
    ["Say", (action) => (action.state === "awaiting_approval" ? [decide(action, "approve"), " ", decide(action, "reject")] : "–")],
  ], actions);
}

export async function actions({ filter, redraw }) {
  const page = await api.actions({ limit: 200, ...filter });
  return {
    interest: ["action"],
    content: [h("h1", {}, "Actions"), panel(null, page.items.length ? actionTable(page.items, redraw)
      : empty("No policy has matched an incident. Policies are in the configuration under actions.policies; the default mode is a dry run."))],
  };
}

export async function models() {
  const page = await api.models();
  return {
    interest: [],
    content: [h("h1", {}, "Models"), panel(null, table([
      ["Name", (model) => model.name],
      ["Version", (model) => model.version],
      ["State", (model) => chip(model.state)],
      ["Runtime", (model) => model.runtime],
      ["sha256", (model) => h("code", {}, model.sha256.slice(0, 16))],
    ], page.items))],
  };
}

const SHOWN_MAX = 1000;
const NAMES = ["busiest operations", "highest scores", "errors in logs"];
const EXAMPLES = [
  "SELECT service, name, COUNT(*) AS spans, AVG(duration_ns) / 1e6 AS mean_ms FROM spans GROUP BY service, name ORDER BY spans DESC LIMIT 20",
  "SELECT at_ns, service, score, model, version FROM scores ORDER BY score DESC LIMIT 20",
  "SELECT time_ns, service, severity, body FROM logs WHERE severity = 'ERROR' ORDER BY time_ns DESC LIMIT 50",
];

/** Nanoseconds since 1970 are shown as a time; everything else as it is. */
function shown(cell, column) {
  if (cell === null) return "";
  if (column === "span_id" && /^[0-9a-f]{16}$/.test(cell)) return h("a", { href: `/spans/${cell}`, title: "stacks of this span" }, cell);
  if (column === "trace_id" && /^[0-9a-f]{32}$/.test(cell)) return h("a", { href: `/traces/${cell}`, title: "stacks of this trace" }, cell);
  if (typeof cell === "object") return JSON.stringify(cell);
  if (/_ns$/.test(column) && typeof cell === "number" && cell > 1e18) return h("span", { title: String(cell) }, new Date(cell / 1e6).toISOString());
  if (/duration_ns$/.test(column) && typeof cell === "number") return h("span", { title: String(cell) }, format.value(cell / 1e9, "duration"));
  return typeof cell === "number" && !Number.isInteger(cell) ? h("span", { title: String(cell) }, format.plain(cell)) : String(cell);
}

const answerTable = ({ columns, rows }) => [
  h("p", { class: "small soft" }, `${rows.length} ${rows.length === 1 ? "row" : "rows"}${rows.length > SHOWN_MAX ? `, the first ${SHOWN_MAX} shown` : ""}`),
  table(columns.map((column, index) => [column, (row) => shown(row[index], column), typeof rows[0]?.[index] === "number" ? "num" : ""]), rows.slice(0, SHOWN_MAX), null, "grid-table"),
];

export async function sql({ filter, go }) {
  const input = h("textarea", { "aria-label": "SQL", spellcheck: "false", rows: "5" });
  input.value = filter.sql ?? EXAMPLES[0];
  const run = () => go(`/query?sql=${encodeURIComponent(input.value)}`);
  input.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } });
  const answer = filter.sql
    ? await api.query(filter.sql).then(answerTable, (error) => h("p", { class: "error" }, error.message))
    : empty("Tables: spans, metric_points, logs, profiles, features, scores, anomalies, incidents, actions. ", h("code", {}, "SHOW COLUMNS FROM spans"), " lists the columns of one.");
  return {
    interest: [],
    title: "SQL",
    content: [h("h1", {}, "SQL"), panel(null, input,
      h("div", { class: "row-of" }, h("button", { type: "button", class: "primary", onclick: run }, "Run"), h("span", { class: "small soft" }, "Ctrl+Enter"),
        h("span", { class: "small" }, "Try ", EXAMPLES.map((example, index) => [index ? ", " : "", h("a", { href: `/query?sql=${encodeURIComponent(example)}` }, NAMES[index])])))),
    panel(null, answer)],
  };
}
