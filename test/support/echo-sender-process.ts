import { sendEchoes } from '#src/lab/echo-sender.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemIcmp } from '#src/sys/icmp-socket.ts';

/* A program: sends echo requests to $1, $2 each second, until SIGINT, and prints what `weft lab echoes` prints. It loads less. */
const [to = '', perSecond] = process.argv.slice(2);
const stopper = new AbortController();
process.once('SIGINT', () => stopper.abort());
await sendEchoes(
  { clock: systemClock, icmp: systemIcmp, identifier: process.pid & 0xffff },
  {
    to,
    perSecond: Number(perSecond),
    print: (line) => void process.stdout.write(`${line}\n`),
    signal: stopper.signal,
  },
);
