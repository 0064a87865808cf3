import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { announce } from '#src/ui/model/announce.ts';
import { LINK_STATES, type Link, type LiveMessage, type SourceState } from '#src/ui/model/feed.ts';
import { changeOf, keepEqual, LiveState } from '#src/ui/model/live-state.ts';

const at = '2026-01-01T12:00:00.000Z';
const source = (links: readonly Link[], change: Partial<SourceState> = {}): SourceState => ({
  ...{ id: 'h1', host: 'h1', kind: 'network', answers: true, since: at, links },
  ...change,
});
const link = (peer: string, state: Link['state'] = 'up'): Link => ({ peer, state });
const all = (sources: SourceState[]): LiveMessage => ({ kind: 'all', at, title: 'lab demo', sources });

test('a page that takes each change knows what the server knows', () => {
  const peers = fc.uniqueArray(
    fc.record({ peer: fc.constantFrom('a', 'b', 'c', 'd'), state: fc.constantFrom(...LINK_STATES) }),
    { selector: ({ peer }) => peer },
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(peers, fc.boolean()), { minLength: 1 }), (rounds) => {
      const page = new LiveState();
      let known: SourceState | undefined;
      for (const [links, answers] of rounds) {
        const next = source(keepEqual(known?.links ?? [], links), { answers });
        const change = changeOf(known, next);
        if (known === undefined) page.take(all([next]));
        else if (change !== undefined) page.take({ kind: 'change', at, sources: [change], gone: [] });
        known = next;
        const shown = page.sources.get('h1');
        const sorted = (list: readonly Link[] = []) => list.toSorted((a, b) => a.peer.localeCompare(b.peer));
        assert.deepEqual(sorted(shown?.links), sorted(known.links));
        assert.equal(shown?.answers, answers);
      }
    }),
  );
});

test('nothing changed is no change, and an equal link keeps its object', () => {
  const before = source([link('a'), link('b')]);
  const links = keepEqual(before.links, [link('a'), link('b')]);
  assert.equal(links[0], before.links[0]);
  assert.equal(changeOf(before, source(links)), undefined);
  assert.deepEqual(changeOf(before, source(keepEqual(before.links, [link('b', 'down')])))?.gone, ['a']);
});

test('turns are links whose state changed; none at first, some after a reconnect', () => {
  const state = new LiveState();
  assert.deepEqual(state.take(all([source([link('a'), link('b')])])), []);
  const turns = state.take(all([source([link('a', 'down'), link('b'), link('c')])]));
  assert.deepEqual(
    turns.map(({ link }) => [link.peer, link.state]),
    [['a', 'down']],
  );
  assert.deepEqual(state.take({ kind: 'beat', at: '2026-01-01T12:00:02.000Z' }), []);
  assert.equal(state.heardAt, '2026-01-01T12:00:02.000Z');
});

test('many turns are three sentences and a count; of one link the last counts', () => {
  const names = new Map([['a', 'h2']]);
  const turn = (peer: string, state: Link['state']) => ({ source: source([]), link: link(peer, state) });
  assert.equal(announce([turn('a', 'down'), turn('a', 'up')], names), 'h1 to h2 is up.');
  const many = ['b', 'c', 'd', 'e', 'f'].map((peer) => turn(peer, 'down'));
  assert.equal(
    announce(many, names),
    'h1 to b is down. h1 to c is down. h1 to d is down. And 2 more changes.',
  );
});
