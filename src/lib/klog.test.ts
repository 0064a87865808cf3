import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { type LogOptions, loggerSource, parseVmodule } from '#src/lib/klog.ts';

const NOON = Date.UTC(2026, 10, 22, 18, 44, 52);

before(() => {
  process.env.TZ = 'UTC';
});

/** A source that collects its lines; `deaf.now` makes the writer lose them. */
function collect(options: Partial<LogOptions> = {}, time = NOON + 123.4567) {
  const lines: string[] = [];
  const deaf = { now: false };
  const source = loggerSource(
    {
      write: (line) => {
        if (!deaf.now) lines.push(line);
        return !deaf.now;
      },
      now: () => time,
    },
    { format: 'text', verbosity: 0, vmodule: [], pid: 1234, ...options },
  );
  return { lines, deaf, source };
}

test('a line has the header of klog', () => {
  const { lines, source } = collect();
  const log = source('vxlan');
  log.info('Lease acquired: 10.5.26.0/24', { subnet: '10.5.26.0/24' });
  log.warning('careful');
  log.error('broken');
  assert.deepEqual(lines, [
    'I1122 18:44:52.123456    1234 vxlan.ts:0] Lease acquired: 10.5.26.0/24\n',
    'W1122 18:44:52.123456    1234 vxlan.ts:0] careful\n',
    'E1122 18:44:52.123456    1234 vxlan.ts:0] broken\n',
  ]);
});

test('a header keeps its width on the first of January', () => {
  const { lines, source } = collect({ pid: 1 }, Date.UTC(2027, 0, 1, 0, 0, 0) + 0.001);
  source('a').info('x');
  assert.deepEqual(lines, ['I0101 00:00:00.000001       1 a.ts:0] x\n']);
});

test('an event is one line, whatever its message holds', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.constantFrom('text', 'json'), (message, format) => {
      const { lines, source } = collect({ format });
      source('a').info(message);
      assert.equal(lines.length, 1);
      assert.match(lines[0] ?? '', /^[^\n\r]*\n$/);
    }),
  );
});

test('a JSON line holds the message as it is, and fields that cannot hide the event', () => {
  const { lines, source } = collect({ format: 'json' });
  source('lease').warning('two\nlines', { revision: 7n, level: 'none', none: undefined, peers: 3 });
  assert.deepEqual(JSON.parse(lines[0] ?? ''), {
    time: '2026-11-22T18:44:52.123Z',
    level: 'warning',
    component: 'lease',
    message: 'two\nlines',
    revision: '7',
    peers: 3,
  });
});

test('verbose lines are written up to -v, or up to the level of the first --vmodule pattern that matches', () => {
  const written = (component: string) => {
    const { lines, source } = collect({
      verbosity: 1,
      vmodule: parseVmodule('etcd*=3,etcd-v2=9,lease=0') ?? [],
    });
    for (let level = 0; level <= 5; level++) source(component).verbose(level, String(level));
    return lines.map((line) => Number(line.slice(-2)));
  };
  assert.deepEqual(written('vxlan'), [0, 1]);
  assert.deepEqual(written('etcd-v2'), [0, 1, 2, 3]);
  assert.deepEqual(written('lease'), [0, 1]);
});

test('--vmodule takes klog globs and refuses what is no list of pattern=N', () => {
  const matches = (text: string, name: string) => parseVmodule(text)?.[0]?.pattern.test(name);
  assert.equal(matches('vx?an=1', 'vxlan'), true);
  assert.equal(matches('vx*=1', 'vxlan'), true);
  assert.equal(matches('lan=1', 'vxlan'), false);
  assert.equal(matches('vx.an=1', 'vxlan'), false);
  assert.deepEqual(parseVmodule(''), []);
  for (const text of ['vxlan', 'vxlan=', '=1', 'vxlan=x', 'vxlan=-1', 'a=1=2']) {
    assert.equal(parseVmodule(text), undefined, text);
  }
});

test('lost lines are counted, and reported when lines are read again', () => {
  const { lines, deaf, source } = collect();
  const log = source('a');
  deaf.now = true;
  log.info('one');
  log.info('two');
  deaf.now = false;
  log.info('three');
  log.info('four');
  assert.deepEqual(
    lines.map((line) => line.slice(line.indexOf(']') + 2, -1)),
    ['2 log lines were lost: nobody read them', 'three', 'four'],
  );
});
