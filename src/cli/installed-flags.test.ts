import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addInstalledFlags } from '#src/cli/installed-flags.ts';
import type { FlagValue } from '#src/lib/go-flags.ts';

const added = async (
  texts: Readonly<Record<string, string>>,
  given: Readonly<Record<string, FlagValue>> = {},
): Promise<Record<string, FlagValue>> => {
  const files = { read: async (path: string) => texts[path] };
  return Object.fromEntries(await addInstalledFlags(files, new Map(Object.entries(given))));
};
const CONF = '/etc/weft/flanneld.conf';

test('the settings of the unit count where the user gave none', async () => {
  const text =
    '# etcd\nFLANNELD_ETCD_PREFIX=/installed\n#FLANNELD_IFACE=eth7\nFLANNELD_IP_MASQ="true"\nOTHER=1\n';
  assert.deepEqual(await added({ [CONF]: text }), { 'etcd-prefix': '/installed', 'ip-masq': true });
  assert.deepEqual(await added({ [CONF]: text }, { 'etcd-prefix': '/given' }), {
    'etcd-prefix': '/given',
    'ip-masq': true,
  });
});

test('flags of FLANNELD_OPTIONS win over variables, and the later file over the earlier one', async () => {
  const texts = {
    '/etc/default/flanneld': 'FLANNELD_ETCD_PREFIX=/old\nFLANNELD_PUBLIC_IP=192.0.2.1\n',
    [CONF]: 'FLANNELD_ETCD_PREFIX=/new\nFLANNELD_IFACE=eth0\nFLANNELD_OPTIONS=--iface=eth1  -ip-masq\n',
  };
  assert.deepEqual(await added(texts), {
    'etcd-prefix': '/new',
    'public-ip': '192.0.2.1',
    iface: ['eth1'],
    'ip-masq': true,
  });
});

test('values are what systemd makes of them: # and quotes within them, quoted words of flags', async () => {
  const text = `FLANNELD_ETCD_PASSWORD=a#b 'c'\nFLANNELD_OPTIONS=--etcd-prefix="/two words" --iface=eth1\n`;
  assert.deepEqual(await added({ [CONF]: text }), {
    'etcd-password': "a#b 'c'",
    'etcd-prefix': '/two words',
    iface: ['eth1'],
  });
});

test('without files, without the right to read them and with flags that are none it is what the user gave', async () => {
  assert.deepEqual(await added({}, { v: 1 }), { v: 1 });
  assert.deepEqual(await added({ [CONF]: 'FLANNELD_OPTIONS=--no-such\nFLANNELD_HEALTHZ_PORT=x\n' }), {});
  const refusing = { read: () => Promise.reject(new Error('EACCES')) };
  assert.equal((await addInstalledFlags(refusing, new Map([['v', 1]]))).get('v'), 1);
});
