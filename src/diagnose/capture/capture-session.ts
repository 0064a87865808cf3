import { describeFrame, frameToJson, type NetworkNames } from '#src/diagnose/capture/describe-frame.ts';
import type { Frame } from '#src/diagnose/capture/frame.ts';
import { type FrameFilter, passesFilter } from '#src/diagnose/capture/frame-filter.ts';
import { decodePacket } from '#src/diagnose/capture/packet.ts';
import { PcapngBlocks, type SectionOptions } from '#src/diagnose/capture/write-pcapng.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Ip } from '#src/lib/ip.ts';
import type { RecordFile } from '#src/sys/record-file.ts';

export interface SessionComponents {
  /** One line a frame; absent where only a file is written. */
  readonly print?: ((line: string) => void) | undefined;
  /** Where frames are written to; made with the first of them, or at the end. */
  readonly file?: { readonly path: string; readonly create: () => RecordFile } | undefined;
}

export interface SessionOptions {
  readonly ports: readonly number[];
  readonly filter: FrameFilter;
  readonly names: NetworkNames;
  readonly json: boolean;
  /** Ends with so many frames; 0 for all. */
  readonly count: number;
  readonly section: SectionOptions;
  /** Names of addresses, for readers of the file. */
  readonly hosts: readonly (readonly [ip: Ip, name: string])[];
}

/** What becomes of the frames of one capture: those that pass the filter are printed, written, and counted. */
export class CaptureSession {
  readonly #components: SessionComponents;
  readonly #options: SessionOptions;
  readonly #ports: ReadonlySet<number>;
  readonly #blocks = new PcapngBlocks();
  #records: RecordFile | undefined;
  #last: Frame | undefined;
  seen = 0;
  shown = 0;

  constructor(components: SessionComponents, options: SessionOptions) {
    this.#components = components;
    this.#options = options;
    this.#ports = new Set(options.ports);
  }

  /** Takes one frame; whether more are wanted. Throws a WeftError `capture-write`: the file then ends with a whole frame. */
  take(frame: Frame): boolean {
    const { filter, names, json, count } = this.#options;
    if (count > 0 && this.shown >= count) return false;
    this.seen++;
    // A sender's checksums are filled in by its network card, behind this place.
    const checksums = frame.direction === 'in' && frame.checksumPending === false;
    const packet = decodePacket(frame.bytes, frame.linkType, { ports: this.#ports, checksums });
    if (!passesFilter(packet, filter, frame.vni)) return true;
    this.shown++;
    this.#last = { ...frame, bytes: NONE };
    this.#write((records) => records.append(this.#blocks.frame(frame)));
    const { print } = this.#components;
    if (print !== undefined)
      print(json ? JSON.stringify(frameToJson(frame, packet, names)) : describeFrame(frame, packet, names));
    return count === 0 || this.shown < count;
  }

  /** Puts what waits into the file. Throws a WeftError `capture-write`. */
  flush(): void {
    this.#write((records) => records.flush());
  }

  /** `dropped`: frames that the kernel had no room for. Throws a WeftError `capture-write`. */
  close(dropped: number): void {
    const last = this.#last;
    this.#write((records) => {
      if (dropped > 0 && last !== undefined)
        records.append(this.#blocks.dropped(last, dropped, last.at ?? 0n));
      records.close();
    });
  }

  #write(write: (records: RecordFile) => void): void {
    const { file } = this.#components;
    if (file === undefined) return;
    try {
      this.#records ??= this.#begin(file.create());
      write(this.#records);
    } catch (cause) {
      throw new WeftError('capture-write', `could not write to ${file.path}: ${messageOf(cause)}`, {
        ...(this.#records !== undefined && { remedy: 'make room; what is in the file so far can be read' }),
        cause,
      });
    }
  }

  #begin(records: RecordFile): RecordFile {
    const { section, hosts } = this.#options;
    this.#records = records;
    records.append(this.#blocks.section(section));
    records.append(this.#blocks.names(hosts));
    return records;
  }
}

const NONE = new Uint8Array();
