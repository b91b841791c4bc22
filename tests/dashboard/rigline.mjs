// Processes of Rigline that the tests start, and what they ask of it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Chromium without a screen, as root, that asks no server. */
export const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** A port that is free now. */
export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** `rigline up` with a simulated fleet; both can be stopped and started again. */
export class Rigline {
  #children = new Map();

  static async start(fleet, more = []) {
    const made = new Rigline();
    made.more = more;
    made.dir = await mkdtemp(path.join(os.tmpdir(), 'rigline-dashboard-'));
    [made.http, made.mqtt] = [await freePort(), await freePort()];
    made.base = `http://127.0.0.1:${made.http}`;
    await made.startServer();
    if (fleet !== null) made.startFleet(fleet);
    return made;
  }

  async startServer() {
    this.#spawn('up', ['up', '--data', this.dir, '--api-addr', `127.0.0.1:${this.http}`, '--mqtt-listen', `127.0.0.1:${this.mqtt}`, ...this.more]);
    await until('the API answers', async () => (await fetch(`${this.base}/openapi.json`)).ok);
  }

  startFleet({ rigs, interval = '1s', more = [] }) {
    this.#spawn('fleet', ['producer', '--mqtt-port', String(this.mqtt), '--rigs', String(rigs), '--interval', interval, ...more]);
  }

  stopFleet() {
    return this.#stop('fleet');
  }

  stopServer() {
    return this.#stop('up');
  }

  async end() {
    for (const name of [...this.#children.keys()]) await this.#stop(name);
    await rm(this.dir, { recursive: true, force: true });
  }

  #spawn(name, args) {
    const env = { PATH: process.env.PATH, HOME: this.dir, ADMIN_ADDR: '127.0.0.1:0' };
    const child = spawn(process.env.RIGLINE, args, { env, cwd: this.dir, stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (text) => {
      if (process.env.VERBOSE) process.stderr.write(`${name}: ${text}`);
    });
    this.#children.set(name, child);
  }

  async #stop(name) {
    const child = this.#children.get(name);
    this.#children.delete(name);
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }

  /** Reads JSON of the API. */
  async get(rest) {
    const response = await fetch(`${this.base}/api/v1/pipelines/rigs/${rest}`);
    if (!response.ok) throw new Error(`${rest}: ${response.status}`);
    return response.json();
  }

  /** Publishes one message, as a device that knows no rules. */
  async publish(topic, payload) {
    const socket = net.connect(this.mqtt, '127.0.0.1');
    const text = (given) => {
      const bytes = Buffer.from(given);
      return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
    };
    const packet = (kind, body) => Buffer.concat([Buffer.from([kind, body.length]), body]);
    socket.write(packet(0x10, Buffer.concat([text('MQTT'), Buffer.from([4, 2, 0, 60]), text('test')])));
    await once(socket, 'data');
    // QoS 1, so that the answer says that it is stored.
    socket.write(packet(0x32, Buffer.concat([text(topic), Buffer.from([0, 1]), Buffer.from(payload)])));
    await once(socket, 'data');
    socket.end(Buffer.from([0xe0, 0]));
  }
}

/** Waits until `check` is true; its errors count as false. */
export async function until(what, check, limit = 30000) {
  const end = Date.now() + limit;
  let last = null;
  while (Date.now() < end) {
    try {
      if (await check()) return;
    } catch (error) {
      last = error;
    }
    await sleep(100);
  }
  throw new Error(`not within ${limit} ms: ${what}${last === null ? '' : ` (${last.message})`}`);
}
