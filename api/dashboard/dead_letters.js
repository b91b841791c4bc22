// Inputs that couldn't be used: why, what exactly they were, and what is to become of them.

import { get, of, post } from './api.js';
import { fill, h, number, setText, table } from './dom.js';
import { count, counted, fullTime, utc } from './format.js';

/** Dead letters that are read; those that were handled are left out unless they are asked for. */
const READ = 500;
const SHOWN = 100;
const STAGES = ['ingester', 'transformer', 'sink'];
/** Bytes that are shown in hexadecimal. */
const MOST_BYTES = 1024;

export function open(context) {
  const { live } = context;
  const pipeline = context.pipeline.name;
  const filter = { reason: '', stage: '' };
  const selected = new Set();
  const opened = new Set();
  let letters = [];
  let shownCounts = '';
  let isClosed = false;
  let readAt = 0;

  const counts = h('div');
  const message = h('div', { role: 'status', class: 'message' });
  const reason = h('select', { id: 'reason', onchange: () => choose('reason', reason.value) }, option('', 'all'));
  const stage = h('select', { id: 'stage', onchange: () => choose('stage', stage.value) }, option('', 'all'), STAGES.map((name) => option(name, name)));
  const handled = h('input', { type: 'checkbox', id: 'handled', onchange: () => load() });
  const newer = h('button', { type: 'button', hidden: true, onclick: () => load() }, '');
  const all = h('input', { type: 'checkbox', id: 'all', onchange: selectAll });
  const replayButton = h('button', { type: 'button', onclick: () => send('replay') }, 'Replay');
  const discardButton = h('button', { type: 'button', class: 'danger', onclick: confirmDiscard }, 'Discard…');
  const list = h('ul', { class: 'letters' });
  const question = h('p');
  const dialog = h(
    'dialog',
    { 'aria-labelledby': 'discard-title' },
    h('h2', { id: 'discard-title' }, 'Discard dead letters?'),
    question,
    h(
      'form',
      { method: 'dialog', class: 'buttons' },
      h('button', { value: 'no', autofocus: true }, 'Keep them'),
      h('button', { value: 'yes', class: 'danger' }, 'Discard'),
    ),
  );
  dialog.addEventListener('close', () => {
    if (dialog.returnValue === 'yes') send('discard');
  });
  const node = h(
    'section',
    {},
    h('div', { class: 'head' }, h('h1', {}, 'Dead letters')),
    h('p', { class: 'muted' }, 'Inputs that couldn’t be used, with the reason. Mend the cause first, then replay them: they take the same way as new ones.'),
    counts,
    h(
      'div',
      { class: 'controls' },
      h('label', { for: 'reason' }, 'Reason ', reason),
      h('label', { for: 'stage' }, 'Stage ', stage),
      h('label', { for: 'handled' }, handled, ' Also replayed and discarded ones'),
      newer,
    ),
    h(
      'div',
      { class: 'controls', role: 'group', 'aria-label': 'Selected dead letters' },
      h('label', { for: 'all' }, all, ' All that are shown'),
      replayButton,
      discardButton,
    ),
    message,
    list,
    dialog,
  );

  function option(id, text) {
    return h('option', { value: id }, text);
  }

  function choose(name, chosen) {
    filter[name] = chosen;
    selected.clear();
    load();
  }

  async function load() {
    newer.hidden = true;
    readAt = Date.now();
    try {
      const read = await get(of(pipeline, 'dead-letters', { ...filter, limit: READ, discarded: handled.checked ? 'true' : null }));
      if (isClosed) return;
      letters = read.dead_letters.filter((one) => handled.checked || !(one.replayed || one.discarded)).slice(0, SHOWN);
      const ids = new Set(letters.map((one) => one.id));
      for (const id of selected) if (!ids.has(id)) selected.delete(id);
      drawList();
    } catch (error) {
      if (!isClosed) fill(message, h('p', { class: 'problem' }, error.message));
    }
  }

  function drawCounts() {
    const dead = live.figures?.dead_letters;
    if (dead === undefined) return;
    const now = JSON.stringify([dead, filter]);
    if (now === shownCounts) return;
    const isFirst = shownCounts === '';
    shownCounts = now;
    const names = [...new Set([...dead.counts.map((one) => one.reason), ...(filter.reason ? [filter.reason] : [])])].sort();
    // A list that is open would close.
    if (names.join() !== [...reason.options].slice(1).map((one) => one.value).join()) {
      fill(reason, option('', 'all'), names.map((name) => option(name, name)));
      reason.value = filter.reason;
    }
    const rows = dead.counts.map((one) => h(
      'tr',
      {},
      h('td', {}, h('button', { type: 'button', class: 'link', 'data-kind': kindOf(one), onclick: () => pick(one) }, one.reason)),
      h('td', {}, one.stage),
      h('td', {}, one.replayed ? 'replayed' : one.discarded ? 'discarded' : 'no'),
      h('td', { class: 'number' }, count(one.count)),
    ));
    const focused = counts.contains(document.activeElement) ? document.activeElement.dataset.kind : null;
    const foreign = dead.foreign > 0 && h('p', { class: 'muted' }, `${counted(dead.foreign, 'element')} of the list isn’t of Rigline.`);
    fill(
      counts,
      rows.length === 0 ? h('p', {}, 'There are no dead letters.') : table('Numbers of dead letters', ['Reason', 'Stage', 'Handled', number('Number')], rows),
      foreign,
    );
    if (focused) [...counts.querySelectorAll('button')].find((button) => button.dataset.kind === focused)?.focus();
    if (isFirst) return;
    if (letters.length === 0 || (selected.size === 0 && opened.size === 0 && !list.contains(document.activeElement))) {
      // Nobody is in the middle of anything.
      if (Date.now() - readAt > 2500) load();
      else newer.hidden = false;
    } else {
      newer.hidden = false;
    }
    setText(newer, 'Show the newest');
  }

  function pick(one) {
    filter.reason = one.reason;
    filter.stage = one.stage;
    reason.value = one.reason;
    stage.value = one.stage;
    selected.clear();
    load();
  }

  // --- The list

  function drawList() {
    all.checked = letters.length > 0 && letters.every((one) => selected.has(one.id));
    fill(list, letters.length === 0 ? h('li', { class: 'empty' }, filter.reason || filter.stage ? 'No dead letter has these properties.' : 'No dead letter waits to be handled.') : letters.map(item));
    drawButtons();
  }

  function item(one) {
    const arrived = Date.parse(one.time);
    const check = h('input', {
      type: 'checkbox',
      'aria-label': `Select ${one.reason} of ${fullTime(arrived)}`,
      onchange: () => {
        if (check.checked) selected.add(one.id);
        else selected.delete(one.id);
        drawButtons();
      },
    });
    check.checked = selected.has(one.id);
    const payload = h('div');
    const isHandled = Boolean(one.replayed || one.discarded);
    check.disabled = isHandled;
    const details = h('details', {
      ontoggle: () => {
        if (!details.open) {
          opened.delete(one.id);
          return;
        }
        opened.add(one.id);
        if (payload.childElementCount === 0) fill(payload, content(one));
      },
    }, h('summary', {}, 'Payload'), payload);
    details.open = opened.has(one.id);
    return h(
      'li',
      { class: 'letter', 'data-id': one.id },
      check,
      h(
        'div',
        {},
        h('p', { class: 'letter-head' }, h('strong', {}, one.reason), ' ', h('span', { class: 'muted' }, one.stage), ' ', h('time', { datetime: one.time, title: utc(arrived) }, fullTime(arrived)), tagOf(one)),
        h('p', {}, one.detail),
        h('p', { class: 'muted' }, h('code', {}, one.topic)),
        one.places && h('p', { class: 'muted' }, `Only parts of it: ${one.places.join(', ')}`),
        details,
      ),
    );
  }

  /** The payload as text and as bytes. */
  function content(one) {
    const bytes = one.encoding === 'base64'
      ? Uint8Array.from(atob(one.payload), (character) => character.charCodeAt(0))
      : new TextEncoder().encode(one.payload);
    const text = one.encoding === 'base64' ? new TextDecoder().decode(bytes) : one.payload;
    const cut = bytes.length > MOST_BYTES ? ` (the first ${MOST_BYTES} of them)` : '';
    return [
      h('h3', {}, one.encoding === 'base64' ? 'As text (it isn’t UTF-8)' : 'As text'),
      h('pre', { tabindex: '0' }, text),
      h('h3', {}, `${counted(bytes.length, 'byte')}${cut}`),
      h('pre', { tabindex: '0', class: 'hex' }, hex(bytes.subarray(0, MOST_BYTES))),
      h('p', { class: 'muted' }, 'Id: ', h('code', {}, one.id)),
    ];
  }

  function drawButtons() {
    const none = selected.size === 0;
    for (const button of [replayButton, discardButton]) button.disabled = none;
    setText(replayButton, none ? 'Replay' : `Replay ${count(selected.size)}`);
    setText(discardButton, none ? 'Discard…' : `Discard ${count(selected.size)}…`);
  }

  function selectAll() {
    for (const one of letters) {
      if (all.checked && !one.replayed && !one.discarded) selected.add(one.id);
      else selected.delete(one.id);
    }
    drawList();
  }

  // --- Actions

  function confirmDiscard() {
    setText(question, `The payloads of ${counted(selected.size, 'dead letter')} will be deleted for ever. The ledger counts them as discarded.`);
    dialog.returnValue = 'no';
    dialog.showModal();
  }

  async function send(action) {
    const ids = [...selected];
    for (const button of [replayButton, discardButton]) button.disabled = true;
    try {
      const { done, refused } = await post(of(pipeline, `dead-letters/${action}`), { ids });
      for (const id of done) selected.delete(id);
      const did = action === 'replay' ? 'replayed' : 'discarded';
      const said = h('p', {}, `${counted(done.length, 'dead letter')} ${did}.`);
      const why = refused.map((one) => h('li', {}, h('code', {}, one.id), `: ${one.detail}`));
      fill(message, said, why.length > 0 && h('div', { class: 'problem' }, h('p', {}, `${count(refused.length)} refused:`), h('ul', {}, why)));
    } catch (error) {
      fill(message, h('p', { class: 'problem' }, error.message));
    }
    drawButtons();
    await load();
  }

  drawButtons();
  drawCounts();
  load();
  return {
    node,
    title: 'Dead letters',
    update: (kind) => kind === 'figures' && drawCounts(),
    close() {
      isClosed = true;
      if (dialog.open) dialog.close('no');
    },
  };
}

/** Which of the numbers this is. */
function kindOf(one) {
  return [one.reason, one.stage, one.replayed, one.discarded].join(' ');
}

/** What was done with a dead letter. */
function tagOf(one) {
  const [when, text] = one.replayed ? [one.replayed, 'replayed'] : [one.discarded, 'discarded'];
  return when && h('span', { class: 'tag', title: utc(Date.parse(when)) }, text);
}

/** Sixteen bytes a line: their place, their values, their characters. */
function hex(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const some = [...bytes.subarray(at, at + 16)];
    const values = some.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const characters = some.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${at.toString(16).padStart(4, '0')}  ${values.padEnd(47)}  ${characters}`);
  }
  return lines.join('\n');
}
