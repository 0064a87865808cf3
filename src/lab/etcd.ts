import { join } from 'node:path';
import { outputOf } from '#src/lab/components.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import { type Certificates, Store, StoreMember } from '#src/lab/store.ts';
import { COMPACTED } from '#src/store/store-client.ts';
import { until } from '#src/sys/until.ts';

export interface EtcdOptions {
  /** Default 1. More are on hosts `store2`, `store3`, made if they are not there. */
  readonly members?: 1 | 3;
  /** Serve https, with certificates made for it; `client` asks clients for one of the same CA as well. */
  readonly tls?: 'server' | 'client';
  /** More of etcd's options. */
  readonly options?: readonly string[];
}

const PROGRAM = 'etcd';
const CLIENT_PORT = 2379;
const PEER_PORT = 2380;
const START_MS = 30_000;
/** One member waits for nobody: it elects itself up to a second sooner. In milliseconds. */
const ALONE = ['--heartbeat-interval=50', '--election-timeout=250'];
const DATA = '/var/lib/etcd';
const CERTIFICATES: Certificates = {
  ca: '/run/etcd-tls/ca.pem',
  cert: '/run/etcd-tls/client.pem',
  key: '/run/etcd-tls/client-key.pem',
};

/** A real etcd of one or three members, with both of its APIs. */
export class Etcd extends Store {
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
      hosts.map((host) =>
        memberOn(host, [...argvOf(host, scheme, cluster, tls), ...(members === 1 ? ALONE : []), ...options]),
      ),
      tls === undefined ? undefined : CERTIFICATES,
    );
    for (const member of etcd.members) await member.start();
    await etcd.ready();
    return etcd;
  }

  /** The etcd that an earlier process of the lab started; `undefined` when there is none. */
  static async find(lab: Lab): Promise<Etcd | undefined> {
    const members: StoreMember[] = [];
    for (const host of lab.stores) {
      const daemon = await host.daemon(PROGRAM);
      if (daemon !== undefined) members.push(memberOn(host, daemon.record.argv));
    }
    const [first] = members;
    if (first === undefined) return undefined;
    return new Etcd(members, first.endpoint.startsWith('https') ? CERTIFICATES : undefined);
  }

  override async ready(): Promise<void> {
    for (const member of this.members) await member.listening(START_MS);
    await until(async () => (await this.run(3, ['endpoint', 'health'])).code === 0, {
      what: 'healthy etcd',
      timeoutMs: START_MS,
      intervalMs: 50,
      signal: this.members[0]?.host.signal,
    });
  }

  override async put(key: string, value: string): Promise<void> {
    await this.must(3, ['put', key], value);
  }

  override async compact(): Promise<void> {
    const status = JSON.parse(await this.must(3, ['endpoint', 'status', '-w', 'json'])) as {
      Status: { header: { revision: number } };
    }[];
    const words = ['compaction', String(status[0]?.Status.header.revision)];
    const answer = await this.run(3, words);
    // Nothing was written since the last time: there is nothing left to compact, as the embedded store has it.
    if (!answer.stderr.includes(COMPACTED)) outputOf(['etcdctl', ...words], answer);
  }
}

function memberOn(host: Host, argv: readonly string[]): StoreMember {
  const scheme = argv.some((word) => word.startsWith('--cert-file=')) ? 'https' : 'http';
  const endpoint = `${scheme}://${host.address}:${CLIENT_PORT}`;
  return new StoreMember(host, { program: PROGRAM, argv, endpoint, data: DATA });
}

function argvOf(host: Host, scheme: string, cluster: string, tls: EtcdOptions['tls']): string[] {
  const client = `${scheme}://${host.address}:${CLIENT_PORT}`;
  const peer = `http://${host.address}:${PEER_PORT}`;
  const server = ['--cert-file=/run/etcd-tls/server.pem', '--key-file=/run/etcd-tls/server-key.pem'];
  const mutual = ['--client-cert-auth', `--trusted-ca-file=${CERTIFICATES.ca}`];
  return [
    PROGRAM,
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
