import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { KeyValue, RangeResponse, TxnResponse } from '#src/etcd/rpc.ts';
import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { RTNETLINK_CODECS } from '#src/kernel/codecs.ts';
import { errorIn, messagesIn } from '#src/kernel/message.ts';
import { WeftError } from '#src/lib/errors.ts';
import { addEnvironment, optionsOf, parseFlags } from '#src/lib/go-flags.ts';
import { parseGoBool, parseGoDuration, parseGoInt } from '#src/lib/go-values.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import { parseEndpoints } from '#src/registry/endpoints.ts';
import { RegistryError } from '#src/registry/errors.ts';
import { EtcdV2Registry } from '#src/registry/etcd-v2.ts';
import { EtcdV3Registry } from '#src/registry/etcd-v3.ts';
import type { Registry } from '#src/registry/registry.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemRandom } from '#src/sys/random.ts';
import type { Random } from './random.ts';
import type { Rounds, Target } from './target.ts';

/** Reading one input may take so long, milliseconds. */
const PATIENCE_MS = 5_000;

/** A reader answers, or refuses with an error that is one line for a user; in reasonable time. */
export function reads(read: () => unknown): void {
  const began = performance.now();
  try {
    read();
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
  }
  const took = performance.now() - began;
  if (took > PATIENCE_MS) throw new Error(`reading took ${Math.round(took)} ms`);
}

export function pure(name: string, description: string, play: (random: Random) => void): Target {
  return { name, description, start: (): Rounds => ({ play, stop() {} }) };
}

const CONFIGS = [
  '{"Network":"10.0.0.0/8","SubnetLen":24,"SubnetMin":"10.1.0.0","Backend":{"Type":"vxlan","VNI":7}}',
  '{"EnableIPv6":true,"IPv6Network":"fd00::/48","Network":"10.0.0.0/8","Backend":{"Type":"host-gw"}}',
] as const;

const WORDS = [
  '--etcd-endpoints=http://a:1,http://b:2',
  '-iface',
  'eth0',
  '--ip-masq',
  '--subnet-lease-renew-margin=60',
  '--',
  '-h',
  '--v=10',
] as const;

export const flags = pure('flags', 'command lines, environment, numbers, durations, configs', (random) => {
  const text = (sample: string): string =>
    random.mutate(Buffer.from(sample)).toString(random.pick(['utf8', 'latin1']));
  const words = Array.from({ length: random.int(6) }, () =>
    random.once(2) ? random.pick(WORDS) : text(random.pick(WORDS)),
  );
  reads(() => {
    const parsed = parseFlags(FLANNELD_FLAGS, words);
    if (parsed.outcome !== 'parsed') return;
    const environment = {
      FLANNELD_IFACE: text('eth0'),
      FLANNELD_ETCD_API: text('v3'),
      FLANNELD_IP_MASQ: text('true'),
    };
    optionsOf(FLANNELD_FLAGS, addEnvironment(FLANNELD_FLAGS, parsed.given, 'FLANNELD_', environment).given);
  });
  const number = text(random.pick(['1h2m3.5s', '-10ms', '1e5', '0x7f', '9223372036854775807', 'true']));
  const long = random.once(20) ? number.repeat(random.int(3000)) : number;
  for (const parse of [parseGoDuration, parseGoInt, parseGoBool]) reads(() => parse(long));
  reads(() => parseNetworkConfig(text(random.pick(CONFIGS))));
  reads(() => parseEndpoints(text('https://a.b:2379,http://[::1]:1'), { tls: random.once(2) }));
});

const RULES = [
  '*nat\n:POSTROUTING ACCEPT [0:0]\n:X - [0:0]\n-A X -m comment --comment "a b \\" c" -j RETURN\n-A POSTROUTING -s 10.0.0.0/8 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully\nCOMMIT\n',
  '# Generated\n*filter\n:FORWARD DROP [1:2]\n-A FORWARD -i a+ -o b -m mark --mark 0x1/0x1 -j ACCEPT\nCOMMIT\n',
] as const;

export const rules = pure('rules', 'texts of iptables-save', (random) => {
  const text = random.mutate(Buffer.from(random.pick(RULES).repeat(1 + random.int(3)))).toString();
  reads(() => parseIptablesSave(text));
});

/** Headers of rtnetlink for every type that is read, with attributes of any kind behind them. */
export const netlink = pure('netlink', 'datagrams of rtnetlink', (random) => {
  const names = { nameOf: (index: number) => (random.once(3) ? undefined : `if${index}`) };
  const messages = Array.from({ length: 1 + random.int(3) }, () => netlinkMessage(random));
  const datagram = Buffer.concat(messages);
  reads(() => {
    for (const message of messagesIn(random.once(2) ? random.mutate(datagram) : datagram)) {
      errorIn(message);
      RTNETLINK_CODECS.readEvent(message, names);
    }
  });
});

function netlinkMessage(random: Random): Buffer {
  const type = random.pick([2, 3, 16, 17, 20, 21, 24, 25, 28, 29, 80, random.int(255)]);
  const fixed = random.bytes(28);
  fixed[0] = random.pick([2, 10, 7, 0, random.int(255)]);
  const attributes = Array.from({ length: random.int(8) }, () => {
    const value = random.pick([
      random.bytes(4),
      random.bytes(16),
      Buffer.from('vxlan\0'),
      Buffer.alloc(random.pick([1, 4, 6, 16])),
    ]);
    const attribute = Buffer.alloc((4 + value.length + 3) & ~3);
    attribute.writeUInt16LE(random.once(10) ? random.int(0xffff) : 4 + value.length, 0);
    attribute.writeUInt16LE(random.once(5) ? random.int(0xffff) : random.int(60), 2);
    value.copy(attribute, 4);
    return attribute;
  });
  const body = Buffer.concat([
    Buffer.concat([fixed, Buffer.alloc(28)], random.pick([12, 8, 16, 4, 24])),
    ...attributes,
  ]);
  const head = Buffer.alloc(16);
  head.writeUInt32LE(16 + body.length, 0);
  head.writeUInt16LE(type, 4);
  head.writeUInt16LE(random.int(0xffff), 6);
  return Buffer.concat([head, body, Buffer.alloc(-body.length & 3)]);
}

