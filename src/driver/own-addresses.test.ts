import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { EndpointBook } from '#src/driver/endpoint-book.ts';
import { OwnAddresses } from '#src/driver/own-addresses.ts';
import { type Ip, parseIp } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const IP = parseIp('10.5.0.11') as Ip;
const YEAR_MS = 31_536_000_000;

async function setUp(t: TestContext) {
  const clock = new FakeClock();
  const files = { read: async () => undefined, writeAtomically: async () => {}, append: async () => {} };
  const book = await EndpointBook.open({ files: files as never }, 'book');
  const stop = new AbortController();
  t.after(() => stop.abort());
  const written: string[] = [];
  const own = new OwnAddresses(
    {
      book,
      clock,
      random: () => 0.5,
      log: silentLogger,
      addresses: {
        isListed: Promise.resolve(),
        get: () => undefined,
        all: function* () {},
        async settle(_: Ip, { state }: { state: string }) {
          written.push(state);
          return { outcome: 'settled' };
        },
      } as never,
    },
    { tenant: 'blue', self: 'host1', signal: stop.signal },
  );
  own.tidyAtInterval(stop.signal).catch(() => {});
  await own.set(IP, { since: clock.now(), isMoved: false, isReleasing: false });
  return { clock, own, book, written };
}

test('an address without an endpoint is given back after a minute', async (t) => {
  const { clock, own, book, written } = await setUp(t);
  await clock.advance(60_000);
  assert.equal(own.get(IP)?.isReleasing, false);
  await clock.advance(10_000);
  assert.deepEqual(written, ['released']);
  assert.deepEqual(book.state.addresses, {}, 'nothing is left of a tenant without addresses');
});

test('a clock that jumps gives nothing back', async (t) => {
  const { clock, own } = await setUp(t);
  clock.setWallTime(YEAR_MS);
  await clock.advance(20_000);
  assert.equal(own.get(IP)?.isReleasing, false);
});
