import type { Daemon } from '#src/lab/daemon.ts';
import type { Machine } from '#src/lab/machine.ts';
import { until } from '#src/sys/until.ts';

const PORT = 9000;
/** Its input stays open: at the end of it busybox would close its half, and the other side would end. */
const RECEIVE = `tail -f /dev/null | busybox nc -l -p ${PORT}`;
/** $1: the other end. A number each 10 ms. */
const SEND = `
number=0
while echo $number; do
  number=$((number + 1))
  sleep 0.01
done | busybox nc "$1" ${PORT}`;

let started = 0;

/** One TCP connection from one machine to another, over which numbers go. */
export class TcpStream {
  readonly #receiver: Daemon;
  readonly #sender: Daemon;

  private constructor(receiver: Daemon, sender: Daemon) {
    this.#receiver = receiver;
    this.#sender = sender;
  }

  static async start(from: Machine, to: Machine & { readonly address: string }): Promise<TcpStream> {
    const name = `stream-${process.pid}-${++started}`;
    const receiver = await to.start(`${name}-in`, ['sh', '-c', RECEIVE]);
    await to.must(['sh', '-c', `until ss -Hltn 'sport = :${PORT}' | grep -q .; do sleep 0.02; done`]);
    const sender = await from.start(`${name}-out`, ['sh', '-c', SEND, 'sh', to.address]);
    const stream = new TcpStream(receiver, sender);
    await stream.#goOn('start');
    return stream;
  }

  /** Waits until numbers arrive that were sent after now. */
  async #goOn(what: string): Promise<void> {
    const before = (await this.#numbers()).length;
    await until(async () => (await this.#numbers()).length > before + 2, {
      what: `numbers over TCP at the ${what}`,
      timeoutMs: 30_000,
    });
  }

  async #numbers(): Promise<string[]> {
    return (await this.#receiver.log()).split('\n').filter(Boolean);
  }

  /**
   * Ends it. How many numbers came, and whether the connection lived to the end and each number came in its place: a number
   * that is lost on the way is sent again by TCP, and one that comes at all comes in order.
   */
  async stop(): Promise<{ readonly received: number; readonly whole: boolean }> {
    const alive =
      this.#receiver.isAlive() &&
      this.#sender.isAlive() &&
      (await this.#goOn('end').then(
        () => true,
        () => false,
      ));
    for (const end of [this.#sender, this.#receiver]) {
      // Its session: a shell and what it runs.
      if (end.isAlive()) process.kill(-end.pid, 'SIGKILL');
      await end.exited();
    }
    const numbers = await this.#numbers();
    return {
      received: numbers.length,
      whole: alive && numbers.every((text, index) => text === String(index)),
    };
  }
}
