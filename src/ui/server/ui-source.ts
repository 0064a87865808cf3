import type { SourceName } from '#src/ui/model/feed.ts';

/** A local API that the page shows. */
export interface UiSource extends SourceName {
  /** The unix socket's path on this machine. */
  readonly socket: string;
}

/** What the page is about: this host, or all hosts of a lab. */
export interface UiPlace {
  /** `this host`, `lab demo`. */
  readonly title: string;
  /** The APIs that there are now; a daemon may start later than the page. */
  sources(): Promise<readonly UiSource[]>;
  /** Words for both ends of a trace, to choose from; none where they are not known. */
  ends(): Promise<readonly string[]>;
  /**
   * The command that prints the way of a packet as JSON. Both words have been checked: they begin with no dash, and have no
   * blanks. Throws a WeftError when it can't be had of these.
   */
  trace(from: string, to: string): Promise<readonly [string, ...string[]]>;
}
