import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sendEchoes } from '#src/lab/echo-sender.ts';
import { reportOf } from '#src/lab/traffic.ts';
import { formatIp } from '#src/lib/ip.ts';
import type { Echo, EchoReply, Icmp } from '#src/sys/icmp-socket.ts';

/** A network that loses the echoes of some numbers, and a clock by which a sleep takes as long as it should. */
function network(isLost: (sequence: number) => boolean) {
  const replies: EchoReply[] = [];
  let [now, listener] = [1_000_000, () => {}];
  const sources: string[] = [];
  const icmp: Icmp = {
    async open({ source }) {
      sources.push(formatIp(source));
      return {
        send({ to, sequence }: Echo) {
          if (isLost(sequence)) return 'EPERM';
          replies.push({ from: to, sequence });
          listener();
          return undefined;
        },
        receive: () => replies.shift(),
        watch: (given) => {
          listener = given;
        },
        close() {},
      };
    },
  };
  const clock = {
    now: () => now,
    monotonic: () => now,
    sleep: async (ms: number) => {
      now += ms;
    },
  };
  return { icmp, clock, sources };
}

async function linesOf(to: string, count: number, isLost: (sequence: number) => boolean) {
  const { icmp, clock, sources } = network(isLost);
  const stop = new AbortController();
  const lines: string[] = [];
  let sleeps = 0;
  const sleep = async (ms: number) => {
    await clock.sleep(ms);
    if (++sleeps === count) stop.abort();
  };
  const print = (line: string) => void lines.push(line);
  await sendEchoes(
    { icmp, clock: { ...clock, sleep }, identifier: 7 },
    { to, perSecond: 100, print, signal: stop.signal },
  );
  return { log: lines.join('\n'), sources };
}

test('each answer is a line, and the report has what was lost', async () => {
  const { log, sources } = await linesOf('10.0.2.2', 6, (sequence) => sequence === 3 || sequence === 4);
  assert.match(log, /^\[1000\.000\] 60 bytes from 10\.0\.2\.2: icmp_seq=1 $/m);
  assert.deepEqual(reportOf(log, 100), { sent: 6, received: 4, lost: 2, longestGapMs: 30 });
  assert.deepEqual(sources, ['0.0.0.0']);
});

test('IPv6, and what is no address', async () => {
  const { log, sources } = await linesOf('fd00::2', 3, () => false);
  assert.equal(reportOf(log, 100).received, 3);
  assert.deepEqual(sources, ['::']);
  await assert.rejects(
    linesOf('h2', 1, () => false),
    /"h2" is no address to send echoes to/,
  );
});
