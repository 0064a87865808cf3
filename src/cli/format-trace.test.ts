import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTrace } from '#src/cli/format-trace.ts';
import type { Hop } from '#src/diagnose/trace/hop.ts';
import type { Loss, Sight } from '#src/diagnose/trace/live/locate.ts';
import type { FullTrace } from '#src/diagnose/trace/run-trace.ts';

const LOOK = { width: 100, hasColour: false };
const FAR = '172.16.70.192';
const hop = (id: Hop['id'], host: string, ok: Hop['ok'], found: string): Hop => ({
  ...{ id, host, ok, found: [found], way: 'there', about: 'what happens', command: '', expected: '' },
});
const trace = (outcome: FullTrace['outcome'], ...hops: Hop[]): FullTrace => ({
  ...{ from: { address: '10.0.1.2', host: 'h1' }, to: { address: '10.0.2.2', host: FAR }, outcome, hops },
});

const WHY = `it can't be asked: flannel runs there, which shows nothing (no answer of weft from 10.0.2.0:8474: refused)`;

test('why a hop is not known is said in full, and which host can not be seen', () => {
  const lines = formatTrace(
    trace(
      'unknown',
      hop('route', 'h1', true, 'via 10.0.2.0'),
      hop('wire', 'h1', 'unknown', 'not measured'),
      hop('arrival-device', FAR, 'unknown', WHY),
    ),
    LOOK,
  );
  const text = lines.join('\n');
  assert.match(text.replaceAll(/\n +/g, ' '), new RegExp(WHY.replaceAll(/[().]/g, '\\$&')));
  for (const line of lines) assert.ok(line.length <= 100, line);
  assert.match(
    text.replaceAll('\n', ' '),
    /Nothing .* is in the way; 172\.16\.70\.192 can't be seen\. --live sends a packet\.$/,
  );
});

test('where some of a host is known, it is not said that it can not be seen', () => {
  const lines = formatTrace(trace('unknown', hop('container', 'h1', 'unknown', 'nobody could look')), LOOK);
  assert.match(lines.at(-1) ?? '', /^Nothing .* is in the way; h1 can't be seen/);
  const more = trace(
    'unknown',
    hop('container', 'h1', 'unknown', 'nobody could look'),
    hop('route', 'h1', true, 'via'),
  );
  assert.match(formatTrace(more, LOOK).at(-1) ?? '', /is in the way; --live sends a packet\.$/);
});

test('a packet that leaves and gets no answer is lost on the wire or on the host that is not seen', () => {
  const before: Sight = {
    ...({ host: 'h1', way: 'back', device: 'eth0', in: 'host', direction: 'in' } as const),
    ...{ wrapped: true, seen: false },
  };
  const lost: Loss = {
    way: 'there',
    host: 'h1',
    hop: 'wire',
    before,
    orThere: { host: FAR, why: 'silence' },
  };
  const stopped = trace('stopped', hop('wire', 'h1', false, 'no answer'));
  const text = formatTrace({ ...stopped, live: { sights: [before], lost } }, LOOK).join(' ');
  assert.match(text, /leaves h1 and no answer comes: it is lost on the wire, or on 172\.16\.70\.192/);
});
