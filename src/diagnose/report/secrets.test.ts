import assert from 'node:assert/strict';
import { test } from 'node:test';
import { secretsIn } from '#src/diagnose/report/secrets.ts';

test('the secrets of a process are found, and its other words are none', () => {
  const argv = [
    'flanneld',
    '--etcd-password',
    'p 1',
    '-etcd-password=p=2',
    '--etcd-endpoints=http://u:p%203@h:1',
    '--v=1',
  ];
  const environment = [
    'FLANNELD_ETCD_PASSWORD=p4',
    'PATH=/bin',
    'HTTP_PROXY=http://u:p5@h',
    'API_TOKEN=p6',
    'X_TOKEN=',
  ];
  assert.deepEqual(secretsIn(argv, environment), ['p 1', 'p=2', 'p 3', 'p4', 'p5', 'p6']);
});
