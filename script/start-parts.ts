/**
 * What flanneld imports with `import()` in a plain start, beside what every start needs. What remains is not in the text that a
 * start reads: Docker's driver, other registries, the answers to traces.
 * test/e2e/start-loads.test.ts compares this list with what a start loads.
 */
export const START_PARTS: ReadonlySet<string> = new Set([
  'src/node/run-host.ts',
  'src/registry/etcd-v3.ts',
  'src/node/probe-service.ts',
  'src/sys/measuring-sockets.ts',
]);
