import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CHECKS } from '#src/diagnose/checks.ts';
import { localSite } from '#src/diagnose/trace/site.ts';
import { traceWay } from '#src/diagnose/trace/trace-way.ts';
import { FAULT_HOPS } from '../support/fault-hops.ts';
import { reportFault } from '../support/fault-report.ts';
import {
  expectedIds,
  FAULTS,
  type FaultCase,
  type FaultLab,
  faultLab,
  startPatient,
  stopPatient,
} from '../support/fault-table.ts';
import { FLANNELD, WEFT } from '../support/flanneld.ts';
import { INSTALLATION, type InstallationSaid, installationIds } from '../support/installation.ts';
import { type Network, testNetwork } from '../support/network.ts';
import { untilAllUp } from '../support/probes.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';
import { tracedHost } from '../support/traced-host.ts';

/*
 * Each fault of the table is done to a host of one network, and `weft doctor` there names it and nothing else:
 *
 *     store .190 etcd      h1 .191 ◀ weft doctor      h2 .192      h3 .193      each: flanneld ── docker0 ── c
 *
 * A fault that is not mended is found beside the next one. `weft trace` stops where the packet does, in the same lab.
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables', 'iptables-legacy', 'nft');
/** Doctor bounds each of its looks by itself. */
const DOCTOR_MS = 60_000;
/** Of the patient. */
const PEERS = { peers: 2 };
const ONLY = process.env.WEFT_FAULT;
const faults = FAULTS.filter(({ id }) => ONLY === undefined || ONLY.split(',').includes(id));

let network: Network | undefined;
wholeFile(skip, async (owner) => {
  network = await testNetwork(owner, { api: 3, programs: [FLANNELD, FLANNELD, FLANNELD] });
});
const lab = (): FaultLab => faultLab(network ?? assert.fail('the network was not made'));

interface Said {
  readonly wrong: number;
  readonly installation?: InstallationSaid;
  readonly networks: readonly {
    readonly findings: readonly { readonly id: string; readonly what: string }[];
    readonly unknown: readonly { readonly id: string; readonly why: string }[];
  }[];
}

async function doctor(flags: readonly string[]): Promise<{ said: Said; code: number; ms: number }> {
  const began = performance.now();
  const { code, stdout, stderr } = await lab().one.host.run([WEFT, 'doctor', '--json', ...flags], {
    timeoutMs: DOCTOR_MS,
  });
  const ms = performance.now() - began;
  assert.ok(stdout !== '', `weft doctor ended with ${code}: ${stderr}`);
  return { said: JSON.parse(stdout) as Said, code, ms };
}

const idsOf = ({ networks }: Said): string[] =>
  networks.flatMap(({ findings }) => findings.map(({ id }) => id)).sort();
const textOf = ({ networks }: Said): string => JSON.stringify(networks, undefined, 2);

const count = { found: 0, missed: 0, falseAlarms: 0 };
const took: number[] = [];

async function diagnose(fault: FaultCase): Promise<void> {
  const { one } = lab();
  // What the fault before did to the peers is over.
  if (fault.isStopped !== true) await untilAllUp(one, { ...PEERS, isReady: false });
  await fault.inject(lab());
  try {
    const { said, code, ms } = await doctor(fault.flags?.(one.flags, lab()) ?? one.flags);
    took.push(ms);
    const [ids, expected] = [idsOf(said), expectedIds(fault)];
    const isFound = ids.includes(fault.id);
    const others = ids.filter((id) => !expected.includes(id));
    count[isFound ? 'found' : 'missed']++;
    count.falseAlarms += others.length;
    const note = `${isFound ? 'found' : 'MISSED'}${others.length > 0 ? `, and ${others.join(', ')}` : ''}`;
    reportFault({ fault: `doctor ${fault.id}`, repairedMs: [], lost: undefined, note });
    assert.deepEqual(ids, expected, textOf(said));
    assert.equal(code, 1);
    assert.equal(await stopOf(), FAULT_HOPS[fault.id], `where the packet stops with ${fault.id}`);
  } finally {
    await fault.mend(lab());
  }
}

/** Where a packet from the patient's container to that of the second host stops: `there h1 forwarding`. */
async function stopOf(): Promise<string | undefined> {
  const { one, two } = lab();
  const hosts = await Promise.all([one, two].map(({ host, container }) => tracedHost(host, [container])));
  try {
    const [from, to] = hosts.map((host, n) => ({
      address: (n === 0 ? one : two).container.address,
      site: localSite(host),
    }));
    assert.ok(from && to);
    const stop = (await traceWay({ from, to })).hops.find(({ ok }) => ok === false);
    return stop && `${stop.way} ${stop.host} ${stop.id}`;
  } finally {
    for (const { eye } of hosts) eye.close();
  }
}

async function assertHealthy(): Promise<void> {
  await untilAllUp(lab().one, PEERS);
  const { said, code } = await doctor(lab().one.flags);
  const seen = [code, idsOf(said), said.networks[0]?.unknown, installationIds(said)];
  assert.deepEqual(seen, [INSTALLATION.code, [], [], INSTALLATION.ids], textOf(said));
}

test('a healthy host has no fault, and every check could look', { skip }, assertHealthy);

for (const fault of faults.filter(({ isStopped }) => isStopped !== true)) {
  test(`doctor names ${fault.id}`, { skip }, () => diagnose(fault));
}

test('all of them mended, the host is healthy', { skip }, assertHealthy);

test('with flanneld stopped, doctor works from its state file', { skip }, async (t) => {
  await stopPatient(lab());
  for (const fault of faults.filter(({ isStopped }) => isStopped === true)) {
    await t.test(`doctor names ${fault.id}`, () => diagnose(fault));
  }
  await startPatient(lab());
  await assertHealthy();
});

before(() => {
  const ids = CHECKS.map(({ id }) => id);
  assert.deepEqual(
    FAULTS.filter(({ id }) => !ids.includes(id)),
    [],
    'checks that there are not',
  );
});

after(() => {
  if (skip !== false) return;
  const { found, missed, falseAlarms } = count;
  const slowest = Math.round(Math.max(...took));
  console.log(
    `doctor: ${found} found, ${missed} missed, ${falseAlarms} false alarms, of ${faults.length} faults; slowest ${slowest} ms`,
  );
});
