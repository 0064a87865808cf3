import assert from 'node:assert/strict';
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core';
import { until } from '#src/sys/until.ts';
import { cannotRun, type Owner } from './test-lab.ts';

/** Debian's; its sandbox does not work for root. */
const CHROMIUM = '/usr/bin/chromium';

/** How long an assertion about the page is tried again. A point of the last hour is made each 5 s, and read each 5 s. */
const WAIT_MS = 30_000;

/** Why no browser can be run here. */
export const skipBrowser = (): string | false => cannotRun('chromium');

export async function openBrowser(owner: Pick<Owner, 'after'>): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  owner.after(() => browser.close());
  return browser;
}

/** Waits until so many are on the page: it draws in frames, and a server that has just begun says one host after the other. */
export async function countIs(locator: Locator, count: number): Promise<void> {
  const seen: number[] = [];
  const what = () => `${count} times ${locator}, but ${seen.at(-1)} times`;
  const isSo = async (): Promise<boolean> => {
    seen.push(await locator.count());
    return seen.at(-1) === count;
  };
  await until(isSo, { what: `${count} times ${locator}`, timeoutMs: WAIT_MS }).catch(() =>
    assert.fail(what()),
  );
}

/** A page that loads nothing from elsewhere and complains of nothing: both fail the test that closes it. */
export class WatchedPage implements AsyncDisposable {
  readonly page: Page;
  readonly #trouble: string[] = [];

  private constructor(page: Page, base: string) {
    this.page = page;
    page.on('pageerror', ({ message }) => this.#trouble.push(message));
    page.on('console', (message) => {
      // A connection that a test breaks is no mistake of the page.
      if (message.type() === 'error' && !/Failed to load resource|net::ERR/.test(message.text()))
        this.#trouble.push(message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(base)) this.#trouble.push(`asked for ${request.url()}`);
    });
  }

  /** Opens the address and waits for the first word of the server. */
  static async open(
    browser: Browser,
    base: string,
    { path = '/', ...options }: BrowserContextOptions & { path?: string } = {},
  ): Promise<WatchedPage> {
    const watched = new WatchedPage(await browser.newPage(options), base);
    watched.page.setDefaultTimeout(WAIT_MS);
    await watched.page.goto(`${base}${path}`);
    await watched.page.waitForSelector('#freshness[data-fresh=yes]');
    return watched;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.close();
    assert.deepEqual(this.#trouble, []);
  }
}
