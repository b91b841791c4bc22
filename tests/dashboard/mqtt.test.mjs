// MQTT.js in a browser's page publishes to the listener by WebSocket.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Rigline, freePort, until } from './rigline.mjs';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'];
const LIBRARY = path.resolve('node_modules/mqtt/dist/mqtt.min.js');

let rigline;
let browser;
let pages;
let webSocket;

before(async () => {
  webSocket = await freePort();
  const rules = path.join(os.tmpdir(), `rigline-rules-${process.pid}`);
  await writeFile(rules, 'topic write rigs/PAGE/measurements/#\n');
  pages = http.createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>A page</title>');
  });
  pages.listen(0, '127.0.0.1');
  await once(pages, 'listening');
  [rigline, browser] = await Promise.all([
    Rigline.start(null, ['--mqtt-ws-listen', `127.0.0.1:${webSocket}`, '--mqtt-acl', rules, '--flush-interval', '1s']),
    chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS }),
  ]);
});

after(async () => {
  await browser?.close();
  await rigline?.end();
  pages?.close();
});

/** Publishes from a page of this host, and returns the answers. */
async function publish(host, options, messages) {
  const page = await browser.newPage();
  try {
    await page.goto(`http://${host}:${pages.address().port}/`);
    await page.addScriptTag({ path: LIBRARY });
    return await page.evaluate(async ([url, options, messages]) => {
      const client = window.mqtt.connect(url, { ...options, reconnectPeriod: 0 });
      const connected = await new Promise((resolve) => {
        client.once('connect', () => resolve(true));
        client.once('close', () => resolve(false));
      });
      if (!connected) return 'closed';
      const answers = [];
      for (const [topic, payload] of messages) {
        answers.push(await client.publishAsync(topic, payload, { qos: 1 }).then(
          (packet) => packet.reasonCode ?? 0,
          (error) => error.code,
        ));
      }
      await client.endAsync();
      return answers;
    }, [`ws://127.0.0.1:${webSocket}/mqtt`, options, messages]);
  } finally {
    await page.close();
  }
}

for (const protocolVersion of [4, 5]) {
  test(`a page publishes with MQTT ${protocolVersion === 4 ? '3.1.1' : '5'}`, async () => {
    const sensor = `pressure${protocolVersion}`;
    const large = JSON.stringify({ value: 3, comment: 'x'.repeat(60_000) });
    const answers = await publish('127.0.0.1', { protocolVersion }, [
      [`rigs/PAGE/measurements/${sensor}`, '{"value":2.5}'],
      [`rigs/PAGE/measurements/large${protocolVersion}`, large],
      [`rigs/OTHER/measurements/${sensor}`, '{"value":2.5}'],
    ]);
    // MQTT 3.1.1 has no answer that refuses a message.
    assert.deepEqual(answers, [0, 0, protocolVersion === 5 ? 0x87 : 0]);
    await until('the readings are stored', async () => {
      const { series } = await rigline.get('latest?series=PAGE');
      const text = JSON.stringify(series);
      return text.includes(sensor) && text.includes(`large${protocolVersion}`);
    });
    const { counts } = await rigline.get('dead-letters/counts');
    assert.equal(counts.find(({ reason }) => reason === 'not_allowed')?.count, protocolVersion - 3);
  });
}

test('a page of this machine by name may publish, too', async () => {
  assert.deepEqual(await publish('localhost', {}, [['rigs/PAGE/measurements/name', '{"value":1}']]), [0]);
});
