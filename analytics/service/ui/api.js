// The only place that talks to the server. Every panel has its call here; each call is in /api/v1/openapi.json.

const BASE = "/api/v1";

async function ask(path, options) {
  const answer = await fetch(BASE + path, options);
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(body?.detail ?? body?.title ?? `the server answered ${answer.status}`);
  return body;
}

function search(parameters) {
  const kept = Object.entries(parameters ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
}

export const status = () => ask("/status");
export const traffic = () => ask("/traffic");
/** The service's own counters: name with labels, and value. */
export async function metrics() {
  const answer = await fetch("/metrics");
  const lines = (answer.ok ? await answer.text() : "").split("\n").filter((line) => line && !line.startsWith("#"));
  return lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]);
}
export const topology = () => ask("/topology");
export const incidents = (filter) => ask(`/incidents${search(filter)}`);
export const incident = (id) => ask(`/incidents/${encodeURIComponent(id)}`);
export const anomalies = (filter) => ask(`/anomalies${search(filter)}`);
export const anomaly = (id) => ask(`/anomalies/${encodeURIComponent(id)}`);
/** Folded stacks of `/anomalies/ID` or `/spans/ID`. */
export async function folded(whose, of) {
  const answer = await fetch(`${BASE}${whose}/folded${search({ of })}`);
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.text();
}
export const spanStacks = (id) => ask(`/spans/${encodeURIComponent(id)}/stacks`);
export const traceStacks = (id) => ask(`/traces/${encodeURIComponent(id)}/stacks`);
export const profiler = () => ask("/profiler");
export const actions = (filter) => ask(`/actions${search(filter)}`);
export const models = () => ask("/models");
export const series = (filter) => ask(`/series${search(filter)}`);
export const points = (key, from, to) => ask(`/series/${encodeURIComponent(key)}/points${search({ from, to, limit: 1500 })}`);
export const query = (sql) => ask("/query", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ sql }) });
export const decide = (id, verb) =>
  ask(`/actions/${encodeURIComponent(id)}:${verb}`, { method: "POST", headers: { "content-type": "application/json", "idempotency-key": `${id}:${verb}` }, body: "{}" });

/** Calls back on every change the server tells of, and on the state of the line. */
export function listen(onChange, onLine) {
  new Worker("/assets/live.js").onmessage = ({ data }) => ("line" in data ? onLine(data.line) : onChange(data.name));
}
