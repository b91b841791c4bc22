// Alerts: their rules, their states, and what happened.

import { h, number, patch, table } from './dom.js';
import { duration, fullTime, nameOf, seriesAddress, utc, value } from './format.js';

const STATES = { firing: '▲ firing', pending: '● pending', resolved: 'resolved', ok: 'ok' };
const ORDER = ['firing', 'pending', 'resolved', 'ok'];

/** What an alert reports: its name, and whether there is nothing to report on. */
export function labelOf({ alert, kind }) {
  return kind === 'stale' ? `${alert} (no rows)` : alert;
}

export function open(context) {
  const body = h('div', { class: 'alerts' }, h('p', { class: 'muted loading' }, 'Loading…'));
  const node = h('section', {}, h('div', { class: 'head' }, h('h1', {}, 'Alerts')), body);

  const link = (key) => h('a', { href: seriesAddress(key) }, nameOf(key));
  const moment = (text) => {
    const ms = Date.parse(text);
    return Number.isNaN(ms) ? text : h('time', { datetime: text, title: utc(ms) }, fullTime(ms));
  };
  const measured = (given) => (given === undefined || given === null ? '' : value(given));

  function states(all) {
    const sorted = [...all].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || a.alert.localeCompare(b.alert));
    return table('States of alerts', ['State', 'Alert', 'Series', number('Value'), 'Since'], sorted.map((one) => {
      return h(
        'tr',
        { class: one.state === 'firing' ? 'alarm' : '' },
        h('td', {}, STATES[one.state] ?? one.state),
        h('td', {}, labelOf(one)),
        h('td', {}, link(one.series)),
        h('td', { class: 'number' }, measured(one.value)),
        h('td', {}, moment(one.since)),
      );
    }));
  }

  function draw() {
    if (context.alertsProblem !== null) {
      patch(body, h('p', { class: 'problem', role: 'alert' }, `The alerts can’t be read: ${context.alertsProblem}`));
      return;
    }
    const { alerts } = context;
    if (alerts === null || alerts.rules.length === 0) {
      patch(
        body,
        h('p', {}, 'No alerts are configured.'),
        h('p', { class: 'muted' }, 'An alert is a section ', h('code', {}, '[[alert]]'), ' of a pipeline’s file: a field, a limit, and for how long it has to be passed.'),
      );
      return;
    }
    const { rules, states: all, events } = alerts;
    patch(
      body,
      h('h2', {}, 'Now'),
      all.length === 0 ? h('p', { class: 'muted' }, 'No series has been judged yet.') : states(all),
      h('h2', {}, 'What happened'),
      events.length === 0 ? h('p', { class: 'muted' }, 'Nothing yet.') : table('Events of alerts', ['Time', 'State', 'Alert', 'Series', number('Value')], events.map((one) => h(
        'tr',
        {},
        h('td', {}, moment(one.time)),
        h('td', {}, STATES[one.state] ?? one.state),
        h('td', {}, labelOf(one)),
        h('td', {}, link(one.series)),
        h('td', { class: 'number' }, measured(one.value)),
      ))),
      h('h2', {}, 'Rules'),
      table('Rules of alerts', ['Alert', 'Field', 'Condition', 'For', 'Stale after'], rules.map((rule) => h(
        'tr',
        {},
        h('td', {}, rule.name),
        h('td', {}, rule.field ?? ''),
        h('td', {}, rule.condition),
        h('td', {}, rule.for_seconds ? duration(rule.for_seconds * 1000) : 'at once'),
        h('td', {}, rule.stale_after_seconds === undefined ? 'never' : duration(rule.stale_after_seconds * 1000)),
      ))),
    );
  }

  let drawn = '';
  function update(kind) {
    if (kind !== 'alerts') return;
    // A table that is read stays as it is until something changes.
    const now = JSON.stringify([context.alerts, context.alertsProblem]);
    if (now !== drawn) draw();
    drawn = now;
  }
  draw();
  context.refreshAlerts();
  return { node, title: 'Alerts', update };
}
