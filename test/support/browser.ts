import assert from 'node:assert/strict';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { cannotRun, type Owner } from './test-lab.ts';

/** Debian's; its sandbox does not work for root. */
const CHROMIUM = '/usr/bin/chromium';

/** How long an assertion about the page is tried again. */
const WAIT_MS = 10_000;

/** Why no browser can be run here. */
export const skipBrowser = (): string | false => cannotRun('chromium');

export async function openBrowser(owner: Pick<Owner, 'after'>): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  owner.after(() => browser.close());
  return browser;
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
