// The dashboard in a browser, on a running Rigline with a simulated fleet.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';

import { FLAGS, Rigline, until } from './rigline.mjs';

const RIGS = 5;
const FLEET = { rigs: RIGS };
const VIEWS = ['#/', '#/series/RIG-01', '#/pipeline', '#/dead-letters', '#/alerts'];

let rigline;
let browser;

before(async () => {
  [rigline, browser] = await Promise.all([
    Rigline.start(FLEET),
    chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS }),
  ]);
  await rigline.publish('rigs/RIG-01/measurements/flow_rate', 'not json <img src=x onerror="document.title=1">');
  await rigline.publish('rigs/RIG-01/measurements/flow_rate', Buffer.from([0xff, 0x00, 0x7b]));
  await until('all rigs have rows', async () => (await rigline.get('series')).series.length === RIGS);
});

after(async () => {
  await browser?.close();
  await rigline?.end();
});

/** Opens a page, and fails the test on any error of its scripts. */
async function open(t, hash = '#/', options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.stack));
  page.on('console', (message) => {
    // A policy that is broken is told here only.
    if (message.type() === 'error' && /policy/i.test(message.text())) errors.push(message.text());
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(errors, []);
  });
  page.setDefaultTimeout(30000);
  await page.goto(`${rigline.base}/${hash}`);
  return page;
}

/** Waits until the view has its data. */
async function drawn(page, hash) {
  const wanted = {
    '#/': '.tile .value', '#/series/RIG-01': '.plot canvas', '#/pipeline': '.ledger td', '#/dead-letters': '.letter', '#/alerts': '.alerts p:not(.loading), .alerts td',
  }[hash];
  await page.locator(wanted).first().waitFor();
}

test('the fleet shows what the API has', async (t) => {
  const page = await open(t);
  await page.locator('.tile').nth(RIGS - 1).waitFor();
  await page.locator('#verdict', { hasText: 'Nothing needs attention' }).waitFor();
  assert.equal(await page.locator('.tile.stale').count(), 0);
  const { series } = await rigline.get('latest');
  assert.deepEqual(await page.locator('.tile h2').allTextContents(), series.map((one) => one.key));
  const fields = await page.locator('.tile').first().locator('dt').allTextContents();
  assert.deepEqual(fields, series[0].values.map((one) => one.field));
  // A fleet sends all the time: each tile gets younger values by itself.
  const value = page.locator('.tile').first().locator('.value').first();
  const first = await value.getAttribute('title');
  await until('a newer value', async () => (await value.getAttribute('title')) !== first);
});

test('from the fleet to a series and back', async (t) => {
  const page = await open(t);
  await page.getByRole('link', { name: 'RIG-02' }).click();
  await page.getByRole('heading', { level: 1, name: 'RIG-02' }).waitFor();
  await page.locator('.plot canvas').nth(5).waitFor();
  assert.equal(new URL(page.url()).hash, '#/series/RIG-02');
  await page.goBack();
  await page.getByRole('heading', { level: 1, name: 'Fleet' }).waitFor();
  await page.locator('.tile .value').first().waitFor();
});

test('filter and sort of the fleet', async (t) => {
  const page = await open(t);
  await page.locator('.tile').nth(RIGS - 1).waitFor();
  await page.getByLabel('Filter').fill('-03');
  await until('one tile', async () => (await page.locator('.tile').count()) === 1);
  assert.equal(await page.locator('#shown-count').textContent(), `1 of ${RIGS} series`);
  await page.getByLabel('Filter').fill('');
  await page.getByLabel('Only what needs attention').check();
  await page.getByText('No such series needs attention.').waitFor();
});

