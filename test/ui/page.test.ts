import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Browser, Locator, Page } from 'playwright-core';
import { countIs, openBrowser, skipBrowser, WatchedPage } from '../support/browser.ts';
import { DOWN } from '../support/fake-host-api.ts';
import { FakePage } from '../support/fake-page.ts';
import { wholeFile } from '../support/test-lab.ts';
import { faultsOfPage } from './faults-of-page.ts';

/*
 * The page in a real browser.
 *
 *     h1 … h4, and h1 of 1,000     unix sockets      page's server     HTTP     Chromium
 *     (APIs with chosen answers)  ───────────────▶  (the real one)  ◀────────  (Debian's)
 */
const skip = skipBrowser();
let browser: Browser;
let small: FakePage;
let large: FakePage;

wholeFile(skip, async (owner) => {
  browser = await openBrowser(owner);
  small = await FakePage.start(owner, { seeing: 4, hosts: 4 });
  large = await FakePage.start(owner, { seeing: 1, hosts: 1_000 });
});

const link = (from: string, to: string, state = ''): string =>
  `svg .link[data-from="${from}"][data-to="${to}"]${state && `[data-state="${state}"]`}`;
/** A line that is straight up or across has a box without a width: it counts as hidden. */
const shown = (page: Page, selector: string) => page.waitForSelector(selector, { state: 'attached' });
// biome-ignore lint/performance/useDomNodeTextContent: the cells of a row are to be apart.
const textOf = (it: Locator): Promise<string> => it.innerText();
const rows = (page: Page) => page.locator('main tbody tr');
/** Waits for the first row of the page's table. */
const firstRow = (page: Page, text: RegExp) =>
  rows(page)
    .first()
    .and(page.getByRole('row', { name: text }))
    .waitFor();

test('the map has each host and each one’s view; a click on a host shows its links only', {
  skip,
}, async () => {
  await using watched = await WatchedPage.open(browser, small.base);
  const { page } = watched;
  await shown(page, link('h4', 'h3', 'up'));
  await countIs(page.locator('svg .link[data-state=up]'), 12);
  await countIs(rows(page), 12);
  const host = page.locator('svg .host', { hasText: 'h2' });
  await host.click();
  assert.equal(await host.getAttribute('aria-pressed'), 'true');
  await countIs(rows(page), 6);
  await page.getByLabel('Show only links with').fill('10.0.3.0');
  await countIs(rows(page), 1);
  await page.getByLabel('Show only links with').fill('');
  await host.click();
  await countIs(rows(page), 12);
});

test('a link that breaks turns red, is first in the table, and is spoken of', { skip }, async () => {
  await using watched = await WatchedPage.open(browser, small.base);
  const { page } = watched;
  await shown(page, link('h1', 'h2', 'up'));
  small.host(1).probe(2, DOWN);
  // By the page's own clock: it is the browser that looks, again and again.
  const isRed = (selector: string): boolean => {
    const line = document.querySelector(selector);
    return line !== null && getComputedStyle(line).stroke === 'rgb(208, 20, 20)';
  };
  await page.waitForFunction(isRed, link('h1', 'h2', 'down'));
  // The other way is another view.
  await countIs(page.locator(link('h2', 'h1', 'up')), 1);
  await firstRow(page, /^h1 h2 10\.0\.2\.0\/24 down 100 %/);
  await page.waitForFunction(() => document.querySelector('#changes')?.textContent === 'h1 to h2 is down.');
  small.host(1).probe(2, {
    state: 'up',
    findings: [],
    tunnel: { sent: 10, answered: 10, roundTripMs: 7.77, fullSize: 'passes' },
  });
  await shown(page, link('h1', 'h2', 'up'));
  assert.match((await page.locator(`${link('h1', 'h2')} title`).textContent()) ?? '', /7\.8 ms, 0 % lost/);
});

