// What the page costs with 1,000 series at 1 Hz over MINUTES (3): CPU time of its process, and memory after a garbage
// collection. Prints figures; fails if it takes more than a fifth of a core or its memory grows after a minute.

import { setTimeout as sleep } from 'node:timers/promises';

import { chromium } from 'playwright-core';

import { FLAGS, Rigline, until } from './rigline.mjs';

const SERIES = 1000;
const MINUTES = Number(process.env.MINUTES ?? 3);
const MOST_OF_A_CORE = 0.2;
/** Memory may differ by this factor between the first minute and the last. */
const FLAT = 1.1;

const rigline = await Rigline.start({ rigs: SERIES });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
try {
  await until('all rigs have rows', async () => (await rigline.get('series')).series.length === SERIES, 90000);
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.goto(`${rigline.base}/`);
  await page.locator('.tile .value').first().waitFor();
  const session = await page.context().newCDPSession(page);
  const system = await browser.newBrowserCDPSession();
  await session.send('Performance.enable');
  const look = async () => {
    await session.send('HeapProfiler.collectGarbage');
    const { metrics } = await session.send('Performance.getMetrics');
    const of = (name) => metrics.find((metric) => metric.name === name).value;
    const { processInfo } = await system.send('SystemInfo.getProcessInfo');
    const cpu = processInfo.filter(({ type }) => type === 'renderer').reduce((sum, { cpuTime }) => sum + cpuTime, 0);
    return { at: performance.now() / 1000, cpu, heap: of('JSHeapUsedSize') / 2 ** 20, nodes: of('Nodes'), listeners: of('JSEventListeners') };
  };
  // The first seconds are those of the page's start.
  await sleep(20000);
  const looks = [await look()];
  for (let half = 0; half < MINUTES * 2; half += 1) {
    await sleep(30000);
    looks.push(await look());
    const [before, now] = looks.slice(-2);
    const share = (now.cpu - before.cpu) / (now.at - before.at);
    console.log(`${Math.round(now.at - looks[0].at)} s: ${(share * 100).toFixed(1)} % of a core, heap ${now.heap.toFixed(1)} MiB, ${now.nodes} nodes, ${now.listeners} listeners`);
  }
  // The page remembers the last half minute of each series.
  const [first, last] = [looks[2], looks.at(-1)];
  const share = (last.cpu - looks[0].cpu) / (last.at - looks[0].at);
  console.log(`${SERIES} series at 1 Hz, ${MINUTES} min: ${(share * 100).toFixed(1)} % of a core, heap ${first.heap.toFixed(1)} to ${last.heap.toFixed(1)} MiB, nodes ${first.nodes} to ${last.nodes}`);
  if (share > MOST_OF_A_CORE || last.heap > first.heap * FLAT) process.exitCode = 1;
} finally {
  await browser.close();
  await rigline.end();
}
