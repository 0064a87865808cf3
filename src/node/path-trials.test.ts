import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WeftError } from '#src/lib/errors.ts';
import { type Ip, ipv4, ipv6, prefix6 } from '#src/lib/ip.ts';
import { PathTrials } from '#src/node/path-trials.ts';
import { systemClock } from '#src/sys/clock.ts';
import type { Echo, EchoReply, Icmp, IcmpOptions } from '#src/sys/icmp-socket.ts';

const BYTES = 1_450;
const [A, B] = [ipv4(0x0a000200), ipv4(0x0a000300)];
const TRIALS = [
  { name: 'a', to: A },
  { name: 'b', to: B },
];

/** A network that answers, refuses or loses; `opened` has what sockets were opened with. */
function networkOf(answer: (echo: Echo) => Ip | string | undefined): { icmp: Icmp; opened: IcmpOptions[] } {
  const opened: IcmpOptions[] = [];
  const open: Icmp['open'] = async (options) => {
    opened.push(options);
    const replies: EchoReply[] = [];
    return {
      send(echo) {
        const outcome = answer(echo);
        if (typeof outcome === 'string') return outcome;
        if (outcome !== undefined) replies.push({ from: outcome, sequence: echo.sequence });
        return undefined;
      },
      receive: () => replies.shift(),
      watch() {},
      close() {},
    };
  };
  return { icmp: { open }, opened };
}

const tried = async (icmp: Icmp): Promise<Record<string, string | undefined>> => {
  const trials = new PathTrials({ icmp, clock: systemClock, random: () => 0.5 });
  const way = { source: ipv4(0x0a000100), leaveBy: 7, bytes: BYTES };
  return Object.fromEntries(await trials.run(TRIALS, way, AbortSignal.timeout(10_000)));
};

test('a path works when a small packet and one of full size are answered', async () => {
  const sizes = new Set<number>();
  const { icmp, opened } = networkOf(({ to, bytes }) => {
    sizes.add(bytes);
    return to;
  });
  assert.deepEqual(await tried(icmp), { a: undefined, b: undefined });
  assert.deepEqual([...sizes], [60, BYTES]);
  assert.deepEqual(opened, [{ source: ipv4(0x0a000100), identifier: 0x8000, leaveBy: 7 }]);
});

test('one loss of several does not matter', async () => {
  let count = 0;
  const { icmp } = networkOf(({ to }) => (count++ % 3 === 0 ? undefined : to));
  assert.deepEqual(await tried(icmp), { a: undefined, b: undefined });
});

const BROKEN: readonly [what: string, answer: (echo: Echo) => Ip | string | undefined, why: RegExp][] = [
  ['nothing is answered', ({ to }) => (to === A ? to : undefined), /^nothing passes by the new path$/],
  [
    'only small ones',
    ({ to, bytes }) => (to === A || bytes < 100 ? to : undefined),
    /^packets of 1450 bytes do not pass.*small ones do$/,
  ],
  ['another host answers', ({ to }) => (to === A ? to : A), /^nothing passes/],
  ['the host refuses', ({ to }) => (to === A ? to : 'EPERM'), /can't send by the new path \(EPERM\)/],
];

for (const [what, answer, why] of BROKEN)
  test(`a path does not work: ${what}`, async () => {
    const { a, b } = await tried(networkOf(answer).icmp);
    assert.equal(a, undefined);
    assert.match(b ?? '', why);
  });

test('of two addresses of a peer one has to answer, to small packets and to full ones', async () => {
  const [net, other] = [ipv6(0xfd00n << 112n), ipv6(0xfe80n << 112n)];
  const bridge = ipv6(net + 1n);
  const answers = prefix6(net, 64);
  const outcomeOf = async (answer: (echo: Echo) => Ip | undefined): Promise<string | undefined> => {
    const trials = new PathTrials({ icmp: networkOf(answer).icmp, clock: systemClock, random: () => 0.5 });
    const way = { source: ipv6(1n), bytes: BYTES };
    const peer = { name: 'a', to: net, or: bridge, answers };
    return (await trials.run([peer], way, AbortSignal.timeout(10_000))).get('a');
  };
  assert.equal(await outcomeOf(({ to }) => (to === bridge ? to : undefined)), undefined);
  assert.equal(await outcomeOf(({ to }) => (to === net ? bridge : undefined)), undefined);
  assert.match((await outcomeOf(({ to }) => (to === net ? other : undefined))) ?? '', /^nothing passes/);
  const split = ({ to, bytes }: Echo) => ((to === bridge) === bytes < 100 ? to : undefined);
  assert.match((await outcomeOf(split)) ?? '', /^packets of 1450 bytes do not pass/);
});

test('without a socket nothing is known', async () => {
  const icmp: Icmp = {
    open: () => Promise.reject(new WeftError('icmp', 'cannot open', { remedy: 'run as root' })),
  };
  assert.deepEqual(await tried(icmp), { a: 'cannot open; run as root', b: 'cannot open; run as root' });
});
