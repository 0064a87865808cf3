import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { parsePrefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { openRecordFolders } from '#src/registry/open-record-folders.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemRandom } from '#src/sys/random.ts';
import { formatAddress } from '#src/tenant/address-codec.ts';
import { formatAlive, formatHost } from '#src/tenant/host-codec.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { WEFT } from '../support/flanneld.ts';
import { hostRecord } from '../support/tenant-records.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * weft network, weft address ── 127.0.0.1 ── etcd, as v3 and as v2. No host runs: what hosts write is written here.
 */
const skip = cannotRun('etcd', 'etcdctl');
const PREFIX = '/commands/network';
const signal = () => AbortSignal.timeout(30_000);

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

for (const api of ['v3', 'v2'] as const) {
  describe(`commands about tenants, etcd ${api}`, { skip }, () => {
    let server: EtcdServer;
    let folders: RecordFolders;

    before(async () => {
      server = await EtcdServer.start();
      const tls = { certFile: '', keyFile: '', caFile: '' };
      folders = await openRecordFolders(
        { clock: systemClock, files: systemFiles, random: systemRandom, logger: silentLogger },
        { endpoints: server.url, prefix: PREFIX, api, tls },
        signal(),
      );
    });
    after(async () => {
      await folders.close();
      await server.stop();
    });

    const weft = (...words: readonly string[]): Promise<Result> =>
      new Promise((resolve) => {
        const flags = [`--etcd-endpoints=${server.url}`, `--etcd-prefix=${PREFIX}`, `--etcd-api=${api}`];
        execFile(WEFT, [...words, ...flags], { timeout: 30_000 }, (error, stdout, stderr) => {
          resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
        });
      });
    const must = async (...words: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await weft(...words);
      assert.equal(code, 0, `weft ${words.join(' ')}: ${stderr}`);
      return stdout;
    };
    const refused = async (...words: readonly string[]): Promise<string> => {
      const { code, stderr } = await weft(...words);
      assert.equal(code, 1, `weft ${words.join(' ')}`);
      return stderr;
    };
    const put = async (folder: string, name: string, value: string): Promise<void> => {
      const records = folders.folder(`tenants/${folder}`);
      const there = await records.read(name, signal());
      if (there === undefined) await records.create(name, value, undefined, signal());
      else await records.replace(there, value, undefined, signal());
    };
    const address = (last: number, n: number): Promise<void> => {
      const { id: host, vtep } = hostRecord(n);
      const ip = parsePrefix4(`10.5.0.${last}/32`)?.address ?? assert.fail();
      const since = Date.UTC(2026, 10, 27);
      const value = {
        ip,
        state: 'published',
        host,
        vtep,
        names: [`web${last}`],
        keep: false,
        since,
      } as const;
      return put('addresses/blue', `10.5.0.${last}`, formatAddress(value));
    };

    test('a network is made, listed and shown', async () => {
      const made = await must(
        ...[
          'network',
          'create',
          '--vni',
          '70001',
          'blue',
          '--subnet=10.5.0.0/24',
          '--ip-range',
          '10.5.0.128/25',
        ],
        ...['--aux', 'router=10.5.0.2', '--internal', '--mtu=1400'],
      );
      assert.equal(made, 'created network blue: VNI 70001, subnet 10.5.0.0/24, gateway 10.5.0.1\n');
      assert.match(await must('network', 'create', 'blue'), /^there is already network blue: VNI 70001/);
      assert.match(
        await refused('network', 'create', 'blue', '--vni=7'),
        /VNI 7, but network blue has 70001/,
      );
      assert.match(await must('network', 'create', 'red', '--ipv6'), /VNI 10000, subnet 10\.128\.0\.0\/24/);
      assert.match(await refused('network', 'create', 'green', '--subnet=10.5.0.1/24'), /has host bits/);

      await must('network', 'add', 'plain', '{"Network":"10.9.0.0/16","Backend":{"Type":"vxlan","VNI":9}}');
      await put('hosts', 'host1', formatHost(hostRecord(1, { docker: { ['ab'.repeat(32)]: 'blue' } })));
      await put('alive', 'host1', formatAlive(hostRecord(1)));
      await put('hosts', 'host2', formatHost(hostRecord(2, { seen: Date.UTC(2026, 10, 26) })));
      await address(9, 1);
      await address(10, 2);
      const [red] = /fd[0-9a-f:]+::\/64/.exec(await must('network', 'ls')) ?? [];
      const listed = JSON.parse(await must('network', 'ls', '--json'));
      assert.deepEqual(listed.flannel, [
        { name: 'plain', config: { Network: '10.9.0.0/16', Backend: { Type: 'vxlan', VNI: 9 } } },
      ]);
      assert.deepEqual(
        listed.docker.map((it: { name: string; vni: number; addresses: number }) => [
          it.name,
          it.vni,
          it.addresses,
        ]),
        [
          ['blue', 70_001, 2],
          ['red', 10_000, 0],
        ],
      );
      assert.equal(
        await must('network', 'ls'),
        [
          "flannel's networks:",
          '  plain            10.9.0.0/16 vxlan VNI=9 Port=8472',
          "Docker's networks (driver weft):",
          `  NAME  VNI    SUBNETS${' '.repeat(`10.128.0.0/24,${red}`.length - 7)}  ADDRESSES  HOSTS`,
          `  blue  70001  10.5.0.0/24${' '.repeat(`10.128.0.0/24,${red}`.length - 11)}  2          1`,
          `  red   10000  10.128.0.0/24,${red}  0          0`,
          '',
        ].join('\n'),
      );
      const shown = await must('network', 'inspect', 'blue');
      assert.match(shown, /^network {4}blue: VNI 70001, internal$/m);
      assert.match(
        shown,
        /^subnet {5}10\.5\.0\.0\/24, gateway 10\.5\.0\.1, range 10\.5\.0\.128\/25, router=10\.5\.0\.2$/m,
      );
      assert.match(shown, /^node-1 +host1 +172\.16\.70\.191 +abababababab +yes$/m);
      assert.match(shown, /^10\.5\.0\.10 +published +web10 +node-2 \(not alive\) +- +2026-11-27T00:00:00Z$/m);
      const json = JSON.parse(await must('network', 'inspect', 'blue', '--json'));
      assert.deepEqual(json.subnets.v4.auxiliary, { router: '10.5.0.2' });
      assert.deepEqual(
        json.addresses.map((it: { address: string; hostName: string }) => `${it.address} ${it.hostName}`),
        ['10.5.0.9 node-1', '10.5.0.10 node-2'],
      );
      assert.match(await must('network', 'inspect', 'plain'), /10\.9\.0\.0\/16/);
    });

    test('addresses are kept, removed and freed', async () => {
      assert.match(
        await refused('network', 'rm', 'blue'),
        /10\.5\.0\.9 is held on host node-1 by container web9/,
      );
      assert.match(await must('address', 'ls', 'blue'), /^blue +10\.5\.0\.9 +published +web9 +node-1/m);
      assert.equal(JSON.parse(await must('address', 'ls', '--json')).length, 2);
      await must('address', 'keep', 'blue', '10.5.0.10');
      assert.match(
        await refused('address', 'rm', 'blue', '10.5.0.9'),
        /held on host node-1 by container web9.*--force/,
      );
      assert.match(await refused('address', 'free', 'node-1'), /node-1 is alive/);
      assert.equal(
        await must('address', 'free', 'node-2'),
        'freed 10.5.0.10 of network blue, of container web10\nhost node-2 (host2) is forgotten; it may return\n',
      );
      assert.match(await must('address', 'ls'), /10\.5\.0\.10 +kept/);
      assert.match(await must('address', 'unkeep', 'blue', '10.5.0.10'), /it is released/);
      await must('address', 'rm', 'blue', '10.5.0.9', '--force');
      assert.match(await refused('address', 'rm', 'blue', '10.5.0.9'), /no record of 10\.5\.0\.9/);
    });

    test('a network is removed, and its VNI is free', async () => {
      await must('network', 'create', 'plain', '--vni=12');
      assert.match(await refused('network', 'rm', 'plain'), /two networks plain.*--kind/);
      assert.equal(
        await must('network', 'rm', 'plain', '--kind=docker'),
        'removed network plain; freed VNI 12\n',
      );
      assert.match(await must('network', 'rm', 'plain'), /its config was/);
      assert.match(await must('network', 'rm', 'blue'), /freed VNI 70001 and 1 released address$/m);
      assert.match(await refused('network', 'rm', 'blue'), /there is no network blue/);
      assert.match(await refused('network', 'inspect', 'blue'), /there is no network blue/);
      assert.match(await must('network', 'create', 'green', '--vni=70001'), /created network green/);
      const tombstone = await folders.folder('tenants/networks').read('blue', signal());
      assert.equal(tombstone?.value, '{"removed":true}');
      const ends = tombstone && (await folders.folder('tenants/networks').expiryOf(tombstone, signal()));
      assert.ok(ends !== undefined && ends > Date.now() + 6 * 86_400_000);
    });

    test('a command line that makes no sense is refused with how it is used', async () => {
      for (const words of [['network'], ['network', 'what'], ['address', 'keep', '--what']]) {
        assert.equal((await weft(...words)).code, 2, words.join(' '));
      }
      assert.match(await refused('address', 'rm', 'blue'), /takes 2 words, not 1/);
      assert.match(await refused('address', 'rm', 'blue', '10.5'), /10\.5 is not an IP address/);
      assert.match(await refused('network', 'create', 'x', '--gateway=fd00::1'), /no IPv6 subnet/);
    });
  });
}
