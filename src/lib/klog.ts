import { escapeControls } from '#src/lib/go-values.ts';
import type { LogFields, Logger, LoggerSource } from '#src/lib/log.ts';

/**
 * Log lines as flannel's users grep them, in klog's format (k8s.io/klog v2, klog.go `formatHeader`; glog's is the
 * same), or as one JSON object a line. Pure: the caller passes the writer and the clock.
 */
export interface LogComponents {
  /** Takes one line with its newline. False when it was lost. */
  readonly write: (line: string) => boolean;
  /** Milliseconds since the epoch; fractions are microseconds. */
  readonly now: () => number;
}

export interface LogOptions {
  readonly format: 'text' | 'json';
  /** `-v`: verbose lines up to this level are written. */
  readonly verbosity: number;
  /** `--vmodule`: levels for the components whose name matches. */
  readonly vmodule: readonly VmoduleRule[];
  readonly pid: number;
}

export interface VmoduleRule {
  readonly pattern: RegExp;
  readonly level: number;
}

export type Severity = 'info' | 'warning' | 'error';

export interface LogEvent {
  readonly severity: Severity;
  readonly time: number;
  readonly component: string;
  readonly message: string;
  readonly fields: LogFields;
}

/**
 * Makes loggers that share one writer. A component is named as its file: `vxlan` is written where klog names the
 * source file, `vxlan.ts:0`, and is what `--vmodule` patterns match. Line 0 is klog's own "no line": finding the
 * real one costs a stack trace for each event.
 */
export function loggerSource({ write, now }: LogComponents, options: LogOptions): LoggerSource {
  let lost = 0;
  const format = options.format === 'json' ? formatJson : formatText;
  const emit = (severity: Severity, component: string, message: string, fields: LogFields = {}) => {
    const line = (text: string) =>
      `${format({ severity, time: now(), component, message: text, fields }, options.pid)}\n`;
    if (lost > 0 && write(line(`${lost} log lines were lost: nobody read them`))) lost = 0;
    if (!write(line(message))) lost++;
  };
  return (component): Logger => {
    const rule = options.vmodule.find(({ pattern }) => pattern.test(component));
    const verbosity = Math.max(options.verbosity, rule?.level ?? 0);
    return {
      info: (message, fields) => emit('info', component, message, fields),
      warning: (message, fields) => emit('warning', component, message, fields),
      error: (message, fields) => emit('error', component, message, fields),
      verbose: (level, message, fields) => {
        if (level <= verbosity) emit('info', component, message, fields);
      },
    };
  };
}

/** `I1122 18:44:52.123456    1234 vxlan.ts:0] message`, in local time; fields are for JSON only. */
export function formatText({ severity, time, component, message }: LogEvent, pid: number): string {
  const microseconds = Math.floor(time * 1_000);
  const date = new Date(Math.floor(microseconds / 1_000));
  const day = pad(date.getMonth() + 1) + pad(date.getDate());
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => pad(part)).join(':');
  const fraction = String(microseconds % 1_000_000).padStart(6, '0');
  const thread = String(pid).padStart(7);
  const header = `${severity.charAt(0).toUpperCase()}${day} ${clock}.${fraction} ${thread} ${component}.ts:0]`;
  return `${header} ${escapeControls(message)}`;
}

/** `{"time":"2026-11-22T18:44:52.123Z","level":"info","component":"vxlan","message":"…"}`, then the fields. */
export function formatJson({ severity, time, component, message, fields }: LogEvent): string {
  const event = { time: new Date(time).toISOString(), level: severity, component, message };
  return JSON.stringify({ ...event, ...fields, ...event }, (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
}

/**
 * Reads `pattern=N,…`; `undefined` when it is anything else. Patterns are shell globs for a file's name without its
 * ending, the first that matches counts; levels below 1 are dropped, as klog does.
 */
export function parseVmodule(text: string): VmoduleRule[] | undefined {
  const rules: VmoduleRule[] = [];
  for (const part of text.split(',')) {
    if (part === '') continue;
    const [, glob = '', digits = ''] = /^([^=]+)=([0-9]+)$/.exec(part) ?? [];
    if (glob === '') return undefined;
    if (Number(digits) > 0) rules.push({ pattern: globPattern(glob), level: Number(digits) });
  }
  return rules;
}

const pad = (value: number): string => String(value).padStart(2, '0');

function globPattern(glob: string): RegExp {
  const source = glob
    .replace(/[^\w*?]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`);
}
