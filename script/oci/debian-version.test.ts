import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { compareVersions } from './debian-version.ts';

const ASCENDING = [
  '1.0~rc1-1',
  '1.0-1~bpo1',
  '1.0-1',
  '1.0-1+b1',
  '1.0-2',
  '1.0a-1',
  '1.0+dfsg-1',
  '1.0.1-1',
  '1.9-1',
  '1.10-1',
  '2.41-12+deb13u5',
  '2.41-12+deb13u10',
  '14.2.0-19',
  '1:0.1',
  '2:6.3.0+dfsg-3',
];

test('versions are ordered', () => {
  for (const [n, one] of ASCENDING.entries())
    for (const [m, two] of ASCENDING.entries())
      assert.equal(Math.sign(compareVersions(one, two)), Math.sign(n - m), `${one} and ${two}`);
});

const skip = spawnSync('dpkg', ['--version']).status !== 0 && 'needs dpkg';

test('dpkg says the same', { skip }, () => {
  for (const [n, version] of ASCENDING.slice(1).entries()) {
    const { status } = spawnSync('dpkg', ['--compare-versions', ASCENDING[n] ?? '', 'lt', version]);
    assert.equal(status, 0, `${ASCENDING[n]} and ${version}`);
  }
});
