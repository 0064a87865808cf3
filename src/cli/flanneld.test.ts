import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { type FlanneldProcess, main, type RunAgent } from '#src/cli/flanneld.ts';
import { WeftError } from '#src/lib/errors.ts';
import { VERSION } from '#src/lib/version.ts';

before(() => {
  process.env.TZ = 'UTC';
});

interface Outcome {
  readonly code: number;
  /** What was written, the header of log lines cut off at the severity. */
  readonly lines: readonly string[];
  readonly listenersLeft: number;
}

interface Run {
  readonly environment?: FlanneldProcess['environment'];
  readonly agent?: RunAgent;
  /** Called when the agent runs. */
  readonly whileRunning?: (events: EventEmitter) => void;
}

const untilAborted: RunAgent = async (_options, _components, signal) => {
  await once(signal, 'abort');
  return 0;
};

async function run(
  words: readonly string[],
  { environment = {}, agent, whileRunning }: Run = {},
): Promise<Outcome> {
  const events = new EventEmitter();
  const lines: string[] = [];
  const code = await main(words, {
    pid: 1,
    environment,
    writeLine: (line) => {
      lines.push(...line.trimEnd().split('\n'));
      return true;
    },
    now: () => 0,
    events,
    loadAgent: async () => (options, components, signal) => {
      const running = (agent ?? (async () => 0))(options, components, signal);
      whileRunning?.(events);
      return running;
    },
  });
  return {
    code,
    lines: lines.map((line) => line.replace(/^([IWE])\d{4} [\d:.]+ +1 /, '$1 ')),
    listenersLeft: events.eventNames().length,
  };
}

const STARTS = `I flanneld.ts:0] flanneld v${VERSION} (weft) starts with `;
const GOODBYE = 'I flanneld.ts:0] Exiting cleanly...';

test('an unknown flag, or a value that is none, is one clear line, a hint, and exit code 2', async () => {
  for (const [words, message] of [
    [['--logtostderr'], 'flag provided but not defined: -logtostderr'],
    [['-healthz-port=x'], 'invalid value "x" for flag -healthz-port: parse error'],
    [['-ip-masq=maybe'], 'invalid boolean value "maybe" for -ip-masq: parse error'],
    [['-etcd-api=v4'], 'invalid value "v4" for flag -etcd-api: must be one of auto, v2, v3'],
    [['-v'], 'flag needs an argument: -v'],
  ] as const) {
    const { code, lines } = await run(words);
    assert.deepEqual([code, ...lines], [2, message, 'flanneld --help lists the flags']);
  }
});

test('--help prints the usage and exits 0', async () => {
  for (const word of ['-h', '--help']) {
    const { code, lines } = await run([word]);
    assert.equal(code, 0);
    assert.equal(lines[0], 'Usage: flanneld [OPTION]...');
    assert.ok(lines.includes('  -subnet-file file'));
  }
});

test('--version prints one line and exits 0, but FLANNELD_VERSION does not', async () => {
  assert.deepEqual((await run(['-version'])).lines, [`v${VERSION} (weft)`]);
  const { code, lines } = await run([], { environment: { FLANNELD_VERSION: 'true' } });
  assert.deepEqual([code, ...lines], [0, `${STARTS}all flags at their defaults`, GOODBYE]);
});

test('the agent gets what command line and environment say', async () => {
  let seen: unknown[] = [];
  await run(['-etcd-prefix=/x', '--iface', 'a', '-iface=b', '-ip-masq'], {
    environment: { FLANNELD_ETCD_PREFIX: '/y', FLANNELD_PUBLIC_IP: '192.0.2.1', FLANNELD_IFACE: 'c' },
    agent: async ({ etcdPrefix, iface, ipMasq, publicIp, etcdEndpoints }) => {
      seen = [etcdPrefix, iface, ipMasq, publicIp, etcdEndpoints];
      return 0;
    },
  });
  assert.deepEqual(seen, [
    '/x',
    ['a', 'b'],
    true,
    '192.0.2.1',
    ['http://127.0.0.1:4001', 'http://127.0.0.1:2379'],
  ]);
});

test('flags that are ignored are named in the log', async () => {
  const { lines } = await run(['--ip-masq', 'false', '--iface=eth0'], {
    environment: { FLANNELD_HEALTHZ_PORT: 'http', FLANNELD_IP_MASK: 'true', FLANNELD_OPTIONS: '--ip-masq' },
  });
  assert.deepEqual(lines.slice(1, 4), [
    'W flanneld.ts:0] Ignored environment variable FLANNELD_HEALTHZ_PORT: invalid value "http" for flag -healthz-port: parse error',
    'W flanneld.ts:0] Ignored environment variable FLANNELD_IP_MASK: did you mean FLANNELD_IP_MASQ?',
    'W flanneld.ts:0] Ignored the command line from "false" on: flags end at the first word that is none, and a boolean takes its value after =',
  ]);
});

test('a renew margin outside of 1 … 1439 exits 1', async () => {
  for (const margin of [0, -1, 1440]) {
    const { code, lines } = await run([`-subnet-lease-renew-margin=${margin}`]);
    assert.equal(code, 1);
    assert.equal(
      lines.at(-1),
      `E flanneld.ts:0] Invalid subnet-lease-renew-margin option, out of acceptable range: ${margin} is not within 1 … 1439 minutes`,
    );
  }
  for (const margin of [1, 1439]) assert.equal((await run([`-subnet-lease-renew-margin=${margin}`])).code, 0);
});

