import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { until } from '#src/sys/until.ts';
import { unusedPort } from './unused-port.ts';

/** What the tests read of Kubernetes' objects, of lists and of errors. */
export interface KubeObject {
  readonly metadata?: {
    readonly name?: string;
    readonly resourceVersion?: string;
    readonly continue?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly items?: readonly KubeObject[];
  readonly message?: string;
  readonly code?: number;
}

export interface KubeAnswer {
  readonly status: number;
  readonly body: KubeObject;
}

export interface KubeEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: KubeObject;
}

export interface KubeApiServerOptions {
  /** The URL of what it keeps its objects in. */
  readonly etcd: string;
  readonly args?: readonly string[];
}

const TOKEN = 'admin';

/**
 * WEFT_KUBE_APISERVER is its path. Debian has none; Go builds one in some ten minutes, in a module that requires
 * k8s.io/kubernetes v1.N.P and replaces each k8s.io module, which that one replaces by its staging folder, by its v0.N.P:
 * `go build k8s.io/kubernetes/cmd/kube-apiserver`.
 */
export function kubeApiServerProgram(): { readonly program: string; readonly skip: string | false } {
  const program = process.env.WEFT_KUBE_APISERVER ?? 'kube-apiserver';
  const { status } = spawnSync(program, ['--version'], { stdio: 'ignore' });
  return { program, skip: status !== 0 && 'needs kube-apiserver, in PATH or WEFT_KUBE_APISERVER' };
}

/** A real kube-apiserver without anything around it, on an unused port of 127.0.0.1, in a folder of its own. */
export class KubeApiServer {
  readonly #folder: string;
  readonly #port: number;
  readonly #child: ChildProcess;
  readonly #agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
  #log = '';

  private constructor(folder: string, port: number, child: ChildProcess) {
    this.#folder = folder;
    this.#port = port;
    this.#child = child;
    child.stderr?.on('data', (chunk) => {
      this.#log += chunk;
    });
  }

  static async start(program: string, { etcd, args = [] }: KubeApiServerOptions): Promise<KubeApiServer> {
    const folder = await mkdtemp(join(tmpdir(), 'weft-kube-'));
    const [key, tokens] = [join(folder, 'sa.key'), join(folder, 'tokens')];
    execFileSync('openssl', ['genrsa', '-out', key, '2048'], { stdio: 'ignore' });
    await writeFile(tokens, `${TOKEN},admin,1,system:masters\n`);
    const port = await unusedPort();
    const child = spawn(
      program,
      [
        ...[`--etcd-servers=${etcd}`, '--bind-address=127.0.0.1', `--secure-port=${port}`],
        ...[`--cert-dir=${join(folder, 'certificates')}`, '--service-cluster-ip-range=10.96.0.0/16'],
        ...['--service-account-issuer=https://weft.test', `--service-account-key-file=${key}`],
        ...[`--service-account-signing-key-file=${key}`, `--token-auth-file=${tokens}`],
        ...['--authorization-mode=RBAC', '--disable-admission-plugins=ServiceAccount'],
        ...['--endpoint-reconciler-type=none', ...args],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const server = new KubeApiServer(folder, port, child);
    try {
      await server.ready();
    } catch (error) {
      await server.stop();
      throw new Error(`kube-apiserver did not get ready: ${server.#log}`, { cause: error });
    }
    return server;
  }

  /** What it wrote since it started. */
  get log(): string {
    return this.#log;
  }

  async ready(): Promise<void> {
    const answers = async (): Promise<boolean> => {
      if (this.#child.exitCode !== null) throw new Error(`it ended with ${this.#child.exitCode}`);
      const response = await this.#send('GET', '/readyz').catch(() => undefined);
      response?.resume();
      return response?.statusCode === 200;
    };
    await until(answers, { what: 'readyz', timeoutMs: 60_000, intervalMs: 100 });
  }

  /** Rejects when the connection ends before the answer. */
  async call(method: string, path: string, object?: object): Promise<KubeAnswer> {
    const response = await this.#send(method, path, object);
    return { status: response.statusCode ?? 0, body: JSON.parse(await text(response)) as KubeObject };
  }

  /** All objects below a path, with their list's revision, read in pages as clients do. */
  async list(path: string): Promise<{ readonly revision: string; readonly items: readonly KubeObject[] }> {
    const items: KubeObject[] = [];
    for (let rest: string | undefined; ; ) {
      const query = new URLSearchParams({ limit: '500', ...(rest && { continue: rest }) });
      const { status, body } = await this.call('GET', `${path}?${query}`);
      if (status !== 200) throw new Error(`${path}: ${status} ${body.message}`);
      items.push(...(body.items ?? []));
      rest = body.metadata?.continue;
      if (!rest) return { revision: body.metadata?.resourceVersion ?? '', items };
    }
  }

  /** Until the server ends the watch, or the signal comes. */
  async *watch(path: string, query: string, signal: AbortSignal): AsyncGenerator<KubeEvent> {
    const response = await this.#send('GET', `${path}?watch=1&${query}`, undefined, signal);
    let rest = '';
    for await (const chunk of response.setEncoding('utf8')) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield JSON.parse(line) as KubeEvent;
    }
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await gone;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #send(method: string, path: string, object?: object, signal?: AbortSignal): Promise<IncomingMessage> {
    const call = request(`https://127.0.0.1:${this.#port}${path}`, {
      method,
      agent: this.#agent,
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
      ...(signal && { signal }),
    });
    call.end(object && JSON.stringify(object));
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    return response;
  }
}