test('a daemon that ends is stale and comes back; so does the page’s server', { skip }, async () => {
  await using watched = await WatchedPage.open(browser, small.base);
  const { page } = watched;
  const freshness = (text: RegExp) => page.locator('#freshness', { hasText: text }).waitFor();
  await shown(page, link('h3', 'h1', 'up'));
  await small.host(3).stop();
  await freshness(/^h3 stale since \d\d:\d\d:\d\d: flanneld does not run/);
  // What it last said.
  await shown(page, `${link('h3', 'h1', 'up')}[data-stale=yes]`);
  await small.host(3).start();
  await freshness(/^live$/);
  await small.stopServer();
  await freshness(/^stale since \d\d:\d\d:\d\d: the page's server does not answer$/);
  // The map stays.
  await countIs(page.locator('svg .link'), 12);
  await small.startServer();
  await freshness(/^live$/);
});

test('a host’s view: what it says of itself, leases, objects that are not as wanted, events as they come', {
  skip,
}, async () => {
  const host = small.host(2);
  const [slot] = host.view.slots;
  assert.ok(slot);
  const broken = {
    ...slot,
    key: 'broken',
    found: 'ip route add 10.0.9.0/24 dev eth9',
    failure: 'no such device',
  };
  host.view = { slots: [...host.view.slots, broken] };
  host.happen({ type: 'lease', severity: 'info', subject: '10.0.3.0-24', text: 'a lease came' });
  await using watched = await WatchedPage.open(browser, small.base);
  const { page } = watched;
  await page.getByRole('link', { name: 'Host' }).click();
  await page.getByRole('combobox', { name: 'Host' }).selectOption('h2');
  await page.getByText('10.0.2.0/24 of 10.0.0.0/8').waitFor();
  await page.getByText('4 leases').waitFor();
  const objects = page.locator('table', { hasText: 'Wanted' }).locator('tbody tr');
  await page.getByText('4 of 4 objects').waitFor();
  await page.getByLabel('Only what is not as wanted').check();
  await countIs(objects, 1);
  assert.match(await textOf(objects), /no such device/);
  const events = page.getByRole('log', { name: 'Events' });
  await events.getByText('a lease came').waitFor();
  host.happen({ type: 'repair', severity: 'warning', subject: 'a route', text: '<b>put</b> back' });
  await events.getByText('<b>put</b> back').waitFor();
  assert.match(await textOf(events.locator('li').first()), /repair a route/, 'the newest is on top');
});

test('the way of a packet is drawn hop by hop, red where it stops', { skip }, async () => {
  await using watched = await WatchedPage.open(browser, small.base, { path: '/#/way' });
  const { page } = watched;
  await page.waitForSelector('datalist option[value="h2/c1"]', { state: 'attached' });
  await page.getByLabel('From').fill('h1/c1');
  await page.getByLabel('To').fill('10.0.2.2');
  await page.keyboard.press('Enter');
  await page.getByText('The packet stops at hop 3 of 3, h1').waitFor();
  const hops = page.getByRole('list', { name: 'Hops' }).getByRole('listitem');
  assert.deepEqual(await hops.evaluateAll((all) => all.map((it) => it.getAttribute('data-ok'))), [
    'yes',
    'yes',
    'no',
  ]);
  const border = await hops.last().evaluate((it) => getComputedStyle(it).borderTopColor);
  assert.match(border, /^rgb\(2\d\d, \d\d, \d\d\)$/);
  assert.match(await textOf(hops.last()), /STOPS HERE[\s\S]*to mend it: nft delete rule/);
  await page.getByLabel('From').fill('--flag');
  await page.getByRole('button', { name: 'Follow it' }).click();
  await page.getByText('"--flag" is neither an address nor a container').waitFor();
});

test('utilisation warns before the network is full, and names leases that need a look', {
  skip,
}, async () => {
  const host = small.host(1);
  host.leases = {
    ...host.leases,
    capacity: 5,
    leases: host.leases.leases.map((it, n) =>
      n === 2 ? { ...it, quarantined: 'its MAC is that of h2' } : it,
    ),
  };
  await using watched = await WatchedPage.open(browser, small.base, { path: '/#/use' });
  const { page } = watched;
  await page.getByText('4 of 5 subnets /24 of 10.0.0.0/8 are given out, 80 %: it is nearly full.').waitFor();
  await countIs(rows(page), 1);
  assert.match(await textOf(rows(page)), /10\.0\.3\.0\/24[\s\S]*not used: its MAC is that of h2/);
});

test('the last hour: a chart for each figure, the same in a table, and it grows', { skip }, async () => {
  await using watched = await WatchedPage.open(browser, small.base, { path: '/#/history' });
  const { page } = watched;
  await page.locator('.charts .uplot').nth(4).waitFor();
  await countIs(page.locator('.charts [role=img]'), 5);
  await page.getByRole('row', { name: /^Peers that answer 3 3 3/ }).waitFor();
  small.host(1).probe(4, DOWN);
  await page.getByRole('row', { name: /^Peers that answer 2 2 3/ }).waitFor();
  small
    .host(1)
    .probe(4, { state: 'up', tunnel: { sent: 1, answered: 1, roundTripMs: 1, fullSize: 'passes' } });
});

test('by keyboard alone: skip link, views, a host of the map', { skip }, async () => {
  await using watched = await WatchedPage.open(browser, small.base);
  const { page } = watched;
  // All hosts are drawn: one that comes is drawn with the others.
  await countIs(page.locator('svg .link'), 12);
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim().slice(0, 30) ?? '');
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'main');
  await page.keyboard.press('Tab');
  assert.equal(
    await page.evaluate(() => document.activeElement?.getAttribute('aria-label')),
    'h1, 10.0.1.0/24',
  );
  await page.keyboard.press('Enter');
  await countIs(rows(page), 6);
  assert.match(
    await page.evaluate(
      () => getComputedStyle(document.activeElement?.firstElementChild ?? document.body).strokeWidth,
    ),
    /^6/,
  );
  await page.keyboard.press(' ');
  await countIs(rows(page), 12);
  // The focus stays where it is while the page goes on living.
  small.host(1).probe(3, { tunnel: { sent: 10, answered: 9, roundTripMs: 5, fullSize: 'passes' } });
  await page.getByRole('row', { name: /h1 h3 .* 5 ms 10 %/ }).waitFor();
  assert.equal(
    await page.evaluate(() => document.activeElement?.getAttribute('aria-label')),
    'h1, 10.0.1.0/24',
  );
  await page.getByRole('link', { name: 'Utilisation' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('region', { name: 'Utilisation' }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'main');
  assert.equal(await page.title(), 'Utilisation - weft');
  assert.equal(await textOf(page.locator('nav a[aria-current=page]')), 'Utilisation');
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`everything has a name and enough contrast, ${colorScheme}`, { skip }, async () => {
    small.host(1).probe(2, DOWN);
    await using watched = await WatchedPage.open(browser, small.base, { colorScheme });
    const { page } = watched;
    await shown(page, link('h1', 'h2', 'down'));
    for (const view of ['map', 'host', 'way/h1%2Fc1/10.0.2.2', 'use', 'history']) {
      await page.goto(`${small.base}/#/${view}`);
      // The page goes there a moment later.
      await page.locator(`nav a[aria-current=page][href="#/${view.split('/')[0]}"]`).waitFor();
      await page.locator('main section').waitFor();
      if (view.startsWith('way')) await page.getByText('The packet stops').waitFor();
      assert.deepEqual(await page.evaluate(faultsOfPage), [], view);
    }
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.equal(ground, colorScheme === 'dark' ? 'rgb(20, 23, 26)' : 'rgb(255, 255, 255)');
    small.host(1).probe(2, { state: 'up', findings: [] });
  });
}

test('1,000 hosts: tiles in groups, the worst first in the table', {
  skip,
}, async (t) => {
  await using watched = await WatchedPage.open(browser, large.base);
  const { page } = watched;
  const canvas = page.getByRole('img', {
    name: 'Map of 1000 hosts and 999 links; the table below has the same',
  });
  await canvas.waitFor();
  await countIs(rows(page), 100);
  await page.getByRole('button', { name: 'Show 100 more' }).click();
  await countIs(rows(page), 200);
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  const spentMs = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    const of = (name: string) => 1_000 * (metrics.find((it) => it.name === name)?.value ?? 0);
    return { script: of('ScriptDuration'), layout: of('LayoutDuration') + of('RecalcStyleDuration') };
  };
  const before = await spentMs();
  const rounds = [1.1, 2.2, 3.3];
  const host = large.host(1);
  // Every figure of every peer is another one, again and again.
  for (const roundTripMs of rounds) {
    host.peers = host.peers.map((peer) =>
      peer.probe === undefined
        ? peer
        : { ...peer, probe: { ...peer.probe, tunnel: { ...peer.probe.tunnel, roundTripMs } } },
    );
    await page
      .getByRole('cell', { name: `${roundTripMs} ms` })
      .first()
      .waitFor();
  }
  host.probe(700, DOWN);
  await page.getByRole('listitem').filter({ hasText: '1 down' }).waitFor();
  await firstRow(page, /10\.2\.188\.0\/24 down/);
  const after = await spentMs();
  const each = (name: 'script' | 'layout') => ((after[name] - before[name]) / (rounds.length + 1)).toFixed(1);
  t.diagnostic(`999 links that all change: ${each('script')} ms of script, ${each('layout')} ms of layout`);
  await canvas.click({ position: { x: 5, y: 30 } });
  await page.getByText('Links of 172.16.70.3.').waitFor();
  await countIs(rows(page), 1);
});
