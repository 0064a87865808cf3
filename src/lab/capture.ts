import { join } from 'node:path';
import { readCapture } from '#src/diagnose/capture/read-capture.ts';
import { outputOf } from '#src/lab/components.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Machine } from '#src/lab/machine.ts';
import { WeftError } from '#src/lib/errors.ts';
import { until } from '#src/sys/until.ts';

/** Names are not used again, by this process or another: a log holds one run. */
let started = 0;

/** Packets caught by tcpdump on one device, from its start to its stop. */
export class Capture {
  readonly #machine: Machine;
  readonly #daemon: Daemon;
  /** In pcap's format, on this machine. */
  readonly path: string;

  private constructor(machine: Machine, daemon: Daemon, path: string) {
    this.#machine = machine;
    this.#daemon = daemon;
    this.path = path;
  }

  /** Starts tcpdump with a filter in pcap's language and waits until it listens. */
  static async start(machine: Machine, device: string, filter: string): Promise<Capture> {
    const name = `capture-${process.pid}-${++started}`;
    const { inside, outside } = machine.shared;
    await machine.components.folders.make(outside);
    // -Z root: the user it would change to can't write there. --immediate-mode, -U: each packet at once.
    const options = ['-Z', 'root', '-U', '--immediate-mode', '-n', '-i', device];
    const daemon = await machine.start(name, ['tcpdump', ...options, '-w', `${inside}/${name}.pcap`, filter]);
    await daemon.waitForLog(/listening on/);
    return new Capture(machine, daemon, join(outside, `${name}.pcap`));
  }

  /** Waits until this number of frames is caught. */
  async waitFor(count: number): Promise<void> {
    const what = `${count} frames caught on ${this.#machine.name}`;
    await until(async () => (await this.frames()).length >= count, { what, signal: this.#machine.signal });
  }

  async stop(): Promise<void> {
    await this.#daemon.stop();
  }

  /** What tcpdump prints of the frames, `-nn` and the given options (`-vvXX`, `-T vxlan`). */
  async text(options: readonly string[] = []): Promise<string> {
    const argv = ['tcpdump', '-nn', '-r', this.path, ...options] as const;
    return outputOf(argv, await this.#machine.components.commands.run(argv));
  }

  /** The frames' bytes, from the Ethernet header on. */
  async frames(): Promise<Buffer[]> {
    const { byteFiles } = this.#machine.components;
    const size = (await byteFiles.size(this.path)) ?? 0;
    const frames: Buffer[] = [];
    try {
      for await (const { bytes } of readCapture(byteFiles.read(this.path, size)))
        frames.push(Buffer.from(bytes));
    } catch (error) {
      // tcpdump may be in the middle of a frame.
      if (!(error instanceof WeftError && error.code === 'capture-file')) throw error;
    }
    return frames;
  }
}