test('charts have ranges, a zoom, tables and a download', async (t) => {
  const page = await open(t, '#/series/RIG-01');
  await drawn(page, '#/series/RIG-01');
  await page.getByRole('button', { name: '7 d' }).click();
  await page.locator('#range', { hasText: 'buckets of' }).waitFor();
  await page.locator('.u-legend', { hasText: 'min' }).first().waitFor();
  await page.getByRole('button', { name: '5 min', exact: true }).click();
  await page.locator('#range', { hasText: 'each row' }).waitFor();

  const table = page.locator('.chart').filter({ has: page.getByRole('heading', { name: 'flow_rate' }) });
  await table.locator('summary').click();
  await until('rows of the table', async () => (await table.locator('tbody tr').count()) >= 2);
  const time = await table.locator('tbody time').last().getAttribute('datetime');
  const shown = await table.locator('tbody td.number').last().textContent();
  const { rows } = await rigline.get(`rows?series=RIG-01&field=flow_rate&from=${time}&limit=1`);
  assert.equal(Number(shown), rows[0].values.flow_rate);

  // Dragging over the chart chooses a range, which isn't live.
  const box = await page.locator('.plot .u-over').first().boundingBox();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.9, box.y + 50, { steps: 4 });
  await page.mouse.up();
  const live = page.getByRole('button', { name: 'Live' });
  await until('it is not live', async () => (await live.getAttribute('aria-pressed')) === 'false');
  await live.click();
  await until('it is live', async () => (await live.getAttribute('aria-pressed')) === 'true');

  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download CSV' }).click()]);
  const csv = await readFile(await file.path(), 'utf8');
  assert.match(csv, /^time,rig_id,current,flow_rate,/);

  // The cursor of a chart moves by keys, and its values are read out.
  await page.locator('.plot').first().focus();
  await page.keyboard.press('ArrowLeft');
  await page.locator('#announcer', { hasText: 'current' }).waitFor({ state: 'attached' });
});

test('the pipeline shows its stages and a ledger that holds', async (t) => {
  const page = await open(t, '#/pipeline');
  await drawn(page, '#/pipeline');
  const steps = await page.locator('.step h3').allTextContents();
  assert.deepEqual(steps, ['Source', 'ingester', 'Raw list', 'transformer', 'Normalized list', 'sink', 'Store']);
  assert.equal(await page.locator('.ledger tbody tr').count(), 6);
  assert.equal(await page.locator('.ledger tr.alarm').count(), 0);
  await page.getByText('Balanced: both sides').waitFor();
  await until('readings flow', async () => {
    const rate = await page.locator('.step').nth(1).locator('dd').first().textContent();
    return Number.parseFloat(rate) > 1;
  });
});

test('dead letters show what a device sent, as text only, and are discarded after a question', async (t) => {
  const page = await open(t, '#/dead-letters');
  await drawn(page, '#/dead-letters');
  assert.equal(await page.locator('.letter').count(), 2);
  const [binary, markup] = [page.locator('.letter').first(), page.locator('.letter').nth(1)];
  await markup.locator('summary').click();
  await markup.locator('pre', { hasText: '<img src=x' }).waitFor();
  assert.equal(await page.locator('main img').count(), 0);
  await binary.locator('summary').click();
  await binary.locator('pre.hex', { hasText: 'ff 00 7b' }).waitFor();

  // What is still not JSON can't be replayed.
  await markup.getByRole('checkbox').check();
  await page.getByRole('button', { name: 'Replay 1' }).click();
  await page.getByText('1 refused:').waitFor();

  const discard = page.getByRole('button', { name: 'Discard 1…' });
  await discard.click();
  await page.getByRole('button', { name: 'Keep them' }).click();
  assert.equal(await page.locator('.letter').count(), 2);
  await discard.click();
  await page.getByRole('dialog').getByRole('button', { name: 'Discard' }).click();
  await page.getByText('1 dead letter discarded.').waitFor();
  await until('one is left', async () => (await page.locator('.letter').count()) === 1);
  const { counters } = await rigline.get('health');
  assert.equal(counters.dead_ingester, 2);
});

test('a dead letter is replayed once what was wrong has passed', async (t) => {
  // A clock that is ahead: what is of the future now is not in a few seconds.
  const ahead = await Rigline.start(null, ['--max-future', '1s']);
  t.after(() => ahead.end());
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const time = new Date(Date.now() + 4000).toISOString();
  await ahead.publish('rigs/RIG-01/measurements/pressure', JSON.stringify({ timestamp: time, value: 7.5 }));
  await page.goto(`${ahead.base}/#/dead-letters`);
  const letter = page.locator('.letter', { hasText: 'future' });
  await letter.getByRole('checkbox').check();
  const replay = page.getByRole('button', { name: 'Replay 1' });
  await replay.click();
  await page.getByText('1 refused:').waitFor();
  await until('the time has come', () => Date.now() > Date.parse(time));
  await replay.click();
  await page.getByText('1 dead letter replayed.').waitFor();
  await until('the reading is stored', async () => {
    const { series } = await ahead.get('latest');
    return series.length === 1 && series[0].values[0].value === 7.5;
  });
  const { counters } = await ahead.get('health');
  assert.equal(counters.raw_replayed, 1);
});

