/**
 * What flanneld imports with `import()` in a plain start, beside that without which no start goes. All else that is imported
 * so is no part of the text that a start reads: Docker's driver, other registries, what answers traces.
 * test/start-loads.test.ts compares this list with what a start loads.
 */
export const START_PARTS: ReadonlySet<string> = new Set([
  'src/node/run-host.ts',
  'src/registry/etcd-v3.ts',
  'src/node/probe-service.ts',
  'src/sys/measuring-sockets.ts',
]);
