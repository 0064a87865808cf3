import { join } from 'node:path';
import { outputOf } from '#src/lab/components.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import { WeftError } from '#src/lib/errors.ts';
import { until } from '#src/lib/until.ts';
import type { CommandResult } from '#src/sys/command.ts';

export interface EtcdOptions {
  /** Default 1. More are on hosts `store2`, `store3`, made if they are not there. */
  readonly members?: 1 | 3;
  /** Serve https, with certificates made for it; `client` asks clients for one of the same CA as well. */
  readonly tls?: 'server' | 'client';
  /** More of etcd's options. */
  readonly options?: readonly string[];
}

/** Paths as every host sees them. */
export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const CLIENT_PORT = 2379;
const PEER_PORT = 2380;
const DATA = '/var/lib/etcd';
const CERTIFICATES: Certificates = {
  ca: '/run/etcd-tls/ca.pem',
  cert: '/run/etcd-tls/client.pem',
  key: '/run/etcd-tls/client-key.pem',
};

/** A real etcd of one or three members, with both of its APIs. */
export class Etcd {
  readonly members: readonly EtcdMember[];
  /** What clients connect to, one per member. */
  readonly endpoints: readonly string[];
  /** Only with `tls`. */
  readonly certificates: Certificates | undefined;

  private constructor(members: readonly EtcdMember[], certificates: Certificates | undefined) {
    this.members = members;
    this.endpoints = members.map((member) => member.endpoint);
    this.certificates = certificates;
  }

  /** Starts etcd on the lab's store and waits until it serves. */
  static async start(lab: Lab, { members = 1, tls, options = [] }: EtcdOptions = {}): Promise<Etcd> {
    const hosts: Host[] = [lab.store];
    for (let n = 2; n <= members; n++) {
      hosts.push(lab.stores.find((it) => it.name === `store${n}`) ?? (await lab.addHost(`store${n}`, 1 - n)));
    }
    if (tls !== undefined) await makeCertificates(lab, hosts);
    const scheme = tls === undefined ? 'http' : 'https';
    const cluster = hosts.map((host) => `${host.name}=http://${host.address}:${PEER_PORT}`).join(',');
    const etcd = new Etcd(
      hosts.map((host) => new EtcdMember(host, scheme, [...argvOf(host, scheme, cluster, tls), ...options])),
      tls === undefined ? undefined : CERTIFICATES,
    );
    for (const member of etcd.members) await member.start();
    await etcd.ready();
    return etcd;
  }

  /** The etcd that an earlier process of the lab started; `undefined` when there is none. */
  static async find(lab: Lab): Promise<Etcd | undefined> {
    const members: EtcdMember[] = [];
    for (const host of lab.stores) {
      const daemon = await host.daemon('etcd');
      if (daemon === undefined) continue;
      const { argv } = daemon.record;
      members.push(new EtcdMember(host, argv.join(' ').includes('https://') ? 'https' : 'http', argv));
    }
    const [first] = members;
    if (first === undefined) return undefined;
    return new Etcd(members, first.endpoint.startsWith('https') ? CERTIFICATES : undefined);
  }

  /** Waits until every member answers. */
  async ready(): Promise<void> {
    await until(async () => (await this.run(3, ['endpoint', 'health'])).code === 0, {
      what: 'healthy etcd',
      timeoutMs: 20_000,
      intervalMs: 50,
      signal: this.members[0]?.host.signal,
    });
  }

  /** `etcdctl ARGUMENTS` on the store, with one of the two APIs. */
  run(api: 2 | 3, args: readonly string[], stdin?: string): Promise<CommandResult> {
    const [member] = this.members;
    if (member === undefined) throw new WeftError('lab-etcd', 'etcd has no members');
    const tls = this.certificates;
    const names = api === 2 ? ['--ca-file', '--cert-file', '--key-file'] : ['--cacert', '--cert', '--key'];
    const options =
      tls === undefined ? [] : [tls.ca, tls.cert, tls.key].map((path, n) => `${names[n]}=${path}`);
    const argv = [
      'env',
      `ETCDCTL_API=${api}`,
      'etcdctl',
      `--endpoints=${this.endpoints.join(',')}`,
      ...options,
      ...args,
    ];
    return member.host.run(argv, stdin === undefined ? {} : { stdin });
  }

