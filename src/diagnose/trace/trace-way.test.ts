import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Hop } from '#src/diagnose/trace/hop.ts';
import type { Carriage, PartAnswer, PartRequest } from '#src/diagnose/trace/part.ts';
import { RemoteSite, type Site } from '#src/diagnose/trace/site.ts';
import { type Trace, type TraceRequest, traceWay } from '#src/diagnose/trace/trace-way.ts';

const TUNNEL: Carriage = {
  ...{ kind: 'tunnel', to: '172.16.70.192', mac: '02:00:00:00:00:01' },
  ...{ vni: 1, port: 8472 },
};

/** Walks a part in one hop. `stops`: the part at which it is not ok. */
function site(name: string, stops?: string, carriage = TUNNEL): Site {
  const walk = async ({ part, way }: PartRequest): Promise<PartAnswer> => {
    const id = part === 'leave' ? 'container' : 'arrival-container';
    const step = { id, host: name, way, about: '', command: '', found: [], expected: '' } as const;
    const hops: Hop[] = [{ ...step, ok: stops !== `${way} ${part}` }];
    return { host: name, hops, ...(part === 'leave' && { carriage }) };
  };
  return { name, answers: true, walk };
}

const SILENT = (): Site => new RemoteSite('h2', () => Promise.reject(new Error('nothing')));

const trace = (from: Site, to: Site, options: Partial<TraceRequest> = {}): Promise<Trace> =>
  traceWay({ from: { address: '10.0.1.2', site: from }, to: { address: '10.0.2.2', site: to }, ...options });

const hopsOf = ({ hops }: Trace): string[] =>
  hops.map(({ way, host, id, ok }) => `${way} ${host} ${id} ${ok}`);

test('there and back, with the wire in between, of the host that sends', async () => {
  const traced = await trace(site('h1'), site('h2'));
  assert.equal(traced.outcome, 'arrives');
  assert.deepEqual(hopsOf(traced), [
    ...['there h1 container true', 'there h1 wire true', 'there h2 arrival-container true'],
    ...['back h2 container true', 'back h2 wire true', 'back h1 arrival-container true'],
  ]);
});

test('it ends at the first hop that is not ok, unless all are wanted', async () => {
  for (const [stops, count] of [
    ['there leave', 1],
    ['back leave', 4],
  ] as const) {
    const [one, two] = stops.startsWith('there') ? [stops, undefined] : [undefined, stops];
    const traced = await trace(site('h1', one), site('h2', two));
    assert.deepEqual([traced.outcome, traced.hops.length], ['stopped', count]);
    const whole = await trace(site('h1', one), site('h2', two), { all: true });
    assert.deepEqual([whole.outcome, whole.hops.length], ['stopped', 6]);
  }
});

test('both containers on one host: there is no wire', async () => {
  const one = site('h1', undefined, { kind: 'bridge' });
  assert.ok((await trace(one, one)).hops.every(({ id }) => id !== 'wire'));
});

test('a silent host and nothing measured: the wire is unknown', async () => {
  const traced = await trace(site('h1'), SILENT());
  assert.equal(traced.outcome, 'unknown');
  assert.deepEqual(hopsOf(traced).slice(0, 3), [
    ...['there h1 container true', 'there h1 wire unknown', 'there h2 arrival-device unknown'],
  ]);
  assert.match(traced.hops[2]?.found[0] ?? '', /nothing$/);
});

test('a silent host, and what was measured: the wire is where it stops', async () => {
  const asked: (Carriage | undefined)[] = [];
  const evidence = (carriage: Carriage | undefined) => {
    asked.push(carriage);
    return { found: ['the tunnel is silent'], ok: false, remedy: 'open the port' } as const;
  };
  const traced = await trace(site('h1'), SILENT(), { evidence });
  assert.equal(traced.outcome, 'stopped');
  assert.deepEqual(hopsOf(traced), ['there h1 container true', 'there h1 wire false']);
  const { found, remedy } = traced.hops[1] ?? assert.fail();
  assert.deepEqual([found, remedy, asked], [['the tunnel is silent'], 'open the port', [TUNNEL, undefined]]);
});

test('a hop of this host that drops the answer counts more than what was measured', async () => {
  const evidence = () => ({ found: ['the tunnel is silent'], ok: false, remedy: 'open the port' }) as const;
  const traced = await trace(site('h1', 'back enter'), SILENT(), { evidence });
  assert.deepEqual(hopsOf(traced), [
    ...['there h1 container true', 'there h1 wire unknown', 'there h2 arrival-device unknown'],
    ...['back h2 container unknown', 'back h2 wire unknown', 'back h1 arrival-container false'],
  ]);
  assert.equal(traced.hops[1]?.remedy, undefined);
});

test('hosts that answer are believed more than what was measured before', async () => {
  const evidence = () => ({ found: ['the tunnel was silent'], ok: false }) as const;
  assert.equal((await trace(site('h1'), site('h2'), { evidence })).outcome, 'arrives');
});

test('the signal of a trace ends it: that is no host that can’t be asked', async () => {
  const stopped = new RemoteSite('h2', () => Promise.reject(new DOMException('ended', 'AbortError')));
  await assert.rejects(trace(site('h1'), stopped), { name: 'AbortError' });
});
