import type { Metric } from '#src/observe/metric.ts';
import type { OwnProcessFigures } from '#src/sys/process-figures.ts';

/** What the process uses, and of which version it is. */
export interface ProcessFigures extends OwnProcessFigures {
  /** Of weft. */
  readonly version: string;
}

/** Under the names that every client library of Prometheus has for them, but for the first. */
export const PROCESS_METRICS: readonly Metric<ProcessFigures>[] = [
  {
    name: 'weft_build_info',
    type: 'gauge',
    help: 'always 1, with the labels `version` and `nodejs`',
    value: ({ version, node }) => [{ labels: { version, nodejs: node }, value: 1 }],
  },
  {
    name: 'process_cpu_seconds_total',
    type: 'counter',
    help: 'processor time that flanneld has used, its threads included',
    value: ({ cpuSeconds }) => cpuSeconds,
  },
  {
    name: 'process_resident_memory_bytes',
    type: 'gauge',
    help: 'memory that flanneld has in use',
    value: ({ residentBytes }) => residentBytes,
  },
  {
    name: 'process_open_fds',
    type: 'gauge',
    help: 'open file descriptors',
    value: ({ openFiles }) => openFiles,
  },
  {
    name: 'process_max_fds',
    type: 'gauge',
    help: 'file descriptors that it may have open',
    value: ({ mostFiles }) => mostFiles,
  },
  {
    name: 'process_start_time_seconds',
    type: 'gauge',
    help: 'when flanneld started, in seconds since 1970',
    value: ({ startedAt }) => startedAt,
  },
];
