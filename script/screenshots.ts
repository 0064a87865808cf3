import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Page } from 'playwright-core';
import { systemCommands } from '#src/sys/command.ts';
import { DOWN } from '../test/support/fake-host-api.ts';
import { FakePage } from '../test/support/fake-page.ts';

const ROOT = join(import.meta.dirname, '..');
const IMAGES = join(ROOT, 'docs/images');
const WEFT = join(ROOT, 'bin/weft');
const LAB = 'screenshots';
const SIZE = { width: 1_000, height: 720 };
/** So long the last hour is watched, for a line to be seen in it. */
const WATCH_MS = 60_000;

mkdirSync(IMAGES, { recursive: true });
const cleanUps: (() => Promise<unknown> | unknown)[] = [];
try {
  await weft('up', '--hosts=5');
  cleanUps.push(() => weft('down'));
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  cleanUps.push(() => browser.close());
  const page = await browser.newPage({ viewport: SIZE });
  const base = await startPage();

  await page.goto(`${base}/#/map`);
  const link = (from: string, to: string, state: string) =>
    page.waitForSelector(`.link[data-from=${from}][data-to=${to}][data-state=${state}]`, {
      state: 'attached',
    });
  await link('h1', 'h5', 'up');
  await page.waitForTimeout(WATCH_MS / 2);
  const chain = 'add chain ip fault in { type filter hook prerouting priority -300; }';
  const fault = `add table ip fault; ${chain}; add rule ip fault in udp dport 8472 drop`;
  await weft('exec', 'h4', '--', 'nft', fault);
  for (const from of ['h1', 'h2', 'h3', 'h5']) await link(from, 'h4', 'down');
  await link('h4', 'h1', 'down');
  await shoot(page, 'page-map');
  await page.emulateMedia({ colorScheme: 'dark' });
  await shoot(page, 'page-map-dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await page.waitForTimeout(WATCH_MS / 4);
  await weft('exec', 'h4', '--', 'nft', 'delete table ip fault');
  await link('h1', 'h4', 'up');
  const forward = 'add chain ip fault forward { type filter hook forward priority 0; }';
  const drop = `add table ip fault; ${forward}; add rule ip fault forward oifname flannel.1 drop`;
  await weft('exec', 'h1', '--', 'nft', drop);
  await page.goto(`${base}/#/way/h1%2Fc1/h4%2Fc1`);
  await page.getByText('The packet stops').waitFor();
  await shoot(page, 'page-way', true);
  await weft('exec', 'h1', '--', 'nft', 'delete table ip fault');
  await page.goto(`${base}/#/host/h1`);
  await page.getByText('5 leases').waitFor();
  await shoot(page, 'page-host');
  await page.goto(`${base}/#/use`);
  await page.waitForTimeout(WATCH_MS / 4);
  await page.goto(`${base}/#/history`);
  await page.locator('.charts .uplot').nth(4).waitFor();
  await shoot(page, 'page-hour');

  // No machine has 1,000 hosts: what they would say is made up.
  const many = await FakePage.start({ after: (end) => void cleanUps.push(end) }, { seeing: 1, hosts: 1_000 });
  const [host] = many.hosts;
  for (const peer of [120, 121, 122, 700]) host?.probe(peer, DOWN);
  for (const peer of [40, 860])
    host?.probe(peer, { state: 'degraded', findings: ['full-size packets are lost'] });
  await page.goto(`${many.base}/#/map`);
  await page.getByText('4 down').waitFor();
  await shoot(page, 'page-thousand');
} finally {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
}

async function shoot(page: Page, name: string, fullPage = false): Promise<void> {
  await page.screenshot({ path: join(IMAGES, `${name}.png`), fullPage });
  process.stdout.write(`docs/images/${name}.png\n`);
}

async function weft(command: string, ...words: string[]): Promise<void> {
  const argv = [WEFT, 'lab', command, `--name=${LAB}`, ...words] as const;
  const { code, stderr } = await systemCommands.run(argv, { timeoutMs: 60_000 });
  if (code !== 0) throw new Error(stderr);
}

async function startPage(): Promise<string> {
  const words = ['lab', 'ui', `--name=${LAB}`, '--listen=127.0.0.1:0'];
  const program = spawn(WEFT, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  cleanUps.push(() => program.kill());
  for await (const text of program.stdout.setEncoding('utf8')) {
    const [, address] = /(http:\S+)\/\n$/.exec(text) ?? [];
    if (address !== undefined) return address;
  }
  throw new Error('the page did not start');
}
