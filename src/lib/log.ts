/**
 * Logging as every part sees it: a message that reads alone, and fields for the JSON form. cli/ decides the format and
 * the destination.
 */
export type LogFields = Readonly<Record<string, string | number | boolean | bigint | undefined>>;

export interface Logger {
  info(message: string, fields?: LogFields): void;
  warning(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Written only at `-v` of this level or above, as an info line. */
  verbose(level: number, message: string, fields?: LogFields): void;
}

/** Makes the logger of a component, which is named as its file without ending: `vxlan`, `etcd-v3`. */
export type LoggerSource = (component: string) => Logger;

export const silentLogger: Logger = { info() {}, warning() {}, error() {}, verbose() {} };
