import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Host } from '#src/lab/host.ts';
import { inRepository } from '../program.ts';
import type { EtcdFigures } from './etcd-figures.ts';
import type { Command, Counts, Put } from './load-commands.ts';

/** The process that plays hosts, in the namespaces of a host of the lab. */
export class LoadProcess {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  /** One command at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(host: Host) {
    const [program, ...words] = host.enter([
      process.execPath,
      '--max-old-space-size=8192',
      inRepository('bench/scale/load.ts'),
    ]);
    this.#child = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('no output');
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  figures(url: string): Promise<EtcdFigures> {
    return this.#ask({ do: 'figures', url }) as Promise<EtcdFigures>;
  }

  counts(): Promise<Counts> {
    return this.#ask({ do: 'counts' }) as Promise<Counts>;
  }

  puts(command: Omit<Command & { do: 'puts' }, 'do'>): Promise<Put[]> {
    return this.#ask({ ...command, do: 'puts' }) as Promise<Put[]>;
  }

  join(command: Omit<Command & { do: 'join' }, 'do'>): Promise<{ ms: number; listed: number }> {
    return this.#ask({ ...command, do: 'join' }) as Promise<{ ms: number; listed: number }>;
  }

  leave(from: number, to: number): Promise<Put> {
    return this.#ask({ do: 'leave', from, to }) as Promise<Put>;
  }

  expired(events: number): Promise<Put> {
    return this.#ask({ do: 'expired', events }) as Promise<Put>;
  }

  failover(): Promise<{ lost: number; back: number; most: number }> {
    return this.#ask({ do: 'failover' }) as Promise<{ lost: number; back: number; most: number }>;
  }

  /** Milliseconds. */
  fill(command: Omit<Command & { do: 'fill' }, 'do'>): Promise<number> {
    return this.#ask({ ...command, do: 'fill' }) as Promise<number>;
  }

  /** Milliseconds until all played hosts watch. */
  watch(): Promise<number> {
    return this.#ask({ do: 'watch' }) as Promise<number>;
  }

  async do(command: Command): Promise<void> {
    await this.#ask(command);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }

  #ask(command: Command): Promise<unknown> {
    const answer = this.#last.then(async () => {
      this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`the load ended during ${command.do}`);
      const { result, error } = JSON.parse(value) as { result?: unknown; error?: string };
      if (error !== undefined) throw new Error(`${command.do}: ${error}`);
      return result;
    });
    this.#last = answer.catch(() => {});
    return answer;
  }
}