test('axe finds nothing in either colour scheme', async (t) => {
  for (const colorScheme of ['light', 'dark']) {
    const page = await open(t, '#/', { colorScheme });
    for (const hash of VIEWS) {
      await page.goto(`${rigline.base}/${hash}`);
      await drawn(page, hash);
      const { violations } = await new AxeBuilder({ page }).analyze();
      const found = violations.map(({ id, nodes }) => `${colorScheme} ${hash} ${id}: ${nodes.slice(0, 3).map((node) => node.html).join(' | ')}`);
      assert.deepEqual(found, []);
    }
    await page.goto(`${rigline.base}/login`);
    const { violations } = await new AxeBuilder({ page }).analyze();
    assert.deepEqual(violations.map(({ id }) => id), []);
  }
});

test('a narrow screen needs no scrolling sideways', async (t) => {
  const page = await open(t, '#/', { viewport: { width: 360, height: 740 } });
  for (const hash of VIEWS) {
    await page.goto(`${rigline.base}/${hash}`);
    await drawn(page, hash);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${hash} is ${width} px wide`);
  }
});

test('the theme follows the system and can be chosen, which is remembered', async (t) => {
  const page = await open(t, '#/', { colorScheme: 'dark' });
  await drawn(page, '#/');
  const brightness = () => page.evaluate(() => Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0]));
  assert.ok((await brightness()) < 60);
  await page.getByRole('button', { name: 'Theme: auto' }).click();
  await page.getByRole('button', { name: 'Theme: light' }).waitFor();
  assert.ok((await brightness()) > 200);
  await page.reload();
  await page.getByRole('button', { name: 'Theme: light' }).waitFor();
  assert.ok((await brightness()) > 200);
});

test('focus stays where it is while figures change', async (t) => {
  const page = await open(t, '#/pipeline');
  await drawn(page, '#/pipeline');
  const region = page.getByRole('region', { name: 'The lines of the ledger' });
  await region.focus();
  const number = region.locator('td.number').first();
  const first = await number.textContent();
  await until('the ledger goes on', async () => (await number.textContent()) !== first);
  assert.ok(await region.evaluate((node) => node === document.activeElement));
});

test('all of it can be used by keyboard', async (t) => {
  const page = await open(t);
  await drawn(page, '#/');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'skip');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  const outline = await page.evaluate(() => {
    document.getElementById('filter').focus();
    return getComputedStyle(document.activeElement).outlineStyle;
  });
  assert.equal(outline, 'solid');
});

test('a thousand series stay usable: only what is in view is drawn', async (t) => {
  const many = await Rigline.start({ rigs: 1000, interval: '5s' });
  t.after(() => many.end());
  await until('all rigs have rows', async () => (await many.get('series')).series.length === 1000, 90000);
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  t.after(() => context.close());
  const page = await context.newPage();
  await page.addInitScript(() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) window.longest = Math.max(window.longest, duration);
    }).observe({ type: 'longtask' });
  });
  await page.goto(`${many.base}/`);
  const tiles = page.locator('.tile');
  await until('all tiles are there', async () => (await tiles.count()) === 1000);
  await page.locator('.tile .value').first().waitFor();
  const drawn = () => page.locator('.tile:has(.value)').count();
  assert.ok((await drawn()) < 100, `${await drawn()} tiles were drawn`);
  await tiles.last().scrollIntoViewIfNeeded();
  await tiles.last().locator('.value').nth(5).waitFor();
  assert.ok((await drawn()) < 300, `${await drawn()} tiles were drawn`);
  await page.getByLabel('Filter').fill('RIG-777');
  await until('one tile', async () => (await tiles.count()) === 1);
  t.diagnostic(`longest task of the page: ${await page.evaluate(() => Math.round(window.longest))} ms`);
});

test('with a token the page asks for it, and a link logs in', async (t) => {
  const token = 'a token of the tests';
  const closed = await Rigline.start(null, ['--api-token', token]);
  t.after(() => closed.end());
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(`${closed.base}/`);
  await page.getByRole('heading', { name: 'A token is needed' }).waitFor();
  await page.getByRole('link', { name: 'Log in' }).click();
  await page.getByLabel('Token').fill('another one');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByText('This token is wrong.').waitFor();
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByText('No row is stored yet.').waitFor();

  const other = await browser.newContext();
  t.after(() => other.close());
  const linked = await other.newPage();
  await linked.goto(`${closed.base}/login#${encodeURIComponent(token)}`);
  await linked.getByText('No row is stored yet.').waitFor();
  assert.equal(linked.url(), `${closed.base}/`);
  assert.equal(await linked.evaluate(() => document.cookie), '');
});

test('an alert that fires is shown on the fleet, above all views, and on its own', async (t) => {
  const file = path.join(rigline.dir, 'kitchen.toml');
  await writeFile(file, `name = "kitchen"
[source]
topic = "kitchen/{room}"
[message]
fields = { temperature = "/t" }
[[store]]
kind = "sqlite"
[[alert]]
name = "too warm"
field = "temperature"
above = 30
clear_below = 28
`);
  const kitchen = await Rigline.start(null, ['--pipelines', file]);
  t.after(() => kitchen.end());
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(`${kitchen.base}/#/alerts`);
  await kitchen.publish('kitchen/north', '{"t": 20}');
  await page.locator('.alerts', { hasText: 'above 30' }).waitFor();
  assert.equal(await page.locator('#badge-alerts').isHidden(), true);
  await kitchen.publish('kitchen/north', '{"t": 31.5}');
  await page.locator('#troubles', { hasText: 'north: too warm' }).waitFor();
  await page.locator('.alerts tr.alarm', { hasText: '31.50' }).waitFor();
  const { violations } = await new AxeBuilder({ page }).analyze();
  assert.deepEqual(violations.map(({ id }) => id), []);
  await page.goto(`${kitchen.base}/#/`);
  await page.locator('.tile.alarm', { hasText: 'too warm' }).waitFor();
  await kitchen.publish('kitchen/north', '{"t": 20}');
  await page.locator('.tile:not(.alarm)').waitFor();
  await until('no alert fires', () => page.locator('#badge-alerts').isHidden());
});

test('a fleet that is silent turns stale, and its values are still those of the API', async (t) => {
  const page = await open(t);
  await drawn(page, '#/');
  await page.locator('#verdict', { hasText: 'Nothing needs attention' }).waitFor();
  await rigline.stopFleet();
  await until('all tiles are stale', async () => (await page.locator('.tile.stale').count()) === RIGS);
  await page.locator('.troubles', { hasText: 'send nothing' }).waitFor();
  const { violations } = await new AxeBuilder({ page }).analyze();
  assert.deepEqual(violations.map(({ id }) => id), []);
  const { series } = await rigline.get('latest');
  for (const [place, one] of series.entries()) {
    const shown = await page.locator('.tile').nth(place).locator('.value').evaluateAll((all) => all.map((value) => value.title.split(',')[0]));
    assert.deepEqual(shown.map(Number), one.values.map(({ value }) => value), one.key);
  }
  // A page that is opened only now says the same.
  const other = await open(t);
  await until('all tiles are stale there, too', async () => (await other.locator('.tile.stale').count()) === RIGS, 60000);
  rigline.startFleet(FLEET);
  await until('no tile is stale', async () => (await page.locator('.tile.stale').count()) === 0);
});

test('a server that restarts is noticed, and the page goes on by itself', async (t) => {
  const page = await open(t);
  await drawn(page, '#/');
  await rigline.stopServer();
  await page.locator('#banner', { hasText: 'No connection' }).waitFor();
  await page.locator('#verdict', { hasText: 'unknown' }).waitFor();
  await page.locator('.tile.stale', { hasText: 'not live' }).first().waitFor();
  await rigline.startServer();
  await page.locator('#banner').waitFor({ state: 'hidden' });
  const value = page.locator('.tile').first().locator('.value').first();
  const first = await value.getAttribute('title');
  await until('a newer value', async () => (await value.getAttribute('title')) !== first);
  await page.locator('#verdict', { hasText: 'Nothing needs attention' }).waitFor();
});