  /** As {@link run}: the standard output; throws `lab-command` when it fails. */
  async must(api: 2 | 3, args: readonly string[], stdin?: string): Promise<string> {
    return outputOf(['etcdctl', ...args], await this.run(api, args, stdin));
  }
}

/** One server. Stopped or killed, it starts again with its data unless that is wiped. */
export class EtcdMember {
  readonly host: Host;
  readonly endpoint: string;
  readonly #argv: readonly string[];

  constructor(host: Host, scheme: 'http' | 'https', argv: readonly string[]) {
    this.host = host;
    this.endpoint = `${scheme}://${host.address}:${CLIENT_PORT}`;
    this.#argv = argv;
  }

  async start(): Promise<Daemon> {
    return this.host.start('etcd', this.#argv);
  }

  async stop(): Promise<void> {
    await (await this.#daemon()).stop();
  }

  async kill(): Promise<void> {
    const daemon = await this.#daemon();
    daemon.kill('SIGKILL');
    await daemon.exited();
  }

  /** It keeps its connections and answers nothing. */
  async freeze(): Promise<void> {
    (await this.#daemon()).kill('SIGSTOP');
  }

  async thaw(): Promise<void> {
    (await this.#daemon()).kill('SIGCONT');
  }

  /** Removes its data; it must not run. */
  async wipe(): Promise<void> {
    await this.host.components.folders.remove(this.host.path(DATA));
  }

  async #daemon(): Promise<Daemon> {
    const daemon = await this.host.daemon('etcd');
    if (daemon === undefined) throw new WeftError('lab-etcd', `etcd was never started on ${this.host.name}`);
    return daemon;
  }
}

function argvOf(host: Host, scheme: string, cluster: string, tls: EtcdOptions['tls']): string[] {
  const client = `${scheme}://${host.address}:${CLIENT_PORT}`;
  const peer = `http://${host.address}:${PEER_PORT}`;
  const server = ['--cert-file=/run/etcd-tls/server.pem', '--key-file=/run/etcd-tls/server-key.pem'];
  const mutual = ['--client-cert-auth', `--trusted-ca-file=${CERTIFICATES.ca}`];
  return [
    'etcd',
    `--name=${host.name}`,
    `--data-dir=${DATA}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=${cluster}`,
    '--enable-v2',
    ...(tls === undefined ? [] : server),
    ...(tls === 'client' ? mutual : []),
  ];
}

/** $1: an empty folder; $2: the servers' addresses as subjectAltName wants them. */
const MAKE_CERTIFICATES = `
set -e
cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=lab-ca -keyout ca-key.pem -out ca.pem
for name in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$name-key.pem" -out "$name.csr"
  echo "subjectAltName=$2" > "$name.ext"
  openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile "$name.ext" -out "$name.pem"
done`;

/** Makes a CA, a server's and a client's certificate and gives them to all hosts at the same paths. */
async function makeCertificates(lab: Lab, servers: readonly Host[]): Promise<void> {
  const { commands, files, folders } = lab.components;
  const folder = join(lab.folder, 'tls');
  await folders.make(folder);
  const names = servers.map((host) => `IP:${host.address}`).join(',');
  const argv = ['sh', '-c', MAKE_CERTIFICATES, 'sh', folder, names] as const;
  outputOf(['openssl'], await commands.run(argv));
  for (const name of ['ca.pem', 'server.pem', 'server-key.pem', 'client.pem', 'client-key.pem']) {
    const text = (await files.read(join(folder, name))) ?? '';
    for (const host of [...servers, ...lab.hosts]) await host.write(`/run/etcd-tls/${name}`, text, 0o600);
  }
}
