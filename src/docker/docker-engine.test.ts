import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askDocker, readDockerEngine } from '#src/docker/docker-engine.ts';

const VERSION = JSON.stringify({ Version: '29.1.0', ApiVersion: '1.52', MinAPIVersion: '1.44' });
const info = (fields: object): string =>
  JSON.stringify({ Containers: 2, LiveRestoreEnabled: false, ...fields });
const ENGINE = {
  version: '29.1.0',
  apiVersion: '1.52',
  firewall: 'iptables',
  firewalld: false,
  liveRestore: false,
  rootless: false,
};

test('versions of engines are read', () => {
  const cases: readonly (readonly [object, object])[] = [
    [{}, {}],
    [{ FirewallBackend: { Driver: 'iptables', Info: [['EnableUserlandProxy', 'true']] } }, {}],
    [{ FirewallBackend: { Driver: 'nftables' } }, { firewall: 'nftables' }],
    [{ FirewallBackend: { Driver: 'iptables+firewalld' } }, { firewalld: true }],
    [{ FirewallBackend: null, LiveRestoreEnabled: true }, { liveRestore: true }],
    [{ SecurityOptions: ['name=seccomp,profile=builtin', 'name=rootless'] }, { rootless: true }],
    [{ SecurityOptions: ['name=seccomp,profile=rootless'] }, {}],
  ];
  for (const [said, expected] of cases)
    assert.deepEqual(readDockerEngine(VERSION, info(said)), { ...ENGINE, ...expected });
});

test('other answers than an engine’s are refused', () => {
  for (const [version, text] of [
    ['', info({})],
    ['null', info({})],
    ['{"Version":1}', info({})],
    ['[]', info({})],
  ] as const)
    assert.equal(readDockerEngine(version, text), undefined);
  assert.deepEqual(readDockerEngine(VERSION, 'nonsense'), ENGINE);
});

test('both questions are asked, and either without an answer is no engine', async () => {
  const asked: string[] = [];
  const http = (answers: Record<string, string>) => ({
    get: async (socket: string, path: string) => {
      asked.push(`${socket}${path}`);
      return answers[path];
    },
  });
  const both = { '/version': VERSION, '/info': info({}) };
  assert.deepEqual(await askDocker({ http: http(both) }), ENGINE);
  assert.deepEqual(asked, ['/run/docker.sock/version', '/run/docker.sock/info']);
  assert.equal(await askDocker({ http: http({ '/version': VERSION }) }), undefined);
});