/** Asks a registry everything that reads; it answers, or says in one line why it can't. */
async function ask(registry: Registry): Promise<void> {
  for (const question of ['readConfig', 'list', 'read'] as const) {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    try {
      if (question === 'read') await registry.read('10.1.2.0-24', signal);
      else await registry[question](signal);
    } catch (error) {
      if (signal.aborted) throw new Error(`${question} took more than ${PATIENCE_MS} ms`, { cause: error });
      if (!(error instanceof RegistryError) && !(error instanceof WeftError)) throw error;
    }
  }
}

async function portOf(server: HttpServer | Http2Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const NODE =
  '{"key":"/p/subnets/10.1.2.0-24","value":"{\\"PublicIP\\":\\"1.2.3.4\\"}","modifiedIndex":5,"createdIndex":5,"ttl":9}';
const BODIES = [
  `{"action":"get","node":{"key":"/p/subnets","dir":true,"nodes":[${NODE},${NODE}],"modifiedIndex":5,"createdIndex":5}}`,
  `{"action":"get","node":${NODE}}`,
  '{"errorCode":100,"message":"Key not found","cause":"/p","index":7}',
] as const;
const PARTS = ['null', '5', '[]', '{}', '"x"', '1.5', '-1', 'true', NODE] as const;

export const etcdV2: Target = {
  name: 'etcd-v2',
  description: 'answers of an etcd v2',
  async start() {
    let body: Buffer = Buffer.alloc(0);
    let status = 200;
    const server = createHttpServer((_, response) => {
      response.writeHead(status, { 'X-Etcd-Index': '7', 'Content-Type': 'application/json' }).end(body);
    });
    const port = await portOf(server);
    const endpoints = parseEndpoints(`http://127.0.0.1:${port}`, { tls: false });
    const registry = new EtcdV2Registry(
      { clock: systemClock, random: systemRandom },
      { prefix: '/p', endpoints, tls: {} },
    );
    return {
      async play(random) {
        const text: string = random.pick(BODIES);
        // A value of JSON in the place of another, so that the text stays JSON and its shape is wrong.
        const shaped = random.once(2)
          ? text.replace(
              random.pick([NODE, '"nodes":[', '5', '"/p/subnets"', '100', 'true', '"get"'] as const),
              (part) => (part.endsWith('[') ? `"nodes":[${random.pick(PARTS)},` : random.pick(PARTS)),
            )
          : text;
        body = random.once(2) ? Buffer.from(shaped) : random.mutate(Buffer.from(shaped));
        status = random.pick([200, 200, 200, 404, 500, 307, 201]);
        await ask(registry);
      },
      async stop() {
        await registry.close();
        server.closeAllConnections();
        server.close();
      },
    };
  },
};

export const etcdV3: Target = {
  name: 'etcd-v3',
  description: 'answers of an etcd v3',
  async start() {
    let answer = (): { body: Buffer; trailers: Record<string, string> } => ({
      body: Buffer.alloc(0),
      trailers: {},
    });
    const server = createHttp2Server();
    server.on('session', (session) => session.on('error', () => {}));
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.on('error', () => {});
      stream.resume();
      stream.on('end', () => {
        if (stream.destroyed) return;
        const { body, trailers } = answer();
        stream.on('wantTrailers', () => stream.sendTrailers(trailers));
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.end(body);
      });
    });
    const port = await portOf(server);
    const endpoints = parseEndpoints(`http://127.0.0.1:${port}`, { tls: false });
    const registry = new EtcdV3Registry(
      { clock: systemClock, random: systemRandom },
      { prefix: '/p', endpoints, tls: {} },
    );
    return {
      async play(random) {
        answer = () => {
          const message = rangeAnswer(random);
          const prefix = Buffer.alloc(5);
          prefix.writeUInt32BE(message.length, 1);
          const body = Buffer.concat([prefix, message]);
          return {
            body: random.once(10) ? random.mutate(body) : body,
            trailers: { 'grpc-status': random.once(6) ? String(random.int(17)) : '0', 'grpc-message': 'x' },
          };
        };
        await ask(registry);
      },
      async stop() {
        await registry.close();
        server.close();
      },
    };
  },
};

function rangeAnswer(random: Random): Buffer {
  const kvs = Array.from({ length: random.int(4) }, () =>
    KeyValue.create({
      key: Buffer.from(random.pick(['/p/subnets/10.1.2.0-24', '/p/subnets/', '/p/config', '', '\xff'])),
      value: random.once(2) ? random.bytes(40) : Buffer.from('{"PublicIP":"1.2.3.4"}'),
      modRevision: random.int64(),
      createRevision: random.int64(),
      version: random.int64(),
      lease: random.int64(),
    }),
  );
  const header = random.once(8)
    ? undefined
    : { clusterId: 1n, memberId: 2n, revision: random.int64(), raftTerm: 1n };
  const message = random.once(6)
    ? TxnResponse.encode({ header, succeeded: random.once(2), responses: [{ response: undefined }] }).finish()
    : RangeResponse.encode({ header, kvs, more: random.once(4), count: random.int64() }).finish();
  return random.once(3) ? random.mutate(Buffer.from(message)) : Buffer.from(message);
}
