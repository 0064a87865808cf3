import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { DRIVER_DROP_INS } from '#src/cli/generator/driver-drop-ins.ts';
import { FAST_PATH_DROP_IN } from '#src/cli/generator/fast-path-drop-in.ts';
import { generateUnits } from '#src/cli/generator/generate-units.ts';
import { unitReaderOf } from '../../../test/support/unit-reader.ts';

const packaged = (name: string): string =>
  readFileSync(new URL(`../../../packaging/systemd/${name}`, import.meta.url), 'utf8');

const VENDOR = '/usr/lib/systemd/system';
const INSTALLED = {
  [`${VENDOR}/flanneld.service`]: packaged('flanneld.service'),
  [`${VENDOR}/weft-docker.socket`]: packaged('weft-docker.socket'),
  '/lib/systemd/system/docker.service': '[Service]\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\n',
};
const ENABLED = { '/etc/systemd/system/multi-user.target.wants/flanneld.service': 'a link' };
const SOCKET = { '/etc/systemd/system/sockets.target.wants/weft-docker.socket': 'a link' };

const generate = async (...texts: Record<string, string>[]) => {
  const { files, notes } = await generateUnits(unitReaderOf(Object.assign({}, INSTALLED, ...texts)));
  return { names: [...files.keys()], files, notes };
};

test('what is installed and not enabled changes nothing', async () => {
  assert.deepEqual((await generate()).names, []);
});

test('an enabled flanneld gives Docker its drop-in', async () => {
  const { files, notes } = await generate(ENABLED);
  assert.deepEqual(notes, []);
  const text = files.get('docker.service.d/zz-weft-flannel.conf') ?? '';
  assert.match(
    text,
    /^ExecStart=\nExecStart=\/usr\/sbin\/dockerd -H fd:\/\/ \$DOCKER_OPTS \$DOCKER_NETWORK_OPTIONS$/m,
  );
  assert.doesNotMatch(text, /FWMARK/);
});

test('until the next boot, by another unit, or by the distribution: all are enabled', async () => {
  for (const link of [
    '/run/systemd/system/multi-user.target.wants',
    '/etc/systemd/system/site.target.requires',
    `${VENDOR}/multi-user.target.wants`,
  ])
    assert.equal((await generate({ [`${link}/flanneld.service`]: '' })).names.length, 1, link);
});

test('the mark of flanneld’s settings goes with it', async () => {
  const { files } = await generate(ENABLED, {
    '/etc/default/flanneld': 'FLANNELD_DOCKER_FWMARK=0x1\n',
    '/etc/weft/flanneld.conf': 'FLANNELD_DOCKER_FWMARK=0x40\nFLANNELD_ETCD_PASSWORD=secret\n',
  });
  const [text = ''] = files.values();
  assert.match(text, /^Environment=FLANNELD_DOCKER_FWMARK=0x40$/m);
  assert.doesNotMatch(text, /secret/);
});

test('a mark that flanneld refuses does not come into Docker’s unit', async () => {
  for (const value of ['"0x40\nExecStartPre=/bin/false"', '0x40 A=%H', '3']) {
    const { files } = await generate(ENABLED, {
      '/etc/weft/flanneld.conf': `FLANNELD_DOCKER_FWMARK=${value}\n`,
    });
    const [text = ''] = files.values();
    assert.match(text, /^ExecStart=\//m);
    assert.doesNotMatch(text, /FWMARK|bin\/false/);
  }
});

test('a masked Docker, no Docker and a masked flanneld: nothing', async () => {
  const masked = { '/etc/systemd/system/docker.service': '' };
  assert.deepEqual((await generate(ENABLED, masked)).names, []);
  const { names } = await generateUnits(
    unitReaderOf({ ...ENABLED, [`${VENDOR}/flanneld.service`]: packaged('flanneld.service') }),
  ).then(({ files }) => ({ names: [...files.keys()] }));
  assert.deepEqual(names, []);
  assert.deepEqual((await generate(ENABLED, { '/etc/systemd/system/flanneld.service': '' })).names, []);
});

test('the driver’s socket brings the driver’s drop-ins', async () => {
  const { names } = await generate(ENABLED, SOCKET);
  assert.deepEqual(names, [
    'docker.service.d/zz-weft-flannel.conf',
    'docker.service.d/zz-weft-driver.conf',
    'flanneld.service.d/zz-weft-driver.conf',
  ]);
});

test('these say what the files for hosts without the generator say', () => {
  for (const [unit, text] of Object.entries(DRIVER_DROP_INS))
    assert.equal(text, packaged(`${unit}.d/weft-driver.conf`).replaceAll(/^#.*\n/gm, ''), unit);
  const fastPath = packaged('flanneld.service.d/weft-fast-path.conf');
  assert.equal(FAST_PATH_DROP_IN, fastPath.replaceAll(/^#.*\n/gm, ''));
});

test('the fast path’s rights come with its flag, wherever that is, and with nothing else', async () => {
  const NAME = 'flanneld.service.d/zz-weft-fast-path.conf';
  const settings = (text: string) => ({ '/etc/weft/flanneld.conf': text });
  const asked = [
    settings('FLANNELD_FAST_PATH=on\n'),
    settings('FLANNELD_OPTIONS=--ip-masq -fast-path on\n'),
    {
      '/etc/systemd/system/flanneld.service.d/own.conf':
        '[Service]\nExecStart=\nExecStart=/usr/bin/flanneld --fast-path=on\n',
    },
  ];
  for (const texts of asked) assert.deepEqual((await generate(texts)).names, [NAME], JSON.stringify(texts));
  const notAsked = [
    settings('FLANNELD_FAST_PATH=off\n'),
    settings('#FLANNELD_FAST_PATH=on\n'),
    // The command line comes first.
    settings('FLANNELD_FAST_PATH=on\nFLANNELD_OPTIONS=--fast-path=off\n'),
    settings('FLANNELD_OPTIONS=--fast-path=on --no-such-flag\n'),
    { '/etc/systemd/system/flanneld.service': '' },
  ];
  for (const texts of notAsked)
    assert.deepEqual(
      (await generate(settings('FLANNELD_FAST_PATH=on\n'), texts)).names,
      [],
      JSON.stringify(texts),
    );
});
