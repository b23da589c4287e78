// Numbers and times as people read them.

let utc = localStorage.getItem("zone") === "utc";
export const isUtc = () => utc;
export function switchZone() {
  utc = !utc;
  localStorage.setItem("zone", utc ? "utc" : "local");
}

const two = (number) => String(number).padStart(2, "0");

const part = (at, name) => (utc ? at[`getUTC${name}`]() : at[`get${name}`]());

/** Time of day alone. */
export function clock(text) {
  const at = new Date(text);
  return ["Hours", "Minutes", "Seconds"].map((name) => two(part(at, name))).join(":") + (utc ? "Z" : "");
}

/** Time of day; with the date where it is not today. */
export function time(text, withDate = false) {
  if (!text) return "–";
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return text;
  const day = (date) => `${part(date, "FullYear")}-${two(part(date, "Month") + 1)}-${two(part(date, "Date"))}`;
  return withDate || day(at) !== day(new Date()) ? `${day(at)} ${clock(text)}` : clock(text);
}

export function duration(from, to) {
  const seconds = Math.max(0, (new Date(to) - new Date(from)) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} d`;
}

/** A number in its unit's habit; nothing measured is a dash. */
export function value(number, kind = "") {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  if (/^(duration|exclusive|edge_gap)/.test(kind)) return seconds(number);
  if (/ratio/.test(kind)) return `${Number((number * 100).toFixed(number < 0.1 ? 2 : 1))} %`;
  if (/rate/.test(kind)) return `${plain(number)}/s`;
  return plain(number);
}

/** A band in words: rates, shares and durations are never below zero, whatever the arithmetic says. */
export function band(lower, upper, kind = "") {
  const floor = /rate|ratio|duration|exclusive/.test(kind) && lower !== null && lower < 0 ? 0 : lower;
  return `${value(floor, kind)} to ${value(upper, kind)}`;
}

function seconds(number) {
  const size = Math.abs(number);
  if (size === 0) return "0 s";
  if (size < 1e-3) return `${(number * 1e6).toFixed(0)} µs`;
  if (size < 1) return `${Number((number * 1e3).toFixed(size < 0.01 ? 2 : 0))} ms`;
  return `${Number(number.toFixed(2))} s`;
}

export function plain(number) {
  const size = Math.abs(number);
  if (size >= 1e9) return `${Number((number / 1e9).toFixed(2))} G`;
  if (size >= 1e6) return `${Number((number / 1e6).toFixed(2))} M`;
  if (size >= 1e4) return `${Number((number / 1e3).toFixed(1))} k`;
  if (Number.isInteger(number)) return String(number);
  if (size < 1e-12) return "0";
  return size >= 100 ? number.toFixed(0) : size >= 1 ? Number(number.toFixed(2)).toString() : Number(number.toPrecision(3)).toString();
}

export const percent = (share) => `${Math.round(share * 100)} %`;
