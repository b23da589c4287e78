// Makes elements. Text is always text, never markup: what senders wrote cannot become code here.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

export const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
export const s = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

export const chip = (word, title) => h("span", { class: `chip ${word}`, title }, String(word).replaceAll("_", " "));

/** A sentence whose parts in backticks are names. */
export const rich = (text) => String(text ?? "").split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

/**
 * A table; `columns` are [title, cell(row), class]. Rows with an address open it on click, Enter and j/k.
 * On a phone each row becomes a card whose cells carry their title.
 */
export function table(columns, rows, address, kind = "") {
  const body = rows.map((row) => {
    const href = address?.(row);
    const cells = columns.map(([title, cell, style], index) => {
      const content = cell(row);
      return h("td", { class: style, "data-label": title }, index === 0 && href ? h("a", { href }, content) : content);
    });
    return h("tr", href ? { class: "row", "data-href": href } : {}, cells);
  });
  return h("div", { class: "scroll" }, h("table", { class: kind },
    h("thead", {}, h("tr", {}, columns.map(([title, , style]) => h("th", { class: style, scope: "col" }, title)))),
    h("tbody", {}, body)));
}

/** The first `count` of `rows` as `render` shows them; the rest is made when somebody asks for it. */
export function folded(rows, count, render, name) {
  const rest = rows.slice(count);
  if (!rest.length) return render(rows);
  const more = h("details", { "data-keep": name }, h("summary", {}, `${rest.length} more`));
  more.addEventListener("toggle", () => more.append(render(rest)), { once: true });
  return [render(rows.slice(0, count)), more];
}

export const panel = (title, ...content) => h("section", { class: "panel" }, title ? h("h2", {}, title) : null, content);
export const empty = (...text) => h("p", { class: "empty" }, text);