test('--kube-subnet-mgr exits 1 with one line; the other Kubernetes flags are accepted', async () => {
  const flags = ['--kube-api-url=http://x', '--kubeconfig-file=/x', '--net-config-path=/x'];
  const { code, lines } = await run(['--kube-subnet-mgr', ...flags]);
  assert.equal(code, 1);
  assert.deepEqual(lines.slice(1), [
    'E flanneld.ts:0] Leases from Kubernetes (--kube-subnet-mgr) are not there yet; leave the flag out and name etcd with --etcd-endpoints',
  ]);
  assert.equal((await run(flags)).code, 0);
});

test('no password is written, wherever it was given', async () => {
  const secret = fc.stringMatching(/^[a-zA-Z0-9:/@!]{1,12}$/).map((text) => `S3cret${text}`);
  const ways: readonly ((secret: string) => [string[], Run['environment']])[] = [
    (text) => [[`--etcd-password=${text}`], {}],
    (text) => [['-etcd-password', text, '-v=9'], {}],
    (text) => [['-v=x', '-etcd-password', text], {}],
    (text) => [[], { FLANNELD_ETCD_PASSWORD: text }],
    (text) => [[`-etcd-endpoints=http://a:1,https://user:${text}@b:2`], {}],
    (text) => [['-ip-masq', 'true', '-etcd-password', text], {}],
    (text) => [['-subnet-lease-renew-margin=0'], { FLANNELD_ETCD_PASSWORD: text }],
  ];
  await fc.assert(
    fc.asyncProperty(secret, fc.constantFrom(...ways), async (text, way) => {
      const [words, environment = {}] = way(text);
      const { lines } = await run(words, { environment });
      assert.ok(!lines.join('\n').includes('S3cret'), lines.join('\n'));
    }),
  );
});

test('the first SIGTERM or SIGINT stops the agent, and takes the handlers away', async () => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    const { code, lines, listenersLeft } = await run([], {
      agent: untilAborted,
      whileRunning: (events) => {
        events.emit(signal, signal);
        assert.equal(events.listenerCount('SIGTERM') + events.listenerCount('SIGINT'), 0);
      },
    });
    assert.equal(code, 0);
    assert.deepEqual(lines.slice(1), [
      `I flanneld.ts:0] Received ${signal}: stopping; the data path stays as it is`,
      GOODBYE,
    ]);
    assert.equal(listenersLeft, 0);
  }
});

test('an agent that ends with the reason of the abort ended cleanly', async () => {
  const { code, lines } = await run([], {
    agent: async (_options, _components, signal) => {
      await once(signal, 'abort');
      throw signal.reason;
    },
    whileRunning: (events) => events.emit('SIGTERM', 'SIGTERM'),
  });
  assert.deepEqual([code, lines.at(-1)], [0, GOODBYE]);
});

test("an agent's error is one line and its exit code", async () => {
  const failing = (error: unknown) => run([], { agent: () => Promise.reject(error) });
  const ours = await failing(
    new WeftError('healthz', "Can't serve", { exitCode: 2, remedy: 'set --healthz-port' }),
  );
  assert.deepEqual(
    [ours.code, ours.lines.slice(1)],
    [2, ["E flanneld.ts:0] Can't serve; set --healthz-port"]],
  );
  const foreign = await failing(new TypeError('x is\nnot a function'));
  assert.deepEqual([foreign.code, foreign.lines.slice(1)], [1, ['E flanneld.ts:0] x is\\nnot a function']]);
  assert.equal((await run([], { agent: async () => 7 })).code, 7);
});

test('an uncaught error is one line and exit code 1', async () => {
  const { code, lines, listenersLeft } = await run([], {
    agent: untilAborted,
    whileRunning: (events) => events.emit('uncaughtException', new Error('lost')),
  });
  assert.deepEqual([code, lines.slice(1), listenersLeft], [1, ['E flanneld.ts:0] lost'], 0]);
});

test('--log-format=json writes one object a line, an error with its code', async () => {
  const failed = await run(['--log-format=json', '--kube-subnet-mgr']);
  assert.equal(JSON.parse(failed.lines.at(-1) ?? '').code, 'flags');
  const { lines } = await run(['--log-format=json']);
  assert.deepEqual(JSON.parse(lines.at(-1) ?? ''), {
    time: '1970-01-01T00:00:00.000Z',
    level: 'info',
    component: 'flanneld',
    message: 'Exiting cleanly...',
  });
});

/** A process of its own, whose agent never ends, not even when it is asked to. */
function spawnStubborn() {
  const module = fileURLToPath(new URL('flanneld.ts', import.meta.url));
  const script = `
    import { main } from ${JSON.stringify(module)};
    const loadAgent = async () => () => new Promise(() => { setInterval(() => {}, 60_000); console.log('running'); });
    await main([], { pid: 1, environment: {}, writeLine: (line) => process.stdout.write(line),
      now: Date.now, events: process, loadAgent });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  const waiting = new Set<() => void>();
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    for (const look of waiting) look();
  });
  const says = (text: string) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (output.includes(text)) resolve();
      };
      waiting.add(look);
      look();
    });
  return { child, says };
}

test('a second signal kills at once', async () => {
  const { child, says } = spawnStubborn();
  await says('running');
  child.kill('SIGTERM');
  await says('Received SIGTERM');
  child.kill('SIGINT');
  const [, signal] = await once(child, 'exit');
  assert.equal(signal, 'SIGINT');
});

test('SIGHUP keeps its default', async () => {
  const { child, says } = spawnStubborn();
  await says('running');
  child.kill('SIGHUP');
  const [, signal] = await once(child, 'exit');
  assert.equal(signal, 'SIGHUP');
});
