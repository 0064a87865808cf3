import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AskApi, askNetworks } from '#src/cli/ask-networks.ts';
import { jsonOf } from '#src/cli/json-of.ts';
import { WeftError } from '#src/lib/errors.ts';
import { artefactsOf, namedNetwork } from '#src/node/network-id.ts';

const OPTIONS = { stateDir: '/s', subnetFile: '/run/flannel/subnet.env', etcdPrefix: '/p' };
const SOCKET = artefactsOf({ prefix: '/p' }, OPTIONS).socket;
const [BLUE, RED] = ['/s/network-00000000000b.sock', '/s/network-00000000000a.sock'];
const { signal } = new AbortController();

/** Daemons by their sockets: the name of the network, or why there is no answer. */
function host(daemons: Readonly<Record<string, string | Error>>, files: readonly string[] = []) {
  const asked: string[] = [];
  const ask = async (socket: string, path: string) => {
    asked.push(socket);
    const daemon = daemons[socket] ?? new WeftError('not-running', `nobody at ${socket}`);
    if (daemon instanceof Error) throw daemon;
    return path === '/v1/status' ? { name: daemon } : { peers: [] };
  };
  return { components: { ask: ask as unknown as AskApi, folders: { list: async () => [...files] } }, asked };
}

const FILES = ['network-00000000000a.sock', 'network-00000000000b.sock', 'node-id', 'docker-driver.sock'];

test('the one network of a daemon is asked, and its answer is shown as it is', async () => {
  const { components } = host({ [SOCKET]: 'unnamed' });
  const answers = await askNetworks(components, { options: OPTIONS, id: undefined }, '/v1/peers', signal);
  assert.deepEqual(answers, [{ socket: SOCKET, answer: { peers: [] } }]);
  assert.deepEqual(jsonOf(answers), { peers: [] });
});

test('several networks are asked, each with its name, in the order of these', async () => {
  const { components } = host({ [BLUE]: 'blue', [RED]: 'red' }, FILES);
  const answers = await askNetworks(components, { options: OPTIONS, id: undefined }, '/v1/peers', signal);
  assert.deepEqual(
    answers.map(({ name }) => name),
    ['blue', 'red'],
  );
  assert.deepEqual(jsonOf(answers), [
    { network: 'blue', peers: [] },
    { network: 'red', peers: [] },
  ]);
});

test('a network that was asked for is the only one', async () => {
  const { components, asked } = host({ [BLUE]: 'blue' }, FILES);
  const id = namedNetwork('/p', 'green');
  const asking = askNetworks(components, { options: OPTIONS, id }, '/v1/peers', signal);
  await assert.rejects(asking, { code: 'not-running' });
  assert.deepEqual(asked, [artefactsOf(id, OPTIONS).socket]);
});

test('a daemon that does not answer says more than one that is not there', async () => {
  const { components } = host({ [BLUE]: new WeftError('silent', 'it is busy') }, FILES);
  const request = { options: OPTIONS, id: undefined };
  await assert.rejects(askNetworks(components, request, '/v1/peers', signal), { code: 'silent' });
});

test('a refusal is not passed over', async () => {
  const { components } = host(
    { [SOCKET]: 'x', [BLUE]: new WeftError('local-api', 'permission denied') },
    FILES,
  );
  const request = { options: OPTIONS, id: undefined };
  await assert.rejects(askNetworks(components, request, '/v1/peers', signal), { code: 'local-api' });
});
