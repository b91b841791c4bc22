// Builds elements. Text is always set as text, so nothing that a device sent is read as markup.

/** An element with attributes and children; a function behind `on…` listens to that event. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  add(node, children);
  return node;
}

function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null && child !== false) node.append(child);
  }
}

/** Replaces the children. */
export function fill(node, ...children) {
  node.replaceChildren();
  add(node, children);
}

/**
 * Makes the children equal to new ones and keeps those that are there: focus, scrolling and selections stay. Only for
 * elements without listeners, since one that stays would keep its earlier ones.
 */
export function patch(node, ...children) {
  morph(node, h('div', {}, children));
}

function morph(old, fresh) {
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  after.forEach((next, place) => {
    const now = before[place];
    if (now === undefined) old.append(next);
    else if (now.nodeName !== next.nodeName) now.replaceWith(next);
    else if (next.nodeType === Node.TEXT_NODE) {
      if (now.data !== next.data) now.data = next.data;
    } else {
      for (const { name } of [...now.attributes]) if (!next.hasAttribute(name)) now.removeAttribute(name);
      for (const { name, value } of next.attributes) setAttribute(now, name, value);
      morph(now, next);
    }
  });
  for (const one of before.slice(after.length)) one.remove();
}

/** Sets the text if it is another one, so that nothing is drawn for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets an attribute if it is another one; `null` removes it. */
export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** A table with a caption for screen readers. */
export function table(caption, columns, rows, attributes = {}) {
  const head = h('tr', {}, columns.map((column) => (
    typeof column === 'string' ? h('th', { scope: 'col' }, column) : h('th', { scope: 'col', class: 'number' }, column.number)
  )));
  return h(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    h('table', attributes, h('caption', { class: 'hidden-text' }, caption), h('thead', {}, head), h('tbody', {}, rows)),
  );
}

/** The head of a column of numbers. */
export function number(text) {
  return { number: text };
}

const SVG = 'http://www.w3.org/2000/svg';

/** A small line of values over time, without axes. Gaps of more than `gap` ms are left open. */
export function trend(points, gap, from, to) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 80 20');
  svg.setAttribute('class', 'trend');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('preserveAspectRatio', 'none');
  const path = document.createElementNS(SVG, 'path');
  svg.append(path);
  drawTrend(svg, points, gap, from, to);
  return svg;
}

/** Draws the line again. */
export function drawTrend(svg, points, gap, from, to) {
  let low = Infinity;
  let high = -Infinity;
  for (const [time, value] of points) {
    if (time < from) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const height = high - low || 1;
  let path = '';
  let before = -Infinity;
  for (const [time, value] of points) {
    if (time < from) continue;
    const x = ((time - from) / (to - from || 1)) * 80;
    const y = high === low ? 10 : 18 - ((value - low) / height) * 16;
    path += `${time - before > gap ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    before = time;
  }
  setAttribute(svg.firstChild, 'd', path || null);
}
