import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '#src/sys/clock.ts';
import { systemCommands } from '#src/sys/command.ts';
import { systemProgramFiles } from '#src/sys/program-files.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';
import { UiServer } from '#src/ui/server/ui-server.ts';
import { FakeHostApi } from './fake-host-api.ts';
import type { Owner } from './test-lab.ts';

/** The page's server in front of APIs whose answers a test chooses. */
export class FakePage {
  readonly hosts: FakeHostApi[];
  readonly #folder = mkdtempSync(join(tmpdir(), 'weft-page-'));
  #server: UiServer | undefined;
  #port = 0;

  private constructor(seeing: number, hosts: number) {
    this.hosts = Array.from({ length: seeing }, (_, n) => new FakeHostApi(this.#folder, n + 1, hosts));
  }

  /** So many hosts, of which the first `seeing` are looked at. */
  static async start(
    owner: Pick<Owner, 'after'>,
    { seeing, hosts }: { seeing: number; hosts: number },
  ): Promise<FakePage> {
    const page = new FakePage(seeing, hosts);
    owner.after(() => page.#end());
    for (const host of page.hosts) await host.start();
    await page.startServer();
    return page;
  }

  get base(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  host(number: number): FakeHostApi {
    const host = this.hosts[number - 1];
    if (host === undefined) throw new Error(`no host ${number}`);
    return host;
  }

  /** At the port that it had before. */
  async startServer(): Promise<void> {
    const components = {
      ...{ clock: systemClock, http: systemUnixHttp, commands: systemCommands, files: systemProgramFiles },
      place: {
        title: 'lab demo',
        sources: async () => this.hosts.map(({ source }) => source),
        ends: async () => ['h1/c1', 'h2/c1'],
        trace: async () => ['cat', join(import.meta.dirname, '../fixtures/trace-stopped.json')] as const,
      },
    };
    this.#server = new UiServer(components, { address: '127.0.0.1', port: this.#port });
    this.#port = await this.#server.start();
  }

  async stopServer(): Promise<void> {
    await this.#server?.stop();
    this.#server = undefined;
  }

  async #end(): Promise<void> {
    await this.stopServer();
    for (const host of this.hosts) await host.stop();
    rmSync(this.#folder, { recursive: true });
  }
}
