import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const UNITS = join(ROOT, 'packaging/systemd');

const runs = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
const skip = !runs('systemd-analyze') && 'systemd-analyze is not installed';

/** What `systemd-analyze verify` says about the unit, after `edit`; paths of ours are replaced by ones that exist. */
function verify(unit: string, edit: (text: string) => string = (text) => text): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'systemd-units-'));
  try {
    mkdirSync(join(folder, 'bin'));
    for (const program of ['flanneld', 'mk-docker-opts', 'dockerd']) {
      writeFileSync(join(folder, 'bin', program), '#!/bin/sh\n', { mode: 0o755 });
    }
    const copy = (name: string): void => {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      const text = edit(readFileSync(join(UNITS, name), 'utf8'))
        .replaceAll('/opt/weft/bin/', `${folder}/bin/`)
        .replace('ExecStart=dockerd', `ExecStart=${folder}/bin/dockerd`);
      writeFileSync(join(folder, name), text);
    };
    copy('flanneld.service');
    if (unit === 'docker.service') {
      writeFileSync(join(folder, unit), '[Service]\nType=notify\nExecStart=/bin/false\n');
      copy('docker.service.d/flannel.conf');
    }
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', join(folder, unit)], {
      encoding: 'utf8',
    });
    const said = stderr.split('\n').filter((line) => /flannel|docker/.test(line));
    return status === 0 || said.length > 0 ? said : stderr.split('\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('systemd finds nothing wrong with flanneld.service', { skip }, () => {
  assert.deepEqual(verify('flanneld.service'), []);
});

test('systemd finds nothing wrong with the drop-in for Docker', { skip }, () => {
  assert.deepEqual(verify('docker.service'), []);
});

test('systemd would find a wrong key, a missing program and a second ExecStart', { skip }, () => {
  assert.notDeepEqual(
    verify('flanneld.service', (text) => text.replace('Restart=', 'Restarts=')),
    [],
  );
  assert.notDeepEqual(
    verify('flanneld.service', (text) => text.replace('/opt/weft/bin/flanneld', '/nonexistent')),
    [],
  );
  assert.notDeepEqual(
    verify('docker.service', (text) => text.replace('ExecStart=\n', '')),
    [],
  );
});

test('what flanneld.service promises in the guide is in it', () => {
  const unit = readFileSync(join(UNITS, 'flanneld.service'), 'utf8');
  for (const line of [
    'Before=docker.service',
    'Type=notify',
    'Restart=always',
    'RuntimeDirectoryPreserve=yes',
  ]) {
    assert.ok(unit.split('\n').includes(line), line);
  }
  assert.doesNotMatch(unit, /^ProtectKernelTunables|^MemoryDenyWriteExecute|^PrivateNetwork/m);
});
