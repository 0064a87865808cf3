import assert from 'node:assert/strict';
import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { WeftError } from '#src/lib/errors.ts';
import { HealthServer, type Readiness } from '#src/observe/health-server.ts';

interface Answer {
  readonly status: number | undefined;
  readonly body: string;
}

interface Asking {
  readonly host?: string;
  readonly method?: string;
  readonly agent?: Agent;
}

function ask(port: number, path: string, { host = '127.0.0.1', method = 'GET', agent }: Asking = {}) {
  return new Promise<Answer>((resolve, reject) => {
    const request = httpRequest({ host, port, path, method, agent: agent ?? false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode, body }));
    });
    request.on('error', reject).end();
  });
}

const metrics = async () => 'weft_ready 1\n';
const READY: Readiness = { ready: true, reasons: [] };

async function serving(address: string, use: (port: number, set: (now: Readiness) => void) => Promise<void>) {
  let state: Readiness = READY;
  const server = new HealthServer({ readiness: () => state, metrics }, { address, port: 0 });
  const port = await server.start();
  try {
    await use(port, (now) => {
      state = now;
    });
  } finally {
    await server.stop();
  }
}

test("/healthz is flannel's, for any method", () =>
  serving('127.0.0.1', async (port, set) => {
    set({ ready: false, reasons: ['no lease'] });
    for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
      assert.deepEqual(await ask(port, '/healthz', { method }), { status: 200, body: 'flanneld is running' });
    }
    assert.deepEqual(await ask(port, '/healthz', { method: 'HEAD' }), { status: 200, body: '' });
    assert.deepEqual(await ask(port, '/healthz?verbose=1'), { status: 200, body: 'flanneld is running' });
  }));

test('/readyz follows the state in both directions, and says why not', () =>
  serving('127.0.0.1', async (port, set) => {
    assert.deepEqual(await ask(port, '/readyz'), { status: 200, body: 'flanneld is ready' });
    set({ ready: false, reasons: ['no lease yet', 'flannel.1 is down'] });
    assert.deepEqual(await ask(port, '/readyz'), {
      status: 503,
      body: 'flanneld is not ready yet: no lease yet; flannel.1 is down',
    });
    assert.deepEqual(await ask(port, '/readyz', { method: 'HEAD' }), { status: 503, body: '' });
    set(READY);
    assert.deepEqual(await ask(port, '/readyz'), { status: 200, body: 'flanneld is ready' });
  }));

test('metrics are served beside', () =>
  serving('127.0.0.1', async (port) => {
    assert.deepEqual(await ask(port, '/metrics'), { status: 200, body: 'weft_ready 1\n' });
  }));

test('any other path is 404', () =>
  serving('127.0.0.1', async (port) => {
    for (const path of ['/', '/healthz/', '/metric', '//', '*']) {
      assert.deepEqual(await ask(port, path), { status: 404, body: '404 page not found\n' }, path);
    }
  }));

test('it serves on IPv6, and on all addresses when none is named', async () => {
  await serving('::1', async (port) => {
    assert.equal((await ask(port, '/healthz', { host: '::1' })).status, 200);
  });
  await serving('', async (port) => {
    assert.equal((await ask(port, '/healthz', { host: '::1' })).status, 200);
    assert.equal((await ask(port, '/healthz')).status, 200);
  });
});

test('a port in use is one line that names it, and exit code 2', () =>
  serving('127.0.0.1', async (port) => {
    const second = new HealthServer({ readiness: () => READY, metrics }, { address: '127.0.0.1', port });
    await assert.rejects(second.start(), (error) => {
      assert.ok(error instanceof WeftError);
      assert.equal(error.message, `Can't serve /healthz on 127.0.0.1:${port}: another program listens there`);
      assert.equal(error.exitCode, 2);
      return true;
    });
  }));

for (const [address, port, text] of [
  ['192.0.2.1', 0, "Can't serve /healthz on 192.0.2.1:0: no interface of this host has the address"],
  ['2001:db8::1', 80, "Can't serve /healthz on [2001:db8::1]:80: no interface of this host has the address"],
  ['127.0.0.1', 70_000, "Can't serve /healthz on 127.0.0.1:70000: a port is a number from 1 to 65535"],
  ['127.0.0.1', -1, "Can't serve /healthz on 127.0.0.1:-1: a port is a number from 1 to 65535"],
] as const) {
  test(`it says what is wrong with ${address} port ${port}`, async () => {
    const server = new HealthServer({ readiness: () => READY, metrics }, { address, port });
    await assert.rejects(server.start(), { code: 'healthz', message: text });
  });
}

test('stop() closes idle connections, and those that never finish a request', async () => {
  const server = new HealthServer({ readiness: () => READY, metrics }, { address: '127.0.0.1', port: 0 });
  const port = await server.start();
  const agent = new Agent({ keepAlive: true });
  await ask(port, '/healthz', { agent });
  const half = connect(port, '127.0.0.1');
  const closed = new Promise<void>((resolve) => half.on('error', () => {}).on('close', () => resolve()));
  await new Promise<void>((resolve) => half.write('GET /healthz HTTP/1.1\r\n', () => resolve()));
  await server.stop();
  await closed;
  agent.destroy();
  await assert.rejects(ask(port, '/healthz'), { code: 'ECONNREFUSED' });
});
