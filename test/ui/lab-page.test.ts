import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { artefactsOf } from '#src/node/network-id.ts';
import type { PeerProbe } from '#src/observe/api.ts';
import { askApi } from '#src/observe/api-client.ts';
import { until } from '#src/sys/until.ts';
import { openBrowser, skipBrowser, WatchedPage } from '../support/browser.ts';
import { FLANNELD, PREFIX, startFlanneld, WEFT } from '../support/flanneld.ts';
import { type Network, type Node, testNetwork } from '../support/network.ts';
import { cannotRun, type Owner, wholeFile } from '../support/test-lab.ts';

/*
 * `weft lab ui` and a browser, on a real network that measures itself:
 *
 *     h1, h2, h3: flanneld ── docker0 ── c     unix sockets     weft lab ui     HTTP     Chromium
 *     store                                   ──────────────▶   (one process)  ◀──────
 */
const skip = skipBrowser() || cannotRun('nft');
let network: Network;
let browser: Browser;
let base: string;

wholeFile(skip, async (owner) => {
  network = await testNetwork(owner, { api: 3, store: 'embedded', programs: [FLANNELD, FLANNELD, FLANNELD] });
  browser = await openBrowser(owner);
  base = await startPage(owner, network.lab.name);
});

/** The address that the command prints, which ends with a slash. */
async function startPage(owner: Owner, name: string): Promise<string> {
  const words = ['lab', 'ui', `--name=${name}`, '--listen=127.0.0.1:0'];
  const program = spawn(WEFT, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => program.once('exit', resolve));
  owner.after(async () => {
    program.kill('SIGTERM');
    assert.equal(await ended, 0);
  });
  for await (const text of program.stdout.setEncoding('utf8')) {
    const [, address] = /^the page of lab \w+: (http:\S+)\/\n$/.exec(text) ?? assert.fail(text);
    return address ?? assert.fail();
  }
  return assert.fail('it printed nothing');
}

function nodes(): [Node, Node, Node] {
  const [one, two, three] = network.nodes;
  assert.ok(one && two && three);
  return [one, two, three];
}

/** A probe needs some rounds to find it. */
const shown = (page: Page, from: string, to: string, state: string) =>
  page.waitForSelector(`svg .link[data-from="${from}"][data-to="${to}"][data-state="${state}"]`, {
    state: 'attached',
    timeout: PROBE_MS,
  });
const PROBE_MS = 60_000;

/** What a host's probe says of another host. */
async function stateOf({ host }: Node, { subnet }: Node): Promise<PeerProbe['state'] | undefined> {
  const places = { stateDir: host.path('/var/lib/weft'), subnetFile: '' };
  const { peers } = await askApi(artefactsOf({ prefix: PREFIX }, places).socket, '/v1/peers');
  return peers.find(({ lease }) => lease === `${subnet}.0-24`)?.probe?.state;
}

test('each host shows its own view of each link; a link that breaks turns red, and green again', {
  skip,
}, async () => {
  const [one, , three] = nodes();
  await using watched = await WatchedPage.open(browser, base);
  const { page } = watched;
  for (const [from, to] of [
    ['h1', 'h2'],
    ['h2', 'h3'],
    ['h3', 'h1'],
  ] as const) {
    await shown(page, from, to, 'up');
    await shown(page, to, from, 'up');
  }
  // Packets to a host that was not up yet were lost.
  await page.getByRole('row', { name: /^h1 h3 10\.0\.\d+\.0\/24 up [\d.]+ ms \d+ % 1450/ }).waitFor();
  const chain = 'add chain ip fault in { type filter hook prerouting priority -300; }';
  await three.host.must(['nft', `add table ip fault; ${chain}; add rule ip fault in udp dport 8472 drop`]);
  await until(async () => (await stateOf(one, three)) === 'down', {
    what: 'probe that says down',
    timeoutMs: PROBE_MS,
  });
  await shown(page, 'h1', 'h3', 'down');
  await page.getByRole('row', { name: /^h1 h3 .* down .* UDP port 8472 is dropped/ }).waitFor();
  await shown(page, 'h1', 'h2', 'up');
  await three.host.must(['nft', 'delete table ip fault']);
  await shown(page, 'h1', 'h3', 'up');
});

test('a repair is an event on the page of its host', { skip }, async () => {
  const [one, two] = nodes();
  await using watched = await WatchedPage.open(browser, base, { path: '/#/host/h1' });
  const { page } = watched;
  const events = page.getByRole('log', { name: 'Events' });
  await events.getByText('started').waitFor();
  await page.getByText('3 leases').waitFor();
  await one.host.must(['ip', 'route', 'del', `${two.subnet}.0/24`]);
  await events
    .locator('li', { hasText: /repair/ })
    .first()
    .waitFor();
});

test('a flanneld that ends is stale, and is back when it runs again', { skip }, async () => {
  const [, two] = nodes();
  await using watched = await WatchedPage.open(browser, base);
  const { page } = watched;
  await shown(page, 'h2', 'h1', 'up');
  await (await two.host.daemon('flanneld'))?.stop();
  await page.locator('#freshness', { hasText: /^h2 stale since [\d:]+: flanneld does not run/ }).waitFor();
  await startFlanneld(two.host, two.flags);
  await page.locator('#freshness', { hasText: /^live$/ }).waitFor();
  await shown(page, 'h2', 'h1', 'up');
});

/** `weft trace` asks several hosts, with many programs. */
const TRACE_MS = 60_000;

test('the way of a packet is traced on the host of its container, red where it stops', { skip }, async () => {
  const [one] = nodes();
  const chain = 'add chain ip fault forward { type filter hook forward priority 0; }';
  const rule = 'add rule ip fault forward oifname flannel.1 drop';
  await one.host.must(['nft', `add table ip fault; ${chain}; ${rule}`]);
  await using watched = await WatchedPage.open(browser, base, { path: '/#/way/h1%2Fc/h2%2Fc' });
  const { page } = watched;
  await page
    .getByText(/^The packet stops at hop \d+ of \d+, h1: .*chain ip fault forward: drop/)
    .waitFor({ timeout: TRACE_MS });
  const stop = page.locator('.way li[data-ok=no]');
  assert.equal(await stop.getAttribute('data-hop'), 'forward-filter');
  await one.host.must(['nft', 'delete table ip fault']);
});
